"""Logging in on a device without a browser: approved elsewhere (RFC 8628)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from finetuner_hub.server.database.models import Device, User
from finetuner_hub.server.errors import NotAllowedError, NotThereError
from finetuner_hub.server.scopes import Principal, Scope
from finetuner_hub.server.secrets import digest_token, new_user_code
from finetuner_hub.server.services import tokens


@dataclass(frozen=True)
class Started:
    """What a device is told: it keeps one code, and shows the other."""

    device_code: str
    user_code: str


@dataclass(frozen=True)
class Poll:
    """What a device that asks is told: one of the two.

    ``error`` is in the words of RFC 8628, section 3.5.
    """

    issued: tokens.Issued | None = None
    error: str | None = None


def start(session: Session, scope: Scope, label: str, now: float, life: float) -> Started:
    """Begin a log-in that somebody has ``life`` seconds to approve."""
    if scope is Scope.ATTEMPT:
        raise NotAllowedError("tokens with the scope 'attempt' come with a run that is taken")
    code = secrets.token_urlsafe(32)
    device = Device(
        digest=digest_token(code),
        user_code=new_user_code(),
        scope=scope,
        label=label,
        expires=now + life,
    )
    session.add(device)
    session.flush()
    return Started(code, device.user_code)


def decide(session: Session, who: Principal, user_code: str, now: float, *, approve: bool) -> None:
    """Approve or deny the log-in that shows ``user_code``.

    ``NotThereError`` for a code that is unknown, over or decided on. ``NotAllowedError``
    where the token asked for would be good for more than that of the one who approves.
    """
    letters = user_code.replace("-", "").replace(" ", "").upper()
    code = f"{letters[:4]}-{letters[4:]}"
    device = session.scalar(
        select(Device)
        .where(
            Device.user_code == code,
            Device.expires > now,
            Device.user_id.is_(None),
            Device.denied.is_(False),
        )
        .with_for_update()
    )
    if device is None:
        raise NotThereError("log-in with the code", user_code)
    allowed = who.scope.covers(device.scope) or (
        who.scope is Scope.ADMIN and device.scope is Scope.WORKER
    )
    if approve and not allowed:
        raise NotAllowedError(
            f"it asks for the scope {device.scope.value!r}, and your token has {who.scope.value!r}"
        )
    if approve:
        device.user_id = who.user_id
    else:
        device.denied = True


def poll(session: Session, device_code: str, now: float, interval: float, life: float) -> Poll:
    """The token if the log-in was approved, else why there is none.

    A device that asks sooner than ``interval`` seconds after it last asked is told to
    slow down. The token is given once.
    """
    device = session.scalar(
        select(Device).where(Device.digest == digest_token(device_code)).with_for_update()
    )
    if device is None or device.expires <= now:
        return Poll(error="expired_token")
    if device.denied:
        session.delete(device)
        return Poll(error="access_denied")
    early, device.asked = now < device.asked + interval, now
    if early:
        return Poll(error="slow_down")
    if device.user_id is None:
        return Poll(error="authorization_pending")
    user = session.get_one(User, device.user_id)
    session.delete(device)
    if user.disabled:
        return Poll(error="access_denied")
    return Poll(issued=tokens.issue(session, user, device.scope, device.label, now, life))


def sweep(session: Session, now: float) -> None:
    """Remove log-ins that nobody approved in time."""
    session.execute(delete(Device).where(Device.expires <= now))
