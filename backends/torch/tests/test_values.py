"""A tensor is known again by itself or by the memory that it shows."""

from __future__ import annotations

import torch

from finetuner_torch.values import Values


def test_a_tensor_and_its_aliases_hold_one_value() -> None:
    values, x = Values(), torch.zeros(3)
    value = values.new(x)

    assert values.find(x) == (value, ())
    assert values.find(x.detach()) == (value, ())
    assert values.find(x.data) == (value, ())
    assert values.find(torch.from_numpy(x.numpy())) == (value, ())


def test_a_tensor_never_met_has_no_value() -> None:
    values = Values()
    values.new(torch.zeros(3))

    assert values.find(torch.zeros(3)) == (None, ())


def test_an_unseen_view_is_made_of_the_whole() -> None:
    values, x = Values(), torch.zeros(2, 3)
    value = values.new(x)

    assert values.find(x[0]) == (None, (value,))


def test_a_write_through_a_view_joins_what_the_whole_holds() -> None:
    values, x = Values(), torch.zeros(4)
    whole = values.new(x)
    part = x[:2]
    values.new(part)

    written = values.write(part.add_(1))

    assert values.find(part) == (written, ())
    assert values.find(x) == (None, (whole, written))


def test_a_value_bound_after_a_write_includes_it() -> None:
    values, x = Values(), torch.zeros(4)
    values.new(x)
    values.write(x.add_(1))

    later = values.new(x[1:])

    assert values.find(x[1:]) == (later, ())


def test_tensors_without_plain_memory_are_known_by_themselves() -> None:
    values, x = Values(), torch.eye(2).to_sparse()
    value = values.new(x)

    assert values.find(x) == (value, ())
    assert values.find(torch.eye(2).to_sparse()) == (None, ())


def test_shapes_and_dtypes_are_kept() -> None:
    values = Values()
    values.new(torch.zeros(2, 3, dtype=torch.float16))

    assert values.meta == [((2, 3), "float16")]
