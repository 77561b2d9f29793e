"""Uploads: in one request, or in parts to one session of which the last makes the object.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from requests import Response

from finetuner_objectstore.failures import CloudError, Kind

_TRIES = 4
_PAUSE = 0.2
_INCOMPLETE = 308
_PASSING = (Kind.BUSY, Kind.UNREACHABLE)


class MultipartBody:
    """The body of an upload in one request: what the object is called, then ``file``."""

    def __init__(self, about: Mapping[str, str], file: BinaryIO, size: int) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/related; boundary={boundary}"
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(about)}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--".encode()
        self._sources = [io.BytesIO(head), file, io.BytesIO(tail)]
        self._size = len(head) + size + len(tail)

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        """The next bytes, ``count`` at most."""
        while self._sources:
            if block := self._sources[0].read(count):
                return block
            self._sources.pop(0)
        return b""


SendPart = Callable[[bytes, str], Response]
"""``send(data, content_range)``: one request of the session."""


def send_parts(send: SendPart, parts: Iterator[bytes]) -> None:
    """Send every part; if one cannot be sent, there is no object."""
    place, part = 0, next(parts, b"")
    while following := next(parts, b""):
        _send(send, part, place, last=False)
        place, part = place + len(part), following
    _send(send, part, place, last=True)


def _send(send: SendPart, part: bytes, place: int, last: bool) -> None:
    """Send until the server has all of the part; it takes no harm from what it has already."""
    end = place + len(part)
    for failures in range(1, _TRIES + 1):
        try:
            answer = send(part, f"bytes {place}-{end - 1}/{end if last else '*'}")
        except CloudError as error:
            if error.kind not in _PASSING or failures == _TRIES:
                raise
            time.sleep(_PAUSE * 2**failures)
            continue
        if answer.status_code != _INCOMPLETE:
            return
        kept = _kept(answer)
        if kept == end and not last:
            return
        if place < kept < end:
            part, place = part[kept - place :], kept
    raise CloudError(Kind.BUSY, "upload does not go on")


def _kept(answer: Response) -> int:
    """How many bytes of the session the server has."""
    last = answer.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0
