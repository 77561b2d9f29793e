from __future__ import annotations

import inspect

import numpy as np
import pytest

from finetuner.arrays import ARRAY_FUNCTIONS, ArrayNamespace
from finetuner.builtin import numpy_xp


def public_functions(module: object) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_the_namespace_has_exactly_the_allowed_functions() -> None:
    assert public_functions(numpy_xp) == set(ARRAY_FUNCTIONS)
    assert public_functions(ArrayNamespace) == set(ARRAY_FUNCTIONS)


@pytest.mark.parametrize("name", ARRAY_FUNCTIONS)
def test_signatures_are_the_protocols(name: str) -> None:
    protocol = inspect.signature(getattr(ArrayNamespace, name)).parameters
    expected = [(p.name, p.kind, p.default) for p in protocol.values() if p.name != "self"]
    found = inspect.signature(getattr(numpy_xp, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in found] == expected


def test_logsumexp_of_nothing_is_minus_infinity() -> None:
    x = np.array([[-np.inf, -np.inf], [0.0, np.log(2.0)]])
    np.testing.assert_allclose(numpy_xp.logsumexp(x, axis=1), [-np.inf, np.log(3)])


def test_a_permutation_is_inverted() -> None:
    x = np.array([[2, 0, 1], [0, 2, 1]])
    np.testing.assert_array_equal(numpy_xp.invert_permutation(x), [[1, 2, 0], [0, 2, 1]])


@pytest.mark.parametrize(
    ("given", "found"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int64", "float32")],
)
def test_upcast_gives_at_least_float32(given: str, found: str) -> None:
    assert numpy_xp.upcast(np.ones(2, given)).dtype == found


def test_random_numbers_follow_the_key() -> None:
    like = np.zeros(1)
    one, same, other = (numpy_xp.random_uniform(key, (5,), like=like) for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.dtype == np.float32
