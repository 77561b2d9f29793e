"""The training loop, seen from outside."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.callbacks import EarlyStopping
from finetuner.errors import PluginError, TrainingError, UnknownNameError, UsageError
from finetuner.training import Stop, total_steps


def weights(state: Any) -> np.ndarray:
    return np.concatenate([np.ravel(state.parameters[name]) for name in sorted(state.parameters)])


@dataclass
class Recorder:
    events: list[tuple[str, Any]] = field(default_factory=list)

    def on_train_begin(self, event: Any) -> None:
        self.events.append(("begin", event))

    def on_step_end(self, event: Any) -> None:
        self.events.append(("step", event))

    def on_evaluate(self, event: Any) -> None:
        self.events.append(("evaluate", event))

    def on_epoch_end(self, event: Any) -> None:
        self.events.append(("epoch", event))

    def on_train_end(self, event: Any) -> None:
        self.events.append(("end", event))

    def kinds(self) -> str:
        return " ".join(kind for kind, _ in self.events)


def test_the_loss_falls_and_every_example_is_counted(problem):
    result = problem.trainer(epochs=4, state=problem.state(steps=12)).fit()
    losses = [record.loss for record in result.history]
    assert losses[-1] < losses[0]
    assert result.examples_seen == 4 * 12
    assert [record.step for record in result.history] == [3, 6, 9, 12]
    assert result.best_epoch is None
    assert result.stopped_early is None
    assert result.seconds > 0


def test_it_does_exactly_what_stepping_by_hand_does(problem):
    """Rows in the sampler's order, chunks joined again, keys by the documented function."""
    trainer = problem.trainer()
    result = trainer.fit()
    state, backend = problem.state(), problem.backend
    from finetuner.contracts import Batch
    from finetuner.training import batch_key

    for epoch in range(3):
        for step, rows in enumerate(trainer.sampler.epoch(epoch)):
            chunk = {"array": problem.rows.values[rows]}
            batch = Batch((chunk,), problem.labels[rows], batch_key(0, epoch, step))
            state, _ = backend.step(state, batch, trainer.objective)
    np.testing.assert_array_equal(weights(result.state), weights(state))


def test_labels_follow_the_order_of_the_chunks(problem):
    """Sorting rows by length inside a batch must not part them from their labels."""
    from dataclasses import replace

    seen = []

    class Spy:
        def __init__(self) -> None:
            self.parameters: dict[str, Any] = {}

        def __call__(self, xp, z, labels, parameters, key):
            seen.append(labels.copy())
            return xp.sum(z**2), {}

    lengths = np.arange(12)[::-1].copy()
    rows = replace(problem.rows, lengths=lengths)
    problem.trainer(train=rows, objective=Spy(), labels=np.arange(12), epochs=1).fit()
    for labels in seen:
        assert list(labels) == sorted(labels, reverse=True)


def test_two_trainings_with_one_seed_give_the_same_bits(problem, tmp_path):
    first = problem.trainer(directory=tmp_path / "a").fit()
    second = problem.trainer(directory=tmp_path / "b").fit()
    np.testing.assert_array_equal(weights(first.state), weights(second.state))


def test_observers_hear_everything_in_order(problem, scripted):
    recorder = Recorder()
    trainer = problem.trainer(
        epochs=2, callbacks=[recorder], evaluate=scripted([0.1, 0.5, 0.6]), state=problem.state(6)
    )
    trainer.fit()
    one_epoch = "step step step evaluate epoch"
    assert recorder.kinds() == f"begin evaluate {one_epoch} {one_epoch} end"
    begin = recorder.events[0][1]
    assert (begin.total_steps, begin.examples, begin.step) == (6, 12, 0)
    end = recorder.events[-1][1]
    assert (end.step, end.error, len(end.history)) == (6, None, 3)


def test_an_observer_that_raises_is_logged_and_training_goes_on(problem, caplog):
    class Broken:
        def on_step_end(self, event: Any) -> None:
            raise RuntimeError("tracker is down")

    result = problem.trainer(callbacks=[Broken()]).fit()
    assert len(result.history) == 3
    assert "tracker is down" in caplog.text
    assert "Broken" in caplog.text


def test_the_best_epoch_is_restored(problem, scripted, tmp_path):
    result = problem.trainer(evaluate=scripted([0.1, 0.4, 0.7, 0.5])).fit()
    shorter = problem.trainer(epochs=2, directory=tmp_path / "short").fit()
    assert (result.best_epoch, result.best_metric) == (2, 0.7)
    np.testing.assert_array_equal(weights(result.state), weights(shorter.state))
    assert [record.metrics["map@r"] for record in result.history] == [0.1, 0.4, 0.7, 0.5]


def test_the_result_comes_with_what_was_measured_of_its_state(problem):
    given = [{"map@r": value} for value in (0.4, 0.7, 0.5)]
    scripted = iter(given)
    result = problem.trainer(
        untrained={"map@r": 0.1}, evaluate=lambda backend, state: next(scripted)
    ).fit()

    assert [record.metrics["map@r"] for record in result.history] == [0.1, 0.4, 0.7, 0.5]
    assert result.best_epoch == 2
    assert result.measured is given[1]


def test_of_a_state_that_an_earlier_process_measured_nothing_is_known(problem, scripted):
    problem.trainer(evaluate=scripted([0.1, 0.4, 0.7, 0.5])).fit()
    assert problem.trainer(evaluate=scripted([]), resume=True).fit().measured is None


def test_of_equal_epochs_the_earliest_is_best(problem, scripted):
    assert problem.trainer(evaluate=scripted([0.1, 0.6, 0.6, 0.6])).fit().best_epoch == 1


def test_an_epoch_without_a_finite_metric_is_never_best(problem, scripted):
    result = problem.trainer(evaluate=scripted([0.1, float("nan"), 0.3, 0.2])).fit()
    assert result.best_epoch == 2


def test_a_training_that_only_made_it_worse_says_so(problem, scripted):
    lines: list[str] = []
    result = problem.trainer(evaluate=scripted([0.9, 0.4, 0.5, 0.3]), log=lines.append).fit()
    assert result.best_epoch == 2
    assert any("before training (0.5 against 0.9)" in line for line in lines)


def test_early_stopping_ends_training_and_keeps_the_best(problem, scripted, tmp_path):
    evaluate = scripted([0.1, 0.5, 0.4, 0.45, 0.9])
    trainer = problem.trainer(epochs=9, evaluate=evaluate, callbacks=[EarlyStopping(patience=2)])
    result = trainer.fit()
    assert result.stopped_early == "map@r has not risen above 0.5 for 2 epochs"
    assert [record.epoch for record in result.history] == [0, 1, 2, 3]
    alone = problem.trainer(epochs=1, directory=tmp_path / "one").fit()
    np.testing.assert_array_equal(weights(result.state), weights(alone.state))


def test_an_observer_may_stop_within_an_epoch(problem):
    class Once:
        def on_step_end(self, event: Any) -> Stop | None:
            return Stop("enough") if event.step == 4 else None

    result = problem.trainer(callbacks=[Once()]).fit()
    assert result.stopped_early == "enough"
    assert [(record.epoch, record.step) for record in result.history] == [(1, 3), (2, 4)]
    assert result.examples_seen == 16


def test_a_loss_that_is_not_finite_stops_and_names_the_last_good_checkpoint(problem):
    class Breaks:
        def __init__(self) -> None:
            self.parameters: dict[str, Any] = {}

        def __call__(self, xp, z, labels, parameters, key):
            return xp.sum(z**2) * (np.nan if problem.backend.broken else 1.0), {}

    class Backend(type(problem.backend)):
        broken = False

        def step(self, state, batch, objective):
            self.broken = state.moments.step == 4
            return super().step(state, batch, objective)

    object.__setattr__(problem, "backend", Backend())
    with pytest.raises(TrainingError, match=r"epoch 2, step 5 of 9 is nan at learning rate") as e:
        problem.trainer(objective=Breaks()).fit()
    kept = problem.directory / "last-00000003-0001"
    assert str(kept) in str(e.value)
    assert np.isfinite(weights(problem.backend.restore(problem.state(), kept))).all()


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_finishes_the_step_saves_and_is_raised_again(problem, tmp_path):
    class Presses(type(problem.backend)):
        def step(self, state, batch, objective):
            if state.moments.step == 3:
                signal.raise_signal(signal.SIGINT)
            return super().step(state, batch, objective)

    with pytest.raises(KeyboardInterrupt):
        problem.trainer(backend=Presses()).fit()
    assert (problem.directory / "last-00000004-0001").is_dir()
    resumed = problem.trainer(resume=True).fit()
    whole = problem.trainer(directory=tmp_path / "whole").fit()
    np.testing.assert_array_equal(weights(resumed.state), weights(whole.state))
    assert resumed.examples_seen == whole.examples_seen


def test_what_fails_in_the_loader_is_raised_and_the_thread_ends(problem):
    import threading

    class Bad(type(problem.rows)):
        def chunks(self, rows, count, *, epoch=None):
            raise OSError("picture.jpg cannot be read")

    with pytest.raises(OSError, match=r"picture\.jpg"):
        problem.trainer(train=Bad(problem.rows.values)).fit()
    assert not [t for t in threading.enumerate() if t.name == "finetuner-loader"]


def test_total_steps_are_the_samplers_over_all_epochs():
    class Growing:
        def steps(self, epoch: int) -> int:
            return epoch + 1

        def epoch(self, epoch: int) -> list[np.ndarray]:
            return []

    assert total_steps(Growing(), 3) == 1 + 2 + 3


@dataclass(frozen=True)
class Fixed:
    batches: tuple[Any, ...]
    announced: int | None = None

    def epoch(self, epoch: int) -> list[np.ndarray]:
        return [np.array(batch) for batch in self.batches]

    def steps(self, epoch: int) -> int:
        return len(self.batches) if self.announced is None else self.announced


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"epochs": 0}, UsageError, "epochs is 0"),
        ({"chunks": 0}, UsageError, "chunks is 0"),
        ({"checkpoint_every": 0}, UsageError, "checkpoint_every is 0"),
        ({"log_every": -1}, UsageError, "log_every is -1"),
        ({"labels": np.zeros(5, np.int64)}, UsageError, "12 rows and 5 labels"),
        ({"sampler": Fixed(())}, UsageError, "yields no batch"),
        ({"sampler": Fixed(([0, 12],))}, PluginError, "there are 12"),
        ({"sampler": Fixed(([0, 1],), announced=2)}, PluginError, "announced 2 batches"),
        ({"callbacks": [EarlyStopping()]}, UsageError, "EarlyStopping needs validation"),
    ],
)
def test_what_cannot_train_is_refused_before_the_first_step(problem, changes, error, words):
    with pytest.raises(error, match=words):
        problem.trainer(**changes).fit()


@pytest.mark.parametrize(
    "changes",
    [{"monitor": "map@s"}, {"callbacks": [EarlyStopping(metric="map@rr")]}],
)
def test_a_metric_that_nobody_measures_is_an_error_before_training(problem, scripted, changes):
    with pytest.raises(UnknownNameError, match=r"did you mean 'map@r'"):
        problem.trainer(evaluate=scripted([0.1]), **changes).fit()
    assert not list(problem.directory.glob("last-*"))


def test_metrics_are_written_as_json_lines(problem, scripted):
    problem.trainer(evaluate=scripted([0.1, 0.2, 0.3, 0.4])).fit()
    lines = [json.loads(x) for x in (problem.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, 10))
    assert [line["map@r"] for line in lines if line["event"] == "evaluate"] == [0.1, 0.2, 0.3, 0.4]
    assert {"loss", "grad_norm", "learning_rate"} <= lines[1].keys()


def test_the_log_has_a_line_every_few_steps(problem, scripted):
    lines: list[str] = []
    problem.trainer(log=lines.append, log_every=2, evaluate=scripted([0.1, 0.2, 0.3, 0.4])).fit()
    steps = [line.split(" loss ")[0] for line in lines if " step " in line]
    assert steps == [
        "epoch 1 step 2/9",
        "epoch 2 step 4/9",
        "epoch 2 step 6/9",
        "epoch 3 step 8/9",
        "epoch 3 step 9/9",
    ]
    assert all("examples/s" in line for line in lines if " step " in line)
    assert lines[0] == "before training: map@r 0.1"


def test_the_bar_shows_only_where_it_is_asked_for_or_on_a_terminal(problem, tmp_path, capsys):
    problem.trainer(progress=True).fit()
    assert capsys.readouterr().err == ""
    problem.trainer(progress="always", directory=tmp_path / "bar").fit()
    shown = capsys.readouterr().err
    assert "epoch" in shown
    assert "examples/s" in shown
