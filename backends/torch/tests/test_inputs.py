"""Canonical inputs reach ``forward`` by name, by position or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.errors import ModelError
from finetuner_torch.inputs import input_map, map_inputs, placement, to_tensors, unwrap


def _module(forward: Any) -> nn.Module:
    return type("Net", (nn.Module,), {"forward": forward})()


def test_a_named_input_goes_by_keyword() -> None:
    model = _module(lambda self, input_ids, attention_mask=None: None)

    assert map_inputs(model, {"attention_mask": 2, "input_ids": 1}) == (
        (),
        {"attention_mask": 2, "input_ids": 1},
    )


def test_an_image_goes_to_pixel_values_where_there_is_such_a_parameter() -> None:
    model = _module(lambda self, bool_masked_pos=None, pixel_values=None: None)

    assert map_inputs(model, {"image": 1}) == ((), {"pixel_values": 1})


@pytest.mark.parametrize("name", ["image", "array"])
def test_an_image_or_array_goes_to_the_first_position_otherwise(name: str) -> None:
    assert map_inputs(_module(lambda self, x, scale=1.0: None), {name: 1}) == ((1,), {})
    assert map_inputs(_module(lambda self, *x, **options: None), {name: 1}) == ((1,), {})


def test_token_types_are_left_out_where_the_model_has_no_use_for_them() -> None:
    model = _module(lambda self, input_ids: None)

    assert map_inputs(model, {"input_ids": 1, "token_type_ids": 2}) == ((), {"input_ids": 1})


def test_a_forward_of_keywords_only_takes_every_name() -> None:
    model = _module(lambda self, **inputs: None)

    assert map_inputs(model, {"input_ids": 1, "token_type_ids": 2}) == (
        (),
        {"input_ids": 1, "token_type_ids": 2},
    )


def test_an_input_that_the_model_cannot_take_is_an_error_that_names_its_parameters() -> None:
    model = _module(lambda self, x, lengths=None: None)

    with pytest.raises(ModelError, match=r"'attention_mask'.*x, lengths"):
        input_map(model, ["attention_mask"])


def test_a_second_unnamed_input_is_an_error() -> None:
    with pytest.raises(ModelError, match="'array'"):
        input_map(_module(lambda self, x: None), ["image", "array"])


def test_a_parameter_that_nothing_fills_is_an_error() -> None:
    with pytest.raises(ModelError, match="needs 'lengths'"):
        input_map(_module(lambda self, x, lengths: None), ["array"])


def test_a_torchscript_module_is_asked_for_its_schema() -> None:
    scripted = torch.jit.script(nn.Linear(2, 2))

    assert map_inputs(scripted, {"input": 1}) == ((), {"input": 1})
    assert map_inputs(scripted, {"array": 1}) == ((1,), {})


def test_wrappers_are_looked_through() -> None:
    inner = nn.Linear(2, 2)

    assert unwrap(nn.DataParallel(torch.compile(inner))) is inner
    assert map_inputs(torch.compile(inner), {"array": 1}) == ((1,), {})


def test_floats_take_the_models_precision_and_integers_stay() -> None:
    model = nn.Linear(2, 2).half()

    tensors = to_tensors(model, {"x": np.zeros((1, 2), np.float64), "ids": np.zeros(2, np.int64)})

    assert tensors["x"].dtype == torch.float16
    assert tensors["ids"].dtype == torch.int64


def test_a_model_without_state_runs_on_the_cpu_in_float32() -> None:
    assert placement(nn.ReLU()) == (torch.device("cpu"), torch.float32)
