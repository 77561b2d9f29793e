"""Logging in with a password, and no faster than a person mistypes one."""

from __future__ import annotations

from sqlalchemy import select

from finetuner_hub.server.database.connection import Database
from finetuner_hub.server.database.models import User
from finetuner_hub.server.errors import NotLoggedInError
from finetuner_hub.server.scopes import Scope
from finetuner_hub.server.secrets import Passwords
from finetuner_hub.server.services import attempts, tokens


def log_in(
    database: Database,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    scope: Scope,
    label: str,
    address: str,
    limit: int,
    life: float,
    now: float,
) -> tokens.Issued:
    """A token for the user ``name`` who asks from ``address``.

    ``NotLoggedInError`` says alike that there is no such user, that the password is
    another, and that the user is locked out. ``TooManyError`` above ``limit`` tries a
    minute for the name from the address, four times that from the address and ten
    times that for the name.

    A try is counted in a transaction of its own, before the password is looked at:
    many at once count as many, and a refusal does not undo the count.
    """
    refusal = "no user of that name has that password"
    own = f"login {name} {address}"
    limits = {own: limit, f"address {address}": 4 * limit, f"name {name}": 10 * limit}
    with database.write() as session:
        counted = {what: attempts.count(session, what, now) for what in limits}
    attempts.refuse_above(limits, counted, now)
    with database.read() as session:
        user = session.scalar(select(User).where(User.name == name))
        kept = user.password if user is not None and not user.disabled else None
    if not passwords.matches(kept, password):
        raise NotLoggedInError(refusal)
    with database.write() as session:
        same = select(User).where(User.password == kept, User.disabled.is_(False))
        user = session.scalar(same.where(User.name == name))
        if user is None:  # changed while the password was compared
            raise NotLoggedInError(refusal)
        attempts.forget(session, own)
        return tokens.issue(session, user, scope, label, now, life)
