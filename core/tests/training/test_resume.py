"""A training that was broken off goes on to the same bits."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.callbacks import EarlyStopping
from finetuner.errors import TrainingError, UsageError


def weights(state: Any) -> np.ndarray:
    return np.concatenate([np.ravel(state.parameters[name]) for name in sorted(state.parameters)])


class Killed(BaseException):
    """Stands for a death at this very moment: nothing catches it on the way."""


def dying(backend: Any, at: int) -> Any:
    class Dying(type(backend)):
        def step(self, state: Any, batch: Any, objective: Any) -> Any:
            if state.moments.step == at:
                raise Killed
            return super().step(state, batch, objective)

    return Dying()


@pytest.mark.parametrize("at", [0, 1, 4, 5, 8])
@pytest.mark.parametrize("every", [None, 1, 2])
def test_a_broken_off_training_resumes_to_the_same_weights(problem, tmp_path, at, every):
    whole = problem.trainer(directory=tmp_path / "whole").fit()
    with pytest.raises(Killed):
        problem.trainer(backend=dying(problem.backend, at), checkpoint_every=every).fit()
    resumed = problem.trainer(checkpoint_every=every, resume=True).fit()
    np.testing.assert_array_equal(weights(resumed.state), weights(whole.state))
    assert [replace(r, seconds=0) for r in resumed.history] == [
        replace(r, seconds=0) for r in whole.history
    ]
    assert resumed.examples_seen == whole.examples_seen


def test_the_best_epoch_survives_a_death(problem, tmp_path):
    def evaluate(backend: Any, state: Any) -> dict[str, float]:
        """Best after the first epoch, whoever asks."""
        return {"map@r": {0: 0.1, 3: 0.9, 6: 0.5, 9: 0.6}[state.moments.step]}

    whole = problem.trainer(evaluate=evaluate, directory=tmp_path / "whole").fit()
    with pytest.raises(Killed):
        problem.trainer(evaluate=evaluate, backend=dying(problem.backend, 7)).fit()
    resumed = problem.trainer(evaluate=evaluate, resume=True).fit()
    assert resumed.best_epoch == whole.best_epoch == 1
    np.testing.assert_array_equal(weights(resumed.state), weights(whole.state))


def test_early_stopping_counts_on_over_a_death(problem, tmp_path):
    def evaluate(backend: Any, state: Any) -> dict[str, float]:
        return {"map@r": 1.0 - state.moments.step / 100}

    options = {"evaluate": evaluate, "callbacks": [EarlyStopping(patience=2)], "epochs": 6}
    whole = problem.trainer(directory=tmp_path / "whole", **options).fit()
    with pytest.raises(Killed):
        problem.trainer(backend=dying(problem.backend, 7), **options).fit()
    resumed = problem.trainer(resume=True, **options).fit()
    assert len(whole.history) == len(resumed.history) == 4
    assert resumed.stopped_early == whole.stopped_early


def test_resuming_a_finished_training_gives_its_result_again(problem):
    first = problem.trainer().fit()
    again = problem.trainer(resume=True).fit()
    np.testing.assert_array_equal(weights(first.state), weights(again.state))
    assert again.history == first.history


def test_the_file_of_metrics_has_every_step_once_after_a_resume(problem):
    with pytest.raises(Killed):
        problem.trainer(backend=dying(problem.backend, 5)).fit()
    problem.trainer(resume=True).fit()
    lines = (problem.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 10))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"epochs": 5}, "epochs, steps: epochs was 3 and is 5"),
        ({"digest": "abc"}, "digest was '' and is 'abc'"),
        ({"labels": np.zeros(12, np.int64)}, "labels was"),
    ],
)
def test_resuming_with_another_configuration_is_refused(problem, changes, words):
    problem.trainer().fit()
    with pytest.raises(UsageError, match=words):
        problem.trainer(resume=True, **changes).fit()


def test_a_fresh_training_does_not_write_over_anothers_checkpoints(problem):
    problem.trainer().fit()
    with pytest.raises(UsageError, match="resume=True"):
        problem.trainer().fit()


def test_resume_with_no_checkpoint_begins_at_the_beginning(problem, tmp_path):
    fresh = problem.trainer(resume=True).fit()
    plain = problem.trainer(directory=tmp_path / "plain").fit()
    np.testing.assert_array_equal(weights(fresh.state), weights(plain.state))


def test_a_damaged_progress_file_is_named(problem):
    problem.trainer().fit()
    (problem.directory / "last-00000009-0003" / "progress.json").write_text("{")
    with pytest.raises(TrainingError, match=r"progress\.json is damaged"):
        problem.trainer(resume=True).fit()


def test_only_the_newest_and_the_best_checkpoint_are_kept(problem, scripted):
    problem.trainer(evaluate=scripted([0.1, 0.9, 0.2, 0.3]), checkpoint_every=1).fit()
    kept = sorted(path.name for path in problem.directory.iterdir() if path.is_dir())
    assert kept == ["best-0001", "last-00000009-0003"]


def test_a_half_written_checkpoint_is_passed_over(problem, tmp_path):
    class Fills(type(problem.backend)):
        def save(self, state: Any, directory: Path) -> None:
            super().save(state, directory)
            if state.moments.step == 6:
                raise OSError("no space left on device")

    with pytest.raises(TrainingError, match=r"no space.*last-00000003-0001 is kept.*resume"):
        problem.trainer(backend=Fills()).fit()
    assert [path.name for path in problem.directory.iterdir() if path.is_dir()] == [
        "last-00000003-0001"
    ]
    resumed = problem.trainer(resume=True).fit()
    whole = problem.trainer(directory=tmp_path / "whole").fit()
    np.testing.assert_array_equal(weights(resumed.state), weights(whole.state))


def test_a_checkpoint_that_was_not_renamed_into_place_is_passed_over(problem, tmp_path):
    """A kill while ``progress.json`` is written leaves an empty one beside."""
    whole = problem.trainer(directory=tmp_path / "whole").fit()
    with pytest.raises(Killed):
        problem.trainer(backend=dying(problem.backend, 4)).fit()
    partial = problem.directory / "last-00000004-0001.partial"
    partial.mkdir()
    (partial / "progress.json").touch()
    resumed = problem.trainer(resume=True).fit()
    np.testing.assert_array_equal(weights(resumed.state), weights(whole.state))


SCRIPT = """
    import importlib.util, sys
    from pathlib import Path
    import numpy as np

    spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
    helpers = importlib.util.module_from_spec(spec)
    sys.modules["helpers"] = helpers
    spec.loader.exec_module(helpers)
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    values = rng.normal(size=(12, 3)).astype(np.float32)
    problem = helpers.Problem(
        helpers.ArrayRows(values), labels, helpers.NumpyBackend(), Path(sys.argv[2])
    )

    class Talks:
        def on_step_end(self, event):
            print(event.step, flush=True)

    result = problem.trainer(
        epochs=20, state=problem.state(60), callbacks=[Talks()], checkpoint_every=2, resume=True
    ).fit()
    np.save(Path(sys.argv[2]) / "weights.npy", result.state.parameters["dense.weight"])
"""


def run(directory: Path, kill_after: int | None) -> None:
    """Train in a process of its own, killed without warning after so many steps."""
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(HELPERS), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if kill_after is not None:
            assert process.stdout is not None
            for _ in itertools.islice(process.stdout, kill_after):
                pass
            os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=120)
    assert process.returncode == (0 if kill_after is None else -signal.SIGKILL)


HELPERS = Path(__file__).with_name("conftest.py")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_process_killed_twice_ends_with_the_bits_of_one_that_never_was(tmp_path):
    run(tmp_path / "killed", 7)
    run(tmp_path / "killed", 11)
    run(tmp_path / "killed", None)
    run(tmp_path / "whole", None)
    one, other = (np.load(tmp_path / name / "weights.npy") for name in ("killed", "whole"))
    np.testing.assert_array_equal(one, other)
