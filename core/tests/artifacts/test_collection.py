"""What no tag needs goes; what a tag or a push needs stays."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import (
    LocalStore,
    collect_garbage,
    delete_ref,
    leases,
    pull,
    push,
    verify_artifacts,
    verify_bundle,
)
from finetuner.artifacts.keys import manifest_key
from finetuner.contracts import Store
from finetuner.errors import ArtifactError, NotFoundError

MakeBundle = Callable[..., Path]
NOISE = np.random.default_rng(0).bytes(3 << 20)


def content(store: Store) -> set[str]:
    return {info.key for info in store.list() if info.key != "probe"}


def test_everything_stays_that_a_tag_needs(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a", weights=NOISE), store, "shop")
    push(make_bundle("b", weights=NOISE + b"x", model=b"other"), store, "other", "v1")
    before = content(store)
    found = collect_garbage(store, now=True)
    assert content(store) == before
    assert (found.deleted, found.freed_bytes, found.artifacts) == (0, 0, 2)


def test_exactly_what_is_referenced_is_left(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a", weights=NOISE), store, "keep")
    expected = content(store)
    push(make_bundle("b", weights=NOISE[: 2 << 20], model=b"gone"), store, "drop")
    push(make_bundle("c", model=b"moved"), store, "keep", "v1")
    delete_ref(store, "drop", "latest")
    delete_ref(store, "keep", "v1")
    store.put("blobs/sha256/ab/abandoned", io.BytesIO(b"by a push that died"))
    collect_garbage(store, now=True)
    assert content(store) == expected
    verify_artifacts(store)


def test_a_tag_that_moved_keeps_its_last_number_only(
    store: Store, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    old = push(make_bundle("a", model=b"old"), store, "shop")
    push(make_bundle("b", model=b"new"), store, "shop")
    collect_garbage(store, now=True)
    assert [info.key for info in store.list("refs/")] == ["refs/shop/latest/00000002"]
    with pytest.raises(NotFoundError, match="never there or is deleted"):
        pull(old, tmp_path / "old", lambda url: store)
    assert push(make_bundle("c", model=b"third"), store, "shop")
    assert [info.key for info in store.list("refs/")][-1] == "refs/shop/latest/00000003"


def test_a_dry_run_deletes_nothing_and_counts(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a"), store, "shop")
    delete_ref(store, "shop", "latest")
    before = content(store)
    found = collect_garbage(store, now=True, dry_run=True)
    assert content(store) == before
    # Three files, the manifest, two numbers of the tag.
    assert found.deleted == 6
    assert found.artifacts == found.kept_bytes == 0


def test_what_a_killed_push_sent_stays_until_its_lease_runs_out(
    store: Store, bundle: Path, faulty: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if key.startswith("refs/"):
                raise KeyboardInterrupt
            super().put(key, stream, if_absent=if_absent)

    with pytest.raises(KeyboardInterrupt):
        push(bundle, Dies(store), "shop")
    before = content(store)
    collect_garbage(store)
    assert content(store) == before
    monkeypatch.setattr(leases, "SECONDS", 0.5)
    time.sleep(0.7)
    collect_garbage(store)
    assert content(store) == set()


def test_the_tag_of_a_push_under_way_is_left_alone(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a"), store, "shop")
    delete_ref(store, "shop", "latest")
    with leases.leased(store, "shop", "latest"):
        collect_garbage(store)
        assert len(list(store.list("refs/shop/latest/"))) == 2
    collect_garbage(store)
    assert list(store.list("refs/")) == []


@pytest.mark.parametrize("damage", ["missing", "newer"])
def test_a_manifest_that_cannot_be_read_stops_it(store: Store, bundle: Path, damage: str) -> None:
    digest = push(bundle, store, "shop").rpartition(":")[2]
    if damage == "missing":
        store.delete(manifest_key(digest))
    else:
        store.put(manifest_key(digest), io.BytesIO(b"{}"))
    store.put("blobs/sha256/ab/garbage", io.BytesIO(b"x"))
    before = content(store)
    with pytest.raises(ArtifactError, match=r"shop:latest cannot be read.*nothing was deleted"):
        collect_garbage(store, now=True)
    assert content(store) == before


def test_collections_beside_pushes_lose_nothing(
    store: Store, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(leases, "_POLL", 0.005)
    over, errors = threading.Event(), []
    bundles = [make_bundle(f"b{n}", weights=NOISE[: 1 << 20], model=b"m%d" % n) for n in range(6)]

    def collect() -> None:
        while not over.is_set():
            try:
                collect_garbage(store)
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for round_ in range(3):
            for number, bundle in enumerate(bundles):
                push(bundle, store, "shop", f"t{number % 2}")
                if number % 3 == 1:
                    delete_ref(store, "shop", f"t{number % 2}")
            verify_artifacts(store)
            last = pull(f"{store.url}/shop:t1", tmp_path / f"out{round_}", lambda url: store)
            verify_bundle(last)
    finally:
        over.set()
        thread.join()
    assert errors == []


def test_what_dead_writers_left_on_a_disk_goes_too(bundle: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    push(bundle, store, "shop")
    (store.root / ".tmp" / "123-dead").write_bytes(b"12345")
    assert collect_garbage(store).freed_bytes == 0  # it may be a writer's that is alive
    assert collect_garbage(store, now=True).freed_bytes >= 5
    assert list((store.root / ".tmp").iterdir()) == []
