"""What jax2onnx writes in a way that onnxruntime does not run, put right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

AROUND = 2
"""Extents of 1 that are put in front of a maximum over windows of every axis."""


def mend_pooling(graph: onnx.GraphProto) -> None:
    """Pool over the inner axes alone: windows that cover batch and channels do not run.

    ``MaxPool`` of B×…×C with a kernel of 1 at both ends becomes one of B×C×…,
    between transposes.
    """
    producer = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for node in list(graph.node):
        if node.op_type == "MaxPool" and _spans_all(node):
            behind = consumers.get(node.output[0], [])
            if len(behind) != 1 or behind[0].op_type != "Squeeze":
                continue
            source = _before_unsqueezing(node.input[0], producer)
            mended = list(_pooling(node, source, behind[0].output[0]))
            at = list(graph.node).index(behind[0])
            graph.node.remove(behind[0])
            for offset, new in enumerate(mended):
                graph.node.insert(at + offset, new)
            graph.node.remove(node)


def _spans_all(node: onnx.NodeProto) -> bool:
    kernel = helper.get_node_attr_value(node, "kernel_shape")
    return len(kernel) > AROUND and kernel[0] == kernel[-1] == 1


def _before_unsqueezing(name: str, producer: dict[str, onnx.NodeProto]) -> str:
    for _ in range(AROUND):
        node = producer[name]
        if node.op_type != "Unsqueeze":
            raise ValueError(f"a maximum over windows is computed from {node.op_type}")
        name = node.input[0]
    return name


def _pooling(node: onnx.NodeProto, source: str, target: str) -> Iterator[onnx.NodeProto]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes = len(attributes["kernel_shape"])
    inner = {
        name: list(values)[1:-1]
        for name, values in attributes.items()
        if name in ("kernel_shape", "strides", "dilations")
    }
    if "pads" in attributes:
        begins, ends = np.split(np.asarray(attributes["pads"]), 2)
        inner["pads"] = [*begins[1:-1].tolist(), *ends[1:-1].tolist()]
    first, last = [0, axes - 1, *range(1, axes - 1)], [0, *range(2, axes), 1]
    turned, pooled = f"{target}.first", f"{target}.pooled"
    yield helper.make_node("Transpose", [source], [turned], perm=first)
    yield helper.make_node("MaxPool", [turned], [pooled], **inner)
    yield helper.make_node("Transpose", [pooled], [target], perm=last)
