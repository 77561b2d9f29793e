"""A push and a collection always see one another."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest

from finetuner.artifacts import LocalStore, MemoryStore, leases
from finetuner.artifacts.leases import leased, live_leases, locked, other_locks
from finetuner.contracts import Store
from finetuner.errors import StoreError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_POLL", 0.01)


def age(store: LocalStore, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(store.root / key, (then, then))


def test_a_lease_names_its_digests_while_it_is_held(store: Store) -> None:
    with leased(store, "shop", "latest") as lease:
        lease.protect(["a"])
        lease.protect(["b", "c"])
        live, expired = live_leases(store, time.time())
        assert {digest for part in live for digest in part.digests} == {"a", "b", "c"}
        assert {(part.name, part.tag) for part in live} == {("shop", "latest")}
        assert expired == []
    assert list(store.list("leases/")) == []


def test_a_lease_is_given_up_after_an_error_and_left_after_an_interrupt(store: Store) -> None:
    with pytest.raises(StoreError), leased(store, "shop", "latest"):
        raise StoreError("no")
    assert list(store.list("leases/")) == []
    with pytest.raises(KeyboardInterrupt), leased(store, "shop", "latest"):
        raise KeyboardInterrupt
    assert len(list(store.list("leases/"))) == 1


def test_a_lease_runs_out_by_the_stores_clock(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with leased(store, "shop", "latest") as lease:
        lease.protect(["a"])
        keys = [info.key for info in store.list("leases/")]
        age(store, keys[0], leases.SECONDS + 1)
        assert live_leases(store, time.time())[1] == []  # one part is fresh, so all hold
        age(store, keys[1], leases.SECONDS + 1)
        assert live_leases(store, time.time()) == ([], keys)
        assert not lease.renew()
        assert len(live_leases(store, time.time())[0]) == 2


def test_a_lease_knows_that_it_ran_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with leased(store, "shop", "latest") as lease:
        assert not lease.renew()
        monkeypatch.setattr(leases, "SECONDS", 0.02)
        time.sleep(0.1)
        assert lease.renew()


def test_a_lease_is_renewed_in_the_background(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.15)
    with leased(store, "shop", "latest") as lease:
        first = next(store.list("leases/")).modified
        time.sleep(0.4)
        assert next(store.list("leases/")).modified > first + 0.1
        assert not lease.renew()


def test_a_push_waits_for_a_collection(store: Store, quick: None) -> None:
    protected = threading.Event()

    def push() -> None:
        with leased(store, "shop", "latest") as lease:
            lease.protect(["a"])
            protected.set()

    with locked(store):
        thread = threading.Thread(target=push)
        thread.start()
        assert not protected.wait(0.2)
        assert {d for part in live_leases(store, time.time())[0] for d in part.digests} == {"a"}
    assert protected.wait(10)
    thread.join()


def test_a_collection_that_died_is_not_waited_for_long(tmp_path: Path, quick: None) -> None:
    store = LocalStore(tmp_path)
    store.put("locks/dead", io.BytesIO(b"{}"))
    age(store, "locks/dead", leases.SECONDS + 1)
    with leased(store, "shop", "latest") as lease:
        lease.protect(["a"])
    assert other_locks(store, time.time(), leases.SECONDS) == ["locks/dead"]


def test_a_lock_is_gone_when_it_is_over(store: Store) -> None:
    with locked(store):
        assert len(list(store.list("locks/"))) == 1
    assert list(store.list("locks/")) == []


def test_a_collection_that_slept_too_long_must_not_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(store) as renew:
        renew()
        monkeypatch.setattr(leases, "SECONDS", 0.01)
        time.sleep(0.05)
        with pytest.raises(StoreError, match="begin it again"):
            renew()


def test_a_lease_that_cannot_be_read_stops_a_collection() -> None:
    store = MemoryStore()
    store.put("leases/new/00000000", io.BytesIO(b"\xff"))
    with pytest.raises(StoreError, match=r"leases/new/00000000.*upgrade"):
        live_leases(store, time.time())
