"""The reference backend: a linear model in numpy, small enough to be checked by eye.

It is the oracle that other backends are compared with and lets the engine run
with no framework installed. Everything is float64 inside and float32 at the
border; every function leaves the state that it was given as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.arrays import ArrayNamespace
from finetuner.builtin import numpy_xp
from finetuner.builtin.numpy_export import write_onnx
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.builtin.numpy_model import (
    LinearEmbedding,
    LinearModel,
    backward,
    forward,
    graph,
)
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.contracts import (
    AdaptationPlan,
    Batch,
    Inputs,
    InputSpec,
    LoadedModel,
    ModelGraph,
    Objective,
    OptimizerSpec,
    Tap,
)
from finetuner.errors import ModelError, UnknownNameError, UsageError

WEIGHTS_FILE = "weights.safetensors"
STATE_FILE = "state.safetensors"
_OBJECTIVE = "objective."


@dataclass(frozen=True)
class NumpyState:
    """All that changes in training. Parameters of the objective are named ``objective.NAME``."""

    model: LinearEmbedding
    optimizer: OptimizerSpec
    parameters: Mapping[str, np.ndarray]
    moments: Moments = field(default_factory=Moments)

    def learned(self) -> dict[str, np.ndarray]:
        """The objective's parameters by the names that it knows."""
        return {
            name.removeprefix(_OBJECTIVE): value
            for name, value in self.parameters.items()
            if name.startswith(_OBJECTIVE)
        }


class NumpyBackend:
    """Implements ``finetuner.contracts.Backend`` for :class:`LinearModel`."""

    name = "numpy"
    framework = "numpy"
    xp: ArrayNamespace = numpy_xp

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
        _refuse_foreign(model, plan)
        layers = model.layers()[: _kept(model.layers(), plan.taps[0])]
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
            parameters |= _projection(width, plan.output_dim, seed)
            layers += ("projection",)
        frozen = frozenset(plan.freeze.frozen)
        return LinearEmbedding(parameters, layers, plan.inputs[0], plan.normalize, frozen)

    def init(
        self,
        model: LinearEmbedding,
        optimizer: OptimizerSpec,
        *,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        parameters: Mapping[str, np.ndarray] | None = None,
        dropout: float | None = 0.0,
    ) -> NumpyState:
        """A fresh state. There is nothing random in it, and no dropout in a linear model."""
        if device not in ("auto", *self.devices()):
            raise UnknownNameError("device", device, self.devices())
        if precision not in ("auto", *self.precisions("cpu")):
            raise UnknownNameError("precision", precision, self.precisions("cpu"))
        if dropout:
            raise UsageError(f"dropout={dropout}: a linear model has no dropout to set")
        learned = {
            f"{_OBJECTIVE}{name}": np.array(value, np.float64)
            for name, value in (parameters or {}).items()
        }
        if not model.trainable() and not learned and not model.only_evaluated:
            raise ModelError("every layer is frozen: nothing would train")
        return NumpyState(model, optimizer, dict(model.parameters) | learned)

    def step(
        self, state: NumpyState, batch: Batch, objective: Objective
    ) -> tuple[NumpyState, dict[str, float]]:
        values = forward(state.model, state.parameters, _joined(batch.chunks))
        found = loss_gradients(objective, values[-1], batch.labels, state.learned(), batch.key)
        gradients = backward(state.model, state.parameters, values, found.embeddings)
        gradients |= {f"{_OBJECTIVE}{name}": g for name, g in found.parameters.items()}
        clipped, norm = clip(gradients, state.optimizer.clip_norm)
        rate = state.optimizer.learning_rate * state.optimizer.schedule.factor(state.moments.step)
        scalars = {"loss": found.loss, "grad_norm": norm, "learning_rate": rate} | found.scalars
        if not math.isfinite(found.loss) or not math.isfinite(norm):
            return state, scalars | {"loss": math.nan}
        parameters, moments = update(state.optimizer, state.parameters, clipped, state.moments)
        return replace(state, parameters=parameters, moments=moments), scalars

    def embed(self, state: NumpyState, inputs: Inputs) -> np.ndarray:
        return forward(state.model, state.parameters, inputs)[-1].astype(np.float32)

    def pullback(
        self, state: NumpyState, inputs: Inputs, embedding_gradients: np.ndarray
    ) -> dict[str, np.ndarray]:
        values = forward(state.model, state.parameters, inputs)
        gradient = np.asarray(embedding_gradients, np.float64)
        found = backward(state.model, state.parameters, values, gradient)
        return {name: value.astype(np.float32) for name, value in found.items()}

    def split(self, model: LinearEmbedding, at: str) -> tuple[LinearEmbedding, LinearEmbedding]:
        if at not in model.layers:
            raise UnknownNameError("layer", at, model.layers)
        cut = model.layers.index(at) + 1
        prefix = replace(model, layers=model.layers[:cut], normalize=False, only_evaluated=True)
        rest = replace(model, layers=model.layers[cut:], input="prefix")
        return tuple(replace(part, parameters=_own(part)) for part in (prefix, rest))  # type: ignore[return-value]

    def save(self, state: NumpyState, directory: Path) -> None:
        _write(_arrays(state), directory / STATE_FILE)

    def restore(self, state: NumpyState, directory: Path) -> NumpyState:
        """The saved state. ``ModelError`` where it is that of another model."""
        from safetensors.numpy import load_file

        saved = load_file(directory / STATE_FILE)
        parameters = {
            name: saved.get(f"parameters/{name}", np.zeros(0)) for name in state.parameters
        }
        for name, value in state.parameters.items():
            if parameters[name].shape != value.shape:
                raise ModelError(
                    f"{directory / STATE_FILE} is of another model: {name!r} is "
                    f"{parameters[name].shape} there and {value.shape} here"
                )
        first, second = (
            {
                name.removeprefix(kind): array
                for name, array in saved.items()
                if name.startswith(kind)
            }
            for kind in ("first/", "second/")
        )
        moments = Moments(int(saved["step"][0]), first, second)
        return replace(state, parameters=parameters, moments=moments)

    def save_weights(self, state: NumpyState, directory: Path) -> str:
        weights = {
            name: np.asarray(state.parameters[name], np.float32, order="C")
            for name in state.model.parameters
        }
        _write(weights, directory / WEIGHTS_FILE)
        return WEIGHTS_FILE

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

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def precisions(self, device: str) -> tuple[str, ...]:
        if device not in self.devices():
            raise UnknownNameError("device", device, self.devices())
        return ("float32",)


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


def _write(arrays: dict[str, np.ndarray], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def _whole(model: LinearModel, name: str) -> LinearEmbedding:
    return LinearEmbedding(model.parameters(), model.layers(), name, normalize=False)


def _refuse_foreign(model: LinearModel, plan: AdaptationPlan) -> None:
    """``ModelError`` for a plan that was made for something else than a linear model."""
    if plan.framework != "numpy":
        raise ModelError(f"this plan is for {plan.framework}, not for the numpy backend")
    if plan.pooling is not None or len(plan.taps) != 1 or len(plan.inputs) != 1:
        raise ModelError("a linear model has one input, one tap and no map to pool")
    freeze = plan.freeze
    if freeze.inject or freeze.groups or freeze.schedule:
        raise ModelError(
            f"freeze={freeze.policy!r}: the numpy backend freezes whole layers for good and "
            "nothing else"
        )
    known = model.layers()
    for layer in (*plan.head, *freeze.frozen, *(tap.layer for tap in plan.taps if tap.layer)):
        if layer not in known:
            raise ModelError(
                f"the plan is of another model: {UnknownNameError('layer', layer, known)}"
            )


def _kept(layers: tuple[str, ...], tap: Tap) -> int:
    """How many layers lie before the tap."""
    if not tap.layer:
        return len(layers) if tap.side == "output" else 0
    return layers.index(tap.layer) + (tap.side == "output")


def _projection(width: int, output_dim: int, seed: int) -> dict[str, np.ndarray]:
    """A new dense layer, uniform in ±1/√width as ``torch.nn.Linear`` begins."""
    draw = np.random.default_rng(seed).uniform(-1, 1, (width + 1, output_dim)) / math.sqrt(width)
    # Rounded to float32, so that what is saved is exactly what training began with.
    draw = draw.astype(np.float32).astype(np.float64)
    return {"projection.weight": draw[:-1], "projection.bias": draw[-1]}


def _joined(chunks: tuple[Inputs, ...]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _own(model: LinearEmbedding) -> dict[str, np.ndarray]:
    return {
        name: value
        for name, value in model.parameters.items()
        if name.rsplit(".", 1)[0] in model.layers
    }


def _arrays(state: NumpyState) -> dict[str, np.ndarray]:
    found = {"step": np.array([state.moments.step])}
    groups = {
        "parameters": state.parameters,
        "first": state.moments.first,
        "second": state.moments.second,
    }
    for kind, arrays in groups.items():
        found |= {f"{kind}/{n}": np.asarray(a, order="C") for n, a in arrays.items()}
    return found
