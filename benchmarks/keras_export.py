"""MobileNetV2 and ResNet50 from every Keras backend to ONNX: parity, peak memory, seconds.

Each export is a process of its own: Keras, the model with random weights, the export
and core's parity gate, which raises where the file differs from Keras. The peak is
that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _harness import Row, report, seconds

BACKENDS = ("tensorflow", "jax", "torch")
MODELS = ("MobileNetV2", "ResNet50")
SHAPE = (224, 224, 3)
PEAK = {"ResNet50": 2.5}
"""Gigabytes that the process may take; the others' peaks are shown only."""


def measure(name: str) -> dict[str, Any]:
    """Largest difference, seconds of the export alone and peak memory (GB) of this process."""
    import keras

    from finetuner.adaptation import make_plan
    from finetuner.contracts import InputSpec, OptimizerSpec, PlanOptions, Preprocessing
    from finetuner.export import check_parity
    from finetuner.plugins import default_host
    from finetuner_keras.backend import KerasBackend

    host, backend = default_host(), KerasBackend()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    sample = {"image": np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)}
    spec = Preprocessing("image", (InputSpec("image", "float32", (None, *SHAPE)),))
    plan = make_plan(
        backend.trace(model, sample),
        PlanOptions(),
        adapters=(),
        poolings=host.by_name("poolings"),
        freezing=host.by_name("freezing"),
    )
    adapted = backend.adapt(model, plan)
    state = backend.init(adapted, OptimizerSpec(), seed=0, device="cpu", precision="float32")
    first = {"image": sample["image"][:2]}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        spent = seconds(lambda: backend.export(state, path, spec.inputs, first))
        parity = check_parity(path, backend, state, spec, sample, plan.embedding_width)
    # Linux counts in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"difference": parity["largest_difference"], "seconds": spent, "peak": peak}


def measured(name: str, backend: str) -> list[Row]:
    """The rows of one model under one Keras backend, from a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--measure", name],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    title = f"{backend}, {name}"
    return [
        Row(f"{title}: largest difference to Keras", found["difference"], 1e-4, "lower"),
        Row(f"{title}: peak memory (GB)", found["peak"], PEAK.get(name), "lower"),
        Row(f"{title}: seconds of the export", found["seconds"], None, "lower"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend", choices=BACKENDS, help="one of them alone (default: all)")
    parser.add_argument("--measure", choices=MODELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    chosen = [arguments.backend] if arguments.backend else BACKENDS
    rows = [row for backend in chosen for name in MODELS for row in measured(name, backend)]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
