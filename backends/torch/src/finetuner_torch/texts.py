"""The preprocessing of text, from a ``tokenizer.json`` and the files beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetuner.contracts import InputSpec, Preprocessing
from finetuner.errors import ModelError, UsageError

TOKENIZER = "tokenizer.json"
"""The name of the tokenizer's file, in a model's directory and in a bundle."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a tokenizer can give, by canonical name."""

DEFAULT_LENGTH = 128
"""Tokens that a text is cut to where neither user nor file says."""

PADDING = ("[PAD]", "<pad>", "<|endoftext|>", "</s>")
"""Usual padding tokens, likeliest first."""


def tokenizer_file(given: str | Path) -> Path:
    """The ``tokenizer.json`` that a path or directory names."""
    path = Path(given).expanduser()
    file = path / TOKENIZER if path.is_dir() else path
    if not file.is_file():
        raise ModelError(
            f"there is no {TOKENIZER} at {path}: write one with "
            "AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )
    return file


def text_inputs(parameters: Iterable[str], *, types: bool = True) -> tuple[str, ...]:
    """The inputs that a ``forward`` takes, in its order.

    ``types``: whether segment numbers mean anything to the model.
    """
    wanted = INPUTS if types else INPUTS[:2]
    found = tuple(name for name in parameters if name in wanted)
    if "input_ids" not in found:
        raise ModelError(
            "the model's forward takes no 'input_ids': wrap it in a module that does, or name "
            "its inputs with inputs="
        )
    return found


def text_preprocessing(
    file: Path,
    *,
    inputs: tuple[str, ...],
    max_length: int | None = None,
    padding_id: int | None = None,
    prefix: str = "",
    limit: int | None = None,
) -> Preprocessing:
    """The spec for a tokenizer; ``limit`` is the most tokens that the model can take."""
    tokenizer = open_tokenizer(file)
    if unknown := [name for name in inputs if name not in INPUTS]:
        raise UsageError(f"a tokenizer gives {', '.join(INPUTS)}, not {', '.join(unknown)}")
    return Preprocessing(
        modality="text",
        inputs=tuple(InputSpec(name, "int64", (None, None)) for name in inputs),
        tokenizer=TOKENIZER,
        max_length=_length(tokenizer, max_length, limit),
        padding_id=_padding(tokenizer) if padding_id is None else padding_id,
        prefix=prefix,
    )


def open_tokenizer(file: Path) -> Any:
    """The ``tokenizers.Tokenizer`` in ``file``."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    # The tokenizers package raises a bare Exception for a malformed file.
    except Exception as error:
        raise ModelError(f"{file} is not a tokenizer.json: {error}") from error


def _length(tokenizer: Any, asked: int | None, limit: int | None) -> int:
    if asked is None:
        own = (tokenizer.truncation or {}).get("max_length", DEFAULT_LENGTH)
        return limit if limit is not None else int(own)
    if asked < 1 or (limit is not None and asked > limit):
        bound = "" if limit is None else f" and at most {limit}, which is all the model can take"
        raise UsageError(f"max_length={asked} must be at least 1{bound}")
    return asked


def _padding(tokenizer: Any) -> int:
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    found = (tokenizer.token_to_id(token) for token in PADDING)
    return next((number for number in found if number is not None), 0)
