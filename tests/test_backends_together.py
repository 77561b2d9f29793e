"""Several backends in one environment: each model finds its own, and brings in no other."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import finetuner
from finetuner.errors import ModelError, UsageError

pytestmark = pytest.mark.skipif(
    find_spec("finetuner_torch") is None or find_spec("finetuner_keras") is None,
    reason="needs finetuner-torch and finetuner-keras",
)

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(24, 6)).astype(np.float32)
LABELS = np.arange(24) % 3

TORCH = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
"""
KERAS = """
import keras
from keras import layers
first = layers.Dense(5, activation="tanh")
model = keras.Sequential([keras.Input((6,)), first, layers.Dense(3)])
"""
FIT = """
import sys
import numpy as np
import finetuner
rows = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
run = finetuner.fit(model, (rows, np.arange(24) % 3), epochs=1, batch_size=12)
print(run.status(), *sorted({"torch", "keras", "tensorflow", "jax"} & set(sys.modules)))
"""


def ran(code, home):
    environment = os.environ | {"FINETUNER_HOME": str(home), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_a_torch_run_imports_neither_keras_nor_what_it_runs_on(home):
    assert ran(TORCH + FIT, home) == ["finished", "torch"]


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_a_keras_run_imports_no_framework_that_keras_alone_does_not(home):
    brought = ran(KERAS + "import sys; print(*{'torch', 'jax'} & set(sys.modules))", home)
    assert ran(KERAS + FIT, home) == ["finished", *sorted({"keras", "tensorflow", *brought})]


def test_a_model_of_one_framework_is_refused_for_the_other():
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")
    with pytest.raises(UsageError, match=r"'keras' cannot use a torch.*give a keras model"):
        finetuner.fit(torch.nn.Linear(6, 3), (ROWS, LABELS), backend="keras")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    with pytest.raises(UsageError, match=r"'torch' cannot use a keras.*give a torch model"):
        finetuner.fit(model, (ROWS, LABELS), backend="torch")


def test_a_torch_module_that_holds_keras_layers_is_refused_by_name():
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")
    if keras.backend.backend() == "torch":
        pytest.skip("Keras layers are modules here")

    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
            self.head = torch.nn.Linear(5, 3)

        def forward(self, array):
            return self.head(self.body(array))

    with pytest.raises(ModelError, match=r"holds a Keras layer \('body'\).*KERAS_BACKEND=torch"):
        finetuner.inspect(Mixed(), (ROWS, LABELS))


def test_rows_may_be_tensors_of_another_framework(home):
    """What trains is the model's framework; data are arrays, wherever they come from."""
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(3)])
    run = finetuner.fit(model, (torch.from_numpy(ROWS), LABELS), epochs=1, batch_size=12)
    assert run.status() == "finished"
