"""Contents with integer labels: what training and evaluation read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finetuner.contracts.preprocessing import Modality
from finetuner.data.contents import content_bytes
from finetuner.data.lazy import pick
from finetuner.errors import UsageError


@dataclass(frozen=True)
class LabeledDataset:
    """Checked rows.

    ``contents`` holds strings (text); paths, bytes, ``PIL.Image`` or uint8
    arrays (image); or an array N×… (array). They may be read when they are looked
    at (:class:`~finetuner.data.lazy.LazySequence`, ``numpy.memmap``). ``labels`` is
    int64 of length N, an index into ``label_names``, or ``None`` where the data has none.
    ``origins`` names each row in errors, ``skipped`` counts the rows that were
    left out on request.
    """

    contents: Sequence[Any] | np.ndarray
    labels: np.ndarray | None
    label_names: tuple[str, ...]
    modality: Modality
    origins: Sequence[str] = field(default=())
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.contents)

    def origin(self, row: int) -> str:
        """What to call ``row`` in an error message."""
        return self.origins[row] if self.origins else f"row {row}"

    def subset(self, rows: Sequence[int] | np.ndarray) -> LabeledDataset:
        """The rows at these indices, in this order; label numbers and names stay."""
        picked = np.asarray(rows, dtype=np.int64)
        return LabeledDataset(
            contents=pick(self.contents, picked),
            labels=None if self.labels is None else self.labels[picked],
            label_names=self.label_names,
            modality=self.modality,
            origins=[self.origin(int(row)) for row in picked],
            skipped=self.skipped,
        )

    def split(
        self, fraction: float, seed: int, *, least: int = 1
    ) -> tuple[LabeledDataset, LabeledDataset]:
        """Part off about ``fraction`` of each class: (the rest, what was held out).

        A class of ``2 * least`` rows or more keeps at least ``least`` on each side;
        a smaller one stays in the first part. The same seed gives the same split,
        and rows keep their order. Raises ``UsageError`` unless 0 < ``fraction`` < 1.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"a split of {fraction} was asked: give a fraction between 0 and 1")
        if self.labels is None:
            raise UsageError("a dataset without labels cannot be split by class")
        held = _held_out(self.labels, fraction, least, np.random.default_rng(seed))
        return self.subset(np.flatnonzero(~held)), self.subset(np.flatnonzero(held))

    def digest(self) -> str:
        """Hex sha256 of all contents (an image path counts by its file) and label names."""
        total = hashlib.sha256()
        for row, content in enumerate(self.contents):
            kind, data = content_bytes(content, self.modality)
            label = "" if self.labels is None else self.label_names[self.labels[row]]
            for part in (kind.encode(), data, label.encode()):
                # Lengths keep the parts apart: ("ab", "c") is not ("a", "bc").
                total.update(len(part).to_bytes(8, "little"))
                total.update(part)
        return total.hexdigest()


def _held_out(
    labels: np.ndarray, fraction: float, least: int, rng: np.random.Generator
) -> np.ndarray:
    """A mask of the rows to hold out, drawn class by class."""
    classes, sizes = np.unique(labels, return_counts=True)
    held = np.zeros(len(labels), dtype=bool)
    for label, count in zip(classes, _shares(sizes, fraction, least, rng), strict=True):
        rows = np.flatnonzero(labels == label)
        held[rng.permutation(rows)[:count]] = True
    return held


def _shares(sizes: np.ndarray, fraction: float, least: int, rng: np.random.Generator) -> np.ndarray:
    """How many rows each class gives: largest remainders first, ties by lot."""
    wanted = sizes * fraction
    shares = np.floor(wanted).astype(np.int64)
    left = round(float(wanted.sum())) - int(shares.sum())
    lot = rng.permutation(len(sizes))
    by_remainder = lot[np.argsort(-(wanted - shares)[lot], kind="stable")]
    shares[by_remainder[:left]] += 1
    most = np.maximum(sizes - least, least)
    return np.where(sizes >= 2 * least, np.clip(shares, least, most), 0)
