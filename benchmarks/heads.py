"""The head rule against transformers' classifiers: how many trace, and in how many it is right.

Builds every sequence, image and audio classifier of transformers from its default
configuration with few layers and no initial values, traces it and plans it. The
truth is the layer whose weight has as many rows as there are labels, a number that
nothing else in the model has. Not counted is what cannot be built or called so:
classes that miss a setting or a package, and those over a billion parameters.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import transformers
from _harness import Row, report
from torch import nn
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from finetuner.adaptation import make_plan
from finetuner.contracts import PlanOptions
from finetuner.plugins.host import default_host
from finetuner_torch.inputs import map_inputs, to_tensors
from finetuner_torch.trace import trace

LABELS = 13
LARGEST = 1_000_000_000
TASKS = ("SEQUENCE", "IMAGE", "AUDIO")
DEPTHS = (
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers"),
    *("decoder_layers", "num_decoder_layers"),
)
SIZES = {
    "vocab_size": 1000,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 16),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one class; ``problem`` is empty where the head was found."""

    task: str
    name: str
    stage: str
    problem: str = ""
    seconds: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help="model types whose name holds this")
    parser.add_argument("--verbose", action="store_true", help="show those that fail")
    options = parser.parse_args()
    _be_quiet()
    outcomes = []
    for task, kind, name in classes(options.only or ""):
        outcomes.append(outcome := examine(task, kind, name))
        if options.verbose and outcome.problem:
            print(f"{task:8} {name:50} {outcome.stage:6} {outcome.problem}", flush=True)
    return report(_rows(outcomes), json=options.json)


def classes(only: str) -> Iterator[tuple[str, str, str]]:
    """Task, model type and class name of every classifier."""
    for task in TASKS:
        names = getattr(modeling_auto, f"MODEL_FOR_{task}_CLASSIFICATION_MAPPING_NAMES")
        for kind, found in names.items():
            for name in (found,) if isinstance(found, str) else found:
                if only in kind:
                    yield task, kind, name


def examine(task: str, kind: str, name: str) -> Outcome:
    """Build, trace and plan one class, and compare the head."""
    try:
        model = build(kind, getattr(transformers, name))
        expected = heads_of(model)
        sample = sample_for(task, model)
    except Exception as error:
        return Outcome(task, name, "build", _words(error))
    begin = time.perf_counter()
    try:
        graph = trace(model, sample)
    except Exception as error:
        stage = "trace" if _runs(model, sample) else "build"
        return Outcome(task, name, stage, _words(error))
    seconds = time.perf_counter() - begin
    try:
        host = default_host()
        kinds = ("adapters", "poolings", "freezing")
        adapters, poolings, freezing = (
            {n: provided.record for n, provided in host.records(k).items()} for k in kinds
        )
        plan = make_plan(
            graph,
            PlanOptions(),
            adapters=tuple(adapters.values()),
            poolings=poolings,
            freezing=freezing,
        )
    except Exception as error:
        return Outcome(task, name, "plan", _words(error), seconds)
    if set(plan.head) != expected:
        problem = f"planned {plan.head}, expected {sorted(expected)}"
        return Outcome(task, name, "head", problem, seconds)
    return Outcome(task, name, "right", seconds=seconds)


def _runs(model: nn.Module, sample: dict[str, np.ndarray]) -> bool:
    """Whether the model takes the sample at all."""
    args, kwargs = map_inputs(model, to_tensors(model, sample))
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    except Exception:
        return False
    return True


def build(kind: str, model_class: Any) -> nn.Module:
    """The class from its default configuration, as shallow as it allows, weights unset."""
    config_class = CONFIG_MAPPING[kind]
    default = config_class()
    staged = hasattr(default, "depths")
    depths = () if staged else DEPTHS
    shallow = {name: 2 for name in depths if isinstance(getattr(default, name, None), int)}
    small = {name: n for name, n in SIZES.items() if isinstance(getattr(default, name, None), int)}
    for changes in (shallow | small, shallow, small, {}):
        try:
            config = config_class(**changes, num_labels=LABELS)
            if getattr(config.get_text_config(), "pad_token_id", 0) is None:
                config.get_text_config().pad_token_id = 0
            with no_init_weights():
                model = model_class(config)
        except Exception:
            if not changes:
                raise
        else:
            break
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if parameters > LARGEST:
        raise ValueError(f"{parameters:,} parameters are too many to try here")
    return model.eval()


def heads_of(model: nn.Module) -> set[str]:
    """The layers that give one number a label."""
    found = {
        name
        for name, module in model.named_modules()
        if LABELS in getattr(getattr(module, "weight", None), "shape", ())[:2]
        and not isinstance(module, nn.Embedding)
    }
    if not found:
        raise ValueError("no layer gives one number a label")
    return found


def sample_for(task: str, model: nn.Module) -> dict[str, np.ndarray]:
    """Inputs of a plausible shape under their canonical names."""
    if task == "SEQUENCE":
        ids = np.ones((2, 16), np.int64)
        end = getattr(model.config.get_text_config(), "eos_token_id", None)
        ids[:, -1] = end if isinstance(end, int) and end >= 0 else 1
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if task == "IMAGE":
        config = model.config
        size = getattr(getattr(config, "vision_config", config), "image_size", None) or 224
        height, width = (size, size) if isinstance(size, int) else size
        channels = getattr(config, "num_channels", 3) or 3
        return {"image": np.zeros((2, channels, height, width), np.float32)}
    main = model.main_input_name
    if main == "input_values" and hasattr(model.config, "max_length") and _is_spectrogram(model):
        return {main: np.zeros((2, model.config.max_length, model.config.num_mel_bins), np.float32)}
    if main == "input_features":
        bins = (
            getattr(model.config, "num_mel_bins", None) or model.config.feature_projection_input_dim
        )
        shape = (2, bins, 3000) if "Whisper" in type(model).__name__ else (2, 80, bins)
        return {main: np.zeros(shape, np.float32)}
    return {main: np.zeros((2, 16000), np.float32)}


def _is_spectrogram(model: nn.Module) -> bool:
    return hasattr(model.config, "num_mel_bins")


def _rows(outcomes: list[Outcome]) -> list[Row]:
    rows = []
    for task in TASKS:
        built = [o for o in outcomes if o.task == task and o.stage != "build"]
        traced = [o for o in built if o.stage != "trace"]
        right = [o for o in traced if o.stage == "right"]
        label = task.lower()
        if built:
            rows += [
                Row(f"{label} classifiers built", len(built), None, "higher"),
                Row(f"{label} classifiers traced", len(traced), len(built), "higher"),
                Row(f"{label} classifiers with the right head", len(right), len(built), "higher"),
            ]
    seconds = [o.seconds for o in outcomes if o.seconds]
    if seconds:
        rows.append(Row("seconds a trace, median", statistics.median(seconds), 2.0, "lower"))
    return rows


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def _be_quiet() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()


if __name__ == "__main__":
    raise SystemExit(main())
