"""What every request needs: the hub, and who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from finetuner_hub.server.database.connection import Database
from finetuner_hub.server.errors import NotAllowedError, NotLoggedInError
from finetuner_hub.server.scopes import Principal, Scope
from finetuner_hub.server.secrets import Passwords
from finetuner_hub.server.services import tokens
from finetuner_hub.server.settings import Settings


@dataclass(frozen=True)
class Hub:
    """The parts of a hub that requests use. ``clock`` gives POSIX seconds."""

    settings: Settings
    database: Database
    passwords: Passwords
    clock: Callable[[], float]


def hub_of(request: Request) -> Hub:
    """The hub that a request came to."""
    hub: Hub = request.app.state.hub
    return hub


TheHub = Annotated[Hub, Depends(hub_of)]

_bearer = HTTPBearer(auto_error=False, description="A token from POST /v1/tokens.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def secret_of(credentials: _Credentials) -> str:
    """The token that came with a request; ``NotLoggedInError`` if none did."""
    if credentials is None:
        raise NotLoggedInError("log in first: this needs the header 'Authorization: Bearer TOKEN'")
    return credentials.credentials


Secret = Annotated[str, Depends(secret_of)]


def allow(hub: Hub, secret: str, *scopes: Scope) -> Principal:
    """Who is behind a token that is good for one of ``scopes``, by the database as it is now.

    ``NotLoggedInError`` for a token that is not good, ``NotAllowedError`` for one that
    is good for something else.
    """
    with hub.database.read() as session:
        who = tokens.look_up(session, secret, hub.clock())
    if not any(who.scope.covers(scope) for scope in scopes):
        wanted = " or ".join(repr(scope.value) for scope in scopes)
        raise NotAllowedError(
            f"this needs a token with the scope {wanted}, not {who.scope.value!r}"
        )
    return who


def needs(*scopes: Scope) -> Callable[[Hub, str], Principal]:
    """A dependency that lets those through whose token is good for one of ``scopes``."""

    def check(hub: TheHub, secret: Secret) -> Principal:
        return allow(hub, secret, *scopes)

    return check


SEES_RUNS = (Scope.READ, Scope.ATTEMPT)

Reader = Annotated[Principal, Depends(needs(Scope.READ))]
RunReader = Annotated[Principal, Depends(needs(*SEES_RUNS))]
Runner = Annotated[Principal, Depends(needs(Scope.RUN))]
Admin = Annotated[Principal, Depends(needs(Scope.ADMIN))]
Worker = Annotated[Principal, Depends(needs(Scope.WORKER))]
Attempt = Annotated[Principal, Depends(needs(Scope.ATTEMPT))]
