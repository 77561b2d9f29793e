"""A linear embedding model as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetuner.builtin.numpy_model import SMALLEST_NORM, LinearEmbedding
from finetuner.errors import MissingDependencyError

OPSET = 18
IR_VERSION = 10


def write_onnx(model: LinearEmbedding, path: Path) -> None:
    """Write ``model`` with a dynamic batch and the one output ``embedding``."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper, save_model
    except ImportError as error:
        raise MissingDependencyError(
            "export to ONNX needs the package onnx: pip install onnx"
        ) from error

    constants: dict[str, np.ndarray] = {
        name: value.astype(np.float32) for name, value in model.parameters.items()
    }
    nodes, current = [], model.input
    for layer in model.layers:
        if layer == "softmax":
            nodes.append(helper.make_node("Softmax", [current], [f"{layer}.output"], axis=1))
        else:
            names = [current, f"{layer}.weight"]
            names += [f"{layer}.bias"] if f"{layer}.bias" in constants else []
            nodes.append(helper.make_node("Gemm", names, [f"{layer}.output"]))
        current = f"{layer}.output"
    if model.normalize:
        constants |= {"axes": np.array([1]), "smallest": np.array(SMALLEST_NORM, np.float32)}
        nodes += [
            helper.make_node("ReduceL2", [current, "axes"], ["norm"], keepdims=1),
            helper.make_node("Max", ["norm", "smallest"], ["divisor"]),
            helper.make_node("Div", [current, "divisor"], ["embedding"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", [current], ["embedding"]))
    weights = [constants[f"{n}.weight"].shape for n in model.layers if n != "softmax"]
    extents = (weights[0][0], weights[-1][1]) if weights else (None, None)
    graph = helper.make_graph(
        nodes,
        "embedding",
        [helper.make_tensor_value_info(model.input, TensorProto.FLOAT, ["batch", extents[0]])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", extents[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    checker.check_model(proto)
    save_model(proto, path)
