"""Passwords and tokens: made, hashed and compared."""

from __future__ import annotations

import hashlib
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

TOKEN_PREFIX = "fth_"
"""How every token begins, so that scanners for leaked secrets can know one."""

AT_ONCE = 4
"""Passwords that are hashed at the same time: each takes 64 MiB."""

_USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words appear, and no digits that look like letters (RFC 8628, 6.1)."""


def new_token() -> str:
    """A token with 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_password() -> str:
    """A password with 128 random bits."""
    return secrets.token_urlsafe(16)


def new_user_code() -> str:
    """Eight letters that a person types, as ``BCDF-GHJK``: 34 random bits."""
    letters = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def digest_token(token: str) -> str:
    """Hex sha256 of a token: what is kept of it. It is random, so that no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


class Passwords:
    """Hashes and compares passwords with argon2id (RFC 9106)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash(new_password())
        self._turn = threading.BoundedSemaphore(AT_ONCE)

    def hash(self, password: str) -> str:
        """What is kept of a password."""
        with self._turn:
            return self._hasher.hash(password)

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether ``password`` was the one that ``kept`` was made of.

        Without ``kept`` it takes as long, so that time does not tell who has an account.
        """
        try:
            with self._turn:
                return self._hasher.verify(kept or self._nobody, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False
