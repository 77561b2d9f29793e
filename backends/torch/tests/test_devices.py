"""Devices and precisions by name."""

from __future__ import annotations

import pytest
import torch

from finetuner.errors import UnknownNameError
from finetuner_torch.devices import devices, precisions, resolve_device, resolve_precision


def test_the_processor_is_always_there_and_last():
    assert devices()[-1] == "cpu"


def test_auto_takes_the_best_device():
    assert str(resolve_device("auto")) == devices()[0]


def test_an_unknown_device_is_named():
    with pytest.raises(UnknownNameError, match="unknown device 'gpu9'"):
        resolve_device("gpu9")


def test_the_processor_trains_in_float32_unless_asked():
    assert precisions("cpu")[0] == "float32"
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) is None
    assert resolve_precision("bfloat16", cpu) is torch.bfloat16


def test_an_unknown_precision_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'bfloat16'"):
        resolve_precision("bflot16", torch.device("cpu"))


@pytest.mark.gpu
def test_a_gpu_comes_first_and_trains_in_half_precision():
    assert devices()[0] == "cuda:0"
    assert resolve_device("cuda") == torch.device("cuda:0")
    assert precisions("cuda")[0] in ("bfloat16", "float16")
