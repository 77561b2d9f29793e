"""The example plugins pass their own tests: here, and in a clean environment beside core alone."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "examples" / "plugins"
NAMES = ("finetuner-extras", "finetuner-sklearn")
LINES = 300
"""What a small backend may take, blank lines apart."""


def run(*command, **environment):
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


def register(name, site):
    """Stand in for an installation: the metadata in ``site`` by which core finds the plugin."""
    project = tomllib.loads((PLUGINS / name / "pyproject.toml").read_text())["project"]
    metadata = [f"Name: {name}", f"Version: {project['version']}"]
    metadata += [f"Requires-Dist: {needed}" for needed in project["dependencies"]]
    (entry,) = project["entry-points"]["finetuner"].items()
    directory = site / f"{name.replace('-', '_')}-{project['version']}.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *metadata, ""]))
    (directory / "entry_points.txt").write_text(f"[finetuner]\n{entry[0]} = {entry[1]}\n")


@pytest.fixture
def path(tmp_path):
    """A ``PYTHONPATH`` on which both plugins are as good as installed."""
    for name in NAMES:
        register(name, tmp_path)
    return os.pathsep.join([str(tmp_path), *(str(PLUGINS / name / "src") for name in NAMES)])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_plugin_passes_its_tests(name, path):
    pytest.importorskip("sklearn")
    pytest.importorskip("onnx")
    out = run(sys.executable, "-m", "pytest", "-q", PLUGINS / name, PYTHONPATH=path)
    assert " passed" in out


def test_the_example_backend_is_small():
    sources = (PLUGINS / "finetuner-sklearn").rglob("*.py")
    lines = [line for source in sources for line in source.read_text().splitlines()]
    assert sum(bool(line.strip()) for line in lines) < LINES


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_plugins_need_core_alone(tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin" / "python"
    sources = [f"{ROOT / 'core'}[cpu]", *(f"{PLUGINS / name}[test]" for name in NAMES)]
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *sources)
    run(python, "-m", "pip", "check")
    listed = run(venv / "bin" / "finetuner", "plugins")
    for provided in ("backends: sklearn", "poolings: lse", "miners: easy-semi-hard"):
        assert provided in listed
    assert "freezing: surgical" in listed
    for name in NAMES:
        out = run(python, "-m", "pytest", "-q", PLUGINS / name)
        assert " passed" in out
    assert "torch" not in run(python, "-m", "pip", "list")
