"""``OnnxEmbedder``: contents in, vectors out, as in training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.artifacts import MODEL, verify_bundle
from finetuner.contracts import InputSpec, Manifest, TransformRecord
from finetuner.data import Preprocessor
from finetuner.errors import ArtifactError, DataError, ModelError, UsageError
from finetuner.inference.session import (
    Session,
    describe_shapes,
    open_session,
    run_session,
    signature_problem,
)


class OnnxEmbedder:
    """An embedding model for production: needs finetuner-core and onnxruntime alone.

    It runs the preprocessing that training ran, from the bundle's own files.
    ``session`` is onnxruntime's, ``manifest`` says where the model came from.
    """

    def __init__(self, manifest: Manifest, session: Session, preprocessor: Preprocessor) -> None:
        self.manifest = manifest
        self.session = session
        self._preprocessor = preprocessor

    @classmethod
    def from_bundle(
        cls,
        path: Path | str,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        transforms: Mapping[str, TransformRecord] | None = None,
    ) -> OnnxEmbedder:
        """Load the bundle in directory ``path`` after verifying every byte of it.

        ``providers`` and ``threads`` are onnxruntime's, as in
        :func:`~finetuner.inference.session.open_session`; ``transforms`` are the
        preprocessing steps by name (``None``: those of core).

        Raises ``ArtifactError`` for a bundle that is malformed, was changed or
        holds no ONNX, ``MissingDependencyError`` without onnxruntime.
        """
        directory = Path(path)
        manifest = verify_bundle(directory)
        files = {entry.path: directory / entry.path for entry in manifest.files}
        if MODEL not in files:
            raise ArtifactError(
                f"{directory} holds weights only, since it was made with to_onnx=False: "
                f"make it anew with ONNX to get a model from it"
            )
        session = open_session(files[MODEL], providers, threads)
        problem = signature_problem(
            session, manifest.preprocessing.inputs, manifest.output, manifest.width
        )
        if problem:
            raise ArtifactError(f"{files[MODEL]} does not fit its manifest: {problem}")
        return cls(manifest, session, Preprocessor(manifest.preprocessing, files, transforms))

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The model's inputs after preprocessing."""
        return self.manifest.preprocessing.inputs

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.manifest.width

    @property
    def providers(self) -> tuple[str, ...]:
        """What onnxruntime runs the model on, first choice first."""
        return tuple(self.session.get_providers())

    def encode(self, contents: Any, batch_size: int = 32, progress: bool = False) -> np.ndarray:
        """Float32 vectors N×``width``, one row a content, in the order given.

        ``contents`` are texts, images (paths, bytes, ``PIL.Image``, H×W×C arrays)
        or arrays, as the model was trained on. One text or image alone counts as
        a list of one and gives 1×``width``; no contents give 0×``width``.
        ``progress`` shows a bar. Raises ``DataError`` for a content that cannot
        be read or has no finite vector, ``UsageError`` for a ``batch_size`` below 1.
        """
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise UsageError(f"batch_size is {batch_size!r}; it must be a whole number from 1")
        rows = self._as_rows(contents)
        vectors = np.empty((len(rows), self.width), np.float32)
        if not len(rows):
            return vectors
        encoded = self._preprocessor.encode(rows)
        order = _longest_first(encoded.lengths, len(rows))
        batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        for batch in _track(batches) if progress else batches:
            (inputs,), picked = encoded.chunks(batch, 1)
            vectors[picked] = self._run(inputs)
        _check_finite(vectors)
        return vectors

    def _as_rows(self, contents: Any) -> Sequence[Any] | np.ndarray:
        single = isinstance(contents, (str, bytes, os.PathLike)) or _is_image(contents)
        if self.manifest.preprocessing.modality == "image" and isinstance(contents, np.ndarray):
            single = contents.ndim in (2, 3)
        if single:
            return [contents]
        no_rows = isinstance(contents, Mapping) or _is_scalar(contents)
        if no_rows or not isinstance(contents, Iterable):
            raise UsageError(
                f"contents are of type {type(contents).__name__}: give a list, or one text or image"
            )
        return contents if isinstance(contents, np.ndarray) else list(contents)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            return run_session(self.session, self.manifest.output, inputs)
        # onnxruntime raises a dozen classes that share no base of their own.
        except Exception as error:
            raise ModelError(
                f"onnxruntime could not run the model on {describe_shapes(inputs)}: {error}"
            ) from error


def _is_image(value: object) -> bool:
    """Whether ``value`` is a Pillow image, told without importing Pillow."""
    return hasattr(value, "getbands") and hasattr(value, "convert")


def _is_scalar(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0


def _check_finite(vectors: np.ndarray) -> None:
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise DataError(
            f"the vector of row {int(np.argmin(finite))} is not finite: the row holds a NaN, or "
            "numbers larger than any that the model was trained on"
        )


def _longest_first(lengths: np.ndarray | None, count: int) -> np.ndarray:
    """Rows ordered by length: little padding, and the batch that needs most memory at once."""
    if lengths is None:
        return np.arange(count)
    return np.argsort(-lengths, kind="stable")


def _track(batches: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
    from rich.progress import track

    return track(batches, description="encoding")
