"""Logging in on a device without a browser (RFC 8628), in JSON."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from finetuner_hub.server.access import Runner, TheHub
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.account import NewToken, address_of
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.scopes import Scope
from finetuner_hub.server.services import attempts, devices

router = APIRouter(prefix="/v1/device", tags=["account"])


class Start(words.Request):
    scope: Scope = Scope.RUN
    label: words.Label = ""


class Started(words.Answer):
    """The device keeps ``device_code``, and shows ``user_code``."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    interval: float


class Decision(words.Request):
    user_code: words.Word
    approve: bool


class Poll(words.Request):
    device_code: words.Word


class Waiting(words.Answer):
    error: Literal["authorization_pending", "slow_down", "access_denied", "expired_token"]


@router.post("", status_code=201, responses=refusals(403, 429))
def start(hub: TheHub, request: Request, asked: Start) -> Started:
    """Begin a log-in that a user approves elsewhere."""
    settings, now = hub.settings, hub.clock()
    what = f"device {address_of(request)}"
    with hub.database.write() as session:
        counted = attempts.count(session, what, now)
    attempts.refuse_above({what: 4 * settings.login_attempts}, {what: counted}, now)
    with hub.database.write() as session:
        begun = devices.start(session, asked.scope, asked.label, now, settings.device_lifetime)
    return Started(
        device_code=begun.device_code,
        user_code=begun.user_code,
        verification_uri=f"{settings.url}/v1/device/decision",
        expires_in=settings.device_lifetime,
        interval=settings.device_interval,
    )


@router.post("/decision", status_code=204, responses=refusals(401, 403, 404, 429))
def decide(hub: TheHub, who: Runner, decision: Decision) -> None:
    """Approve or deny the log-in that shows a code. Guesses are counted."""
    now, what = hub.clock(), f"decide {who.user_id}"
    with hub.database.write() as session:
        counted = attempts.count(session, what, now)
    attempts.refuse_above({what: 4 * hub.settings.login_attempts}, {what: counted}, now)
    with hub.database.write() as session:
        devices.decide(session, who, decision.user_code, now, approve=decision.approve)


@router.post(
    "/token", status_code=201, response_model=NewToken, responses={400: {"model": Waiting}}
)
def poll(hub: TheHub, asked: Poll) -> NewToken | JSONResponse:
    """The token once the log-in was approved; until then status 400 and why not."""
    settings = hub.settings
    with hub.database.write() as session:
        answer = devices.poll(
            session,
            asked.device_code,
            hub.clock(),
            settings.device_interval,
            settings.token_lifetime,
        )
    if answer.issued is None:
        return JSONResponse({"error": answer.error}, 400)
    return NewToken.of(answer.issued)
