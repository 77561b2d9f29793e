"""The model of the numpy backend: dense layers in a row, with their derivative by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from finetuner.builtin.chains import ChainStep, chain_graph
from finetuner.contracts import ModelGraph, Parameter
from finetuner.errors import ModelError

Arrays = Mapping[str, np.ndarray]
SMALLEST_NORM = 1e-12
"""Vectors shorter than this are divided by it, as ``torch.nn.functional.normalize`` does."""


@dataclass(frozen=True)
class LinearModel:
    """``x @ weight + bias``, then with a ``head`` the softmax of ``… @ head``.

    ``weight`` is in×hidden, ``bias`` hidden, ``head`` hidden×classes; anything
    that numpy can read as float32.
    """

    weight: np.ndarray
    bias: np.ndarray
    head: np.ndarray | None = None

    def parameters(self) -> dict[str, np.ndarray]:
        """Float32 arrays by parameter name. ``ModelError`` where the shapes do not fit."""
        weight, bias = np.asarray(self.weight, np.float32), np.asarray(self.bias, np.float32)
        if weight.ndim != 2 or bias.shape != weight.shape[1:]:
            raise ModelError(
                f"a LinearModel needs weight in×hidden and bias hidden, not {weight.shape} "
                f"and {bias.shape}"
            )
        found = {"dense.weight": weight, "dense.bias": bias}
        if self.head is not None:
            found["head.weight"] = np.asarray(self.head, np.float32)
            if found["head.weight"].ndim != 2 or len(found["head.weight"]) != len(bias):
                raise ModelError(
                    f"the head of a LinearModel must be {len(bias)}×classes, "
                    f"not {found['head.weight'].shape}"
                )
        return found

    def layers(self) -> tuple[str, ...]:
        """Names of its layers in dataflow order."""
        return ("dense",) if self.head is None else ("dense", "head", "softmax")


@dataclass(frozen=True)
class LinearEmbedding:
    """Layers applied in a row to the input named ``input``, L2-normalised if ``normalize``.

    ``parameters`` are float64, by full name; ``layers`` are names with a
    ``.weight`` and perhaps a ``.bias``, or ``"softmax"``; ``frozen`` names layers.
    ``only_evaluated`` marks a split-off prefix, which need not have anything to train.
    """

    parameters: Arrays
    layers: tuple[str, ...]
    input: str
    normalize: bool
    frozen: frozenset[str] = frozenset()
    only_evaluated: bool = False

    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that training may change."""
        return tuple(n for n in self.parameters if n.rsplit(".", 1)[0] not in self.frozen)

    def check(self, inputs: Arrays) -> np.ndarray:
        """The input as float64, B×in. ``ModelError`` if it is missing or another shape."""
        if self.input not in inputs:
            raise ModelError(f"the model takes the input {self.input!r}, not {sorted(inputs)}")
        values = np.asarray(inputs[self.input], np.float64)
        width = len(self.parameters[f"{self.layers[0]}.weight"]) if self.layers else None
        if values.ndim != 2 or width not in (None, values.shape[1]):
            raise ModelError(
                f"the model takes {self.input!r} of shape (batch, {width}), not {values.shape}"
            )
        return values

    def forward(self, parameters: Arrays, inputs: Arrays) -> list[np.ndarray]:
        """The values at every point: the input, each layer's output, the embedding last."""
        values = [self.check(inputs)]
        for layer in self.layers:
            if layer == "softmax":
                exponentials = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
                values.append(exponentials / exponentials.sum(axis=1, keepdims=True))
            else:
                bias = parameters.get(f"{layer}.bias", 0.0)
                values.append(values[-1] @ parameters[f"{layer}.weight"] + bias)
        norms = np.linalg.norm(values[-1], axis=1, keepdims=True)
        values.append(
            values[-1] / np.maximum(norms, SMALLEST_NORM) if self.normalize else values[-1]
        )
        return values

    def backward(
        self, parameters: Arrays, values: list[np.ndarray], gradient: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Gradients by parameter name, given those of the embedding and ``forward``'s values."""
        found: dict[str, np.ndarray] = {}
        if self.normalize:
            unit, raw = values[-1], values[-2]
            norms = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), SMALLEST_NORM)
            gradient = (gradient - unit * np.sum(unit * gradient, axis=1, keepdims=True)) / norms
        steps = list(zip(self.layers, pairwise(values[:-1]), strict=True))
        for layer, (before, after) in reversed(steps):
            if layer == "softmax":
                gradient = after * (gradient - np.sum(gradient * after, axis=1, keepdims=True))
                continue
            found[f"{layer}.weight"] = before.T @ gradient
            if f"{layer}.bias" in parameters:
                found[f"{layer}.bias"] = gradient.sum(axis=0)
            gradient = gradient @ parameters[f"{layer}.weight"].T
        return {name: found[name] for name in self.trainable()}


def graph(model: LinearModel, name: str, rows: int) -> ModelGraph:
    """The dataflow of one call on ``rows`` rows of the input called ``name``."""
    parameters = model.parameters()
    steps, widths = [], [len(parameters["dense.weight"])]
    for layer in model.layers():
        held = tuple(
            Parameter(key, value.shape, "float32")
            for key, value in parameters.items()
            if key.startswith(f"{layer}.")
        )
        softmax = layer == "softmax"
        steps.append(
            ChainStep(layer, "Softmax", "softmax", "softmax")
            if softmax
            else ChainStep(layer, "Linear", "linear", "dense", held)
        )
        widths.append(widths[-1] if softmax else held[0].shape[1])
    return chain_graph(
        "numpy",
        steps,
        [(rows, width) for width in widths],
        input=name,
        output="probabilities" if model.head is not None else "output",
        facts={"class": "LinearModel", "library": "finetuner", "version": "", "config": {}},
    )
