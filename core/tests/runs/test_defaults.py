import re

import pytest

from finetuner.contracts import RunSpec
from finetuner.errors import UnknownNameError
from finetuner.runs.defaults import optimizer_spec, run_name


def spec(**options):
    return RunSpec("r", model="m", train_data="t", **options)


def test_warm_up_is_a_tenth_of_the_steps_unless_said():
    assert optimizer_spec(spec(), 80).schedule.warmup_steps == 8
    assert optimizer_spec(spec(scheduler_options={"warmup": 0.5}), 80).schedule.warmup_steps == 40
    chosen = optimizer_spec(spec(scheduler_options={"warmup_steps": 3, "floor": 0.1}), 80)
    assert (chosen.schedule.warmup_steps, chosen.schedule.floor) == (3, 0.1)
    assert chosen.schedule.total_steps == 80


def test_optimizer_options_reach_the_optimizer():
    chosen = optimizer_spec(
        spec(optimizer_options={"betas": [0.8, 0.9], "clip_norm": None}, learning_rate=1e-3), 10
    )
    assert chosen.betas == (0.8, 0.9)
    assert chosen.clip_norm is None
    assert chosen.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer_options": {"weight_deacy": 0.1}}, "did you mean 'weight_decay'"),
        ({"scheduler_options": {"warmpu": 0.1}}, "did you mean 'warmup'"),
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"scheduler": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_unknown_names_offer_near_ones(options, words):
    with pytest.raises(UnknownNameError, match=words):
        optimizer_spec(spec(**options), 10)


def test_a_made_up_name_says_what_and_when():
    assert re.fullmatch(r"resnet50-\d{8}-\d{6}-[0-9a-f]{4}", run_name("timm/resnet50"))
    assert run_name("///").startswith("run-")
