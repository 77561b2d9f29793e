"""Contents in, vectors out: the same as worked out by hand, in the order given."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import read_manifest, write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing, Step, TransformRecord
from finetuner.errors import (
    ArtifactError,
    DataError,
    IntegrityError,
    MissingDependencyError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from finetuner.inference import OnnxEmbedder

TEXTS = ["red shoe", "blue", "green hat red shirt blue", "", "hat hat hat"]


def test_texts_become_the_vectors_worked_out_by_hand(
    text_bundle: Path, expected_text_vectors: Callable[..., np.ndarray]
) -> None:
    vectors = OnnxEmbedder.from_bundle(text_bundle).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, 4)
    np.testing.assert_allclose(vectors, expected_text_vectors(TEXTS), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_order_and_vectors_do_not_depend_on_the_batch_size(
    text_bundle: Path, expected_text_vectors: Callable[..., np.ndarray], batch_size: int
) -> None:
    vectors = OnnxEmbedder.from_bundle(text_bundle).encode(TEXTS, batch_size)
    np.testing.assert_allclose(vectors, expected_text_vectors(TEXTS), atol=1e-6)


def test_long_texts_are_cut_as_the_manifest_says(
    text_bundle: Path, expected_text_vectors: Callable[..., np.ndarray]
) -> None:
    long = "red green blue shoe shirt hat red red red red"
    vectors = OnnxEmbedder.from_bundle(text_bundle).encode([long])
    np.testing.assert_allclose(vectors, expected_text_vectors([long], 6), atol=1e-6)


def test_arrays_run_through_their_steps(array_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(array_bundle)
    # 2·[1, 1, 5] @ weight = [6, 8], of length 10
    vectors = embedder.encode(np.array([[1, 1, 5], [1, 0, 0]], np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [1, 0]], atol=1e-6)
    np.testing.assert_array_equal(embedder.encode([np.array([1.0, 1.0, 5.0])]), vectors[:1])


def test_transforms_of_plugins_are_used(array_bundle: Path) -> None:
    def swap(value: Any, *, factor: float) -> np.ndarray:
        return np.asarray(value, np.float32)[::-1].copy() * factor

    transforms = {"scale": TransformRecord("scale", swap)}
    embedder = OnnxEmbedder.from_bundle(array_bundle, transforms=transforms)
    np.testing.assert_allclose(embedder.encode([np.array([9.0, 0.0, 4.0])]), [[1, 0]], atol=1e-6)


def test_one_text_is_a_list_of_one(text_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    np.testing.assert_array_equal(embedder.encode("red shoe"), embedder.encode(["red shoe"]))
    assert embedder.encode("red shoe").shape == (1, 4)


@pytest.mark.parametrize("contents", [[], (), np.empty((0, 3), np.float32)])
def test_no_contents_give_no_vectors(array_bundle: Path, contents: Any) -> None:
    vectors = OnnxEmbedder.from_bundle(array_bundle).encode(contents)
    assert vectors.shape == (0, 2)
    assert vectors.dtype == np.float32


def test_any_iterable_will_do(text_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    np.testing.assert_array_equal(embedder.encode(iter(TEXTS)), embedder.encode(TEXTS))


def test_images_in_every_form(tmp_path: Path, write_array_onnx: Callable[..., None]) -> None:
    from PIL import Image

    directory = tmp_path / "image"
    directory.mkdir()
    write_array_onnx(directory / "model.onnx", np.eye(3, dtype=np.float32))
    rename_input(directory / "model.onnx", "array", "image")
    steps = (Step("to-rgb"), Step("scale"), Step("reshape", {"shape": [3]}))
    spec = Preprocessing("image", (InputSpec("image", "float32", (None, 3)),), steps)
    write_manifest(directory, Manifest("colours", spec, width=3, files=()))
    embedder = OnnxEmbedder.from_bundle(directory)

    image = Image.new("RGB", (1, 1), (0, 51, 68))  # 51² + 68² = 85²
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path = tmp_path / "pixel.png"
    path.write_bytes(buffer.getvalue())
    pixels = np.asarray(image)
    for single in (image, path, str(path), buffer.getvalue(), pixels):
        np.testing.assert_allclose(embedder.encode(single), [[0, 0.6, 0.8]], atol=1e-6)
    several = embedder.encode([path, path])
    np.testing.assert_allclose(several, [[0, 0.6, 0.8]] * 2, atol=1e-6)
    assert embedder.encode(np.stack([pixels] * 3)).shape == (3, 3)


def rename_input(path: Path, old: str, new: str) -> None:
    import onnx

    model = onnx.load(str(path))
    model.graph.input[0].name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    onnx.save(model, str(path))


def test_what_it_tells_about_itself(text_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    assert embedder.width == 4
    assert [spec.name for spec in embedder.inputs] == ["input_ids", "attention_mask"]
    assert embedder.manifest == read_manifest(text_bundle)
    assert embedder.providers == ("CPUExecutionProvider",)
    assert [output.name for output in embedder.session.get_outputs()] == ["embedding"]


def test_progress_shows_a_bar(text_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    silent = embedder.encode(TEXTS)
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(embedder.encode(TEXTS, progress=True), silent)
    assert "encoding" in capsys.readouterr().out


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "3"])
def test_a_batch_size_that_cannot_be(text_bundle: Path, batch_size: int) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        OnnxEmbedder.from_bundle(text_bundle).encode(TEXTS, batch_size)


def test_contents_of_another_kind_are_named(text_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    with pytest.raises(UsageError, match="int"):
        embedder.encode(3)
    with pytest.raises(DataError, match="row 1"):
        embedder.encode(["red", 3])
    with pytest.raises(UsageError, match="dict"):
        embedder.encode({"red": 1})
    with pytest.raises(DataError, match="row 1 holds a text that is not valid Unicode"):
        embedder.encode(["red", "\ud800"])


def test_a_single_number_is_no_row(array_bundle: Path) -> None:
    with pytest.raises(UsageError, match="ndarray"):
        OnnxEmbedder.from_bundle(array_bundle).encode(np.array(3.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_named_by_row(array_bundle: Path, value: float) -> None:
    contents = np.ones((3, 3), np.float32)
    contents[1, 0] = value
    with pytest.raises(DataError, match="vector of row 1 is not finite"):
        OnnxEmbedder.from_bundle(array_bundle).encode(contents, batch_size=2)


def test_threads_may_share_a_model(text_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(text_bundle, threads=1)
    expected = embedder.encode(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: embedder.encode(TEXTS), range(20)):
            np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_model_that_fails_says_at_which_shape(array_bundle: Path) -> None:
    embedder = OnnxEmbedder.from_bundle(array_bundle)

    class Failing:
        def run(self, *arguments: Any) -> None:
            raise RuntimeError("out of memory")

    embedder.session = Failing()
    with pytest.raises(ModelError, match=r"array 2×3: out of memory"):
        embedder.encode(np.ones((2, 3), np.float32))


def test_threads_change_nothing(text_bundle: Path) -> None:
    one = OnnxEmbedder.from_bundle(text_bundle, threads=1)
    np.testing.assert_allclose(
        one.encode(TEXTS), OnnxEmbedder.from_bundle(text_bundle).encode(TEXTS), atol=1e-6
    )
    assert one.session.get_session_options().intra_op_num_threads == 1
    with pytest.raises(UsageError, match="threads"):
        OnnxEmbedder.from_bundle(text_bundle, threads=0)


def test_a_provider_that_is_not_built_in_is_an_error(text_bundle: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"TPUExecutionProvider.*CPUExecutionProvider"):
        OnnxEmbedder.from_bundle(text_bundle, providers=["TPUExecutionProvider"])
    with pytest.raises(UsageError, match="give a list of names"):
        OnnxEmbedder.from_bundle(text_bundle, providers="CPUExecutionProvider")
    embedder = OnnxEmbedder.from_bundle(text_bundle, providers=["CPUExecutionProvider"])
    assert embedder.providers == ("CPUExecutionProvider",)


def test_a_provider_that_is_not_granted_is_an_error(
    text_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU build falls back to the CPU in silence where there is no GPU."""
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(UsageError, match=r"did not grant CUDA.*would run on CPU"):
        OnnxEmbedder.from_bundle(text_bundle, providers=["CUDAExecutionProvider"])
    embedder = OnnxEmbedder.from_bundle(text_bundle)
    assert embedder.providers == ("CPUExecutionProvider",)


def test_without_onnxruntime_both_packages_are_named(
    text_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError) as caught:
        OnnxEmbedder.from_bundle(text_bundle)
    assert "finetuner-core[cpu]" in str(caught.value)
    assert "finetuner-core[gpu]" in str(caught.value)


def test_a_changed_byte_is_refused(text_bundle: Path) -> None:
    data = bytearray((text_bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (text_bundle / "model.onnx").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        OnnxEmbedder.from_bundle(text_bundle)


def rewrite(bundle: Path, **changes: Any) -> None:
    """Change the bundle's manifest and digest its files anew."""
    write_manifest(bundle, dataclasses.replace(read_manifest(bundle), **changes))


def test_weights_only_says_so(text_bundle: Path) -> None:
    (text_bundle / "model.onnx").unlink()
    (text_bundle / "weights.safetensors").write_bytes(b"weights")
    rewrite(text_bundle)
    with pytest.raises(ArtifactError, match=r"weights only.*to_onnx=False"):
        OnnxEmbedder.from_bundle(text_bundle)


def test_a_file_that_is_no_onnx_is_named(text_bundle: Path) -> None:
    (text_bundle / "model.onnx").write_bytes(b"\x80\x04.")
    rewrite(text_bundle)
    with pytest.raises(ArtifactError, match=r"cannot load .*model\.onnx"):
        OnnxEmbedder.from_bundle(text_bundle)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width": 5}, r"must be \[batch, 5\]"),
        ({"output": "vectors"}, "'vectors'"),
        (
            {"preprocessing": Preprocessing("array", (InputSpec("array", "float32", (None, 3)),))},
            r"must be \['array'\]",
        ),
    ],
)
def test_a_model_that_does_not_fit_its_manifest(
    text_bundle: Path, changes: dict[str, Any], problem: str
) -> None:
    rewrite(text_bundle, **changes)
    with pytest.raises(ArtifactError, match=rf"does not fit its manifest.*{problem}"):
        OnnxEmbedder.from_bundle(text_bundle)


def test_inputs_of_another_dtype_do_not_fit(text_bundle: Path) -> None:
    spec = read_manifest(text_bundle).preprocessing
    inputs = tuple(dataclasses.replace(each, dtype="int32") for each in spec.inputs)
    rewrite(text_bundle, preprocessing=dataclasses.replace(spec, inputs=inputs))
    with pytest.raises(ArtifactError, match="must be int32"):
        OnnxEmbedder.from_bundle(text_bundle)


@pytest.mark.parametrize("location", ["../secret.data", "/etc/hostname"])
def test_a_model_that_reads_outside_its_bundle_is_refused(
    array_bundle: Path, tmp_path: Path, location: str
) -> None:
    """The ONNX file is verified, but may itself name a file of weights elsewhere."""
    import onnx

    weight = np.array([[3, 0], [0, 4], [0, 0]], np.float32)
    (tmp_path / "secret.data").write_bytes(weight.tobytes())
    path = array_bundle / "model.onnx"
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        if tensor.name == "weight":
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", location), ("length", str(weight.nbytes))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    rewrite(array_bundle)
    with pytest.raises(ArtifactError, match=r"escapes model directory|Absolute path not allowed"):
        OnnxEmbedder.from_bundle(array_bundle)


def test_external_weights_inside_the_bundle_work(array_bundle: Path) -> None:
    import onnx

    path = array_bundle / "model.onnx"
    model = onnx.load(str(path))
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=50,
        convert_attribute=False,
    )
    assert (array_bundle / "model.onnx.data").exists()
    rewrite(array_bundle)
    vectors = OnnxEmbedder.from_bundle(array_bundle).encode(np.array([[1, 1, 5]], np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8]], atol=1e-6)


def test_production_needs_no_framework(text_bundle: Path) -> None:
    code = f"""
import sys
from finetuner.inference import OnnxEmbedder
print(OnnxEmbedder.from_bundle({str(text_bundle)!r}).encode(["red"]).shape)
heavy = ["torch", "keras", "tensorflow", "jax", "docarray", "pandas", "onnx", "transformers"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(1, 4)", "[]"]
