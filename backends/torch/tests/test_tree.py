"""Tensors of nested values come in one fixed order."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import torch

from finetuner_torch.tree import flatten_tensors, named_tensors

A, B, C = torch.zeros(1), torch.zeros(2), torch.zeros(3)


@dataclass
class Result:
    logits: torch.Tensor
    loss: torch.Tensor | None
    states: tuple[torch.Tensor, ...]


def _names(value: object) -> list[str]:
    return [name for name, _ in named_tensors(value)]


def test_a_bare_tensor_is_named_zero() -> None:
    assert _names(A) == ["0"]


def test_tuples_are_named_by_position_and_other_values_are_left_out() -> None:
    assert _names((A, None, [B, 3.0, C])) == ["0", "2.0", "2.2"]


def test_mappings_and_dataclasses_are_named_by_their_keys() -> None:
    assert _names(OrderedDict(b=A, a={"x": B})) == ["b", "a.x"]
    assert _names(Result(A, None, (B, C))) == ["logits", "states.0", "states.1"]


def test_named_tuples_are_tuples() -> None:
    assert _names(namedtuple("Pair", "x y")(A, B)) == ["0", "1"]


def test_arguments_are_flattened_before_keyword_arguments() -> None:
    tensors = flatten_tensors((A, [B]), {"mask": C, "flag": True})

    assert [t.numel() for t in tensors] == [1, 2, 3]


def test_one_tensor_given_twice_counts_twice() -> None:
    assert len(flatten_tensors((A, A))) == 2
