"""Text → token ids, by the ``tokenizer.json`` that travels with the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import Preprocessing
from finetuner.errors import ArtifactError, DataError, UsageError

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs that core can make of text."""

_BLOCK = 4096


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts without padding: ``ids[offsets[i]:offsets[i + 1]]`` is text i.

    ``ids`` int32 and ``types`` (uint8, ``None`` where all are zero) are flat,
    ``offsets`` is int64 of length N + 1.
    """

    ids: np.ndarray
    offsets: np.ndarray
    types: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens in each text, int64."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, length: int, spec: Preprocessing) -> dict[str, np.ndarray]:
        """The inputs of ``spec`` for these rows, each len(rows)×``length``, padded right."""
        lengths = self.lengths[rows]
        if len(rows) and int(lengths.max()) > length:
            raise UsageError(f"a text of {lengths.max()} tokens does not fit the length {length}")
        real = np.arange(length) < lengths[:, None]
        # Row-major order of ``real`` is the order of the flat ids of the rows one by one.
        places = np.repeat(self.offsets[rows], lengths) + (
            np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        )
        made: dict[str, np.ndarray] = {}
        for wanted in spec.inputs:
            values = np.zeros((len(rows), length), dtype=wanted.dtype)
            if wanted.name == "input_ids":
                values.fill(spec.padding_id)
                values[real] = self.ids[places]
            elif wanted.name == "attention_mask":
                values[real] = 1
            elif self.types is not None:
                values[real] = self.types[places]
            made[wanted.name] = values
        return made


def read_tokenizer(file: Path) -> Any:
    """The ``tokenizers.Tokenizer`` of a ``tokenizer.json``. Raises ``ArtifactError``."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"the tokenizer {file} cannot be read: {error}") from error
    # The tokenizers package raises a bare Exception for a malformed file.
    except Exception as error:
        raise ArtifactError(f"{file} is not a tokenizer.json: {error}") from error


class TextTokenizer:
    """Runs a ``tokenizer.json`` with the prefix and length of a preprocessing spec.

    ``max_length`` counts special tokens; ``None`` leaves the truncation that the
    file itself asks for. Raises ``ArtifactError`` for a file that is no tokenizer.
    """

    def __init__(self, spec: Preprocessing, file: Path) -> None:
        self._tokenizer = read_tokenizer(file)
        self._prefix = spec.prefix
        self._types_wanted = any(wanted.name == "token_type_ids" for wanted in spec.inputs)
        self._tokenizer.no_padding()
        if spec.max_length is not None:
            self._truncate(spec.max_length)

    def _truncate(self, length: int) -> None:
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if length <= special:
            raise UsageError(
                f"max_length is {length}, but the tokenizer adds {special} tokens of its own: "
                "give more"
            )
        own = self._tokenizer.truncation or {}
        self._tokenizer.enable_truncation(length, direction=own.get("direction", "right").lower())

    @property
    def limit(self) -> int | None:
        """The most tokens that a text can come to, ``None`` where nothing cuts it."""
        truncation = self._tokenizer.truncation
        return None if truncation is None else int(truncation["max_length"])

    def tokenize(self, texts: Sequence[str] | np.ndarray) -> Tokens:
        """Token ids with the special tokens that the file asks for.

        Raises ``DataError`` naming the row of a text that is not valid Unicode.
        """
        blocks = [
            self._tokenize([self._prefix + text for text in texts[start : start + _BLOCK]], start)
            for start in range(0, max(1, len(texts)), _BLOCK)
        ]
        ids, lengths, types = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return Tokens(ids, offsets, types if types.any() else None)

    def _tokenize(
        self, block: Sequence[str], first_row: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat ids, the length of each text, and flat types (empty where not wanted)."""
        try:
            encodings = self._tokenizer.encode_batch_fast(block) if block else []
        except TypeError as error:
            row = first_row + next(row for row, text in enumerate(block) if not _is_unicode(text))
            raise DataError(f"row {row} holds a text that is not valid Unicode") from error
        lengths = np.asarray([len(encoding) for encoding in encodings], dtype=np.int64)
        ids = _flat((encoding.ids for encoding in encodings), lengths, np.int32)
        if not self._types_wanted:
            return ids, lengths, np.zeros(0, np.uint8)
        return ids, lengths, _flat((e.type_ids for e in encodings), lengths, np.uint8)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _flat(
    rows: Iterable[Sequence[int]], lengths: np.ndarray, dtype: type[np.generic]
) -> np.ndarray:
    return np.fromiter(chain.from_iterable(rows), dtype, int(lengths.sum()))
