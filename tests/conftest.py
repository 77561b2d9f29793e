import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory of runs of the test's own."""
    monkeypatch.setenv("FINETUNER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
