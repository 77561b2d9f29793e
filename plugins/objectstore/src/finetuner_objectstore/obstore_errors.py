"""What an error of obstore means, from its type, the status and the server's code in it."""

from __future__ import annotations

import re

from obstore.exceptions import (
    AlreadyExistsError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from finetuner_objectstore.failures import STATUSES, CloudError, Kind

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_SKEW = re.compile(r"not valid in the specified time frame", re.IGNORECASE)

_CODES = {
    "NoSuchBucket": Kind.NO_BUCKET,
    "ContainerNotFound": Kind.NO_BUCKET,
    "NoSuchKey": Kind.ABSENT,
    "BlobNotFound": Kind.ABSENT,
    "InvalidRange": Kind.RANGE,
    "SignatureDoesNotMatch": Kind.CREDENTIALS,
    "InvalidAccessKeyId": Kind.CREDENTIALS,
    "InvalidToken": Kind.CREDENTIALS,
    "InvalidSecurity": Kind.CREDENTIALS,
    "AuthenticationFailed": Kind.CREDENTIALS,
    "NoAuthenticationInformation": Kind.CREDENTIALS,
    "InvalidAuthenticationInfo": Kind.CREDENTIALS,
    "ExpiredToken": Kind.EXPIRED,
    "TokenRefreshRequired": Kind.EXPIRED,
    "RequestExpired": Kind.EXPIRED,
    "AccessDenied": Kind.DENIED,
    "AllAccessDisabled": Kind.DENIED,
    "RequestTimeTooSkewed": Kind.CLOCK,
    "PermanentRedirect": Kind.REGION,
    "AuthorizationHeaderMalformed": Kind.REGION,
    "IllegalLocationConstraintException": Kind.REGION,
    "QuotaExceeded": Kind.FULL,
    "InsufficientCapacity": Kind.FULL,
    "EntityTooLarge": Kind.FULL,
    "SlowDown": Kind.BUSY,
    "ServerBusy": Kind.BUSY,
    "OperationAborted": Kind.BUSY,
    "ConditionalRequestConflict": Kind.BUSY,
    "RequestTimeout": Kind.BUSY,
}

_STATUSES = {301: Kind.REGION, 307: Kind.REGION, **STATUSES}

_TYPES = {
    PermissionDeniedError: Kind.DENIED,
    UnauthenticatedError: Kind.CREDENTIALS,
    NotFoundError: Kind.ABSENT,
    FileNotFoundError: Kind.ABSENT,
}

_WORDS = {"without LOCATION": Kind.REGION, "Wanted range starting at": Kind.RANGE}

_NETWORK = ("HTTP error", "error sending request", "error decoding", "error reading a body")


def cloud_error(error: BaseException, creating: bool) -> CloudError:
    """The kind of ``error``, with the server's code and no other word of its message."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    number = int(status[1]) if status else 0
    label = " ".join(part for part in (str(number or ""), code[1] if code else "") if part)
    return CloudError(_kind(error, text, code[1] if code else "", number, creating), label)


def _kind(error: BaseException, text: str, code: str, status: int, creating: bool) -> Kind:
    if isinstance(error, AlreadyExistsError) or (creating and status == 412):
        return Kind.EXISTS
    if isinstance(error, PreconditionError) or status == 412:
        return Kind.CHANGED
    if code == "AuthenticationFailed" and _SKEW.search(text):
        return Kind.EXPIRED
    if code in _CODES:
        return _CODES[code]
    for words, meaning in _WORDS.items():
        if words in text:
            return meaning
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:
        return Kind.BUSY
    for kind, meaning in _TYPES.items():
        if isinstance(error, kind):
            return meaning
    return Kind.UNREACHABLE if any(word in text for word in _NETWORK) else Kind.UNKNOWN
