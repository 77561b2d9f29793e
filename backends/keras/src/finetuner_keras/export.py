"""From a trained state to an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetuner.contracts import Inputs, InputSpec
from finetuner.errors import ExportError
from finetuner_keras import engines
from finetuner_keras.engines import Tensors
from finetuner_keras.kinds import layer_kind
from finetuner_keras.messages import cause
from finetuner_keras.state import State


def export(state: State, path: Path, inputs: Sequence[InputSpec], sample: Inputs) -> None:
    """Write ONNX with these input names and the one output ``embedding``.

    ``None`` extents of ``inputs`` stay free. ``sample`` holds an array for each input.

    Raises:
        ExportError: the model cannot be exported with these extents free, or the
            file does not pass ONNX's checker. Parity is for the caller to check.
    """
    names = [spec.name for spec in inputs]
    if missing := sorted(set(names) - set(sample)):
        raise ExportError(f"the sample lacks the input {missing[0]!r}: it has {sorted(sample)}")
    model, engine = state.model, engines.current()

    def function(weights: Tensors, *tensors: Any) -> Any:
        return model(weights, dict(zip(names, tensors, strict=True)))[0]

    weights = {name: engine.to_numpy(tensor) for name, tensor in state.weights.items()}
    arrays = [_at_least_two(np.asarray(sample[spec.name]), spec) for spec in inputs]
    try:
        with _quiet(), engine.on_device("cpu"):
            engine.export(function, weights, inputs, arrays, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        raise ExportError(
            f"the model cannot be exported to ONNX from Keras on {keras.backend.backend()}: "
            f"{cause(error)}. Its inputs were "
            + ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in inputs)
            + _likely_cause(state)
        ) from error


def _likely_cause(state: State) -> str:
    """Recurrent layers are what the exporters of PyTorch and JAX fail on."""
    recurrent = [n for n, layer in state.model.layers.items() if layer_kind(layer) == "recurrent"]
    if not recurrent or keras.backend.backend() == "tensorflow":
        return ""
    return (
        f". The recurrent layer {recurrent[0]!r} is likely what stops it: run with "
        "KERAS_BACKEND=tensorflow, which exports it"
    )


def _at_least_two(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Repeat along free extents of 1: exporters would take them for constants."""
    for axis, extent in enumerate(spec.shape):
        if extent is None and array.shape[axis] == 1:
            array = np.repeat(array, 2, axis=axis)
    return array


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' progress, warnings and logs."""
    names = (
        "tensorflow",
        "tf2onnx",
        "torch.onnx",
        "torch.export",
        "onnxscript",
        "jax2onnx",
        "absl",
    )
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
