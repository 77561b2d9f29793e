"""What every store does, tried on both of core's."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.artifacts import MemoryStore
from finetuner.contracts import Store
from finetuner.errors import ConflictError, NotFoundError, UsageError


def put(store: Store, key: str, data: bytes = b"0123456789", **options: bool) -> None:
    store.put(key, io.BytesIO(data), **options)


def read(store: Store, key: str, start: int = 0, end: int | None = None) -> bytes:
    with store.get(key, start, end) as stream:
        return stream.read()


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 10_000])
def test_what_was_put_is_got(store: Store, data: bytes) -> None:
    put(store, "a/b", data)
    assert read(store, "a/b") == data
    assert store.stat("a/b").size == len(data)
    assert store.stat("a/b").key == "a/b"


def test_putting_again_replaces(store: Store) -> None:
    put(store, "a", b"old and longer")
    put(store, "a", b"new")
    assert read(store, "a") == b"new"


def test_modified_is_the_time_of_writing(store: Store) -> None:
    before = time.time()
    put(store, "a")
    assert before - 1 <= store.stat("a").modified <= time.time() + 1


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 5, b"34"),
        (3, 3, b""),
        (8, 100, b"89"),
        (10, None, b""),
        (50, 60, b""),
    ],
)
def test_ranges(store: Store, start: int, end: int | None, expected: bytes) -> None:
    put(store, "a")
    assert read(store, "a", start, end) == expected


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, -1)])
def test_ranges_that_cannot_be(store: Store, start: int, end: int | None) -> None:
    put(store, "a")
    with pytest.raises(UsageError, match="range"):
        store.get("a", start, end)


def test_if_absent_keeps_what_is_there(store: Store) -> None:
    put(store, "a", b"first", if_absent=True)
    with pytest.raises(ConflictError, match="already there"):
        put(store, "a", b"second", if_absent=True)
    assert read(store, "a") == b"first"


def test_of_many_writers_one_wins(store: Store) -> None:
    barrier, won = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            put(store, "a", str(number).encode() * 1000, if_absent=True)
            won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert read(store, "a") == str(won[0]).encode() * 1000


def test_nothing_there_is_one_error(store: Store) -> None:
    put(store, "a/b")
    for key in ("missing", "a", "a/b/c", "a/missing"):
        with pytest.raises(NotFoundError, match=key):
            store.get(key)
        with pytest.raises(NotFoundError, match=key):
            store.stat(key)
        with pytest.raises(NotFoundError, match=key):
            store.delete(key)


def test_deleted_is_gone(store: Store) -> None:
    put(store, "a")
    store.delete("a")
    assert list(store.list()) == []
    put(store, "a", if_absent=True)


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list()) == []
    assert list(store.list("refs/")) == []


KEYS = ["a", "a.b", "a/b", "a/b-c", "a/b.c", "a0", "b/c/d", "b/c/e", "b/cc"]


def test_a_listing_is_sorted_by_key(store: Store) -> None:
    for key in reversed([key for key in KEYS if key != "a"]):
        put(store, key, key.encode())
    infos = list(store.list())
    assert [info.key for info in infos] == sorted(key for key in KEYS if key != "a")
    assert [info.size for info in infos] == [len(info.key) for info in infos]


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b.", "b/", "b/c", "b/c/", "x"])
@pytest.mark.parametrize("after", ["", "a", "a/", "a/b", "a/c", "b", "b/c/d", "b/c/zz", "z"])
def test_prefix_and_after_filter_by_the_whole_key(store: Store, prefix: str, after: str) -> None:
    keys = [key for key in KEYS if key != "a"]
    for key in keys:
        put(store, key)
    expected = sorted(key for key in keys if key.startswith(prefix) and key > after)
    assert [info.key for info in store.list(prefix, after)] == expected


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp/x", "a\\b", "a\0", "a\n"]
    + ["ä", "a b", "a" * 200, "/".join(["a"] * 600)],
)
def test_keys_that_could_escape_are_refused(store: Store, key: str) -> None:
    for call in (put, read, lambda store, key: store.stat(key), lambda s, k: s.delete(k)):
        with pytest.raises(UsageError, match="not a key"):
            call(store, key)
    assert list(store.list()) == []


def test_a_failing_stream_writes_nothing(store: Store) -> None:
    class Broken(io.RawIOBase):
        sent = False

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            if self.sent:
                raise RuntimeError("lost the source")
            self.sent = True
            buffer[:4] = b"some"
            return 4

    put(store, "a", b"old")
    with pytest.raises(RuntimeError, match="lost the source"):
        store.put("a", Broken())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        store.put("b", Broken(), if_absent=True)  # type: ignore[arg-type]
    assert [info.key for info in store.list()] == ["a"]
    assert read(store, "a") == b"old"


segments = st.sampled_from(["a", "b", "a.b", "a-b", "a0", "_"])
keys = st.lists(segments, min_size=1, max_size=3).map("/".join)


@given(st.sets(keys, max_size=8), st.text("ab./-0", max_size=4), st.text("ab./-0", max_size=4))
def test_listing_of_the_memory_store(found: set[str], prefix: str, after: str) -> None:
    store = MemoryStore()
    for key in found:
        put(store, key)
    expected = sorted(key for key in found if key.startswith(prefix) and key > after)
    assert [info.key for info in store.list(prefix, after)] == expected
