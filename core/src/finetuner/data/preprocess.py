"""Run a preprocessing spec: the one path that training and production share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import Inputs, Preprocessing, Step, TransformRecord
from finetuner.data.contents import kind_of
from finetuner.data.encode import Encoded, EncodedRows, EncodedText
from finetuner.data.pipeline import RowPipeline
from finetuner.data.steps import STEPS, SeededTransform, compile_augmentation
from finetuner.data.text import TEXT_INPUTS, TextTokenizer
from finetuner.errors import DataError, UnknownNameError, UsageError

_FORMS = {
    "text": ("string",),
    "image": ("string", "file", "picture", "array"),
    "array": ("array",),
}
_KEPT_BYTES = 256 * 2**20


class Preprocessor:
    """Executes ``spec`` with Pillow, numpy and tokenizers, and nothing else.

    ``files`` maps the file names that the spec mentions to where they lie;
    ``transforms`` are the steps by name (``None``: core's own). Raises
    ``UsageError`` for a spec that cannot be run and ``ArtifactError`` for a
    broken tokenizer file.
    """

    def __init__(
        self,
        spec: Preprocessing,
        files: Mapping[str, Path] | None = None,
        transforms: Mapping[str, TransformRecord] | None = None,
    ) -> None:
        self.spec = spec
        if transforms is None:
            transforms = {record.name: record for record in STEPS}
        self._transforms = transforms
        self._run: TextTokenizer | RowPipeline
        if spec.modality == "text":
            self._run = _open_tokenizer(spec, files or {})
        else:
            self._run = RowPipeline(spec, transforms)

    def encode(
        self,
        contents: Sequence[Any] | np.ndarray,
        *,
        augmentation: Sequence[Step] = (),
        seed: int = 0,
        workers: int = 0,
    ) -> Encoded:
        """The data set made ready: texts tokenised now, images and arrays chunk by chunk.

        ``augmentation`` runs on the decoded image before the spec's steps, and in
        training only; ``workers`` threads decode images. Raises ``DataError``
        naming a row that is not of the model's modality.
        """
        _check_forms(contents, self.spec)
        if isinstance(self._run, TextTokenizer):
            if augmentation:
                raise UsageError("augmentation was given, but there is none for text")
            return EncodedText.build(self._run.tokenize(contents), self.spec, self._run.limit)
        changes = compile_augmentation(augmentation, self._transforms)
        prepare = _RowSource(self._run, contents, changes, seed)
        return EncodedRows(self._run.input.name, len(contents), prepare, workers)

    def batch(self, contents: Sequence[Any] | np.ndarray) -> Inputs:
        """All ``contents`` as one batch, texts padded to the longest among them."""
        _check_forms(contents, self.spec)
        if isinstance(self._run, TextTokenizer):
            tokens = self._run.tokenize(contents)
            length = int(tokens.lengths.max(initial=1))
            return tokens.padded(np.arange(len(tokens)), length, self.spec)
        prepare = _RowSource(self._run, contents)
        wanted = self._run.input
        if not len(contents):
            return {wanted.name: np.zeros([extent or 0 for extent in wanted.shape], wanted.dtype)}
        return {wanted.name: np.stack([prepare(row, None) for row in range(len(contents))])}


class _RowSource:
    """Prepares rows of one data set by number, keeping small pictures in memory.

    What is kept are 8-bit pictures without augmentation, as many as fit in 256 MB.
    """

    def __init__(
        self,
        pipeline: RowPipeline,
        contents: Sequence[Any] | np.ndarray,
        changes: Sequence[SeededTransform] = (),
        seed: int = 0,
    ) -> None:
        self._pipeline, self._contents = pipeline, contents
        self._changes, self._seed = changes, seed
        self._kept: dict[int, Any] = {}

    def __call__(self, row: int, epoch: int | None) -> np.ndarray:
        if epoch is not None and self._changes:
            rng = np.random.default_rng([self._seed, epoch, row])
            picture = self._pipeline.augmented(self._contents[row], self._changes, rng)
        else:
            picture = self._picture(row)
        return self._pipeline.numbers(picture, row)

    def _picture(self, row: int) -> Any:
        if row in self._kept:
            return self._kept[row]
        picture = self._pipeline.picture(self._contents[row])
        if not isinstance(picture, np.ndarray):
            size = picture.width * picture.height * len(picture.getbands())
            if (len(self._kept) + 1) * size <= _KEPT_BYTES:
                self._kept[row] = picture
        return picture


def _open_tokenizer(spec: Preprocessing, files: Mapping[str, Path]) -> TextTokenizer:
    names = [wanted.name for wanted in spec.inputs]
    for name in names:
        if name not in TEXT_INPUTS:
            raise UnknownNameError("text input", name, TEXT_INPUTS)
    if "input_ids" not in names:
        raise UsageError("a preprocessing for text needs the input 'input_ids'")
    if spec.steps:
        raise UsageError(f"the step {spec.steps[0].name!r} was given, but text has no steps")
    if spec.tokenizer is None:
        raise UsageError("a preprocessing for text needs a tokenizer: the path of a tokenizer.json")
    if spec.tokenizer not in files:
        raise UsageError(f"the tokenizer file {spec.tokenizer!r} was not given with the spec")
    if not 0 <= spec.padding_id < 2**31:
        raise UsageError(f"padding_id is {spec.padding_id}: a token's number is expected")
    return TextTokenizer(spec, files[spec.tokenizer])


def _check_forms(contents: Sequence[Any] | np.ndarray, spec: Preprocessing) -> None:
    if isinstance(contents, str | bytes):
        raise UsageError("one piece of content was given: put it in a list")
    if isinstance(contents, np.ndarray) and contents.dtype.kind in "biuf":
        contents = contents[:1]
    for row, content in enumerate(contents):
        kind = kind_of(content)
        if kind is None and spec.modality == "array":
            kind = "array" if np.asarray(content).dtype.kind in "biuf" else None
        if kind not in _FORMS[spec.modality]:
            raise DataError(
                f"row {row} is a {type(content).__name__}, but the model takes {spec.modality}"
            )
