"""A fitted scikit-learn model as a chain of steps, with its values and derivatives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from finetuner.errors import ModelError

Arrays = Mapping[str, np.ndarray]
READABLE = (Pipeline, TransformerMixin, MLPClassifier, MLPRegressor)


class Step(NamedTuple):
    """One operation of a layer; ``weights`` names the weight and bias that it reads."""

    layer: str
    operation: str
    weights: tuple[str, ...] = ()


def read(model: Any) -> tuple[tuple[Step, ...], dict[str, np.ndarray]]:
    """The model's steps in order, and its weights by name in float64."""
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise ModelError(f"this {type(model).__name__} is not fitted: call fit first") from error
    steps, weights = [], {}
    for part in (model if isinstance(model, Pipeline) else make_pipeline(model)).steps:
        for layer, operation, weight, bias, activation in _layers(*part):
            names = (f"{layer}.weight", f"{layer}.bias")
            weights |= zip(names, (weight, bias), strict=True)
            steps.append(Step(layer, operation, names))
            if activation != "identity":
                steps.append(Step(layer, activation))
    return tuple(steps), {name: np.array(array, np.float64) for name, array in weights.items()}


def _layers(name: str, part: Any) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, str]]:
    """Layer, operation, weight, bias and activation of everything inside one estimator."""
    if isinstance(part, MLPClassifier | MLPRegressor):
        activations = [part.activation] * (len(part.coefs_) - 1) + [part.out_activation_]
        for number, each in enumerate(zip(part.coefs_, part.intercepts_, activations, strict=True)):
            yield f"{name}.{number}", "linear", *each
    elif part not in (None, "passthrough"):
        yield name, "affine", *_affine(name, part), "identity"


def _affine(name: str, part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a scaler, a PCA and the like, found by running it."""
    try:
        points = np.random.default_rng(0).normal(size=(3, part.n_features_in_))
        bias = part.transform(0 * points[:1])[0]
        weight = part.transform(np.eye(len(points[0]))) - bias
        if np.allclose(part.transform(points), points @ weight + bias):
            return weight, bias
    except (AttributeError, TypeError, ValueError):
        pass  # no transform, or none of any number
    raise ModelError(
        f"{name!r} is a {type(part).__name__}: this backend reads multilayer perceptrons, "
        "and transformers that are affine, as StandardScaler and PCA are"
    )


def _total(x: np.ndarray) -> np.ndarray:
    return np.sum(x, axis=1, keepdims=True)


def _norm(x: np.ndarray) -> np.ndarray:
    return np.maximum(np.sqrt(_total(x**2)), 1e-12)


def _powers(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max(axis=1, keepdims=True))


# By operation: what it computes of x, and its input's gradient, given g, that of its output y.
APPLY = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "softmax": lambda x: _powers(x) / _total(_powers(x)),
    "l2norm": lambda x: x / _norm(x),
}
PULL = {
    "relu": lambda g, x, y: g * (y > 0),
    "tanh": lambda g, x, y: g * (1 - y**2),
    "logistic": lambda g, x, y: g * y * (1 - y),
    "softmax": lambda g, x, y: y * (g - _total(g * y)),
    "l2norm": lambda g, x, y: (g - y * _total(g * y)) / _norm(x),
}


@dataclass(frozen=True)
class Chain:
    """The embedding model: steps in a row, from the input of this name and width."""

    steps: tuple[Step, ...]
    parameters: Arrays
    input: str
    width: int
    frozen: frozenset[str] = frozenset()
    only_evaluated: bool = False

    def trainable(self) -> tuple[str, ...]:
        return tuple(n for n in self.parameters if n.rpartition(".")[0] not in self.frozen)

    def forward(self, parameters: Arrays, inputs: Arrays) -> list[np.ndarray]:
        """The input, then what each step makes of it. ``ModelError`` for another input."""
        x = np.asarray(inputs.get(self.input, ()), np.float64)
        if x.shape[1:] != (self.width,):
            found = {name: np.shape(array) for name, array in inputs.items()}
            raise ModelError(f"the model takes {self.input!r} of B×{self.width}, not {found}")
        values = [x]
        for step in self.steps:
            w = [parameters[name] for name in step.weights]
            values.append(values[-1] @ w[0] + w[1] if w else APPLY[step.operation](values[-1]))
        return values

    def backward(self, parameters: Arrays, values: list[np.ndarray], g: np.ndarray) -> Arrays:
        """Gradients by trainable name, given ``forward``'s values and that of the last one."""
        found: dict[str, np.ndarray] = {}
        for step, (x, y) in zip(reversed(self.steps), reversed([*pairwise(values)]), strict=True):
            if step.weights:
                found |= zip(step.weights, (x.T @ g, g.sum(axis=0)), strict=True)
                g = g @ parameters[step.weights[0]].T
            else:
                g = PULL[step.operation](g, x, y)
        return {name: found[name] for name in self.trainable()}
