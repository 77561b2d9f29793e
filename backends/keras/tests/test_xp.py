from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops

from finetuner.arrays import ARRAY_FUNCTIONS, ArrayNamespace
from finetuner.builtin import numpy_xp
from finetuner_keras import engines, xp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5)).astype(np.float32)
Y = RNG.normal(size=(4, 5)).astype(np.float32)
P = RNG.random((4, 5)).astype(np.float32) * 0.9
ORDER = np.argsort(Y, axis=1)

Call = Callable[..., Any]
CALLS: dict[str, tuple[Call, tuple[np.ndarray, ...]]] = {
    "abs": (lambda xp, x: xp.abs(x), (X,)),
    "all": (lambda xp, x: xp.all(x > -1, axis=1), (X,)),
    "any": (lambda xp, x: xp.any(x > 1, axis=0, keepdims=True), (X,)),
    "arange": (lambda xp, x: xp.arange(7, like=x), (X,)),
    "arccos": (lambda xp, x: xp.arccos(x), (P,)),
    "argmax": (lambda xp, x: xp.argmax(x, axis=1), (X,)),
    "argmin": (lambda xp, x: xp.argmin(x, axis=0), (X,)),
    "argsort": (lambda xp, x: xp.argsort(x, axis=0), (X,)),
    "asarray": (lambda xp, x: xp.asarray([1, 2], like=x, dtype="float32"), (X,)),
    "astype": (lambda xp, x: xp.astype(x, "int64"), (X,)),
    "broadcast_to": (lambda xp, x: xp.broadcast_to(x, (3, 4, 5)), (X,)),
    "clip": (lambda xp, x: xp.clip(x, -0.5, None), (X,)),
    "concat": (lambda xp, x, y: xp.concat([x, y], axis=1), (X, Y)),
    "cos": (lambda xp, x: xp.cos(x), (X,)),
    "cumsum": (lambda xp, x: xp.cumsum(x, axis=1), (X,)),
    "exp": (lambda xp, x: xp.exp(x), (X,)),
    "expand_dims": (lambda xp, x: xp.expand_dims(x, axis=1), (X,)),
    "flip": (lambda xp, x: xp.flip(x, axis=1), (X,)),
    "invert_permutation": (lambda xp, order: xp.invert_permutation(order), (ORDER,)),
    "log": (lambda xp, x: xp.log(x), (P,)),
    "log1p": (lambda xp, x: xp.log1p(x), (P,)),
    "logical_not": (lambda xp, x: xp.logical_not(x > 0), (X,)),
    "logsumexp": (lambda xp, x: xp.logsumexp(x, axis=1, keepdims=True), (X,)),
    "matmul": (lambda xp, x, y: xp.matmul(x, xp.permute_dims(y, (1, 0))), (X, Y)),
    "max": (lambda xp, x: xp.max(x), (X,)),
    "maximum": (lambda xp, x, y: xp.maximum(xp.maximum(x, y), 0.1), (X, Y)),
    "mean": (lambda xp, x: xp.mean(x, axis=0, keepdims=True), (X,)),
    "min": (lambda xp, x: xp.min(x, axis=1), (X,)),
    "minimum": (lambda xp, x, y: xp.minimum(xp.minimum(x, y), 0.1), (X, Y)),
    "ones_like": (lambda xp, x: xp.ones_like(x), (X,)),
    "permute_dims": (lambda xp, x: xp.permute_dims(x, (1, 0)), (X,)),
    "power": (lambda xp, x, y: xp.power(x, y), (P, Y)),
    "random_uniform": (lambda xp, x: xp.random_uniform(3, (2, 3), like=x).shape, (X,)),
    "reshape": (lambda xp, x: xp.reshape(x, (2, 10)), (X,)),
    "sin": (lambda xp, x: xp.sin(x), (X,)),
    "softmax": (lambda xp, x: xp.softmax(x, axis=0), (X,)),
    "sort": (lambda xp, x: xp.sort(x, axis=1), (X,)),
    "sqrt": (lambda xp, x: xp.sqrt(x), (P,)),
    "stack": (lambda xp, x, y: xp.stack([x, y], axis=1), (X, Y)),
    "stop_gradient": (lambda xp, x: xp.stop_gradient(x), (X,)),
    "sum": (lambda xp, x: xp.sum(x), (X,)),
    "take": (lambda xp, x, order: xp.take(x, order[:2, :3], axis=1), (X, ORDER)),
    "take_along_axis": (lambda xp, x, order: xp.take_along_axis(x, order, axis=1), (X, ORDER)),
    "tanh": (lambda xp, x: xp.tanh(x), (X,)),
    "upcast": (lambda xp, x: xp.upcast(xp.astype(x, "float16")), (X,)),
    "where": (lambda xp, x: xp.where(x > 0, x, 0.0), (X,)),
    "zeros_like": (lambda xp, x: xp.zeros_like(x), (X,)),
}


def test_the_namespace_has_exactly_the_allowed_functions() -> None:
    functions = {
        name
        for name, value in vars(xp).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert functions == set(ARRAY_FUNCTIONS) == set(CALLS)


@pytest.mark.parametrize("name", ARRAY_FUNCTIONS)
def test_signatures_are_the_protocols(name: str) -> None:
    protocol = inspect.signature(getattr(ArrayNamespace, name)).parameters
    expected = [(p.name, p.kind, p.default) for p in protocol.values() if p.name != "self"]
    found = inspect.signature(getattr(xp, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in found] == expected


@pytest.mark.parametrize("name", ARRAY_FUNCTIONS)
def test_values_are_numpys(name: str) -> None:
    call, arrays = CALLS[name]
    expected = np.asarray(call(numpy_xp, *arrays))
    found = call(xp, *map(ops.convert_to_tensor, arrays))
    found = np.asarray(found if isinstance(found, tuple) else ops.convert_to_numpy(found))
    assert found.shape == expected.shape
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_argsort_is_stable_and_orders_signs() -> None:
    x = RNG.integers(-3, 4, (50, 40)).astype(np.float32) / 2
    x[:, 7], x[:, 8] = np.inf, -np.inf
    expected = np.argsort(x, axis=1, kind="stable")
    found = ops.convert_to_numpy(xp.argsort(ops.convert_to_tensor(x), axis=1))
    np.testing.assert_array_equal(found, expected)


def test_random_numbers_follow_the_key_compiled_and_not() -> None:
    like = ops.zeros(1)
    draw = lambda key: xp.random_uniform(key, (5,), like=like)  # noqa: E731
    engine = engines.current()
    keys = [engine.to_tensor(np.asarray(key, np.uint32)) for key in (1, 1, 2)]
    one, same, other = (ops.convert_to_numpy(engine.compile(draw)(key)) for key in keys)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one, ops.convert_to_numpy(draw(1)))
    assert not np.array_equal(one, other)


def test_nothing_to_sum_has_no_gradient_and_no_nan() -> None:
    def total(leaves: Any) -> Any:
        return ops.sum(ops.exp(xp.logsumexp(leaves["x"], axis=1))), ()

    x = ops.convert_to_tensor(np.full((2, 3), -np.inf, np.float32))
    (value, _), gradients = engines.current().value_and_gradients(total, {"x": x})
    assert float(value) == 0.0
    assert (ops.convert_to_numpy(gradients["x"]) == 0).all()
