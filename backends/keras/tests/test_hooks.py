from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import finetuner
from finetuner.errors import UsageError
from finetuner.plugins import default_host
from finetuner.runs.resolve import load_model
from finetuner_keras.backend import KerasBackend

FRAMEWORKS = ("tensorflow", "jax", "torch")


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has imported when ``code`` is done."""
    script = f"{code}\nimport sys; print('|'.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True
    )
    return set(done.stdout.strip().splitlines()[-1].split("|"))


def test_the_records_are_there_and_import_nothing_heavy() -> None:
    code = "from finetuner.plugins import default_host as h; h().records('backends')['keras']"
    assert modules_after(code).isdisjoint({"keras", *FRAMEWORKS})


def test_the_backend_imports_no_framework_but_the_one_that_runs_keras() -> None:
    running = keras.backend.backend()
    code = "from finetuner_keras.backend import KerasBackend; KerasBackend()"
    found = modules_after(code)
    assert "keras" in found
    assert found & set(FRAMEWORKS) <= {running} | set(_brought_by_keras())


def _brought_by_keras() -> set[str]:
    """What ``import keras`` alone imports is not this package's doing."""
    return modules_after("import keras") & set(FRAMEWORKS)


def test_a_live_model_is_found_by_what_is_imported() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    backend, loaded = load_model(model, None, {}, default_host())
    assert backend.name == "keras"
    assert loaded.model is model


def test_a_keras_file_means_this_backend_whatever_else_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    assert load_model(str(path), None, {}, default_host())[0].name == "keras"


def test_a_torch_module_is_no_keras_model() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    assert not KerasBackend().recognises(module)
    with pytest.raises(UsageError, match=r"backend 'keras' cannot use a torch"):
        finetuner.inspect(module, backend="keras")


def test_a_keras_model_is_no_torch_module() -> None:
    pytest.importorskip("finetuner_torch")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match=r"backend 'torch' cannot use a keras"):
        finetuner.inspect(model, backend="torch")
