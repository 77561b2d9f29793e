"""A manifest is written and read back as it was, and nothing else is read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.artifacts import Limits
from finetuner.artifacts.manifest import SUFFIXES, check_path, decode_manifest, encode_manifest
from finetuner.contracts import (
    AdaptationPlan,
    FileEntry,
    FreezeDecision,
    InputSpec,
    Manifest,
    PlannedLayer,
    PoolingChoice,
    Preprocessing,
    Reason,
    RunSpec,
    Step,
    Tap,
)
from finetuner.errors import ArtifactError

SHA = "0" * 64


def change(manifest: Manifest, **fields: Any) -> bytes:
    """The manifest's JSON with top-level fields replaced."""
    return json.dumps(json.loads(encode_manifest(manifest)) | fields).encode()


def entry(path: str, size: Any = 1, sha256: str = SHA) -> dict[str, Any]:
    return {"path": path, "size": size, "sha256": sha256}


def test_a_full_manifest_survives_json(manifest: Manifest) -> None:
    plan = AdaptationPlan(
        framework="torch",
        model="Net",
        inputs=("image",),
        output="0",
        head=("fc",),
        taps=(Tap("pool"),),
        features=None,
        pooling=PoolingChoice("gem", {"p": 3.0}),
        width=8,
        output_dim=4,
        normalize=True,
        freeze=FreezeDecision("first:0.5", ("conv",)),
        layers=(PlannedLayer("fc", "dense", (1, 10), 90, "head"),),
        reasons=(Reason("fc", "dense before softmax"),),
    )
    full = dataclasses.replace(
        manifest,
        plan=plan,
        run=RunSpec("shop", "net", "data.csv", callbacks=("early-stopping",)),
        files=(FileEntry("model.onnx", 3, SHA),),
        parity={"largest_difference": 1e-7},
        versions={"numpy": "2.0"},
    )
    assert decode_manifest(encode_manifest(full)) == full


names = st.text(min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
specs = st.builds(
    InputSpec,
    names,
    st.sampled_from(["float32", "int64"]),
    st.lists(st.none() | st.integers(1, 512), min_size=1, max_size=4).map(tuple),
)
steps = st.builds(Step, names, st.dictionaries(names, finite | names | st.booleans(), max_size=2))


@given(
    manifest=st.builds(
        Manifest,
        name=names,
        preprocessing=st.builds(
            Preprocessing,
            st.sampled_from(["text", "image", "array"]),
            st.lists(specs, max_size=3).map(tuple),
            st.lists(steps, max_size=3).map(tuple),
            max_length=st.none() | st.integers(1, 512),
        ),
        width=st.integers(1, 4096),
        files=st.just(()),
        metrics=st.dictionaries(names, st.dictionaries(names, finite, max_size=3), max_size=2),
    )
)
def test_any_manifest_survives_json(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_a_metric_that_is_not_finite_is_named(manifest: Manifest) -> None:
    broken = dataclasses.replace(manifest, metrics={"after": {"map@r": float("nan")}})
    with pytest.raises(ArtifactError, match=r"map@r.*after"):
        encode_manifest(broken)


def test_a_newer_schema_says_to_upgrade(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match=r"schema version 2.*up to 1.*upgrade"):
        decode_manifest(change(manifest, schema_version=2, anything="new"))


@pytest.mark.parametrize("version", [None, 0, -1, "1", 1.5, True])
def test_no_schema_version_is_no_manifest(manifest: Manifest, version: Any) -> None:
    with pytest.raises(ArtifactError, match="no schema version"):
        decode_manifest(change(manifest, schema_version=version))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_named(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"here/manifest\.json"):
        decode_manifest(data, "here/manifest.json")


@pytest.mark.parametrize("data", [b"[]", b"null", b"{}", b'"text"'])
def test_json_of_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="not a finetuner manifest"):
        decode_manifest(data)


def test_a_field_of_the_wrong_type_is_named(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match="width"):
        decode_manifest(change(manifest, width="wide"))


def test_unknown_fields_that_could_change_the_vectors_are_refused(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match=r"'rotation'.*upgrade"):
        decode_manifest(change(manifest, rotation=[1, 2]))
    raw = json.loads(encode_manifest(manifest))["preprocessing"]
    raw["inputs"][0]["scale"] = 2
    with pytest.raises(ArtifactError, match=r"'preprocessing\.inputs\.scale'"):
        decode_manifest(change(manifest, preprocessing=raw))


def test_unknown_fields_of_the_run_are_passed_over(manifest: Manifest) -> None:
    run = {"name": "a", "model": "m", "train_data": "d", "invented_later": 1}
    decoded = decode_manifest(change(manifest, run=run))
    assert decoded.run == RunSpec("a", "m", "d")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd.txt",
        "../weights.safetensors",
        "a/../../b.txt",
        "a/./b.txt",
        "a//b.txt",
        "..",
        "",
        "./model.onnx",
        "a\\b.txt",
        "..\\b.txt",
        "C:/model.onnx",
        "C:model.onnx",
        "model.onnx/",
        ".hidden.txt",
        "dir/.hidden.txt",
        "with space.txt",
        "new\nline.txt",
        "nul\0.txt",
        "a" * 300 + ".txt",
    ],
)
def test_a_path_that_leaves_the_bundle_is_refused(manifest: Manifest, path: str) -> None:
    with pytest.raises(ArtifactError, match="not a plain relative path"):
        decode_manifest(change(manifest, files=[entry(path)]))


@pytest.mark.parametrize(
    "name",
    [
        "weights.pkl",
        "weights.pickle",
        "weights.pt",
        "weights.pth",
        "pytorch_model.bin",
        "model.joblib",
        "array.npy",
        "arrays.npz",
        "model.h5",
        "code.py",
        "run.sh",
        "library.so",
        "weights",
        "model.onnx.PKL",
    ],
)
def test_pickles_and_code_are_refused(manifest: Manifest, name: str) -> None:
    with pytest.raises(ArtifactError, match="not of a kind that a bundle may hold"):
        decode_manifest(change(manifest, files=[entry(name)]))


segments = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,10}", fullmatch=True)


@given(st.lists(segments, min_size=1, max_size=4), st.sampled_from(sorted(SUFFIXES)))
def test_plain_paths_with_allowed_suffixes_pass(parts: list[str], suffix: str) -> None:
    check_path("/".join(parts) + suffix, "here")


@pytest.mark.parametrize(
    "files",
    [
        [entry("a.txt"), entry("a.txt")],
        [entry("a.txt"), entry("A.TXT")],
        [entry("manifest.json")],
    ],
)
def test_a_file_is_listed_once(manifest: Manifest, files: list[Any]) -> None:
    with pytest.raises(ArtifactError, match="twice"):
        decode_manifest(change(manifest, files=files))


@pytest.mark.parametrize(
    "bad", [entry("a.txt", -1), entry("a.txt", sha256="abc"), entry("a.txt", sha256="G" * 64)]
)
def test_a_malformed_entry_is_refused(manifest: Manifest, bad: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"a\.txt"):
        decode_manifest(change(manifest, files=[bad]))


def test_limits_hold(manifest: Manifest) -> None:
    two = change(manifest, files=[entry("a.txt", 6), entry("b.txt", 6)])
    assert len(decode_manifest(two).files) == 2
    with pytest.raises(ArtifactError, match="2 files, the limit is 1"):
        decode_manifest(two, limits=Limits(files=1))
    with pytest.raises(ArtifactError, match="12 bytes, the limit is 10"):
        decode_manifest(two, limits=Limits(total_bytes=10))
    with pytest.raises(ArtifactError, match="more than 100 bytes"):
        decode_manifest(two, limits=Limits(manifest_bytes=100))
