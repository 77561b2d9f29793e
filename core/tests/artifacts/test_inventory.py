"""Listing, verifying, tagging and comparing what is in a store."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import (
    Side,
    add_tag,
    collect_garbage,
    compare,
    cut_bundle,
    delete_ref,
    list_artifacts,
    parse_address,
    push,
    read_layout,
    read_listing,
    read_manifest,
    resolve_ref,
    verify_artifacts,
    write_manifest,
)
from finetuner.artifacts.keys import blob_key
from finetuner.contracts import Manifest, Store
from finetuner.errors import ArtifactError, NotFoundError

MakeBundle = Callable[..., Path]
NOISE = np.random.default_rng(0).bytes(2 << 20)


def test_a_listing_names_live_tags(store: Store, make_bundle: MakeBundle) -> None:
    push(make_bundle("a"), store, "shop")
    push(make_bundle("b", model=b"2"), store, "shop", "v2")
    push(make_bundle("c", model=b"3"), store, "art")
    push(make_bundle("d", model=b"4"), store, "shop")
    delete_ref(store, "art", "latest")
    found = list_artifacts(store)
    assert [(a.name, a.tag, a.number) for a in found] == [("shop", "latest", 2), ("shop", "v2", 1)]
    assert [a.artifact_id for a in found] == [None, None]
    assert [a.tag for a in list_artifacts(store, "shop")] == ["latest", "v2"]
    assert list_artifacts(store, "sho") == []


def test_a_listing_reads_no_object_unless_asked(
    store: Store, bundle: Path, faulty: type[Any]
) -> None:
    push(bundle, store, "shop")

    class Listed(faulty):  # type: ignore[misc]
        def get(self, *arguments: Any) -> Any:
            raise AssertionError("a listing was to be enough")

    assert len(list_artifacts(Listed(store))) == 1


def test_details_tell_what_it_is(store: Store, bundle: Path) -> None:
    artifact_id = push(bundle, store, "shop")
    (found,) = list_artifacts(store, details=True)
    assert found.artifact_id == artifact_id
    assert (found.kind, found.bytes) == ("model", len(b"model" + b"weights" + b"# shop\n"))
    assert found.metrics == {"before": {"recall@1": 0.5}, "after": {"recall@1": 0.75}}


def test_a_store_is_verified_and_shared_bytes_are_read_once(
    store: Store, make_bundle: MakeBundle
) -> None:
    push(make_bundle("a", weights=NOISE), store, "a")
    push(make_bundle("b", weights=NOISE, model=b"other"), store, "b")
    assert verify_artifacts(store) == len(NOISE) + len(b"model" + b"other" + b"# shop\n")


def test_one_artifact_is_verified(store: Store, make_bundle: MakeBundle) -> None:
    good = push(make_bundle("a"), store, "a")
    push(make_bundle("b", model=b"other"), store, "b")
    from hashlib import sha256

    store.put(blob_key(sha256(b"other").hexdigest()), io.BytesIO(b"otter"))
    verify_artifacts(store, parse_address(good))
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        verify_artifacts(store, parse_address(f"{store.url}/b"))


def test_another_tag_keeps_an_artifact(store: Store, bundle: Path) -> None:
    artifact_id = push(bundle, store, "shop")
    assert add_tag(store, parse_address(f"{store.url}/shop"), "v1") == artifact_id
    delete_ref(store, "shop", "latest")
    collect_garbage(store, now=True)
    verify_artifacts(store)
    assert artifact_id.endswith(resolve_ref(store, "shop", "v1"))
    with pytest.raises(NotFoundError, match="known: v1"):
        add_tag(store, parse_address(f"{store.url}/shop"), "v2")


def test_what_is_not_all_there_gets_no_tag(store: Store, bundle: Path) -> None:
    address = parse_address(push(bundle, store, "shop"))
    for info in list(store.list("blobs/"))[:1]:
        store.delete(info.key)
    with pytest.raises(NotFoundError):
        add_tag(store, address, "v1")
    assert [a.tag for a in list_artifacts(store)] == ["latest"]


def side(directory: Path) -> Side:
    manifest = read_manifest(directory)
    return Side(manifest, cut_bundle(directory, manifest.files))


def test_a_difference_is_told_by_plan_metrics_and_bytes(
    make_bundle: MakeBundle, manifest: Manifest
) -> None:
    old = make_bundle("a", weights=NOISE)
    new = make_bundle("b", weights=NOISE + b"tail", model=b"other")
    better = {"before": {"recall@1": 0.5}, "after": {"recall@1": 0.9}}
    write_manifest(new, dataclasses.replace(manifest, metrics=better))
    found = compare(side(old), side(new))
    assert [(c.what, c.before, c.after) for c in found.metrics] == [
        ("metrics.after.recall@1", 0.75, 0.9)
    ]
    assert found.plan == found.other == ()
    files = {file.path: file for file in found.files}
    assert set(files) == {"model.onnx", "weights.safetensors"}
    assert (files["model.onnx"].before, files["model.onnx"].shared) == (5, 0)
    assert files["weights.safetensors"].shared > len(NOISE) - (256 << 10) - 1
    total = len(NOISE) + len(b"model# shop\n")
    assert found.shared_bytes + found.only_before == total
    assert found.shared_bytes + found.only_after == total + len(b"tail")


def test_an_artifact_does_not_differ_from_itself(store: Store, make_bundle: MakeBundle) -> None:
    bundle = make_bundle("a", weights=NOISE)
    push(bundle, store, "shop")
    pushed = read_listing(store, parse_address(f"{store.url}/shop"))
    found = compare(side(bundle), Side(pushed, tuple(read_layout(store, pushed))))
    assert found.files == found.metrics == ()
    assert found.only_before == found.only_after == 0
