"""Run a part's tests in a clean environment that holds that part and nothing more.

python tests/alone.py core --python python3.11 --python python3.12 --python python3.13
python tests/alone.py core torch keras
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = ("hypothesis", "onnx", "onnxruntime", "pytest", "pytest-timeout")


@dataclass(frozen=True)
class Part:
    """What is installed beside the tests' own needs, which tests run, and what must be missing."""

    install: tuple[str, ...]
    tests: str
    absent: tuple[str, ...]


PARTS = {
    "core": Part(
        ("./core[cpu]", "docarray", "pandas", "polars"),
        "core/tests",
        ("torch", "tensorflow", "keras", "jax"),
    ),
    "torch": Part(
        (
            "./core[cpu]",
            "./backends/torch[text]",
            "docarray",
            "pytorch-metric-learning",
            "scikit-learn",
        ),
        "backends/torch/tests",
        ("tensorflow", "keras", "jax"),
    ),
    "keras": Part(
        ("./core[cpu]", "./backends/keras", "tensorflow_cpu", "tf2onnx"),
        "backends/keras/tests",
        ("torch", "jax"),
    ),
}


def check(name: str, python: str, directory: Path) -> bool:
    """Whether the part installs under ``python``, is consistent and passes its tests."""
    part, venv = PARTS[name], directory / "venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    interpreter = str(venv / "bin" / "python")
    pip = [interpreter, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "install", "--upgrade", "pip>=25.1"], check=True)
    subprocess.run(
        [*pip, "install", "-c", "constraints.txt", *part.install, *TEST], cwd=ROOT, check=True
    )
    consistent = subprocess.run([*pip, "check"]).returncode == 0
    looked_for = f"from importlib.util import find_spec as f; print(*filter(f, {part.absent!r}))"
    present = subprocess.check_output([interpreter, "-c", looked_for], text=True).split()
    if present:
        print(f"{name} is not alone: {present} came with it", flush=True)
    tests = [interpreter, "-m", "pytest", part.tests, "-m", "not slow and not gpu"]
    passed = subprocess.run(tests, cwd=ROOT, env=_environment()).returncode == 0
    return passed and consistent and not present


def runs(python: str) -> bool:
    """Whether ``python`` is here: a version manager's shim may be, and have nothing behind it."""
    return shutil.which(python) is not None and (
        subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--python", action="append", dest="pythons", help="may be given again")
    arguments = parser.parse_args()
    pythons = arguments.pythons or [sys.executable]
    failed, found = [], [python for python in pythons if runs(python)]
    for part in arguments.parts:
        for python in found:
            print(f"== {part} on {python}", flush=True)
            with tempfile.TemporaryDirectory() as directory:
                if not check(part, python, Path(directory)):
                    failed.append(f"{part} on {python}")
    print(f"failed: {failed}, not here: {sorted(set(pythons) - set(found))}")
    return 1 if failed or not found else 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}


if __name__ == "__main__":
    sys.exit(main())
