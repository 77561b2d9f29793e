from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from finetuner import contracts
from finetuner.plugins import spec

DESIGNED = {
    "backends": contracts.BackendRecord,
    "backbones": contracts.BackboneRecord,
    "adapters": contracts.AdapterRecord,
    "poolings": contracts.PoolingRecord,
    "freezing": contracts.FreezingRecord,
    "samplers": contracts.SamplerRecord,
    "distances": contracts.DistanceRecord,
    "miners": contracts.MinerRecord,
    "losses": contracts.LossRecord,
    "metrics": contracts.MetricRecord,
    "readers": contracts.ReaderRecord,
    "transforms": contracts.TransformRecord,
    "exporters": contracts.ExporterRecord,
    "stores": contracts.StoreRecord,
    "executors": contracts.ExecutorRecord,
    "callbacks": contracts.CallbackRecord,
    "commands": contracts.CommandRecord,
}


def test_every_designed_kind_has_a_hook_and_no_other_is():
    assert list(DESIGNED) == list(spec.KINDS)


@pytest.mark.parametrize("kind", DESIGNED)
def test_the_annotation_of_a_hook_names_its_record(kind):
    assert spec.record_type(f"finetuner_{kind}") is DESIGNED[kind]


@pytest.mark.parametrize("hook", spec.HOOKS)
def test_every_hook_is_documented_with_its_time_of_call_and_an_example(hook):
    text = inspect.getdoc(getattr(spec, hook)) or ""
    assert "Called " in text
    assert "@hookimpl" in text
    assert DESIGNED[hook.removeprefix("finetuner_")].__name__ in text
    compile(inspect.cleandoc(text.split("::\n", 1)[1]), hook, "exec")


def test_marking_a_hook_imports_nothing_heavy():
    code = (
        "import sys; from finetuner.plugins import hookimpl; "
        "print({'numpy', 'finetuner.plugins.host', 'importlib.metadata'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_host_comes_without_numpy():
    code = "import sys, finetuner.plugins.host; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
