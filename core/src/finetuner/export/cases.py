"""The inputs at which an export is compared with its framework."""

from __future__ import annotations

import numpy as np

from finetuner.contracts import Inputs, InputSpec, Preprocessing
from finetuner.errors import UsageError

BATCH_SIZES = (1, 3)

_MASK = "attention_mask"
_IDS = "input_ids"

_STEP = {"text": 5, "array": 5, "image": 32}
"""By how much an extent is changed; image models may want multiples of 32."""


def check_cases(samples: Inputs, preprocessing: Preprocessing) -> tuple[Inputs, ...]:
    """Batches of one and of three rows; with extents that vary, three rows at another extent.

    ``samples`` is one padded batch. The single row loses its padding; in the last
    case the first row is padded from its middle on and the others are full, so that
    a mask masks whatever the samples are. Raises ``UsageError`` for fewer than three samples.
    """
    rows = len(next(iter(samples.values())))
    few, many = BATCH_SIZES
    if rows < many:
        raise UsageError(f"an export is checked with at least {many} samples, got {rows}")
    one = _trimmed({name: value[:few] for name, value in samples.items()}, preprocessing)
    three = {name: value[:many] for name, value in samples.items()}
    if not any(None in spec.shape[1:] for spec in preprocessing.inputs):
        return one, three
    return one, three, _half_padded(_resized(three, preprocessing), preprocessing.padding_id)


def _trimmed(inputs: Inputs, preprocessing: Preprocessing) -> Inputs:
    """A masked row without the positions behind its last real one."""
    if _MASK not in inputs:
        return inputs
    length = max(1, int(np.flatnonzero(inputs[_MASK][0]).max(initial=0)) + 1)
    varying = {spec.name for spec in preprocessing.inputs if spec.shape[1:2] == (None,)}
    return {name: value[:, :length] if name in varying else value for name, value in inputs.items()}


def _resized(inputs: Inputs, preprocessing: Preprocessing) -> Inputs:
    """Every extent that varies made longer, or shorter where the model's limit is reached.

    What is added repeats the row and is not masked: an exporter that ignores
    positions behind those that it saw would pass with padding.
    """
    step, limit = _STEP[preprocessing.modality], preprocessing.max_length
    resized = {
        spec.name: _resize(inputs[spec.name], spec, step, limit) for spec in preprocessing.inputs
    }
    if _MASK in resized:
        resized[_MASK] = np.ones_like(resized[_MASK])
    return resized


def _resize(value: np.ndarray, spec: InputSpec, step: int, limit: int | None) -> np.ndarray:
    for axis, extent in enumerate(spec.shape):
        if axis == 0 or extent is not None:
            continue
        size = value.shape[axis]
        longer = limit is None or size + step <= limit
        positions = np.arange(size + step if longer else max(1, size - step)) % size
        value = np.take(value, positions, axis=axis)
    return value


def _half_padded(inputs: Inputs, padding_id: int) -> Inputs:
    """The first row's second half turned into padding, where there is a mask to say so."""
    if _MASK not in inputs:
        return inputs
    half = -(-inputs[_MASK].shape[1] // 2)
    changed = {name: value.copy() for name, value in inputs.items()}
    for name, fill in ((_MASK, 0), (_IDS, padding_id)):
        if name in changed:
            changed[name][0, half:] = fill
    return changed
