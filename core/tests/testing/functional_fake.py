"""A backend in JAX's manner: pure functions on sealed arrays, frozen records, explicit keys.

It holds the contract to a functional framework's terms: a step takes a state and
gives another; nothing is an object with weights inside. The model is
``tanh(x @ body) @ head``; its trees are plain dictionaries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetuner import contracts as c
from finetuner.builtin import numpy_xp
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.errors import ModelError, UsageError

Tree = dict[str, np.ndarray]
LAYERS = ("body", "head", "projection")


def seal(tree: Any) -> Tree:
    """A copy of the tree whose leaves cannot be written to, as JAX's cannot."""
    leaves = {name: np.array(leaf, np.float64) for name, leaf in tree.items()}
    for leaf in leaves.values():
        leaf.setflags(write=False)
    return leaves


@dataclass(frozen=True)
class FakeModel:
    """The user's model: names of functions to apply, and the weights that they are given."""

    weights: Tree


@dataclass(frozen=True)
class FakeEmbedding:
    layers: tuple[str, ...]
    weights: Tree
    input: str
    normalize: bool
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class FakeState:
    model: FakeEmbedding
    spec: c.OptimizerSpec
    weights: Tree
    learned: Tree
    moments: Moments = field(default_factory=Moments)
    key: tuple[int, int] = (0, 0)


def apply(model: FakeEmbedding, weights: Tree, x: np.ndarray) -> list[np.ndarray]:
    values = [np.asarray(x, np.float64)]
    for layer in model.layers:
        values.append(values[-1] @ weights[f"{layer}.kernel"])
        if layer == "body":
            values.append(np.tanh(values[-1]))
    norm = np.linalg.norm(values[-1], axis=1, keepdims=True) if model.normalize else 1.0
    return [*values, values[-1] / norm]


def vjp(model: FakeEmbedding, weights: Tree, values: list[np.ndarray], g: np.ndarray) -> Tree:
    *values, raw, unit = values
    if model.normalize:
        g = (g - unit * np.sum(unit * g, 1, keepdims=True)) / np.linalg.norm(raw, axis=1)[:, None]
    found: Tree = {}
    for layer in reversed(model.layers):
        if layer == "body":
            g = g * (1 - np.tanh(values.pop()) ** 2)
        found[f"{layer}.kernel"] = values[-1].T @ g
        g, _ = g @ weights[f"{layer}.kernel"].T, values.pop()
    return {name: leaf for name, leaf in found.items() if name.split(".")[0] not in model.frozen}


class FunctionalBackend:
    name = framework = "functional"
    xp = numpy_xp

    def recognises(self, model: object) -> bool:
        return isinstance(model, FakeModel)

    def load(self, source: object, options: Any) -> c.LoadedModel:
        if not isinstance(source, FakeModel):
            raise ModelError(f"not a FakeModel: {source!r}")
        return c.LoadedModel(source, self.name)

    def trace(self, model: FakeModel, sample: c.Inputs) -> c.ModelGraph:
        ((name, x),) = sample.items()
        body, head = model.weights["body.kernel"], model.weights["head.kernel"]
        widths = (x.shape[1], body.shape[1], body.shape[1], head.shape[1])
        holders = tuple(
            c.Layer(n, "Dense", (c.Parameter(f"{n}.kernel", kernel.shape, "float32"),))
            for n, kernel in (("body", body), ("head", head))
        )
        return c.ModelGraph(
            self.framework,
            tuple(c.Tensor(i, (len(x), width), "float32") for i, width in enumerate(widths)),
            (
                c.Operation(0, "dot", "dense", "body", 0, (0,), (1,), ("body.kernel",)),
                c.Operation(1, "tanh", "activation", "", 0, (1,), (2,)),
                c.Operation(2, "dot", "dense", "head", 0, (2,), (3,), ("head.kernel",)),
            ),
            (c.Layer("", "FakeModel"), *holders),
            (
                c.LayerCall("", 0, (0,), (3,), 0, 2),
                c.LayerCall("body", 0, (0,), (1,), 0, 0),
                c.LayerCall("head", 0, (2,), (3,), 2, 2),
            ),
            ((name, 0),),
            (("logits", 3),),
            {"class": "FakeModel", "library": "functional", "version": "", "config": {}},
        )

    def adapt(self, model: FakeModel, plan: c.AdaptationPlan, *, seed: int = 0) -> FakeEmbedding:
        (tap,), headless = plan.taps, plan.head == ("head",)
        known = set(LAYERS[:2])
        width = model.weights["body.kernel" if headless else "head.kernel"].shape[1]
        named = {tap.layer, *plan.freeze.frozen} - {""}
        if plan.framework != self.framework or named - known or plan.width != width:
            raise ModelError("this plan is for another model")
        layers = LAYERS[: 1 if headless else 2]
        weights = {f"{layer}.kernel": model.weights[f"{layer}.kernel"] for layer in layers}
        if plan.output_dim:
            draw = np.random.default_rng(seed).normal(size=(width, plan.output_dim))
            weights["projection.kernel"] = draw.astype(np.float32)
            layers += ("projection",)
        return FakeEmbedding(
            layers, seal(weights), plan.inputs[0], plan.normalize, plan.freeze.frozen
        )

    def init(
        self,
        model: FakeEmbedding,
        optimizer: c.OptimizerSpec,
        *,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        parameters: Any = None,
        dropout: float | None = 0.0,
    ) -> FakeState:
        if device not in ("auto", "cpu") or precision not in ("auto", "float32") or dropout:
            raise UsageError(f"not here: {device}, {precision}, dropout {dropout}")
        if not set(model.layers) - set(model.frozen):
            raise ModelError("nothing would train")
        learned = seal(parameters or {})
        return FakeState(model, optimizer, seal(model.weights), learned, key=(seed, 0))

    def step(
        self, state: FakeState, batch: c.Batch, objective: c.Objective
    ) -> tuple[FakeState, dict[str, float]]:
        x = np.concatenate([next(iter(chunk.values())) for chunk in batch.chunks])
        values = apply(state.model, state.weights, x)
        found = loss_gradients(objective, values[-1], batch.labels, state.learned, batch.key)
        gradients = vjp(state.model, state.weights, values, found.embeddings)
        clipped, norm = clip({**gradients, **found.parameters}, state.spec.clip_norm)
        rate = state.spec.learning_rate * state.spec.schedule.factor(state.moments.step)
        scalars = {**found.scalars, "loss": found.loss, "grad_norm": norm, "learning_rate": rate}
        if not np.isfinite(found.loss + norm):
            return state, scalars | {"loss": float("nan")}
        new, moments = update(state.spec, state.weights | state.learned, clipped, state.moments)
        weights, learned = ({n: new[n] for n in tree} for tree in (state.weights, state.learned))
        key = (state.key[0], state.key[1] + 1)
        return replace(
            state, weights=seal(weights), learned=seal(learned), moments=moments, key=key
        ), scalars

    def embed(self, state: FakeState, inputs: c.Inputs) -> np.ndarray:
        if set(inputs) != {state.model.input}:
            raise ModelError(f"the input is {state.model.input!r}, not {sorted(inputs)}")
        (x,) = inputs.values()
        return apply(state.model, state.weights, x)[-1].astype(np.float32)

    def pullback(self, state: FakeState, inputs: c.Inputs, embedding_gradients: Any) -> Tree:
        (x,) = inputs.values()
        values = apply(state.model, state.weights, x)
        return vjp(state.model, state.weights, values, np.asarray(embedding_gradients, np.float64))

    def split(self, model: FakeEmbedding, at: str) -> Any:
        raise ModelError(f"the functional fake cannot be cut at {at!r}")

    def save(self, state: FakeState, directory: Path) -> None:
        trees = {"w": state.weights, "l": state.learned}
        trees |= {"m": dict(state.moments.first), "v": dict(state.moments.second)}
        np.savez(
            directory / "t.npz", **{f"{k}/{n}": a for k, t in trees.items() for n, a in t.items()}
        )
        counts = {"step": state.moments.step, "key": state.key}
        (directory / "counts.json").write_text(json.dumps(counts))

    def restore(self, state: FakeState, directory: Path) -> FakeState:
        trees: dict[str, Tree] = {"w": {}, "l": {}, "m": {}, "v": {}}
        with np.load(directory / "t.npz") as saved:
            for name in saved.files:
                trees[name[0]][name[2:]] = saved[name]
        if {n: a.shape for n, a in trees["w"].items()} != {
            n: a.shape for n, a in state.weights.items()
        }:
            raise ModelError("the checkpoint is of another model")
        counts = json.loads((directory / "counts.json").read_text())
        moments = Moments(counts["step"], trees["m"], trees["v"])
        weights, learned = seal(trees["w"]), seal(trees["l"])
        return replace(
            state, weights=weights, learned=learned, moments=moments, key=tuple(counts["key"])
        )

    def save_weights(self, state: FakeState, directory: Path) -> str:
        np.savez(directory / "weights.npz", **state.weights)
        return "weights.npz"

    def export(self, state: FakeState, path: Path, inputs: Any, sample: c.Inputs) -> None:
        raise ModelError("the functional fake does not export")

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def precisions(self, device: str) -> tuple[str, ...]:
        return ("float32",)
