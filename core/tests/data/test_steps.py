from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetuner.contracts import Step, TransformRecord
from finetuner.data.steps import STEPS, compile_augmentation, compile_steps
from finetuner.errors import UnknownNameError, UsageError

BY_NAME = {record.name: record for record in STEPS}


def test_steps_run_in_order_with_their_options() -> None:
    steps = compile_steps(
        [Step("scale", {"factor": 2.0}), Step("normalize", {"mean": 1, "std": 1})], BY_NAME
    )
    value: Any = np.array([1.0, 2.0])
    for step in steps:
        value = step(value)
    assert value.tolist() == [1.0, 3.0]


def test_a_model_that_takes_bgr_is_centred_by_its_rgb_means_first() -> None:
    steps = compile_steps(
        [Step("normalize", {"mean": [10, 20, 30], "std": 1}), Step("reverse-channels")], BY_NAME
    )
    value: Any = np.array([[[11.0, 22.0, 33.0]]])
    for step in steps:
        value = step(value)
    assert value.tolist() == [[[3.0, 2.0, 1.0]]]


def test_reverse_channels_has_no_options() -> None:
    with pytest.raises(UnknownNameError, match="option of the step 'reverse-channels' 'order'"):
        compile_steps([Step("reverse-channels", {"order": "bgr"})], BY_NAME)


def test_unknown_steps_and_options_are_offered_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"preprocessing step 'resise'.*'resize'"):
        compile_steps([Step("resise")], BY_NAME)
    with pytest.raises(UnknownNameError, match=r"option of the step 'resize' 'sice'.*'size'"):
        compile_steps([Step("resize", {"sice": 3})], BY_NAME)
    with pytest.raises(UsageError, match="'normalize' needs the option 'mean', 'std'"):
        compile_steps([Step("normalize")], BY_NAME)
    with pytest.raises(UsageError, match="option 'rounding' of the step 'center-crop' is 3"):
        compile_steps([Step("center-crop", {"size": 3, "rounding": 3})], BY_NAME)


def test_the_seed_is_no_option() -> None:
    with pytest.raises(UnknownNameError, match="'rng'"):
        compile_augmentation([Step("random-flip", {"rng": 3})], BY_NAME)


def test_a_training_step_is_no_preprocessing() -> None:
    with pytest.raises(UsageError, match="'random-flip' is for training only"):
        compile_steps([Step("random-flip")], BY_NAME)


def test_augmentation_may_hold_steps_that_are_not_random() -> None:
    (double,) = compile_augmentation([Step("scale", {"factor": 2.0})], BY_NAME)
    assert double(np.array([1.0]), rng=np.random.default_rng(0)).tolist() == [2.0]


def test_a_foreign_step_may_take_any_options() -> None:
    def add(value: Any, **options: float) -> Any:
        return value + sum(options.values())

    (step,) = compile_steps([Step("add", {"a": 1, "b": 2})], {"add": TransformRecord("add", add)})
    assert step(1) == 4
