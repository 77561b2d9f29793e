"""What is pushed comes back the same, and nothing half-done is ever seen."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from finetuner.artifacts import (
    Limits,
    LocalStore,
    local_store,
    pull,
    pull_cached,
    push,
    read_manifest,
    resolve_ref,
    verify_bundle,
    write_manifest,
)
from finetuner.artifacts.keys import blob_key, manifest_key
from finetuner.contracts import Manifest, Store
from finetuner.errors import (
    ArtifactError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UsageError,
)

Snapshot = Callable[[Path], dict[str, bytes]]


def opener(store: Any) -> Callable[[str], Store]:
    def open_it(url: str) -> Store:
        assert url == store.url
        return store

    return open_it


def digest_of(bundle: Path) -> str:
    return sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_the_id_is_the_manifests_digest(store: Store, bundle: Path) -> None:
    assert push(bundle, store, "shop") == f"{store.url}/shop@sha256:{digest_of(bundle)}"


def test_the_store_holds_blobs_a_manifest_and_a_ref(store: Store, bundle: Path) -> None:
    push(bundle, store, "shop", "v1")
    digests = [sha256(data).hexdigest() for data in (b"model", b"weights", b"# shop\n")]
    expected = {blob_key(digest) for digest in digests}
    expected |= {manifest_key(digest_of(bundle)), "refs/shop/v1/00000001", "probe"}
    assert {info.key for info in store.list()} == expected


@pytest.mark.parametrize("form", ["{url}/shop", "{url}/shop:latest", "{id}"])
def test_what_was_pushed_is_pulled(
    store: Store, bundle: Path, tmp_path: Path, snapshot: Snapshot, form: str
) -> None:
    artifact_id = push(bundle, store, "shop")
    address = form.format(url=store.url, id=artifact_id)
    target = pull(address, tmp_path / "deep" / "pulled", opener(store))
    assert target == tmp_path / "deep" / "pulled"
    assert snapshot(target) == snapshot(bundle)
    assert verify_bundle(target) == read_manifest(bundle)
    assert [path.name for path in target.parent.iterdir()] == ["pulled"]


def test_a_digest_keeps_its_meaning_when_the_tag_moves(
    store: Store, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    first = push(make_bundle("a", model=b"first"), store, "shop")
    push(make_bundle("b", model=b"second"), store, "shop")
    old = pull(first, tmp_path / "old", opener(store))
    new = pull(f"{store.url}/shop", tmp_path / "new", opener(store))
    assert (old / "model.onnx").read_bytes() == b"first"
    assert (new / "model.onnx").read_bytes() == b"second"


def test_what_the_store_has_is_not_sent_again(
    store: Store, make_bundle: Callable[..., Path], faulty: type[Any]
) -> None:
    push(make_bundle("a", model=b"first"), store, "shop")
    watched = faulty(store)
    second = make_bundle("b", model=b"second")
    push(second, watched, "shop")
    assert watched.content() == [
        blob_key(sha256(b"second").hexdigest()),
        manifest_key(digest_of(second)),
        "refs/shop/latest/00000002",
    ]
    watched.puts.clear()
    push(second, watched, "shop", "v2")
    assert watched.content() == ["refs/shop/v2/00000001"]


def test_the_ref_is_made_last(store: Store, bundle: Path, faulty: type[Any]) -> None:
    watched = faulty(store)
    push(bundle, watched, "shop")
    assert watched.puts[-1] == "refs/shop/latest/00000001"
    assert watched.content()[-2].startswith("manifests/")


def test_a_torn_blob_of_another_size_is_sent_again(store: Store, bundle: Path) -> None:
    key = blob_key(sha256(b"model").hexdigest())
    store.put(key, io.BytesIO(b"mod"))
    push(bundle, store, "shop")
    assert store.get(key).read() == b"model"


@pytest.mark.parametrize("failing", range(4))
def test_an_interrupted_push_leaves_the_old_ref(
    store: Store,
    make_bundle: Callable[..., Path],
    faulty: type[Any],
    tmp_path: Path,
    failing: int,
) -> None:
    class Dies(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if len(self.content()) == failing and not key.startswith(("leases/", "probe")):
                raise KeyboardInterrupt
            super().put(key, stream, if_absent=if_absent)

    old = make_bundle("old")
    push(old, store, "shop")
    new = make_bundle("new", model=b"new model", weights=b"new weights")
    with pytest.raises(KeyboardInterrupt):
        push(new, Dies(store), "shop")
    assert resolve_ref(store, "shop", "latest") == digest_of(old)
    verify_bundle(pull(f"{store.url}/shop", tmp_path / "pulled", opener(store)))
    push(new, store, "shop")
    assert resolve_ref(store, "shop", "latest") == digest_of(new)


WRITES = 7  # two parts of the lease, two files, the manifest, the lease again, the ref


@pytest.mark.parametrize("writes_before", range(WRITES + 1))
def test_a_full_disk_while_pushing_leaves_the_old_ref(
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes_before: int,
) -> None:
    store = LocalStore(tmp_path / "store")
    old = make_bundle("old", b"old model", b"old weights")
    push(old, store, "shop")
    # Each object syncs its file and its directory; the probe, which is there, its file alone.
    left, fsync = [2 * writes_before + 1], os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    new = make_bundle("new", b"new model", b"new weights")
    monkeypatch.setattr(local_store.os, "fsync", full)
    if writes_before == WRITES:
        push(new, store, "shop")
    else:
        with pytest.raises(StoreError, match=r"No space left on device.*make room"):
            push(new, store, "shop")
        assert resolve_ref(store, "shop", "latest") == digest_of(old)
    monkeypatch.setattr(local_store.os, "fsync", fsync)
    assert not list((store.root / ".tmp").iterdir())
    verify_bundle(pull(f"{store.url}/shop", tmp_path / "pulled", opener(store)))


def test_a_changed_byte_is_not_pushed(store: Store, bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"modem")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        push(bundle, store, "shop")
    with pytest.raises(NotFoundError):
        resolve_ref(store, "shop", "latest")
    with pytest.raises(NotFoundError):
        store.stat(blob_key(sha256(b"model").hexdigest()))


def test_a_bundle_with_a_file_too_many_is_not_pushed(store: Store, bundle: Path) -> None:
    (bundle / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactError, match=r"weights\.pkl"):
        push(bundle, store, "shop")
    assert list(store.list()) == []


@pytest.mark.parametrize(("name", "tag"), [("a/b", "latest"), ("..", "x"), ("shop", "")])
def test_names_are_checked_before_anything_is_sent(
    store: Store, bundle: Path, name: str, tag: str
) -> None:
    with pytest.raises(UsageError):
        push(bundle, store, name, tag)
    assert list(store.list()) == []


def test_a_changed_byte_in_the_store_is_not_pulled(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    push(bundle, store, "shop")
    store.put(blob_key(sha256(b"weights").hexdigest()), io.BytesIO(b"weightz"))
    with pytest.raises(IntegrityError) as caught:
        pull(f"{store.url}/shop", tmp_path / "out" / "pulled", opener(store))
    assert "weights.safetensors" in str(caught.value)
    assert sha256(b"weights").hexdigest() in str(caught.value)
    assert sha256(b"weightz").hexdigest() in str(caught.value)
    assert "delete it from the store and push the bundle again" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    store.delete(blob_key(sha256(b"weights").hexdigest()))
    push(bundle, store, "shop")
    assert pull(f"{store.url}/shop", tmp_path / "out" / "pulled", opener(store)).is_dir()


@pytest.mark.parametrize("data", [b"weight", b"weights and more", b""])
def test_a_store_that_lies_about_sizes_is_caught(
    store: Store, bundle: Path, tmp_path: Path, data: bytes
) -> None:
    push(bundle, store, "shop")
    store.put(blob_key(sha256(b"weights").hexdigest()), io.BytesIO(data))
    with pytest.raises(IntegrityError, match="bytes where 7 were expected"):
        pull(f"{store.url}/shop", tmp_path / "pulled", opener(store))
    assert not (tmp_path / "pulled").exists()


def test_a_changed_manifest_is_not_pulled(store: Store, bundle: Path, tmp_path: Path) -> None:
    push(bundle, store, "shop")
    key = manifest_key(digest_of(bundle))
    store.put(key, io.BytesIO(store.get(key).read().replace(b"0.75", b"0.99")))
    with pytest.raises(IntegrityError, match="was changed"):
        pull(f"{store.url}/shop", tmp_path / "pulled", opener(store))


def plant(store: Store, bundle: Path, **fields: Any) -> str:
    """An artifact with a right digest whose manifest somebody else wrote."""
    raw = json.loads((bundle / "manifest.json").read_bytes()) | fields
    data = json.dumps(raw).encode()
    digest = sha256(data).hexdigest()
    store.put(manifest_key(digest), io.BytesIO(data))
    for content in (b"model", b"weights", b"# shop\n"):
        store.put(blob_key(sha256(content).hexdigest()), io.BytesIO(content))
    return f"{store.url}/shop@sha256:{digest}"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("../../escaped.txt", "plain relative path"),
        ("/tmp/escaped.txt", "plain relative path"),
        ("weights.pkl", "not of a kind"),
    ],
)
def test_an_unsafe_artifact_writes_nothing(
    store: Store, bundle: Path, tmp_path: Path, path: str, problem: str
) -> None:
    entry = {"path": path, "size": 5, "sha256": sha256(b"model").hexdigest()}
    address = plant(store, bundle, files=[entry])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match=problem):
        pull(address, tmp_path / "out" / "pulled", opener(store))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_newer_schema_says_to_upgrade(store: Store, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"schema version 2.*upgrade"):
        pull(plant(store, bundle, schema_version=2), tmp_path / "pulled", opener(store))


def test_a_file_as_a_directory_of_another_is_refused(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    model = {"size": 5, "sha256": sha256(b"model").hexdigest()}
    files = [{"path": "a.txt", **model}, {"path": "a.txt/b.txt", **model}]
    with pytest.raises(ArtifactError):
        pull(plant(store, bundle, files=files), tmp_path / "out" / "pulled", opener(store))
    assert list((tmp_path / "out").iterdir()) == []


def test_limits_hold_before_anything_is_written(store: Store, bundle: Path, tmp_path: Path) -> None:
    address = push(bundle, store, "shop")
    for limits in (Limits(files=2), Limits(total_bytes=10), Limits(manifest_bytes=10)):
        with pytest.raises(ArtifactError, match=r"limit|more than"):
            pull(address, tmp_path / "pulled", opener(store), limits)
    assert not (tmp_path / "pulled").exists()


def test_an_artifact_that_is_not_there(store: Store, bundle: Path, tmp_path: Path) -> None:
    push(bundle, store, "shop")
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        pull(f"{store.url}/shpo", tmp_path / "pulled", opener(store))
    with pytest.raises(NotFoundError, match="never there or is deleted"):
        pull(f"{store.url}/shop@sha256:{'0' * 64}", tmp_path / "pulled", opener(store))
    store.delete(blob_key(sha256(b"model").hexdigest()))
    with pytest.raises(ArtifactError, match=r"model\.onnx.*is missing: push"):
        pull(f"{store.url}/shop", tmp_path / "pulled", opener(store))
    assert not (tmp_path / "pulled").exists()


def test_pulling_again_finds_it_there(store: Store, bundle: Path, tmp_path: Path) -> None:
    address = push(bundle, store, "shop")
    target = pull(address, tmp_path / "pulled", opener(store))
    store.delete(blob_key(sha256(b"model").hexdigest()))
    assert pull(address, target, opener(store)) == target
    (target / "model.onnx").write_bytes(b"modem")
    with pytest.raises(IntegrityError):
        pull(address, target, opener(store))


def test_a_directory_in_use_is_not_touched(
    store: Store, make_bundle: Callable[..., Path], tmp_path: Path, snapshot: Snapshot
) -> None:
    address = push(make_bundle("a"), store, "shop")
    other = make_bundle("b", model=b"other")
    before = snapshot(other)
    with pytest.raises(UsageError, match="name another directory"):
        pull(address, other, opener(store))
    assert snapshot(other) == before
    (tmp_path / "empty").mkdir()
    verify_bundle(pull(address, tmp_path / "empty", opener(store)))


def test_a_full_disk_while_pulling_leaves_nothing(
    store: Store, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetuner.artifacts import downloads

    address = push(bundle, store, "shop")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        pull(address, tmp_path / "out" / "pulled", opener(store))
    assert list((tmp_path / "out").iterdir()) == []


def test_pulled_files_are_not_executable(store: Store, bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").chmod(0o755)
    target = pull(push(bundle, store, "shop"), tmp_path / "pulled", opener(store))
    assert all(path.stat().st_mode & 0o111 == 0 for path in target.iterdir())


def test_the_cache_is_by_digest_and_works_without_the_store(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    address = push(bundle, store, "shop")
    cached = pull_cached(f"{store.url}/shop", tmp_path / "cache", opener(store))
    assert cached == tmp_path / "cache" / digest_of(bundle)
    verify_bundle(cached)

    def offline(url: str) -> Store:
        raise StoreError("no network")

    assert pull_cached(address, tmp_path / "cache", offline) == cached
    with pytest.raises(StoreError, match="no network"):
        pull_cached(f"{store.url}/shop", tmp_path / "cache", offline)


@pytest.mark.parametrize("damage", ["changed", "missing", "other", "foreign"])
def test_a_damaged_cache_heals(
    store: Store, bundle: Path, manifest: Manifest, tmp_path: Path, damage: str
) -> None:
    address = push(bundle, store, "shop")
    cached = pull_cached(address, tmp_path / "cache", opener(store))
    if damage == "changed":
        (cached / "model.onnx").write_bytes(b"modem")
    elif damage == "missing":
        (cached / "manifest.json").unlink()
    elif damage == "other":
        write_manifest(cached, dataclasses.replace(manifest, name="other"))
    else:
        (cached / "extra.txt").write_text("x")
    assert pull_cached(address, tmp_path / "cache", opener(store)) == cached
    verify_bundle(cached)
    assert digest_of(cached) == digest_of(bundle)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cached.name]


def test_somebody_elses_pull_of_the_same_artifact_is_taken(
    store: Store, bundle: Path, tmp_path: Path, faulty: type[Any]
) -> None:
    address = push(bundle, store, "shop")
    target = tmp_path / "cache" / digest_of(bundle)

    class Raced(faulty):  # type: ignore[misc]
        def get(self, key: str, start: int = 0, end: int | None = None) -> Any:
            if not target.exists():
                pull(address, target, opener(store))
            return store.get(key, start, end)

    assert pull_cached(address, tmp_path / "cache", opener(Raced(store))) == target
    verify_bundle(target)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [target.name]
