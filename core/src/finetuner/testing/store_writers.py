"""Conformance of a store: writers that fail, replace and compete."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from functools import partial

import pytest

from finetuner.errors import ConflictError, TransientStoreError
from finetuner.testing.store_case import (
    CREATE_IF_ABSENT,
    STREAMING,
    StoreCase,
    StoreSuite,
    needs,
    pattern,
    put,
    read,
    together,
)

WRITERS = 8


class _Lost(io.RawIOBase):
    """A source that gives ``size`` bytes and then fails."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._left:
            raise RuntimeError("lost the source")
        count = min(len(buffer), self._left)
        buffer[:count] = bytes(count)
        self._left -= count
        return count


class _Measured(io.RawIOBase):
    """``size`` zeros; remembers how much was asked for at once."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left, self.largest = size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self.largest = max(self.largest, len(buffer))
        count = min(len(buffer), self._left)
        buffer[:count] = bytes(count)
        self._left -= count
        return count

    def readall(self) -> bytes:
        raise AssertionError("the whole stream was asked for at once")


class WriterTests(StoreSuite):
    """An object is there whole or not at all, and of many creators one wins."""

    @pytest.mark.parametrize("if_absent", [False, True])
    @pytest.mark.parametrize("parts", ["small", "large"])
    def test_a_failing_stream_writes_nothing(
        self, case: StoreCase, parts: str, if_absent: bool
    ) -> None:
        size = case.large if parts == "large" else 4
        put(case.store, "old", b"old")
        with pytest.raises(RuntimeError, match="lost the source"):
            case.store.put("new", _Lost(size), if_absent=if_absent)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="lost the source"):
            case.store.put("old", _Lost(size))  # type: ignore[arg-type]
        assert case.keys_raw() == {"old"}
        assert case.read_raw("old") == b"old"

    def test_a_long_stream_is_not_held_in_memory(self, case: StoreCase) -> None:
        needs(case, STREAMING)
        stream = _Measured(4 * case.large)
        case.store.put("long", stream)  # type: ignore[arg-type]
        assert stream.largest <= case.large
        assert case.store.stat("long").size == 4 * case.large

    def test_putting_again_replaces(self, case: StoreCase) -> None:
        put(case.store, "a", b"old and longer")
        put(case.store, "a", b"new")
        assert case.read_raw("a") == read(case.store, "a") == b"new"
        assert case.store.stat("a").size == 3

    def test_a_reader_sees_the_old_object_or_the_new(self, case: StoreCase) -> None:
        old, new = b"a" * 300_000, b"b" * 200_000
        put(case.store, "a", old)
        done = threading.Event()

        def write() -> set[bytes]:
            try:
                for data in [new, old] * 8:
                    with suppress(TransientStoreError):
                        put(case.store, "a", data)
            finally:
                done.set()
            return set()

        def look() -> set[bytes]:
            seen: set[bytes] = set()
            while not done.is_set() or not seen:
                with suppress(TransientStoreError):  # a busy server may say so
                    seen.add(read(case.reopen(), "a"))
            return seen

        for found in together([write, look, look]):
            assert isinstance(found, set), found
            assert found <= {old, new}

    def test_many_threads_use_one_store(self, case: StoreCase) -> None:
        def use(number: int) -> bytes:
            put(case.store, f"t/{number}", pattern(100_000, number))
            return read(case.store, f"t/{number}", 10)

        results = together([partial(use, number) for number in range(WRITERS)])
        assert results == [pattern(100_000, number)[10:] for number in range(WRITERS)]

    def test_if_absent_keeps_what_is_there(self, case: StoreCase) -> None:
        needs(case, CREATE_IF_ABSENT)
        put(case.store, "a", b"first", if_absent=True)
        for store in (case.store, case.reopen()):
            with pytest.raises(ConflictError, match="a is already there"):
                put(store, "a", b"second", if_absent=True)
        put(case.store, "b", b"plain")
        with pytest.raises(ConflictError):
            put(case.store, "b", b"second", if_absent=True)
        assert (case.read_raw("a"), case.read_raw("b")) == (b"first", b"plain")

    def test_if_absent_keeps_what_is_there_from_a_large_object(self, case: StoreCase) -> None:
        needs(case, CREATE_IF_ABSENT)
        data = pattern(case.large)
        put(case.store, "a", data, if_absent=True)
        with pytest.raises(ConflictError, match="a is already there"):
            put(case.store, "a", bytes(case.large), if_absent=True)
        assert case.read_raw("a") == data
        assert case.keys_raw() == {"a"}

    @pytest.mark.parametrize("size", ["empty", "small", "large"])
    def test_of_many_creators_one_wins(self, case: StoreCase, size: str) -> None:
        needs(case, CREATE_IF_ABSENT)
        length = {"empty": 0, "small": 1_000, "large": case.large}[size]
        writers = WRITERS if size != "large" else 3
        datas = [pattern(length, number) for number in range(writers)]
        stores = [case.reopen() if number % 2 else case.store for number in range(writers)]
        results = together(
            [
                partial(put, store, "a", data, if_absent=True)
                for store, data in zip(stores, datas, strict=True)
            ]
        )
        won = [number for number, result in enumerate(results) if result is None]
        assert len(won) == 1, results
        lost = [result for result in results if result is not None]
        assert all(isinstance(result, ConflictError | TransientStoreError) for result in lost), lost
        assert case.read_raw("a") == datas[won[0]]
        assert case.keys_raw() == {"a"}
