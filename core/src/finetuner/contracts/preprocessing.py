"""Preprocessing as data: what training and production both run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Modality = Literal["text", "image", "array"]


@dataclass(frozen=True)
class InputSpec:
    """One input of the model: ``None`` marks an extent that varies.

    The first extent is the batch. Names are canonical: ``input_ids``,
    ``attention_mask``, ``token_type_ids`` for text, ``image`` for images,
    ``array`` for plain arrays.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Step:
    """One transform by its registered name, with options (JSON values)."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preprocessing:
    """How one content becomes the model's inputs.

    Text: ``tokenizer`` is the file name of a ``tokenizer.json`` inside the
    bundle, ``max_length`` counts tokens. Images: ``steps`` run in order on an
    RGB image and end in a float32 array. Arrays: ``steps`` may be empty.
    """

    modality: Modality
    inputs: tuple[InputSpec, ...]
    steps: tuple[Step, ...] = ()
    tokenizer: str | None = None
    max_length: int | None = None
    padding_id: int = 0
    prefix: str = ""
