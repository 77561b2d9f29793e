"""What many tests share: above all small ONNX models whose vectors can be worked out."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "shoe", "shirt", "hat")

TEXT = Preprocessing(
    "text",
    (
        InputSpec("input_ids", "int64", (None, None)),
        InputSpec("attention_mask", "int64", (None, None)),
    ),
    tokenizer="tokenizer.json",
    max_length=8,
)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Python's own handler, also where the shell began the tests with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A ``tokenizer.json`` that splits at spaces: ``[CLS] words [SEP]``, ids as in ``WORDS``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path / "made" / "tokenizer.json"
    path.parent.mkdir(exist_ok=True)
    tokenizer.save(str(path))
    return path


def _save(path: Path, nodes: list[Any], inputs: Any, outputs: Any, constants: Any) -> None:
    from onnx import checker, helper, numpy_helper, save_model

    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "model", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model)
    save_model(model, str(path))


@pytest.fixture
def write_array_onnx() -> Callable[..., None]:
    """``write(path, weight)``: ``embedding = array @ weight / ‖array @ weight‖``."""
    from onnx import TensorProto, helper

    def write(path: Path, weight: np.ndarray, *, output: str = "embedding") -> None:
        _save(
            path,
            [
                helper.make_node("MatMul", ["array", "weight"], ["raw"]),
                helper.make_node("ReduceL2", ["raw", "one"], ["norm"], keepdims=1),
                helper.make_node("Div", ["raw", "norm"], [output]),
            ],
            [helper.make_tensor_value_info("array", TensorProto.FLOAT, ["b", len(weight)])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", weight.shape[1]])],
            {"weight": weight, "one": np.array([1])},
        )

    return write


@pytest.fixture
def write_text_onnx() -> Callable[..., None]:
    """``write(path, table)``: the masked mean of the rows of ``table``, divided by its norm.

    ``flaw`` makes it one of the wrong models that exporters write without an error;
    ``seen`` is the shape (batch, length) that the exporter saw.
    """
    from onnx import TensorProto, helper

    def write(
        path: Path, table: np.ndarray, flaw: str = "", seen: tuple[int, int] = (2, 4)
    ) -> None:
        node, width = helper.make_node, table.shape[1]
        ids, output = "input_ids", "embedding"
        nodes = [node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT)]
        if flaw == "no mask":
            nodes[-1] = node("Cast", ["ones"], ["float_mask"], to=TensorProto.FLOAT)
            nodes.insert(0, node("Shape", ["attention_mask"], ["shape"]))
            nodes.insert(1, node("Expand", ["one", "shape"], ["ones"]))
        if flaw == "first row's mask":  # right for a batch of one
            nodes[-1] = node("Cast", ["first_mask"], ["float_mask"], to=TensorProto.FLOAT)
            nodes.insert(0, node("Gather", ["attention_mask", "zero"], ["first_mask"], axis=0))
        if flaw == "renamed input":
            ids = "input_0"
        nodes += [
            node("Gather", ["table", ids], ["tokens"]),
            node("Unsqueeze", ["float_mask", "two"], ["mask"]),
            node("Mul", ["tokens", "mask"], ["masked"]),
            node("ReduceSum", ["masked", "one"], ["sum"], keepdims=0),
            node("ReduceSum", ["float_mask", "one"], ["count"], keepdims=1),
        ]
        if flaw == "length seen":  # positions behind those that it saw are lost
            nodes += [
                node("Slice", ["masked", "zero", "length", "one"], ["cut"]),
                node("ReduceSum", ["cut", "one"], ["cut_sum"], keepdims=0),
            ]
        total = "cut_sum" if flaw == "length seen" else "sum"
        nodes += [
            node("Div", [total, "count"], ["mean"]),
            node("ReduceL2", ["mean", "one"], ["norm"], keepdims=1),
            node("Div", ["mean", "norm"], ["unit"]),
        ]
        kind, last = TensorProto.FLOAT, ["unit"]
        if flaw == "batch seen":
            nodes.append(node("Reshape", ["unit", "batch_shape"], ["fixed"]))
            last = ["fixed"]
        elif flaw == "not finite":
            nodes.append(node("Div", ["unit", "nothing"], ["infinite"]))
            last = ["infinite"]
        elif flaw == "slightly wrong":
            nodes.append(node("Mul", ["unit", "almost"], ["scaled"]))
            last = ["scaled"]
        elif flaw == "wrong width":
            last = ["unit", "unit"]
            width *= 2
        if flaw == "float64":
            kind = TensorProto.DOUBLE
            nodes.append(node("Cast", last, ["embedding"], to=kind))
        else:
            output = "vectors" if flaw == "wrong output name" else "embedding"
            nodes.append(node("Concat", last, [output], axis=1))
        integers = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"])
            for name in (ids, "attention_mask")
        ]
        if flaw == "extra input":
            integers.append(helper.make_tensor_value_info("dropout", TensorProto.FLOAT, []))
        outputs = [helper.make_tensor_value_info(output, kind, ["b", width])]
        if flaw == "second output":
            outputs.append(helper.make_tensor_value_info("tokens", kind, ["b", "s", width]))
        constants = {
            "table": table,
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array([2]),
            "length": np.array([seen[1]]),
            "batch_shape": np.array([seen[0], width]),
            "nothing": np.array([0], np.float32),
            "almost": np.array([1.001], np.float32),
        }
        _save(path, nodes, integers, outputs, constants)

    return write


@pytest.fixture
def table() -> np.ndarray:
    """A vector of four numbers for each word."""
    return np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)


@pytest.fixture
def expected_text_vectors(table: np.ndarray) -> Callable[[list[str]], np.ndarray]:
    """The vectors of ``write_text_onnx``'s model, text by text, without any padding."""

    def vectors(texts: list[str], max_words: int = 100) -> np.ndarray:
        rows = []
        for text in texts:
            words = ["[CLS]", *text.split()[:max_words], "[SEP]"]
            mean = table[[WORDS.index(word) for word in words]].astype(np.float64).mean(axis=0)
            rows.append(mean / np.sqrt(np.sum(mean * mean)))
        return np.array(rows)

    return vectors


@pytest.fixture
def text_bundle(
    tmp_path: Path,
    tokenizer_file: Path,
    table: np.ndarray,
    write_text_onnx: Callable[..., None],
) -> Path:
    """The bundle ``words``: that model with its tokenizer, cut at 8 tokens."""
    directory = tmp_path / "text"
    directory.mkdir()
    shutil.copyfile(tokenizer_file, directory / "tokenizer.json")
    write_text_onnx(directory / "model.onnx", table)
    write_manifest(directory, Manifest("words", TEXT, width=4, files=()))
    return directory
