"""Conformance of a store behind HTTP: what it does when the network does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from finetuner.contracts import Store
from finetuner.errors import ConflictError, StoreError, TransientStoreError
from finetuner.testing.fault_proxy import Fault, FaultProxy
from finetuner.testing.store_case import (
    CREATE_IF_ABSENT,
    StoreCase,
    StoreSuite,
    keys,
    needs,
    pattern,
    put,
    read,
)

HOUR = 3600.0
CALLS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: put(store, "a", b"new"),
    "create": lambda store: put(store, "fresh", b"new", if_absent=True),
    "get": lambda store: read(store, "a"),
    "stat": lambda store: store.stat("a"),
    "list": lambda store: keys(store),
    "delete": lambda store: store.delete("a"),
}


def writes(method: str, path: str) -> bool:
    """Whether a request carries an object's bytes."""
    return method in ("PUT", "POST")


def reads(method: str, path: str) -> bool:
    """Whether a request asks for bytes."""
    return method == "GET"


class FaultTests(StoreSuite):
    """A fault of the network is a ``TransientStoreError`` in time, or nothing a caller sees."""

    @pytest.fixture
    def proxy(self, case: StoreCase) -> Iterator[FaultProxy]:
        if case.open_at is None:
            pytest.skip(f"{case.store.url} is not behind HTTP")
        put(case.store, "a", b"old")
        with FaultProxy(case.endpoint) as proxy:
            yield proxy

    @pytest.fixture
    def store(self, case: StoreCase, proxy: FaultProxy) -> Store:
        """The store through the proxy, with the object ``a`` in it."""
        assert case.open_at is not None
        return case.open_at(proxy.endpoint)

    def test_a_proxy_that_does_nothing_is_not_seen(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        data = pattern(case.large)
        put(store, "large", data)
        assert read(store, "large") == data
        assert [info.key for info in store.list()] == ["a", "large"]
        assert proxy.requests

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_passing_failure_is_got_over_or_told(
        self, case: StoreCase, proxy: FaultProxy, store: Store, call: str, status: int
    ) -> None:
        if call == "create":
            needs(case, CREATE_IF_ABSENT)
        fault = proxy.inject(Fault("answer", times=1, status=status))
        try:
            CALLS[call](store)
        except TransientStoreError:
            assert case.read_raw("a") == b"old"
            CALLS[call](store)
        assert fault.done == 1

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("harm", ["answer", "refuse", "stall"])
    def test_a_server_that_stays_broken_is_told_in_time(
        self, case: StoreCase, proxy: FaultProxy, store: Store, call: str, harm: str
    ) -> None:
        if call == "create":
            needs(case, CREATE_IF_ABSENT)
        proxy.inject(Fault(harm, seconds=case.patience + 1))  # type: ignore[arg-type]
        self._fails_in_time(case, lambda: CALLS[call](store), store)
        assert case.read_raw("a") == b"old"
        assert case.read_raw("fresh") is None

    def test_a_server_that_is_not_there_is_told_in_time(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        proxy.__exit__()
        for call in CALLS.values():
            self._fails_in_time(case, lambda call=call: call(store), store)  # type: ignore[misc]

    @pytest.mark.parametrize("size", ["small", "large"])
    def test_a_torn_write_leaves_the_old_object(
        self, case: StoreCase, proxy: FaultProxy, store: Store, size: str
    ) -> None:
        data = pattern(case.large if size == "large" else 100_000)
        fault = proxy.inject(Fault("tear-request", writes))
        self._fails_in_time(case, lambda: put(store, "a", data), store)
        assert fault.done
        assert case.read_raw("a") == b"old"

    def test_a_large_object_of_which_a_part_fails_is_not_there(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        data, begun = pattern(case.large), []

        def later(method: str, path: str) -> bool:
            if writes(method, path):
                begun.append(path)
            return writes(method, path) and len(begun) > 2

        fault = proxy.inject(Fault("answer", later))
        try:
            put(store, "large", data)
        except TransientStoreError:
            assert case.read_raw("large") is None
        else:
            assert not fault.done
        proxy.heal()
        put(store, "large", data)
        assert case.read_raw("large") == data

    def test_a_put_whose_answer_is_lost_is_whole(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        proxy.inject(Fault("lose-answer", writes, times=1))
        try:
            put(store, "a", b"new")
        except StoreError:
            assert case.read_raw("a") in (b"old", b"new")
        else:
            assert case.read_raw("a") == b"new"

    def test_a_creation_whose_answer_is_lost_is_made_once(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        needs(case, CREATE_IF_ABSENT)
        proxy.inject(Fault("lose-answer", writes, times=1))
        try:
            put(store, "fresh", b"mine", if_absent=True)
        except StoreError:  # whoever asks reads back and compares
            assert case.read_raw("fresh") == b"mine"
        proxy.heal()
        with pytest.raises(ConflictError):
            put(store, "fresh", b"another's", if_absent=True)
        assert case.read_raw("fresh") == b"mine"

    @pytest.mark.parametrize("times", [1, 1 << 30], ids=["once", "always"])
    @pytest.mark.parametrize("size", ["small", "large"])
    def test_a_torn_answer_is_never_short_data(
        self, case: StoreCase, proxy: FaultProxy, store: Store, size: str, times: int
    ) -> None:
        data = pattern(case.large if size == "large" else 100_000)
        put(case.store, "a", data)
        fault = proxy.inject(Fault("tear-answer", reads, times=times))
        if times > 1:
            self._fails_in_time(case, lambda: read(store, "a"), store)
        else:
            try:
                assert read(store, "a") == data
            except StoreError:
                assert read(store, "a") == data
        assert fault.done

    def test_a_torn_listing_is_never_a_short_one(
        self, case: StoreCase, proxy: FaultProxy, store: Store
    ) -> None:
        put(case.store, "b")
        proxy.inject(Fault("tear-answer", reads))
        self._fails_in_time(case, lambda: keys(store), store)

    @pytest.mark.parametrize("seconds", [-HOUR, HOUR])
    def test_a_server_whose_clock_is_wrong_is_used_all_the_same(
        self, case: StoreCase, proxy: FaultProxy, store: Store, seconds: float
    ) -> None:
        proxy.inject(Fault("skew", seconds=seconds))
        put(store, "b", b"new")
        assert read(store, "b") == b"new"
        first, second = store.stat("a").modified, store.stat("b").modified
        assert abs(second - first) < HOUR / 2
        store.delete("b")

    @staticmethod
    def _fails_in_time(case: StoreCase, call: Callable[[], object], store: Store) -> None:
        begin = time.monotonic()
        with pytest.raises(TransientStoreError) as caught:
            call()
        assert time.monotonic() - begin < case.patience
        assert store.url in str(caught.value)
