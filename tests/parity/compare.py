"""The same models, weights and batches in PyTorch and under every Keras backend.

``python tests/parity/compare.py`` writes the table of ``docs/parity.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
MODELS = ("cnn", "block")
KERAS_BACKENDS = ("tensorflow", "jax", "torch")
HEAD = """# Parity

The same small models with the same weights trained on the same 50 batches, compared with the
PyTorch backend. Written by `python tests/parity/compare.py`; `tests/test_parity.py` holds losses
and embeddings to 1e-4, and mined triplets and plans to be equal but for layer names.

| model | Keras on | losses differ by | embeddings differ by | triplets | plan |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """How one Keras backend differs from the PyTorch backend."""

    model: str
    keras_backend: str
    losses: float
    embeddings: float
    same_triplets: bool
    same_plan: bool

    def __str__(self) -> str:
        same = {True: "equal", False: "differ"}
        return (
            f"| {self.model} | {self.keras_backend} | {self.losses:.0e} | {self.embeddings:.0e} | "
            f"{same[self.same_triplets]} | {same[self.same_plan]} |"
        )


def trained(framework: str, model: str, keras_backend: str | None = None) -> dict[str, Any]:
    """What ``engine.py`` writes, from a process of its own."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if keras_backend:
        environment["KERAS_BACKEND"] = keras_backend
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "found.json"
        command = [sys.executable, str(HERE / "engine.py"), framework, model, str(output)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        found: dict[str, Any] = json.loads(output.read_text())
        return found


def compare(reference: dict[str, Any], model: str, keras_backend: str) -> Row:
    """One row of the table."""
    found = trained("keras", model, keras_backend)
    losses, embeddings = (
        float(np.abs(np.subtract(found[name], reference[name])).max())
        for name in ("losses", "embeddings")
    )
    same = {name: found[name] == reference[name] for name in ("mined", "plan")}
    return Row(model, keras_backend, losses, embeddings, same["mined"], same["plan"])


def main() -> None:
    """Print the page."""
    print(HEAD, end="")
    for model in MODELS:
        reference = trained("torch", model)
        for keras_backend in KERAS_BACKENDS:
            print(compare(reference, model, keras_backend), flush=True)


if __name__ == "__main__":
    main()
