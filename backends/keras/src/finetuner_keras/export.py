"""From a trained state to an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import Inputs, InputSpec
from finetuner.errors import ExportError
from finetuner_keras import engines
from finetuner_keras.engines import Tensors
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
    model = state.model

    def function(weights: Tensors, *tensors: Any) -> Any:
        return model(weights, dict(zip(names, tensors, strict=True)))[0]

    weights = {n: engines.current().to_numpy(t) for n, t in state.weights.items()}
    arrays = [np.asarray(sample[name]) for name in names]
    engines.current().export(function, weights, inputs, arrays, path)
