"""Pushes and pulls that are stopped anywhere: nothing half-done is seen, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import (
    Count,
    LocalStore,
    MemoryStore,
    collect_garbage,
    pull,
    push,
    resolve_ref,
    retry,
    uploads,
    verify_artifacts,
    verify_bundle,
)
from finetuner.artifacts.chunking import cut_stream, encode_chunks
from finetuner.artifacts.digests import digest_bytes
from finetuner.artifacts.keys import blob_key, chunks_key
from finetuner.contracts import Store
from finetuner.errors import ArtifactError, IntegrityError, NotFoundError, TransientStoreError

MakeBundle = Callable[..., Path]
MIB = 1 << 20
NOISE = np.random.default_rng(0).bytes(4 * MIB)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)


@pytest.fixture
def cut_off(faulty: type[Any]) -> type[Any]:
    """A store that fails at the ``after``-th blob, as ``error``."""

    class CutOff(faulty):  # type: ignore[misc]
        def __init__(self, inner: Any, after: int, error: BaseException) -> None:
            super().__init__(inner)
            self._left, self._error, self._guard = after, error, threading.Lock()

        def _count(self, key: str) -> None:
            if key.startswith("blobs/"):
                with self._guard:
                    self._left -= 1
                    if self._left < 0:
                        raise self._error

        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            self._count(key)
            super().put(key, stream, if_absent=if_absent)

        def get(self, key: str, start: int = 0, end: int | None = None) -> Any:
            self._count(key)
            return self._inner.get(key, start, end)

    return CutOff


BROKEN = (KeyboardInterrupt(), TransientStoreError("the line broke"))


@pytest.mark.parametrize("error", BROKEN, ids=["killed", "line broke"])
def test_a_push_goes_on_where_it_was(
    store: Store, make_bundle: MakeBundle, cut_off: type[Any], error: BaseException
) -> None:
    bundle = make_bundle("a", weights=NOISE)
    with pytest.raises(type(error)):
        push(bundle, cut_off(store, 20, error), "shop")
    there = sum(info.size for info in store.list("blobs/"))
    assert there > MIB
    count = Count()
    push(bundle, store, "shop", watcher=count)
    assert count.found >= there
    assert count.found + count.moved == count.size
    verify_artifacts(store)


@pytest.mark.parametrize("error", BROKEN, ids=["killed", "line broke"])
def test_a_pull_goes_on_where_it_was(
    store: Store, make_bundle: MakeBundle, cut_off: type[Any], tmp_path: Path, error: BaseException
) -> None:
    address = push(make_bundle("a", weights=NOISE), store, "shop")
    target = tmp_path / "out" / "pulled"
    with pytest.raises(type(error)):
        pull(address, target, lambda url: cut_off(store, 25, error))
    assert not target.exists()
    count = Count()
    pull(address, target, lambda url: store, watcher=count)
    assert count.found > MIB
    assert count.found + count.moved == count.size
    verify_bundle(target)
    assert [path.name for path in target.parent.iterdir()] == ["pulled"]


def test_what_a_killed_pull_left_is_not_trusted(
    store: Store, make_bundle: MakeBundle, cut_off: type[Any], tmp_path: Path
) -> None:
    address = push(make_bundle("a", weights=NOISE), store, "shop")
    target = tmp_path / "out" / "pulled"
    with pytest.raises(KeyboardInterrupt):
        pull(address, target, lambda url: cut_off(store, 25, KeyboardInterrupt()))
    (partial,) = (path for path in target.parent.iterdir() if path.is_dir())
    weights = partial / "weights.safetensors"
    weights.write_bytes(b"evil" * (weights.stat().st_size // 4) + b"and longer")
    (partial / "extra.py").write_text("print()")
    verify_bundle(pull(address, target, lambda url: store))
    assert not (target / "extra.py").exists()


def test_a_link_in_what_a_pull_left_is_not_followed(
    store: Store, make_bundle: MakeBundle, cut_off: type[Any], tmp_path: Path
) -> None:
    address = push(make_bundle("a", weights=NOISE), store, "shop")
    target, victim = tmp_path / "out" / "pulled", tmp_path / "victim"
    victim.write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        pull(address, target, lambda url: cut_off(store, 25, KeyboardInterrupt()))
    (partial,) = (path for path in target.parent.iterdir() if path.is_dir())
    (partial / "model.onnx").unlink(missing_ok=True)
    (partial / "model.onnx").symlink_to(victim)
    verify_bundle(pull(address, target, lambda url: store))
    assert victim.read_text() == "mine"


def test_two_pulls_of_one_artifact_share_the_work(
    store: Store, make_bundle: MakeBundle, faulty: type[Any], tmp_path: Path
) -> None:
    address = push(make_bundle("a", weights=NOISE), store, "shop")
    got: list[str] = []

    class Watched(faulty):  # type: ignore[misc]
        def get(self, key: str, start: int = 0, end: int | None = None) -> Any:
            got.append(key)
            return self._inner.get(key, start, end)

    target = tmp_path / "pulled"
    threads = [
        threading.Thread(target=pull, args=(address, target, lambda url: Watched(store)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verify_bundle(target)
    blobs = [key for key in got if key.startswith("blobs/")]
    assert len(blobs) == len(set(blobs))


def test_a_wrong_chunk_is_not_pulled(make_bundle: MakeBundle, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    address = push(make_bundle("a", weights=NOISE), store, "shop")
    largest = max(store.list("blobs/"), key=lambda info: info.size)
    path = store.root / largest.key
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"weights\.safetensors.*push the bundle again"):
        pull(address, tmp_path / "out" / "pulled", lambda url: store)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(IntegrityError, match=r"weights\.safetensors"):
        verify_artifacts(store)


def test_a_list_of_other_chunks_is_found_out(
    store: Store, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    import io
    from hashlib import sha256

    address = push(make_bundle("a", weights=NOISE), store, "shop")
    other = NOISE[::-1]
    push(make_bundle("b", weights=other), store, "other")
    theirs = store.get(chunks_key(sha256(other).hexdigest())).read()
    key = chunks_key(sha256(NOISE).hexdigest())
    store.put(key, io.BytesIO(theirs))
    with pytest.raises(IntegrityError, match="though every chunk is as its list says"):
        pull(address, tmp_path / "pulled", lambda url: store)
    store.put(key, io.BytesIO(b"no list"))
    with pytest.raises(ArtifactError, match="no list of chunks"):
        pull(address, tmp_path / "pulled", lambda url: store)
    push(tmp_path / "a", store, "shop")  # which writes the list anew
    verify_bundle(pull(address, tmp_path / "pulled", lambda url: store))


def test_a_file_that_is_also_a_chunk_of_another_is_verified_by_itself(
    store: Store, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    import io

    forged = NOISE[::-1]
    pieces = tuple(piece for piece, _ in cut_stream(io.BytesIO(forged), len(forged)))
    place = pieces[1]
    chunk = forged[place.offset : place.offset + place.size]
    wanted = b"w" * place.size
    address = push(make_bundle("a", model=wanted, weights=forged), store, "shop")
    # The list says that the forged file has the other file's bytes there, and they are forged.
    sha256 = digest_bytes(wanted)
    named = (*pieces[:1], replace(place, sha256=sha256), *pieces[2:])
    store.put(chunks_key(digest_bytes(forged)), io.BytesIO(encode_chunks(named)))
    store.put(blob_key(sha256), io.BytesIO(chunk))
    with pytest.raises(IntegrityError, match=sha256):
        pull(address, tmp_path / "pulled", lambda url: store)


@pytest.mark.parametrize(("known", "asked"), [(True, 0), (False, 1)])
def test_chunks_are_not_asked_for_where_a_listing_tells(
    store: Store,
    make_bundle: MakeBundle,
    faulty: type[Any],
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
    asked: int,
) -> None:
    monkeypatch.setattr(uploads, "_MANY", 0 if known else 1000)
    monkeypatch.setattr(uploads, "_LISTED_AT_ONCE", 1000)
    monkeypatch.setattr(uploads, "MAX_CHUNK", MIB)
    looked: list[str] = []

    class Watched(faulty):  # type: ignore[misc]
        def stat(self, key: str) -> Any:
            looked.append(key)
            return self._inner.stat(key)

    push(make_bundle("a", model=b"a", weights=NOISE[: 2 * MIB]), store, "shop")
    count, watched = Count(), Watched(store)
    push(make_bundle("b", model=b"b", weights=NOISE), watched, "shop", watcher=count)
    verify_artifacts(store)
    assert count.found > 1.5 * MIB
    new = {key for key in watched.puts if key.startswith("blobs/")}
    assert {looked.count(key) for key in new} == {asked}


def test_a_second_fine_tuning_sends_what_is_new(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a", model=NOISE, weights=b"head" + NOISE[: 3 * MIB]), store, "run-1")
    count = Count()
    head = np.random.default_rng(9).bytes(1000)
    bundle = make_bundle("b", model=NOISE[: 2 * MIB] + head + NOISE[2 * MIB :], weights=b"new")
    push(bundle, store, "run-2", watcher=count)
    assert count.moved <= 0.15 * count.size


def killed(work: Callable[[], object], patience: float) -> None:
    """Run ``work`` in a process and kill it after so many seconds."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(patience)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def kill_many(make_bundle: MakeBundle, tmp_path: Path, times: int) -> None:
    store, draw = LocalStore(tmp_path / "store"), random.Random(times)
    bundles = [
        make_bundle(f"b{n}", weights=NOISE[: 2 * MIB] + np.random.default_rng(n).bytes(2 * MIB))
        for n in range(4)
    ]
    push(bundles[0], store, "shop")
    for number in range(times):
        if number % 2:
            target = tmp_path / "out" / f"p{number // 4}"
            fetch = partial(pull, f"{store.url}/shop", target, lambda url: store)
            killed(fetch, draw.random() / 8)
            if target.exists():
                verify_bundle(target)
        else:
            bundle = bundles[draw.randrange(4)]
            killed(partial(push, bundle, store, "shop", force=True), draw.random() / 4)
        verify_artifacts(store)
    push(bundles[3], store, "shop")
    collect_garbage(store, now=True)
    clean = LocalStore(tmp_path / "clean")
    push(bundles[3], clean, "shop")
    kept = [
        {info.key: info.size for info in s.list() if not info.key.startswith("refs/")}
        for s in (store, clean)
    ]
    assert kept[0] == kept[1]
    assert list((store.root / ".tmp").iterdir()) == []


def test_some_kills(make_bundle: MakeBundle, tmp_path: Path) -> None:
    kill_many(make_bundle, tmp_path, 6)


@pytest.mark.slow
def test_a_hundred_kills(make_bundle: MakeBundle, tmp_path: Path) -> None:
    kill_many(make_bundle, tmp_path, 100)


def test_of_two_pushes_to_one_tag_one_wins_and_the_other_is_told(
    store: Store, make_bundle: MakeBundle, faulty: type[Any]
) -> None:
    from finetuner.errors import ConflictError

    theirs = make_bundle("theirs", model=b"theirs")

    class Overtaken(faulty):  # type: ignore[misc]
        done = False

        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if key.startswith("manifests/") and not self.done:
                type(self).done = True
                push(theirs, store, "shop")
            super().put(key, stream, if_absent=if_absent)

    ours = make_bundle("ours", model=b"ours")
    with pytest.raises(ConflictError, match=r"shop:latest was moved by somebody else") as caught:
        push(ours, Overtaken(store), "shop")
    their_digest = resolve_ref(store, "shop", "latest")
    assert their_digest in str(caught.value)
    ours_id = push(ours, store, "shop", "mine")
    assert ours_id.rpartition(":")[2] in str(caught.value)
    Overtaken.done = False
    push(ours, Overtaken(store), "shop", force=True)
    assert resolve_ref(store, "shop", "latest") == ours_id.rpartition(":")[2]


def test_the_same_push_twice_at_once_is_no_conflict(
    store: Store, bundle: Path, faulty: type[Any]
) -> None:
    class Overtaken(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if key.startswith("manifests/"):
                push(bundle, store, "shop")
            super().put(key, stream, if_absent=if_absent)

    assert push(bundle, Overtaken(store), "shop") == push(bundle, store, "shop")


def test_what_is_deleted_under_a_push_is_sent_again(
    make_bundle: MakeBundle, faulty: type[Any]
) -> None:
    store = MemoryStore("memory://deleting")
    push(make_bundle("a", weights=b"shared"), store, "old")

    class Deleting(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if key.startswith("manifests/"):
                for info in list(store.list("blobs/")):
                    store.delete(info.key)
            super().put(key, stream, if_absent=if_absent)

    bundle = make_bundle("b", weights=b"shared", model=b"unlike")
    push(bundle, Deleting(store), "new")
    with pytest.raises(ArtifactError):
        verify_artifacts(store)  # of "old", what was deleted is gone
    store.delete("refs/old/latest/00000001")
    skipped = {info.key for info in store.list("blobs/")}
    assert len(skipped) >= 2
    with pytest.raises(NotFoundError):
        resolve_ref(store, "old", "latest")
