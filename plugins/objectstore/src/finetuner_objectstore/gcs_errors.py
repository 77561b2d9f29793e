"""What an answer of Google Cloud Storage means."""

from __future__ import annotations

import re

from requests import Response

from finetuner_objectstore.failures import STATUSES, CloudError, Kind

_REASON = re.compile(r"\w{1,64}")


def check_answer(answer: Response, creating: bool) -> None:
    """Raise ``CloudError`` unless the answer is a good one."""
    status = answer.status_code
    if status < 300 or status == 308:
        return
    message, reason = _told(answer)
    label = f"{status} {reason}".strip()
    if status == 412:
        raise CloudError(Kind.EXISTS if creating else Kind.CHANGED, label)
    if status == 404 and "bucket" in message.lower():
        raise CloudError(Kind.NO_BUCKET, label)
    if status == 401 and "expired" in message.lower():
        raise CloudError(Kind.EXPIRED, label)
    if status == 403 and reason in ("rateLimitExceeded", "userRateLimitExceeded"):
        raise CloudError(Kind.BUSY, label)
    if status == 403 and reason == "quotaExceeded":
        raise CloudError(Kind.FULL, label)
    kind = Kind.BUSY if status >= 500 else Kind.UNKNOWN
    raise CloudError(STATUSES.get(status, kind), label)


def _told(answer: Response) -> tuple[str, str]:
    """Message and reason in the body, where it has them."""
    try:
        error = answer.json()["error"]
        message, reasons = str(error.get("message", "")), error.get("errors") or [{}]
        reason = str(reasons[0].get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return answer.text[:500], ""
    return message, reason if _REASON.fullmatch(reason) else ""
