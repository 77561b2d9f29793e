"""Logging in, and one's own tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from finetuner_hub.server.access import Hub, Reader, Runner, TheHub
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.scopes import Scope
from finetuner_hub.server.services import login, tokens

router = APIRouter(prefix="/v1", tags=["account"])


class LogIn(words.Request):
    user: words.Word
    password: words.Password
    scope: Scope = Scope.RUN
    label: words.Label = ""
    lifetime: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    """Seconds; at most, and by default, as long as the hub allows."""


class NewToken(words.Answer):
    """``token`` is shown this once."""

    id: int
    token: str
    scope: Scope
    label: str
    expires: float

    @classmethod
    def of(cls, issued: tokens.Issued) -> NewToken:
        return cls(
            id=issued.id,
            token=issued.secret,
            scope=issued.scope,
            label=issued.label,
            expires=issued.expires,
        )


class TokenView(words.Answer):
    id: int
    scope: Scope
    label: str
    created: float
    expires: float


class Me(words.Answer):
    user: str
    scope: Scope


def address_of(request: Request) -> str:
    """Where a request came from, as rate limits count it."""
    return request.client.host if request.client else "nowhere"


def lifetime(hub: Hub, asked: float | None) -> float:
    """How long a token shall be good."""
    return min(asked or hub.settings.token_lifetime, hub.settings.token_lifetime)


@router.post("/tokens", status_code=201, responses=refusals(401, 403, 429))
def log_in(hub: TheHub, request: Request, asked: LogIn) -> NewToken:
    """A token for a name and a password."""
    issued = login.log_in(
        hub.database,
        hub.passwords,
        name=asked.user,
        password=asked.password,
        scope=asked.scope,
        label=asked.label,
        address=address_of(request),
        limit=hub.settings.login_attempts,
        life=lifetime(hub, asked.lifetime),
        now=hub.clock(),
    )
    return NewToken.of(issued)


@router.get("/tokens", responses=refusals(401, 403))
def list_tokens(hub: TheHub, who: Reader) -> list[TokenView]:
    """One's tokens that are good."""
    with hub.database.read() as session:
        mine = tokens.of_user(session, who.user_id, hub.clock())
        return [TokenView.model_validate(token) for token in mine]


@router.delete("/tokens/{token_id}", status_code=204, responses=refusals(401, 403, 404))
def revoke_token(hub: TheHub, who: Runner, token_id: words.Small) -> None:
    """Make one of one's tokens good for nothing."""
    with hub.database.write() as session:
        tokens.revoke(session, who.user_id, token_id)


@router.get("/me", responses=refusals(401, 403))
def me(who: Reader) -> Me:
    """Who the token stands for, and what it is good for."""
    return Me(user=who.user_name, scope=who.scope)
