"""From a trained state to an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from finetuner.contracts import Inputs, InputSpec
from finetuner.errors import ExportError
from finetuner_torch.copying import copy_module
from finetuner_torch.state import State
from finetuner_torch.step import to_tensors

OPSET = 18
OUTPUT = "embedding"


class _Positional(nn.Module):
    """The model with its inputs in a fixed order: keyword dictionaries export badly."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.model(**dict(zip(self.names, tensors, strict=True)))
        return embedding.float()


def export(state: State, path: Path, inputs: Sequence[InputSpec], sample: Inputs) -> None:
    """Write ONNX with these input names and the one output ``embedding``.

    ``None`` extents of ``inputs`` stay free: the first is called ``batch``, the
    second of a token matrix ``sequence``. ``sample`` holds an array for each
    input. A model over 2 GB keeps its weights in a file beside ``path``.

    Raises:
        ExportError: the model cannot be exported with these extents free, or the
            file does not pass ONNX's checker. Parity is for the caller to check.
    """
    names = [spec.name for spec in inputs]
    if missing := sorted(set(names) - set(sample)):
        raise ExportError(f"the sample lacks the input {missing[0]!r}: it has {sorted(sample)}")
    arrays = {spec.name: _at_least_two(sample[spec.name], spec) for spec in inputs}
    model = copy_module(state.model).cpu().eval()
    try:
        with _quiet(), _fresh_dispatch(), torch.no_grad():
            program = torch.onnx.export(
                _Positional(model, names),
                tuple(to_tensors(arrays, torch.device("cpu")).values()),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(tuple(_free_extents(spec) for spec in inputs),),
                verbose=False,
            )
            assert program is not None
            _rename(program.model.graph, names)
            program.save(str(path))
            onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:
        raise ExportError(
            f"the model cannot be exported to ONNX: {_cause(error)}. Its inputs were "
            + ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in inputs)
        ) from error


def _free_extents(spec: InputSpec) -> dict[int, str]:
    return {
        axis: "batch"
        if axis == 0
        else "sequence"
        if axis == 1 and len(spec.shape) == 2
        else f"{spec.name}_{axis}"
        for axis, extent in enumerate(spec.shape)
        if extent is None
    }


def _at_least_two(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Repeat along free extents of 1: the exporter would take them for constants."""
    for axis, extent in enumerate(spec.shape):
        if extent is None and array.shape[axis] == 1:
            array = np.repeat(array, 2, axis=axis)
    return array


def _rename(graph: Any, inputs: Sequence[str]) -> None:
    """Give the graph's ends their names, afterwards and with everything else out of the way.

    Asked for a name that an inner value has, the exporter writes an invalid file
    without a word.
    """
    ends = dict(zip((*graph.inputs, *graph.outputs), (*inputs, OUTPUT), strict=True))
    taken = set(ends.values())
    inner = [value for node in graph for value in node.outputs if value not in ends]
    for value in (*inner, *graph.initializers.values()):
        if value.name in taken:
            value.name = f"inner.{value.name}"
    for index, end in enumerate(ends):
        end.name = f"end.{index}"
    for end, name in ends.items():
        end.name = name


@contextlib.contextmanager
def _fresh_dispatch() -> Iterator[None]:
    """Recurrent operations choose their kernels anew, inside and afterwards.

    The exporter puts loops of free length in their place, but leaves the choice
    that an earlier call or export cached, which bakes the length in.
    """
    recurrent = (torch.ops.aten.lstm.input, torch.ops.aten.gru.input)
    for operation in recurrent:
        operation._dispatch_cache.clear()
    try:
        yield
    finally:
        for operation in recurrent:
            operation._dispatch_cache.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress, its warnings and its log."""
    names = ("torch.onnx", "torch.export", "torch.fx", "onnxscript")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _cause(error: BaseException) -> str:
    """The exporter's errors are reports of many pages; the cause says it in a line or two."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
