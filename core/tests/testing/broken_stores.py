"""Stores that each break one rule, for the suite to find."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO

from finetuner.artifacts import MemoryStore
from finetuner.contracts import ObjectInfo
from finetuner.errors import NotFoundError, StoreError, TransientStoreError
from finetuner.testing import STREAMING, StoreCase


class Overwrites(MemoryStore):
    """Takes ``if_absent`` for a hint."""

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        super().put(key, stream)


class LooksThenWrites(MemoryStore):
    """Creates in two steps, between which another may come."""

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        if if_absent and key in self._objects:
            super().put(key, stream, if_absent=True)
        time.sleep(0.02)
        super().put(key, stream)


class KeepsHalf(MemoryStore):
    """Writes what came before the stream failed."""

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        read = bytearray()
        try:
            while block := stream.read(1 << 16):
                read += block
        except RuntimeError:
            super().put(key, io.BytesIO(bytes(read)), if_absent=if_absent)
            raise
        super().put(key, io.BytesIO(bytes(read)), if_absent=if_absent)


class WritesInPlace(MemoryStore):
    """Lets a reader see an object grow."""

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        data = stream.read()
        if not if_absent:
            super().put(key, io.BytesIO(data[: len(data) // 2]))
            time.sleep(0.005)
        super().put(key, io.BytesIO(data), if_absent=if_absent)


class ReadsAllAtOnce(MemoryStore):
    """Claims to stream and does not."""


class ForgetsTheEnd(MemoryStore):
    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        super().get(key, start, end)
        return super().get(key, start)


class HasItsOwnErrors(MemoryStore):
    """Two errors for one thing."""

    def stat(self, key: str) -> ObjectInfo:
        try:
            return super().stat(key)
        except NotFoundError as error:
            raise StoreError(str(error)) from None


class DeletesNothingGladly(MemoryStore):
    def delete(self, key: str) -> None:
        try:
            super().delete(key)
        except NotFoundError:
            return


class TakesAnyKey(MemoryStore):
    def stat(self, key: str) -> ObjectInfo:
        try:
            return super().stat(key)
        except ValueError:
            raise NotFoundError(f"there is nothing at {key}") from None


class ListsOnePage(MemoryStore):
    """Forgets to ask for what follows the first thousand."""

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return islice(super().list(prefix, after), 1000)


class ListsAsWritten(MemoryStore):
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        found = {info.key: info for info in super().list(prefix, after)}
        yield from (found[key] for key in list(self._objects) if key in found)


class ListsFolders(MemoryStore):
    """Takes a prefix for a folder."""

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        return super().list(folder, after)


class StartsAtAfter(MemoryStore):
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        yield from (info for info in super().list(prefix) if info.key >= after)


class AsksThisClock(MemoryStore):
    """Claims the store's clock and asks this machine's."""


class ListsOtherTimes(MemoryStore):
    """Tells one time of an object in a listing and another when asked for it alone."""

    def stat(self, key: str) -> ObjectInfo:
        info = super().stat(key)
        return replace(info, modified=info.modified // 1e6)


def claiming(case: StoreCase, *capabilities: str) -> StoreCase:
    """The case with more claimed than is so."""
    return replace(case, capabilities=case.capabilities | set(capabilities))


def claims(store: type, case: StoreCase) -> StoreCase:
    """What the broken store says of itself."""
    if store is ReadsAllAtOnce:
        return claiming(case, STREAMING)
    if store is AsksThisClock:
        return claiming(case, "server-clock")
    return case


def http_stores(sound: Any) -> dict[str, type]:
    """Stores behind HTTP that each break one rule, made from the ``sound`` one."""

    class TakesShortAnswers(sound):
        """Reads until there is no more, and looks no further."""

        def read(self, answer: http.client.HTTPResponse) -> bytes:
            try:
                return bytes(answer.read())
            except http.client.IncompleteRead as error:
                return error.partial

    class WaitsForever(sound):
        def __init__(self, endpoint: str, timeout: float | None = None) -> None:
            super().__init__(endpoint, timeout=600)

    class TakesFailureForAbsence(sound):
        def stat(self, key: str) -> ObjectInfo:
            try:
                found: ObjectInfo = super().stat(key)
            except NotFoundError:
                raise
            except StoreError as error:
                raise NotFoundError(str(error)) from None
            return found

    class LeaksItsLibrary(sound):
        def request(self, *arguments: Any) -> Any:
            try:
                return super().request(*arguments)
            except StoreError as error:
                if error.__cause__ is not None:
                    raise error.__cause__ from None
                raise

    class CallsEverythingFinal(sound):
        """Does not say what may be tried again."""

        def request(self, *arguments: Any) -> Any:
            try:
                return super().request(*arguments)
            except TransientStoreError as error:
                raise StoreError(str(error)) from None

    class TriesOnlyToCreate(sound):
        """Takes a failed creation for one that was made."""

        def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
            try:
                super().put(key, stream, if_absent=if_absent)
            except StoreError as error:
                if error.__cause__ is None:
                    raise

    broken = (
        TakesShortAnswers,
        WaitsForever,
        TakesFailureForAbsence,
        LeaksItsLibrary,
        CallsEverythingFinal,
        TriesOnlyToCreate,
    )
    return {kind.__name__: kind for kind in broken}
