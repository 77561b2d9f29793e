"""The reference backend: a linear model in numpy, small enough to be checked by eye.

It is the oracle that other backends are compared with and lets the engine run
with no framework installed. Everything is float64 inside and float32 at the
border; every function leaves the state that it was given as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.builtin.chains import check_chain_plan, steps_before
from finetuner.builtin.numpy_export import write_onnx
from finetuner.builtin.numpy_model import LinearEmbedding, LinearModel, graph
from finetuner.builtin.numpy_training import NumpyState, NumpyTraining, fresh_projection
from finetuner.contracts import (
    AdaptationPlan,
    Inputs,
    InputSpec,
    LoadedModel,
    ModelGraph,
)
from finetuner.errors import ModelError, UnknownNameError


class NumpyBackend(NumpyTraining):
    """Implements ``finetuner.contracts.Backend`` for :class:`LinearModel`."""

    name = "numpy"
    framework = "numpy"

    def recognises(self, model: object) -> bool:
        return isinstance(model, LinearModel)

    def load(self, source: object, options: Mapping[str, Any]) -> LoadedModel:
        """A ``LinearModel``, or the ``.safetensors`` file of one (weight, bias, head).

        There are no options for the model itself: they are the preprocessing's, which
        is inferred from the data and refuses those that it does not know.
        """
        if isinstance(source, LinearModel):
            source.parameters()
            return LoadedModel(source, self.name)
        if not isinstance(source, str | Path) or not str(source).endswith(".safetensors"):
            raise ModelError(
                f"the numpy backend loads a LinearModel or a .safetensors file, not {source!r}"
            )
        return LoadedModel(_read_model(Path(source)), self.name, reference=str(source))

    def trace(self, model: LinearModel, sample: Inputs) -> ModelGraph:
        if len(sample) != 1:
            raise ModelError(f"a LinearModel has one input, the sample has {sorted(sample)}")
        name = next(iter(sample))
        _whole(model, name).check(sample)
        return graph(model, name, len(sample[name]))

    def adapt(self, model: LinearModel, plan: AdaptationPlan, *, seed: int = 0) -> LinearEmbedding:
        check_chain_plan(plan, self.framework, model.layers())
        layers = model.layers()[: steps_before(plan.taps[0], model.layers())]
        source = model.parameters()
        parameters = {
            name: np.array(value, np.float64)
            for name, value in source.items()
            if name.split(".")[0] in layers
        }
        width = next(
            (parameters[f"{n}.weight"].shape[1] for n in reversed(layers) if n != "softmax"),
            len(source["dense.weight"]),
        )
        if width != plan.width:
            raise ModelError(f"the plan's width is {plan.width}, but the model gives {width}")
        if plan.output_dim is not None:
            weight, bias = fresh_projection(width, plan.output_dim, seed)
            parameters |= {"projection.weight": weight, "projection.bias": bias}
            layers += ("projection",)
        frozen = frozenset(plan.freeze.frozen)
        return LinearEmbedding(parameters, layers, plan.inputs[0], plan.normalize, frozen)

    def split(self, model: LinearEmbedding, at: str) -> tuple[LinearEmbedding, LinearEmbedding]:
        if at not in model.layers:
            raise UnknownNameError("layer", at, model.layers)
        cut = model.layers.index(at) + 1
        prefix = replace(model, layers=model.layers[:cut], normalize=False, only_evaluated=True)
        rest = replace(model, layers=model.layers[cut:], input="prefix")
        return tuple(replace(part, parameters=_own(part)) for part in (prefix, rest))  # type: ignore[return-value]

    def export(
        self, state: NumpyState, path: Path, inputs: Sequence[InputSpec], sample: Inputs
    ) -> None:
        """ONNX, opset 18. Needs the package ``onnx``."""
        if [spec.name for spec in inputs] != [state.model.input]:
            raise ModelError(
                f"the model takes the input {state.model.input!r}, "
                f"not {[spec.name for spec in inputs]}"
            )
        state.model.check(sample)
        parameters = {name: state.parameters[name] for name in state.model.parameters}
        write_onnx(replace(state.model, parameters=parameters), path)


def _read_model(path: Path) -> LinearModel:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    if set(arrays) - {"head"} != {"weight", "bias"}:
        raise ModelError(
            f"{path} holds {sorted(arrays)}: a LinearModel is weight, bias and perhaps head"
        )
    model = LinearModel(**arrays)
    model.parameters()
    return model


def _whole(model: LinearModel, name: str) -> LinearEmbedding:
    return LinearEmbedding(model.parameters(), model.layers(), name, normalize=False)


def _own(model: LinearEmbedding) -> dict[str, np.ndarray]:
    return {
        name: value
        for name, value in model.parameters.items()
        if name.rsplit(".", 1)[0] in model.layers
    }
