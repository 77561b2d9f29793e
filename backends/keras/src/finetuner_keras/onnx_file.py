"""An exporter's raw graph made into the file that core expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from finetuner.contracts import InputSpec

OUTPUT = "embedding"
LARGEST = 2**31 - 2**24
"""Bytes of weights beyond which they go to a file of their own: protobuf's limit is 2 GiB."""


def write(
    model: onnx.ModelProto,
    specs: Sequence[InputSpec],
    weights: Mapping[str, np.ndarray],
    path: Path,
) -> None:
    """Name the ends of ``model``, give it its weights, check it and write it.

    The graph's inputs are ``weights`` in order and then ``specs``; exporters may
    leave out weights only where they gave none. Inputs come out with the types and
    shapes of ``specs``, whatever integers the framework computes in.
    """
    graph = model.graph
    inputs = list(graph.input)
    ends = [value.name for value in inputs[len(weights) :]]
    _rename(
        graph,
        {
            **{value.name: f"weight.{name}" for value, name in zip(inputs, weights, strict=False)},
            **{end: f"end.{spec.name}" for end, spec in zip(ends, specs, strict=True)},
            graph.output[0].name: OUTPUT,
        },
    )
    del graph.input[:]
    _open_inputs(graph, inputs[len(weights) :], specs)
    for name, array in weights.items():
        graph.initializer.append(numpy_helper.from_array(array, f"weight.{name}"))
    _fold_transposes(graph)
    large = sum(np.dtype("float32").itemsize * a.size for a in weights.values()) > LARGEST
    beside = {"save_as_external_data": True, "location": f"{path.name}.data"} if large else {}
    onnx.save_model(model, str(path), **beside)
    onnx.checker.check_model(str(path), full_check=True)


def store_constants(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray]) -> None:
    """Turn the inputs of these names into constants."""
    for value in [value for value in graph.input if value.name in constants]:
        graph.input.remove(value)
        graph.initializer.append(numpy_helper.from_array(constants[value.name], value.name))


def _open_inputs(
    graph: onnx.GraphProto, inputs: Sequence[onnx.ValueInfoProto], specs: Sequence[InputSpec]
) -> None:
    """Declare the inputs as ``specs`` say, with a cast behind each of another type."""
    for value, spec in zip(inputs, specs, strict=True):
        wanted = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        extents = [_extent(spec, axis) for axis in range(len(spec.shape))]
        graph.input.append(helper.make_tensor_value_info(spec.name, wanted, extents))
        cast = helper.make_node(
            "Cast", [spec.name], [f"end.{spec.name}"], to=value.type.tensor_type.elem_type
        )
        graph.node.insert(0, cast)
    del graph.output[0].type.tensor_type.shape.dim[0]
    graph.output[0].type.tensor_type.shape.dim.insert(
        0, onnx.TensorShapeProto.Dimension(dim_param="batch")
    )


def _extent(spec: InputSpec, axis: int) -> str | int:
    extent = spec.shape[axis]
    if extent is not None:
        return extent
    if axis == 0:
        return "batch"
    return "sequence" if axis == 1 and len(spec.shape) == 2 else f"{spec.name}_{axis}"


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values new names, with inner values of those names out of the way."""
    taken = set(names.values())

    def new(name: str) -> str:
        return names.get(name, f"inner.{name}" if name in taken else name)

    for inner in _graphs(graph):
        for node in inner.node:
            node.input[:] = [new(name) for name in node.input]
            node.output[:] = [new(name) for name in node.output]
        for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            value.name = new(value.name)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _fold_transposes(graph: onnx.GraphProto) -> None:
    """Turn weights once, here, instead of whenever the model is loaded."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, int] = {}
    for inner in _graphs(graph):
        for node in inner.node:
            for name in node.input:
                readers[name] = readers.get(name, 0) + 1
    for node in list(graph.node):
        tensor = stored.get(node.input[0]) if node.op_type == "Transpose" else None
        if tensor is not None and readers[tensor.name] == 1:
            array = numpy_helper.to_array(tensor)
            axes = helper.get_node_attr_value(node, "perm")
            turned = np.ascontiguousarray(np.transpose(array, axes))
            tensor.CopyFrom(numpy_helper.from_array(turned, node.output[0]))
            graph.node.remove(node)
