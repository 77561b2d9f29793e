"""Built wheels in clean environments: what production installs, and what training installs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {
    "finetuner_core": ROOT / "core",
    "finetuner_torch": ROOT / "backends" / "torch",
    "finetuner_keras": ROOT / "backends" / "keras",
    "finetuner_hub": ROOT / "plugins" / "hub",
    "finetuner_objectstore": ROOT / "plugins" / "objectstore",
}

PRODUCTION = """
import importlib.util, sys
import finetuner, numpy as np
model = finetuner.get_model(sys.argv[1])
vectors = finetuner.encode(model, np.load(sys.argv[2]))
np.save(sys.argv[3], vectors)
assert importlib.util.find_spec("torch") is None, "torch is here"
"""


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Every distribution as a wheel, by its name."""
    target = tmp_path_factory.mktemp("wheels")
    for source in DISTRIBUTIONS.values():
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", target, source)
    return {path.name.split("-")[0]: path for path in target.glob("*.whl")}


@pytest.mark.slow
def test_wheels_are_typed_licensed_and_hold_no_tests(wheels):
    assert set(wheels) == set(DISTRIBUTIONS)
    for path in wheels.values():
        names = zipfile.ZipFile(path).namelist()
        assert any(name.endswith("py.typed") for name in names)
        assert any("LICENSE" in name for name in names)
        assert not any("tests/" in name for name in names)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_production_needs_core_and_onnxruntime_alone(wheels, tmp_path):
    torch = pytest.importorskip("torch")
    import numpy as np

    import finetuner

    pick = np.random.default_rng(0)
    labels = np.arange(40) % 4
    points = (pick.normal(size=(4, 6))[labels] + pick.normal(size=(40, 6))).astype("float32")
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    run_ = finetuner.fit(net, (points, labels), epochs=1, batch_size=16, home=tmp_path / "home")
    np.save(tmp_path / "points.npy", points)

    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheels['finetuner_core']}[cpu]")
    run(python, "-m", "pip", "check")
    script = tmp_path / "production.py"
    script.write_text(PRODUCTION)
    arguments = (run_.artifact_id, tmp_path / "points.npy", tmp_path / "vectors.npy")
    run(python, script, *arguments)
    here = finetuner.encode(finetuner.get_model(run_.artifact_id), points)
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), here, atol=1e-6)
