"""Conformance of a store: one object at a time."""

from __future__ import annotations

import time

import pytest

from finetuner.errors import ConflictError, NotFoundError, StoreError, UsageError
from finetuner.testing.store_case import (
    CREATE_IF_ABSENT,
    SERVER_CLOCK,
    StoreCase,
    StoreSuite,
    keys,
    needs,
    pattern,
    put,
    read,
)

ODD = (
    "a.b",
    "a..b",
    "A",
    "a",
    "_",
    "0",
    "x-1_2.3",
    "refs/shop/latest/00000001",
    "a" * 128,
    "/".join(["segment"] * 100),
)
"""Keys that some server or client is known to mangle."""

REFUSED = [
    *("", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp/x", "a\\b", "-a"),
    *("a\0", "a\n", "ä", "a b", "a+b", "a%2Fb", "a?b", "a#b", "a" * 129, "/".join(["a"] * 600)),
]


class ObjectTests(StoreSuite):
    """What is put is got, by its key, and nothing else is."""

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4_000], ids=len)
    def test_what_was_put_is_kept_and_got(self, case: StoreCase, data: bytes) -> None:
        put(case.store, "a/b", data)
        assert case.read_raw("a/b") == data
        assert read(case.store, "a/b") == data
        assert (case.store.stat("a/b").key, case.store.stat("a/b").size) == ("a/b", len(data))

    def test_another_client_sees_it_at_once(self, case: StoreCase) -> None:
        put(case.store, "a", b"first")
        assert read(case.reopen(), "a") == b"first"
        put(case.store, "a", b"second")
        assert read(case.reopen(), "a") == b"second"
        case.store.delete("a")
        assert keys(case.reopen()) == []

    def test_a_large_object_comes_back_whole(self, case: StoreCase) -> None:
        data = pattern(case.large)
        put(case.store, "large", data)
        assert case.store.stat("large").size == len(data)
        assert case.read_raw("large") == data
        assert read(case.store, "large") == data
        assert case.keys_raw() == {"large"}

    def test_a_large_object_is_read_in_small_pieces(self, case: StoreCase) -> None:
        data = pattern(case.large)
        put(case.store, "large", data)
        start, pieces = 1_000_003, []
        with case.store.get("large", start) as stream:
            while piece := stream.read(700_001):
                pieces.append(piece)
        assert b"".join(pieces) == data[start:]

    def test_a_stream_may_be_left_half_read(self, case: StoreCase) -> None:
        put(case.store, "large", pattern(case.large))
        with case.store.get("large") as stream:
            assert stream.read(10) == pattern(10)
        assert read(case.store, "large", 5, 10) == pattern(10)[5:]

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 5, b"34"),
            (0, 10, b"0123456789"),
            (3, 3, b""),
            (8, 100, b"89"),
            (10, None, b""),
            (50, 60, b""),
        ],
    )
    def test_ranges(self, case: StoreCase, start: int, end: int | None, expected: bytes) -> None:
        put(case.store, "a")
        assert read(case.store, "a", start, end) == expected

    @pytest.mark.parametrize(("start", "end"), [(0, None), (0, 0), (0, 5), (3, None)])
    def test_ranges_of_an_empty_object(self, case: StoreCase, start: int, end: int | None) -> None:
        put(case.store, "a", b"")
        assert read(case.store, "a", start, end) == b""

    @pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
    def test_ranges_that_cannot_be(self, case: StoreCase, start: int, end: int | None) -> None:
        put(case.store, "a")
        with pytest.raises(UsageError, match="range"):
            case.store.get("a", start, end)

    def test_ranges_across_the_parts_of_a_large_object(self, case: StoreCase) -> None:
        data = pattern(case.large)
        put(case.store, "large", data)
        for start in range(0, len(data), 5 << 20):
            end = start + (5 << 20) + 3
            assert (
                read(case.store, "large", max(0, start - 3), end) == data[max(0, start - 3) : end]
            )

    @pytest.mark.parametrize("call", ["get", "range", "nothing", "stat", "delete"])
    def test_nothing_there_is_one_error(self, case: StoreCase, call: str) -> None:
        put(case.store, "a/b")
        calls = {
            "get": case.store.get,
            "range": lambda key: case.store.get(key, 3, 5),
            "nothing": lambda key: case.store.get(key, 3, 3),
            "stat": case.store.stat,
            "delete": case.store.delete,
        }
        for key in ("missing", "a", "a/b/c", "a/missing"):
            with pytest.raises(NotFoundError, match=key):
                calls[call](key)

    def test_deleted_is_gone(self, case: StoreCase) -> None:
        for key in ("a", "b"):
            put(case.store, key)
        case.store.delete("a")
        assert case.read_raw("a") is None
        assert keys(case.store) == ["b"]
        with pytest.raises(NotFoundError):
            case.store.delete("a")
        put(case.store, "a", b"again")
        assert read(case.store, "a") == b"again"

    def test_deleted_may_be_created_again(self, case: StoreCase) -> None:
        needs(case, CREATE_IF_ABSENT)
        put(case.store, "a", b"1", if_absent=True)
        case.store.delete("a")
        put(case.store, "a", b"2", if_absent=True)
        assert case.read_raw("a") == b"2"

    def test_keys_are_kept_as_they_are(self, case: StoreCase) -> None:
        for key in ODD:
            put(case.store, key, key.encode())
        assert case.keys_raw() == set(ODD)
        for key in ODD:
            assert read(case.store, key) == key.encode()
        assert keys(case.store) == sorted(ODD)

    @pytest.mark.parametrize("key", REFUSED)
    def test_keys_that_could_escape_are_refused(self, case: StoreCase, key: str) -> None:
        for call in (
            lambda: put(case.store, key),
            lambda: put(case.store, key, if_absent=True),
            lambda: case.store.get(key),
            lambda: case.store.stat(key),
            lambda: case.store.delete(key),
        ):
            with pytest.raises(UsageError, match="not a key"):
                call()
        assert case.keys_raw() == set()

    def test_modified_is_when_it_was_written(self, case: StoreCase) -> None:
        put(case.store, "a")
        time.sleep(1.1)  # HTTP tells whole seconds
        put(case.store, "b")
        first, second = case.store.stat("a").modified, case.store.stat("b").modified
        assert 0 < second - first < 60
        assert [info.modified for info in case.store.list()] == pytest.approx(
            [first, second], abs=1
        )

    def test_this_machines_clock_is_not_asked(
        self, case: StoreCase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needs(case, SERVER_CLOCK)
        put(case.store, "a")
        real = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: real() + 1e6)
            patch.setattr(time, "time_ns", lambda: int((real() + 1e6) * 1e9))
            put(case.store, "b")
            apart = case.store.stat("b").modified - case.store.stat("a").modified
        assert abs(apart) < 600

    def test_a_bucket_that_is_not_there_is_no_missing_key(self, case: StoreCase) -> None:
        if case.missing is None:
            pytest.skip(f"{case.store.url} is made by the first put")
        store = case.missing()
        for call in (
            lambda: put(store, "a"),
            lambda: read(store, "a"),
            lambda: store.stat("a"),
            lambda: store.delete("a"),
            lambda: keys(store),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert not isinstance(caught.value, (NotFoundError, ConflictError))
            assert store.url in str(caught.value)
