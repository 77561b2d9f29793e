"""The gate lets right models through and refuses each of the wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contracts import Inputs, InputSpec, Preprocessing
from finetuner.errors import ExportError
from finetuner.export import check_parity

TEXT = Preprocessing(
    "text",
    (
        InputSpec("input_ids", "int64", (None, None)),
        InputSpec("attention_mask", "int64", (None, None)),
    ),
)


@pytest.fixture
def samples() -> Inputs:
    ids = np.array([[2, 4, 3, 0], [2, 5, 6, 3], [2, 7, 8, 3], [2, 3, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}


@pytest.fixture
def check(
    tmp_path: Path, table: np.ndarray, fake: Callable[..., Any], samples: Inputs
) -> Callable[..., dict[str, Any]]:
    """Exports with a flaw and checks; ``backend`` may stand in for the right one."""

    def run(flaw: str = "", backend: Any = None, **options: Any) -> dict[str, Any]:
        path = tmp_path / "model.onnx"
        exporter = fake(flaw)
        sample = {name: value[:2] for name, value in samples.items()}
        exporter.export(table, path, TEXT.inputs, sample)
        return check_parity(path, backend or exporter, table, TEXT, samples, 4, **options)

    return run


def test_a_right_model_passes_and_is_recorded(check: Callable[..., dict[str, Any]]) -> None:
    record = check()
    assert record["tolerance"] == 1e-4
    assert 0 <= record["largest_difference"] < 1e-6
    shapes = [case["shapes"]["input_ids"] for case in record["cases"]]
    assert shapes == [[1, 3], [3, 4], [3, 9]]
    assert record["largest_difference"] == max(case["difference"] for case in record["cases"])


@pytest.mark.parametrize(
    ("flaw", "problem"),
    [
        ("batch seen", r"at input_ids 1×3, attention_mask 1×3, does not run"),
        ("length seen", r"differs from fake by .* at input_ids 3×9.*1 of 3 shapes are wrong"),
        ("no mask", r"differs from fake by .* at input_ids 3×9"),
        ("first row's mask", r"differs from fake by .*2 of 3 shapes are wrong"),
        ("not finite", "numbers that are not finite"),
        ("wrong output name", r"outputs are \['vectors'\]"),
        ("second output", r"outputs are \['embedding', 'tokens'\]"),
        ("wrong width", r"shape \['b', 8\], it must be \[batch, 4\]"),
        ("float64", r"tensor\(double\), it must be float32"),
        ("renamed input", r"inputs are \['attention_mask', 'input_0'\]"),
        ("extra input", r"inputs are \['attention_mask', 'dropout', 'input_ids'\]"),
        ("slightly wrong", r"differs from fake by .*e-04"),
    ],
)
def test_each_wrong_exporter_is_refused(
    check: Callable[..., dict[str, Any]], flaw: str, problem: str
) -> None:
    with pytest.raises(ExportError, match=problem):
        check(flaw)


def test_the_tolerance_can_be_set(check: Callable[..., dict[str, Any]]) -> None:
    record = check("slightly wrong", tolerance=0.01)  # off by one in a thousand
    assert 1e-4 < record["largest_difference"] <= 1e-3
    assert record["tolerance"] == 0.01


def test_large_vectors_are_compared_relatively(
    tmp_path: Path, write_array_onnx: Callable[..., None], samples: Inputs
) -> None:
    class Large:
        name = "large"

        def embed(self, state: Any, inputs: Inputs) -> np.ndarray:
            unit = inputs["array"] / np.linalg.norm(inputs["array"], axis=1, keepdims=True)
            return unit * np.float32(1000.05)

    import onnx

    path = tmp_path / "model.onnx"
    write_array_onnx(path, np.eye(2, dtype=np.float32), output="unit")
    model = onnx.load(str(path))
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(1000, np.float32), "large")
    )
    model.graph.node.append(onnx.helper.make_node("Mul", ["unit", "large"], ["embedding"]))
    model.graph.output[0].name = "embedding"
    onnx.save(model, str(path))
    spec = Preprocessing("array", (InputSpec("array", "float32", (None, 2)),))
    values = {"array": np.array([[3, 4], [1, 0], [0, 1]], np.float32)}
    record = check_parity(path, Large(), None, spec, values, 2)  # type: ignore[arg-type]
    assert record["largest_difference"] == pytest.approx(0.05 / 1000, rel=0.02)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, fake: Any, samples: Inputs) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ExportError, match="not valid"):
        check_parity(path, fake(), np.ones((9, 4), np.float32), TEXT, samples, 4)


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (np.full((1, 4), np.nan, np.float32), "fake itself.*not finite"),
        (np.ones((1, 5), np.float32), r"fake itself.*the shape \(1, 5\), not \(1, 4\)"),
    ],
)
def test_a_model_that_is_broken_itself_is_refused(
    check: Callable[..., dict[str, Any]], result: np.ndarray, problem: str
) -> None:
    class Broken:
        name = "fake"

        def embed(self, state: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            return result

    with pytest.raises(ExportError, match=problem):
        check(backend=Broken())


def test_a_model_that_does_not_run_at_another_length_is_named(
    check: Callable[..., dict[str, Any]],
) -> None:
    class Short:
        name = "fake"

        def embed(self, state: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            raise IndexError("position 4 is out of range")

    with pytest.raises(ExportError, match=r"fake itself, at input_ids 1×3.*position 4"):
        check(backend=Short())
