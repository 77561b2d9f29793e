"""The real dataflow of one call of a module."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from finetuner.contracts.backend import Inputs
from finetuner.contracts.graph import ModelGraph
from finetuner.errors import ModelError
from finetuner_torch.assemble import assemble, layers_of
from finetuner_torch.facts import facts_of
from finetuner_torch.fakes import fake_copy, fake_inputs
from finetuner_torch.inputs import InputMap, input_map, to_tensors, unwrap
from finetuner_torch.isolate import Snapshot, untouched
from finetuner_torch.recorder import Recorder, Recording
from finetuner_torch.tree import named_tensors

PRIMARY = "logits"
"""The output that is the primary one wherever it stands."""

Recorded = tuple[Recording, list[tuple[str, int]], list[tuple[str, int]]]


def trace(model: nn.Module, sample: Inputs) -> ModelGraph:
    """Record which tensor operations one call runs, on what, in which module.

    ``sample`` maps canonical input names to numpy arrays, batch first. A deep copy
    without data is run in evaluation mode; where a model cannot run without data
    (TorchScript, ``.item()``, ``.numpy()``, packed kernels) the model itself is run
    once. Either way it is as it was afterwards: weights, buffers, attributes,
    modes, caches, and the random states. A compiled model is traced as written.

    Raises:
        ModelError: the model cannot take these inputs, fails on them, or gives no tensor.
    """
    model = unwrap(model)
    _refuse_lazy(model)
    _refuse_keras(model)
    mapping = input_map(model, sample)
    tensors = to_tensors(model, sample)
    layers = layers_of(model)
    facts = facts_of(model)
    recording, inputs, outputs = _record(model, mapping, tensors)
    return assemble(recording, layers, inputs, outputs, facts)


def _refuse_lazy(model: nn.Module) -> None:
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ModelError(
            f"{type(model).__name__} has parameters without a shape yet ({', '.join(lazy[:3])}"
            f"{', …' if len(lazy) > 3 else ''}): call it once on a batch, then hand it over"
        )


def _refuse_keras(model: nn.Module) -> None:
    """Keras layers are modules where Keras runs on PyTorch; elsewhere nothing here sees them."""
    layer_class = getattr(sys.modules.get("keras"), "Layer", ())
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, layer_class) and not isinstance(value, nn.Module):
                held = f"{path}.{name}".lstrip(".")
                raise ModelError(
                    f"{type(model).__name__} holds a Keras layer ({held!r}) of a Keras that does "
                    "not run on PyTorch: set KERAS_BACKEND=torch before Keras is imported, or "
                    "build the model of PyTorch modules alone"
                )


def _record(model: nn.Module, mapping: InputMap, tensors: Mapping[str, torch.Tensor]) -> Recorded:
    try:
        with untouched(model, data=False):
            return _record_fake(model, mapping, tensors)
    except ModelError:
        raise
    except Exception as error:
        without_data = error
    try:
        with untouched(model, data=True) as snapshot:
            return _record_real(model, mapping, tensors, snapshot)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_both_causes(model, tensors, without_data, error)) from error


def _record_fake(
    model: nn.Module, mapping: InputMap, tensors: Mapping[str, torch.Tensor]
) -> Recorded:
    copy, mode = fake_copy(model)
    inputs = fake_inputs(mode, dict(tensors))
    recorder = Recorder(copy)
    with torch.inference_mode(), mode:
        return _run(copy.eval(), mapping, inputs, recorder)


def _record_real(
    model: nn.Module,
    mapping: InputMap,
    tensors: Mapping[str, torch.Tensor],
    snapshot: Snapshot,
) -> Recorded:
    recorder = Recorder(model, bridge=True, constants=snapshot.tensors)
    with torch.inference_mode():
        return _run(model.eval(), mapping, tensors, recorder)


def _run(
    model: nn.Module,
    mapping: InputMap,
    tensors: Mapping[str, torch.Tensor],
    recorder: Recorder,
) -> Recorded:
    args, kwargs = mapping.bind(tensors)
    taken = [*mapping.positional, *(name for name, _ in mapping.keywords)]
    inputs = [(name, recorder.value(tensors[name])) for name in tensors if name in taken]
    with recorder, recorder.calls():
        result = model(*args, **kwargs)
    named = [(name, recorder.value(tensor)) for name, tensor in named_tensors(result)]
    if not named:
        raise ModelError(
            f"{type(model).__name__} returned {_described(result)}, which holds no tensor: "
            f"return the embedding or the logits as a tensor, or in a tuple, mapping or dataclass"
        )
    named.sort(key=lambda output: output[0] != PRIMARY)
    return recorder.recording, inputs, named


def _described(result: Any) -> str:
    if result is None:
        return "None"
    if isinstance(result, (list, tuple, dict)) and len(result) == 0:
        return f"an empty {type(result).__name__}"
    return f"a {type(result).__name__}"


def _both_causes(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    without_data: Exception,
    with_data: Exception,
) -> str:
    shapes = ", ".join(f"{n} {tuple(t.shape)} {t.dtype}" for n, t in tensors.items())
    return (
        f"{type(model).__name__} could not be run on a sample ({shapes}). "
        f"With data: {type(with_data).__name__}: {_first_line(with_data)}. "
        f"Without data: {type(without_data).__name__}: {_first_line(without_data)}. "
        f"Check that the model takes inputs of these shapes and types"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300].rstrip(".") or "no message"
