"""What the hub refuses, each with the HTTP status that it answers with."""

from __future__ import annotations

from typing import ClassVar

from finetuner.errors import FinetunerError


class HubError(FinetunerError):
    """Base of what the hub refuses; the message is sent to the client."""

    status: ClassVar[int] = 400

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {}


class NotLoggedInError(HubError):
    """There is no token, or one that is not good (any more)."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotAllowedError(HubError):
    """The token is good, but not for this."""

    status = 403


class NotThereError(HubError):
    """Nothing of that name, or nothing that the caller may know of: they read alike."""

    status = 404

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name!r}")


class ConflictingError(HubError):
    """How things stand does not allow it."""

    status = 409


class TooLargeError(HubError):
    """More than is taken."""

    status = 413


class UnusableError(HubError):
    """A value that cannot be used as given."""

    status = 422


class TooManyError(HubError):
    """Too often; ``retry_after`` seconds from now it is allowed again."""

    status = 429

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, round(self.retry_after)))}
