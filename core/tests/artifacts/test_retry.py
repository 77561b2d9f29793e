"""What fails for the moment is tried again, from where it was; what fails for good is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from finetuner.artifacts import MemoryStore, RetryingStore, reliable
from finetuner.errors import ConflictError, NotFoundError, StoreError, TransientStoreError


class Flaky:
    """Fails as often as ``failures`` says before each kind of request succeeds."""

    def __init__(self, failures: int = 0, error: type[StoreError] = TransientStoreError) -> None:
        self.inner, self.url = MemoryStore("memory://flaky"), "memory://flaky"
        self.failures, self.left, self.error = failures, failures, error
        self.late = False
        """Whether a request that fails is carried out first."""

    def _try(self, request: Callable[[], Any]) -> Any:
        if self.left:
            self.left -= 1
            if self.late:
                request()
            raise self.error("the line broke")
        self.left = self.failures
        return request()

    def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
        self._try(lambda: self.inner.put(key, stream, if_absent=if_absent))

    def get(self, key: str, start: int = 0, end: int | None = None) -> Any:
        return Breaking(self, self._try(lambda: self.inner.get(key, start, end)))

    def stat(self, key: str) -> Any:
        return self._try(lambda: self.inner.stat(key))

    def list(self, prefix: str = "", after: str = "") -> Any:
        for number, info in enumerate(self.inner.list(prefix, after)):
            if number == 2 and self.left:
                self._try(lambda: None)
            yield info

    def delete(self, key: str) -> None:
        self._try(lambda: self.inner.delete(key))


class Breaking(io.RawIOBase):
    """Gives three bytes at a time, and breaks after the second time."""

    def __init__(self, store: Flaky, source: Any) -> None:
        self._store, self._source, self._reads = store, source, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._reads += 1
        if self._reads > 2 and self._store.left:
            self._store._try(lambda: None)
        block = self._source.read(min(3, len(buffer)))
        buffer[: len(block)] = block
        return len(block)


@pytest.fixture
def pauses() -> list[float]:
    return []


def retrying(flaky: Flaky, pauses: list[float]) -> RetryingStore:
    return RetryingStore(flaky, tries=4, sleep=pauses.append)


def test_every_request_is_tried_again(pauses: list[float]) -> None:
    flaky = Flaky(failures=3)
    store = retrying(flaky, pauses)
    stream = io.BytesIO(b"skipped0123456789")
    stream.seek(7)
    store.put("a", stream)
    assert flaky.inner.get("a").read() == b"0123456789"
    assert store.stat("a").size == 10
    with store.get("a", 2, 9) as found:
        assert found.read() == b"2345678"
    store.delete("a")
    assert list(flaky.inner.list()) == []


def test_pauses_grow_and_are_drawn_at_random(pauses: list[float]) -> None:
    retrying(Flaky(failures=3), pauses).put("a", io.BytesIO(b"1"))
    assert len(pauses) == 3
    for pause, longest in zip(pauses, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= pause <= longest


def test_it_ends_with_the_error_itself(pauses: list[float]) -> None:
    store = retrying(Flaky(failures=4), pauses)
    with pytest.raises(TransientStoreError, match="the line broke"):
        store.stat("a")
    assert len(pauses) == 3


@pytest.mark.parametrize("error", [StoreError, NotFoundError, ConflictError])
def test_other_errors_are_not_tried_again(pauses: list[float], error: type[StoreError]) -> None:
    store = retrying(Flaky(failures=1, error=error), pauses)
    with pytest.raises(error):
        store.put("a", io.BytesIO(b"1"))
    assert pauses == []


def test_a_stream_that_breaks_goes_on_where_it_was(pauses: list[float]) -> None:
    flaky = Flaky()
    flaky.inner.put("a", io.BytesIO(bytes(range(100))))
    store = retrying(flaky, pauses)
    with store.get("a", 10, 90) as found:
        flaky.left = 3
        assert found.read() == bytes(range(10, 90))
    assert pauses


def test_a_listing_goes_on_behind_its_last_key(pauses: list[float]) -> None:
    flaky = Flaky()
    for number in range(7):
        flaky.inner.put(f"k/{number}", io.BytesIO(b"x"))
    flaky.left = 3
    keys = [info.key for info in retrying(flaky, pauses).list("k/")]
    assert keys == [f"k/{number}" for number in range(7)]
    assert len(pauses) == 3


def test_a_stream_that_cannot_be_rewound_is_sent_once(pauses: list[float]) -> None:
    class Once(io.RawIOBase):
        def readable(self) -> bool:
            return True

    with pytest.raises(TransientStoreError):
        retrying(Flaky(failures=1), pauses).put("a", Once())  # type: ignore[arg-type]
    assert pauses == []


def test_deleted_after_all_is_deleted(pauses: list[float]) -> None:
    flaky = Flaky()
    flaky.inner.put("a", io.BytesIO(b"x"))
    flaky.left, flaky.late = 1, True
    retrying(flaky, pauses).delete("a")
    with pytest.raises(NotFoundError):
        retrying(flaky, pauses).delete("a")


def test_retries_are_not_stacked() -> None:
    store = reliable(MemoryStore())
    assert reliable(store) is store
