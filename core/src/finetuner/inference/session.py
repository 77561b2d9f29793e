"""Opening ONNX files in onnxruntime, and what a bundle's model must look like there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuner.contracts import InputSpec
from finetuner.errors import ArtifactError, MissingDependencyError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np

Session = Any
"""An ``onnxruntime.InferenceSession``."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

_TYPES = {
    "bool": "tensor(bool)",
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
    "uint8": "tensor(uint8)",
}
"""onnxruntime's words for numpy's dtypes."""


def open_session(
    path: Path, providers: Sequence[str] | None = None, threads: int | None = None
) -> Session:
    """A session for the model at ``path``.

    ``providers`` are onnxruntime's names, first choice first; each of them must
    be granted. ``None`` takes CUDA where there is one, else the CPU. ``threads``
    is the number that one operation may use (``None``: onnxruntime decides).

    Raises ``MissingDependencyError`` without onnxruntime, ``UnknownNameError``
    for a provider that it was built without, ``UsageError`` for one that it does
    not grant, ``ArtifactError`` for a file that it cannot load.
    """
    if isinstance(providers, str):
        raise UsageError(f"providers is {providers!r}: give a list of names")
    runtime = _onnxruntime()
    available = runtime.get_available_providers()
    for provider in providers or ():
        if provider not in available:
            hint = "; the GPU's come with finetuner-core[gpu]"
            raise UnknownNameError("onnxruntime provider", provider, available, hint)
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; it must be at least 1")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3  # errors; those that matter are raised
    chosen = list(providers or [name for name in (CUDA, CPU) if name in available])
    try:
        session = runtime.InferenceSession(str(path), options, providers=chosen)
    # onnxruntime raises a dozen classes that share no base of their own.
    except Exception as error:
        raise ArtifactError(f"onnxruntime cannot load {path}: {error}") from error
    _check_granted(session, providers or ())
    return session


def signature_problem(
    session: Session, inputs: Sequence[InputSpec], output: str, width: int
) -> str | None:
    """What is wrong with the model's inputs and output, in words; ``None`` if nothing is."""
    found = {value.name: value for value in session.get_inputs()}
    wanted = {spec.name: spec for spec in inputs}
    if found.keys() != wanted.keys():
        return f"its inputs are {sorted(found)}, they must be {sorted(wanted)}"
    for name, spec in wanted.items():
        if _TYPES.get(spec.dtype) != found[name].type:
            return f"its input {name!r} is a {found[name].type}, it must be {spec.dtype}"
    outputs = session.get_outputs()
    names = [value.name for value in outputs]
    if names != [output]:
        return f"its outputs are {names}, the only one must be {output!r}"
    if outputs[0].type != _TYPES["float32"]:
        return f"its output is a {outputs[0].type}, it must be float32"
    shape = outputs[0].shape
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != width):
        return f"its output has the shape {shape}, it must be [batch, {width}]"
    return None


def run_session(session: Session, output: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The one output for one batch of inputs. Lets onnxruntime's errors through."""
    vectors: np.ndarray = session.run([output], dict(inputs))[0]
    return vectors


def describe_shapes(inputs: Mapping[str, np.ndarray]) -> str:
    """Names and shapes for messages: ``input_ids 3×7``."""
    return ", ".join(f"{name} {'×'.join(map(str, value.shape))}" for name, value in inputs.items())


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "onnxruntime is not installed: pip install 'finetuner-core[cpu]', or, for an "
            "NVIDIA GPU, pip install 'finetuner-core[gpu]' (never both)"
        ) from error
    return onnxruntime


def _check_granted(session: Session, asked: Sequence[str]) -> None:
    # onnxruntime falls back to the CPU without a word.
    granted = session.get_providers()
    if missing := [provider for provider in asked if provider not in granted]:
        raise UsageError(
            f"onnxruntime did not grant {missing[0]}, it would run on {', '.join(granted)}: "
            "check the device and its driver, or do not ask for it"
        )
