"""Run core's tests in a clean environment with no training framework, on each Python given.

python tests/core_alone.py python3.11 python3.12 python3.13
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("docarray", "hypothesis", "onnx", "pandas", "polars", "pytest", "pytest-timeout")


def check(python: str, directory: Path) -> bool:
    """Whether core installs, is consistent and passes its tests under ``python``."""
    venv = directory / python
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "pip"), "--quiet"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "install", "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*pip, "install", *constraints, f"{ROOT / 'core'}[cpu]", *NEEDED], check=True)
    consistent = subprocess.run([*pip, "check"]).returncode == 0
    tests = [str(venv / "bin" / "python"), "-m", "pytest", "core/tests", "-m", "not slow"]
    return subprocess.run(tests, cwd=ROOT).returncode == 0 and consistent


def runs(python: str) -> bool:
    """Whether ``python`` is here: a version manager's shim may be, and have nothing behind it."""
    return shutil.which(python) is not None and (
        subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    )


def main(pythons: list[str]) -> int:
    found = [python for python in pythons if runs(python)]
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        for python in found:
            print(f"== {python}", flush=True)
            if not check(python, Path(directory)):
                failed.append(python)
    missing = sorted(set(pythons) - set(found))
    print(f"passed: {sorted(set(found) - set(failed))}, failed: {failed}, not here: {missing}")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["python3"]))
