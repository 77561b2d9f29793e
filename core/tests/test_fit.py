"""The whole path with the numpy backend: seen from the outside, with no framework installed."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import finetuner
from finetuner import api
from finetuner.builtin.numpy_model import LinearModel
from finetuner.errors import (
    ArtifactError,
    DataError,
    MissingDependencyError,
    ModelError,
    RunError,
    TrainingError,
    UnknownNameError,
    UsageError,
)
from finetuner.plugins import Host
from finetuner.runs import measure
from finetuner.runs.resolve import backend_record


def blobs(seed=0, classes=4, each=10):
    """Points around class centres in 2 features, beside 4 features of louder noise."""
    pick = np.random.default_rng(seed)
    centres = np.zeros((classes, 6), np.float32)
    centres[:, :2] = 2 * pick.normal(size=(classes, 2))
    labels = np.repeat(np.arange(classes), each)
    points = centres[labels] + pick.normal(size=(len(labels), 6)) * (0.3, 0.3, 2, 2, 2, 2)
    return points.astype(np.float32), labels


def model(seed=0):
    pick = np.random.default_rng(seed)
    return LinearModel(
        weight=pick.normal(scale=0.2, size=(6, 4)).astype(np.float32),
        bias=np.zeros(4, np.float32),
        head=pick.normal(size=(4, 3)).astype(np.float32),
    )


QUICK = {"epochs": 3, "batch_size": 12, "learning_rate": 0.02, "to_onnx": False, "progress": False}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_two_arguments_give_a_better_model_measured_on_rows_held_out(home):
    run = finetuner.fit(model(), blobs(each=30), learning_rate=0.05, batch_size=12)
    metrics = run.metrics()
    assert run.status() == "finished"
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    expected = {"recall@1", "precision@5", "map@r", "r_precision", "mrr", "ndcg@10"}
    assert expected <= set(metrics["after"])
    assert metrics["after"]["queries"] == 12  # a tenth of each class of 30


def test_the_artifact_gives_the_same_vectors_without_the_backend(home):
    points, labels = blobs()
    run = finetuner.fit(model(), (points, labels), eval_data=blobs(1), **QUICK | {"to_onnx": True})
    embedder = finetuner.get_model(run.artifact_id)
    vectors = finetuner.encode(embedder, points)
    assert vectors.shape == (len(points), 4)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    found = finetuner.evaluate(embedder, blobs(1), metrics=["map@r", "recall@1"])
    assert found["map@r"] == pytest.approx(run.metrics()["after"]["map@r"], abs=1e-4)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(home, tmp_path):
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run = finetuner.fit(model(), blobs(), run_name=name, seed=seed, **QUICK)
        path = run.save_artifact(tmp_path / "out")
        weights.append((path / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_the_users_model_is_not_changed(home):
    live = model()
    before = live.weight.copy()
    finetuner.fit(live, blobs(), **QUICK)
    np.testing.assert_array_equal(live.weight, before)


def test_every_argument_is_recorded_and_defaults_are_resolved(home):
    run = finetuner.fit(
        model(), blobs(), run_name="r", description="d", experiment_name="e", seed=5, **QUICK
    )
    assert run.config.name == "r"
    assert (run.config.description, run.config.experiment_name) == ("d", "e")
    assert run.config.loss == "NTXentLoss"
    assert run.config.backend == "numpy"
    assert run.config.seed == 5
    assert [each.name for each in finetuner.list_runs(experiment_name="e")] == ["r"]
    assert finetuner.list_runs(experiment_name="other") == []
    assert finetuner.get_run("r").metrics() == run.metrics()
    finetuner.delete_run("r")
    with pytest.raises(UnknownNameError, match="unknown run 'r'"):
        finetuner.get_run("r")


def test_logs_say_what_was_decided_and_examples_are_kept(home, capsys):
    run = finetuner.fit(model(), blobs(), **QUICK)
    text = run.logs()
    for word in ("data: ", "plan: head", "learning: NTXentLoss", "before: ", "after: ", "pushed"):
        assert word in text
    assert list(run.stream_logs()) == text.splitlines()
    assert run.example_results()
    run.display_metrics()
    run.display_examples()
    assert "map@r" in capsys.readouterr().out.lower()


def test_queries_can_be_measured_against_an_index(home):
    index, queries = blobs(1), blobs(2)
    run = finetuner.fit(model(), blobs(), eval_data={"query": queries, "index": index}, **QUICK)
    assert run.metrics()["after"]["queries"] == len(queries[0])


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"loss": "TripletMarginLos"}, UnknownNameError, "did you mean 'TripletMarginLoss'"),
        ({"miner": "semihard"}, UnknownNameError, "did you mean 'semi-hard'"),
        ({"sampler": "class-balance"}, UnknownNameError, "did you mean 'class-balanced'"),
        ({"pooling": "meen"}, UnknownNameError, "did you mean 'mean'"),
        ({"freeze": "frist:0.5"}, UnknownNameError, "did you mean 'first'"),
        ({"backend": "nunpy"}, UnknownNameError, "did you mean 'numpy'"),
        ({"optimizer": "adam"}, UnknownNameError, "did you mean 'adamw'"),
        ({"scheduler_options": {"warmup": 2}}, UsageError, "warmup is 2: give the share"),
    ],
)
def test_wrong_names_are_found_before_the_data_is_read(home, given, error, words):
    with pytest.raises(error, match=words):
        finetuner.fit(model(), "no-such-data.csv", **QUICK | given)


def test_early_stopping_by_name(home):
    run = finetuner.fit(
        model(),
        blobs(),
        val_split=0.2,
        callbacks=["early-stopping:patience=1"],
        **QUICK | {"epochs": 40},
    )
    assert len(run.result().history) < 41


def test_early_stopping_needs_rows_held_out(home):
    """The data that is reported on chooses nothing."""
    with pytest.raises(UsageError, match="give val_split"):
        finetuner.fit(model(), blobs(), eval_data=blobs(1), callbacks=["early-stopping"], **QUICK)


def test_every_epoch_is_measured_on_eval_data_but_the_last_is_kept(home):
    run = finetuner.fit(model(), blobs(), eval_data=blobs(1), **QUICK)
    history = run.result().history
    assert [record["epoch"] for record in history] == [0, 1, 2, 3]
    assert history[0]["metrics"] == run.metrics()["before"]
    assert history[-1]["metrics"] == run.metrics()["after"]


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, 1 + 3),
        ({"eval_data": blobs(1)}, 1 + 3),
        ({"eval_data": blobs(1), "val_split": 0.2}, (1 + 3) + 2),
    ],
    ids=["a tenth held out", "eval_data alone", "eval_data and val_split"],
)
def test_no_state_is_measured_twice_on_the_same_rows(home, monkeypatch, given, passes):
    seen = []
    embed_all = measure.embed_all

    def counted(backend, state, rows, **options):
        seen.append(rows)
        return embed_all(backend, state, rows, **options)

    monkeypatch.setattr(measure, "embed_all", counted)
    run = finetuner.fit(model(), blobs(each=30), **given, **QUICK)

    assert len(seen) == passes
    metrics, history = run.metrics(), run.result().history
    if "val_split" not in given:
        assert history[0]["metrics"] == metrics["before"]
        assert metrics["after"] in [record["metrics"] for record in history[1:]]


def test_an_observer_that_fails_cannot_kill_the_run(home):
    class Broken:
        def on_step_end(self, event):
            raise RuntimeError("observer")

    assert finetuner.fit(model(), blobs(), callbacks=[Broken()], **QUICK).status() == "finished"


def test_inspect_prints_a_plan_and_changes_nothing(home):
    live = model()
    plan = finetuner.inspect(live, blobs()[0])
    assert plan.head == ("head",)
    assert plan.width == 4
    assert finetuner.inspect(live, model_options={"input_shape": (6,)}) == plan


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"loss": "TripletMarginLos"}, UnknownNameError, "did you mean 'TripletMarginLoss'"),
        ({"loss_options": {"temprature": 1}}, UnknownNameError, "did you mean 'temperature'"),
        ({"loss": "TripletMarginLoss", "miner": "semihard"}, UnknownNameError, "semi-hard"),
        ({"pooling": "maen"}, UnknownNameError, "did you mean 'mean'"),
        ({"pooling": "mean"}, UsageError, "map"),
        ({"freeze": "bakbone"}, UnknownNameError, "did you mean 'backbone'"),
        ({"freeze": "backbone"}, ModelError, "output_dim"),
        ({"backend": "kears"}, UnknownNameError, "backend"),
        ({"executor": "lokal"}, UnknownNameError, "did you mean 'local'"),
        ({"store": "s4://x"}, UnknownNameError, "known"),
        ({"batch_size": 3}, UsageError, "batch_size"),
        ({"epochs": 0}, UsageError, "epochs is 0"),
        ({"val_split": 1.0}, UsageError, "val_split"),
        ({"device": "cdua"}, UnknownNameError, "device"),
        ({"precision": "float61"}, UnknownNameError, "precision"),
        ({"optimizer": "adamv"}, UnknownNameError, "adamw"),
        ({"callbacks": ["early-stoping"]}, UnknownNameError, "early-stopping"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_words(home, change, error, words):
    with pytest.raises(error, match=words):
        finetuner.fit(model(), blobs(), **QUICK | change)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((np.zeros((0, 6), np.float32), []), "empty"),
        ((np.ones((4, 6), np.float32), [1, 1, 1, 1]), "all 4 rows have the label .1."),
        ((np.ones((3, 6), np.float32), [1, 2, 2]), "two"),
        ((np.ones((4, 6), np.float32), [1, 1, None, 2]), "row 2"),
        ((np.ones((4, 6), np.float32), [1, 1, [2], 2]), "row 2"),
    ],
)
def test_data_that_cannot_train_is_refused_with_the_row(home, data, words):
    with pytest.raises(DataError, match=words):
        finetuner.fit(model(), data, **QUICK)


ONE = (blobs(classes=1)[0], ["shoe"] * 10)


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        ((blobs()[0], [0] * 38 + [1] * 2), {}),
        (blobs(), {"eval_data": ONE}),
        (blobs(), {"eval_data": {"query": blobs(), "index": ONE}}),
    ],
    ids=["held out", "leave-one-out", "index"],
)
def test_rows_of_one_label_measure_nothing_and_are_refused(home, rows, given):
    with pytest.raises(
        DataError, match=r"have the label '(0|shoe)', so that every result is right"
    ):
        finetuner.fit(model(), rows, **given, **QUICK)


def test_a_failed_run_says_why_and_keeps_its_log(home):
    with pytest.raises(UnknownNameError):
        finetuner.fit(model(), blobs(), run_name="bad", loss="Nope", **QUICK)
    run = finetuner.get_run("bad")
    assert run.status() == "failed"
    assert "unknown loss 'Nope'" in (run.error() or "")
    assert "failed" in run.logs()
    with pytest.raises(RunError, match="failed: UnknownNameError"):
        run.metrics()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_a_checkpoint(home):
    points, labels = blobs()
    points[5, 3] = np.nan
    with pytest.raises((TrainingError, DataError)):
        finetuner.fit(model(), (points, labels), run_name="nan", eval_data=blobs(1), **QUICK)
    assert finetuner.get_run("nan").status() == "failed"


def test_a_model_of_no_known_framework_is_refused(home):
    with pytest.raises(UsageError, match="no installed backend"):
        finetuner.fit(object(), blobs(), **QUICK)


def test_a_path_that_does_not_exist_is_refused(home):
    with pytest.raises(UnknownNameError, match="neither a path that exists nor a backbone"):
        finetuner.fit("no/such/model", blobs(), **QUICK)


@pytest.mark.parametrize("name", ["keras", "torch"])
def test_a_missing_backend_names_the_package(name):
    with pytest.raises(MissingDependencyError, match=f"pip install finetuner-{name}"):
        backend_record(name, Host.discover([]))


def test_login_without_a_hub_says_so(home):
    with pytest.raises(MissingDependencyError, match="no installed executor has a login"):
        finetuner.login()


def test_push_and_pull_between_stores(home, tmp_path):
    run = finetuner.fit(model(), blobs(), run_name="shop", **QUICK | {"to_onnx": True})
    other = (tmp_path / "other").as_uri()
    address = finetuner.push("shop", other, tag="v1")
    assert address.startswith(f"{other}/shop@sha256:")
    assert finetuner.pull(f"{other}/shop:v1", tmp_path / "pulled") == tmp_path / "pulled"
    assert (tmp_path / "pulled" / "model.onnx").is_file()
    assert api.export(run.name, tmp_path / "exported") == tmp_path / "exported"
    with pytest.raises(UsageError, match="exists"):
        api.export(run.name, tmp_path / "exported")


def test_a_model_is_named_by_run_artifact_tag_or_directory(home, tmp_path):
    points, _ = blobs()
    run = finetuner.fit(model(), blobs(), run_name="shop", **QUICK | {"to_onnx": True})
    vectors = finetuner.encode(finetuner.get_model("shop"), points)
    directory = run.save_artifact(tmp_path)
    tagged = finetuner.push(directory, (tmp_path / "other").as_uri(), name="copy", tag="v1")
    for source in (run.artifact_id, tagged, f"{tmp_path}/other/copy:v1", directory, "shop"):
        np.testing.assert_array_equal(finetuner.encode(source, points), vectors)
    assert finetuner.push(tagged, (tmp_path / "third").as_uri()).endswith(tagged[-64:])


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("shp", UnknownNameError, "unknown run 'shp': did you mean 'shop'.*STORE/NAME"),
        ("x" * 5000, UnknownNameError, "unknown run"),
        ("a\0b/c", UsageError, "names no directory"),
        (".", ArtifactError, r"has no manifest\.json: it is not a bundle"),
    ],
)
def test_what_names_no_model_is_said(home, tmp_path, monkeypatch, source, error, words):
    monkeypatch.chdir(tmp_path)
    finetuner.fit(model(), blobs(), run_name="shop", **QUICK)
    with pytest.raises(error, match=words):
        finetuner.get_model(source)


@pytest.mark.parametrize("wrong", [None, 3])
def test_what_is_no_model_is_said(wrong):
    with pytest.raises(UsageError, match=r"model is a (NoneType|int): give what"):
        finetuner.encode(wrong, ["text"])


RUN = """
    import os, signal, sys
    import finetuner
    sys.path.insert(0, {tests!r})
    from test_fit import QUICK, blobs, model

    class Kill:
        def on_step_end(self, event):
            if event.step == 7:
                os.kill(os.getpid(), signal.SIGKILL)

    finetuner.fit(model(), blobs(), run_name="killed", callbacks=[Kill()], **QUICK)
"""


def test_a_killed_run_resumed_gives_the_weights_of_one_left_alone(home, tmp_path):
    script = textwrap.dedent(RUN.format(tests=os.path.dirname(__file__)))
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert finetuner.get_run("killed").status() == "failed"
    with pytest.raises(UsageError, match="live model"):
        finetuner.resume_run("killed")
    resumed = finetuner.resume_run("killed", model=model(), train_data=blobs(), progress=False)
    alone = finetuner.fit(model(), blobs(), run_name="alone", **QUICK)
    weights = [
        (run.save_artifact(tmp_path) / "weights.safetensors").read_bytes()
        for run in (resumed, alone)
    ]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_run_cancelled_from_the_keyboard_goes_on_to_the_same_weights(home, tmp_path, caplog):
    class Interrupts:
        def on_step_end(self, event):
            if event.step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finetuner.fit(model(), blobs(), run_name="stopped", callbacks=[Interrupts()], **QUICK)
    assert finetuner.get_run("stopped").status() == "cancelled"
    assert "finetuner resume stopped" in caplog.text
    resumed = finetuner.resume_run("stopped", model=model(), train_data=blobs(), progress=False)
    alone = finetuner.fit(model(), blobs(), run_name="alone", **QUICK)
    weights = [
        (run.save_artifact(tmp_path) / "weights.safetensors").read_bytes()
        for run in (resumed, alone)
    ]
    assert weights[0] == weights[1]
    assert "resumed after step 5" in resumed.logs()


def test_a_run_that_is_running_or_finished_is_neither_resumed_nor_deleted_while_it_runs(home):
    refused = []

    class Meddles:
        def on_step_end(self, event):
            for attempt in (
                lambda: finetuner.resume_run("r", model=model(), train_data=blobs()),
                lambda: finetuner.delete_run("r"),
                lambda: finetuner.get_run("r").metrics(),
            ):
                with pytest.raises(RunError, match="is running"):
                    attempt()
                refused.append(event.step)

    run = finetuner.fit(model(), blobs(), run_name="r", callbacks=[Meddles()], **QUICK)
    assert run.status() == "finished"
    assert refused[:4] == [1, 1, 1, 2]
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        finetuner.resume_run("r", model=model(), train_data=blobs())


def test_a_full_disk_names_the_checkpoint_and_fails_the_run(home, monkeypatch):
    from finetuner.builtin.numpy_backend import NumpyBackend

    save = NumpyBackend.save

    def fills(self, state, directory):
        save(self, state, directory)
        if state.moments.step == 6:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(NumpyBackend, "save", fills)
    with pytest.raises(TrainingError, match=r"last-00000006.*No space left.*is kept"):
        finetuner.fit(model(), blobs(), run_name="full", **QUICK)
    assert finetuner.get_run("full").status() == "failed"
    monkeypatch.undo()
    monkeypatch.setenv("FINETUNER_HOME", str(home))
    resumed = finetuner.resume_run("full", model=model(), train_data=blobs(), progress=False)
    assert resumed.status() == "finished"


def test_resuming_with_other_data_is_refused(home):
    with pytest.raises(UnknownNameError):
        finetuner.fit(model(), blobs(), run_name="r", **QUICK | {"device": "nowhere"})
    with pytest.raises(RunError, match="other data"):
        finetuner.resume_run("r", model=model(), train_data=blobs(7))


def test_the_public_names_are_those_documented():
    assert set(finetuner.__all__) <= set(dir(finetuner))
    for name in finetuner.__all__:
        if name != "Document":
            assert getattr(finetuner, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = finetuner.nothing


def test_no_items_a_class_is_an_error_and_not_the_default(home):
    with pytest.raises(UsageError, match="num_items_per_class is 0"):
        finetuner.fit(model(), blobs(), num_items_per_class=0, **QUICK)
