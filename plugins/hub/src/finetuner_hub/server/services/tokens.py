"""Tokens: given for a password, an approval or an attempt; looked up; revoked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from finetuner_hub.server.database.models import Run, Token, User
from finetuner_hub.server.errors import NotAllowedError, NotLoggedInError, NotThereError
from finetuner_hub.server.scopes import FOR_ADMINS, Principal, Scope
from finetuner_hub.server.secrets import digest_token, new_token


@dataclass(frozen=True)
class Issued:
    """A token as it is given out, once: ``secret`` is kept nowhere."""

    id: int
    secret: str
    scope: Scope
    label: str
    expires: float


def issue(
    session: Session, user: User, scope: Scope, label: str, now: float, life: float
) -> Issued:
    """A token for ``user``, good for ``life`` seconds.

    ``NotAllowedError`` for a scope that is not theirs to have.
    """
    if scope is Scope.ATTEMPT:
        raise NotAllowedError("tokens with the scope 'attempt' come with a run that is taken")
    if scope in FOR_ADMINS and not user.admin:
        raise NotAllowedError(f"the scope {scope.value!r} is for administrators")
    return _issue(session, Token(user_id=user.id, scope=scope, label=label), now, life)


def issue_attempt(session: Session, run: Run, now: float, life: float) -> Issued:
    """The token of this attempt at ``run``."""
    label = f"attempt {run.attempt} at {run.name}"
    token = Token(
        user_id=run.owner_id, scope=Scope.ATTEMPT, label=label, run_id=run.id, attempt=run.attempt
    )
    return _issue(session, token, now, life)


def look_up(session: Session, secret: str, now: float) -> Principal:
    """Who is behind a token; ``NotLoggedInError`` for one that is unknown, over or locked out."""
    found = session.execute(
        select(Token, User)
        .join(User, User.id == Token.user_id)
        .where(Token.digest == digest_token(secret))
    ).one_or_none()
    if found is None or found[0].expires <= now or found[1].disabled:
        raise NotLoggedInError("this token is unknown, revoked or over: log in again")
    token, user = found
    return Principal(user.id, user.name, token.scope, token.id, token.run_id, token.attempt)


def of_user(session: Session, user_id: int, now: float) -> list[Token]:
    """A user's own tokens that are good, oldest first; not those of attempts."""
    return list(
        session.scalars(
            select(Token)
            .where(Token.user_id == user_id, Token.run_id.is_(None), Token.expires > now)
            .order_by(Token.id)
        )
    )


def revoke(session: Session, user_id: int, token_id: int) -> None:
    """Make a user's token good for nothing; ``NotThereError`` where they have no such."""
    mine = select(Token).where(
        Token.id == token_id, Token.user_id == user_id, Token.run_id.is_(None)
    )
    token = session.scalar(mine)
    if token is None:
        raise NotThereError("token", str(token_id))
    session.delete(token)


def revoke_attempts(session: Session, run_id: str) -> None:
    """From now on no worker writes to the run: not one that was thought dead either."""
    session.execute(delete(Token).where(Token.run_id == run_id))


def sweep(session: Session, now: float) -> None:
    """Remove tokens that are over."""
    session.execute(delete(Token).where(Token.expires <= now))


def _issue(session: Session, token: Token, now: float, life: float) -> Issued:
    secret = new_token()
    token.digest, token.created, token.expires = digest_token(secret), now, now + life
    session.add(token)
    session.flush()
    return Issued(token.id, secret, token.scope, token.label, token.expires)
