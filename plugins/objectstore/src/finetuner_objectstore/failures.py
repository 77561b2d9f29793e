"""What can go wrong in a cloud, by kind, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from finetuner.errors import ConflictError, NotFoundError, StoreError, TransientStoreError
from finetuner_objectstore.place import Place


class Kind(Enum):
    """Why a cloud did not do what it was asked."""

    ABSENT = "there is nothing"
    NO_BUCKET = "the bucket is not there"
    EXISTS = "there is something already"
    CHANGED = "it was replaced while it was read"
    CREDENTIALS = "the credentials are not accepted"
    EXPIRED = "the credentials were good once"
    DENIED = "the credentials are good and not enough"
    CLOCK = "this machine's clock and the server's disagree"
    REGION = "the bucket is in another region"
    RANGE = "the object ends before the range begins"
    FULL = "there is no room"
    BUSY = "the server failed or wants fewer requests"
    UNREACHABLE = "no server answers, or it stopped halfway"
    UNKNOWN = "something else"


STATUSES = {
    401: Kind.CREDENTIALS,
    403: Kind.DENIED,
    404: Kind.ABSENT,
    408: Kind.BUSY,
    416: Kind.RANGE,
    429: Kind.BUSY,
    507: Kind.FULL,
}
"""What a status of HTTP says by itself, in every cloud."""


class CloudError(Exception):
    """A cloud's refusal. ``code`` is the server's word or status for it, never its message.

    Messages of servers repeat keys, signatures and signed URLs; codes do not.
    """

    def __init__(self, kind: Kind, code: str = "") -> None:
        super().__init__(kind, code)
        self.kind, self.code = kind, code


@dataclass(frozen=True)
class Words:
    """How one cloud calls things, and what a user does about them."""

    server: str
    """Who was asked: an endpoint or the cloud's name."""
    bucket: str
    make_bucket: str
    credentials: str
    """How to look at the credentials that are used."""
    renew: str
    permissions: str
    region: str = "set the region of the bucket"


def explain(error: CloudError, place: Place, key: str, words: Words) -> StoreError:
    """Core's error for a cloud's: what was found, where, and what to do."""
    where = f"{place.url}/{key}" if key else place.url
    if error.kind is Kind.ABSENT:
        return NotFoundError(f"there is nothing at {where}")
    if error.kind is Kind.EXISTS:
        return ConflictError(f"{where} is already there")
    code = f" ({error.code})" if error.code else ""
    if error.kind in (Kind.BUSY, Kind.UNREACHABLE, Kind.CHANGED):
        return TransientStoreError(f"{where}: {_transient(error.kind, words)}{code}")
    return StoreError(f"{where}: {_lasting(error.kind, place, words)}{code}")


def _transient(kind: Kind, words: Words) -> str:
    if kind is Kind.BUSY:
        return f"{words.server} could not do it for now: try again"
    if kind is Kind.CHANGED:
        return "it was replaced while it was read: read it again"
    return (
        f"{words.server} did not answer, or broke off: check the network and the endpoint, "
        "then try again"
    )


def _lasting(kind: Kind, place: Place, words: Words) -> str:
    told = {
        Kind.NO_BUCKET: f"{words.server} has no {words.bucket} {place.bucket!r}: mend the URL, "
        f"or make it with {words.make_bucket}",
        Kind.CREDENTIALS: f"{words.server} does not accept the credentials: {words.credentials}",
        Kind.EXPIRED: f"the credentials have expired: {words.renew}",
        Kind.DENIED: f"the credentials do not permit this: {words.permissions}",
        Kind.CLOCK: "this machine's clock is too far from the server's: set it and try again",
        Kind.REGION: f"the {words.bucket} is in another region: {words.region}",
        Kind.FULL: f"{words.server} has no room left: make room or raise the quota; "
        "what was there is as it was",
        Kind.RANGE: "the object ends before the range begins",
    }
    return told.get(kind, f"{words.server} refused")
