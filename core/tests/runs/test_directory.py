import json
import os
import subprocess
import sys

import pytest

from finetuner.contracts import RunSpec, RunState
from finetuner.errors import RunError, UnknownNameError, UsageError
from finetuner.runs.directory import Result, RunDirectory, home_directory, list_names


@pytest.fixture
def spec():
    return RunSpec("shop", model="m", train_data="train.csv")


def test_the_home_is_the_argument_then_the_environment_then_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNER_HOME", str(tmp_path / "env"))
    assert home_directory(tmp_path / "given") == tmp_path / "given"
    assert home_directory() == tmp_path / "env"
    monkeypatch.delenv("FINETUNER_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_directory() == tmp_path / ".finetuner"


def test_a_new_run_is_created_and_keeps_its_spec(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    assert directory.status().state is RunState.CREATED
    assert RunDirectory.open(tmp_path, "shop").spec() == spec
    assert list_names(tmp_path) == ("shop",)


def test_a_taken_name_is_refused_and_the_old_run_kept(tmp_path, spec):
    RunDirectory.create(tmp_path, spec).log("hello")
    with pytest.raises(UsageError, match=r"a run named 'shop' exists.*resume_run"):
        RunDirectory.create(tmp_path, spec)
    assert "hello" in RunDirectory.open(tmp_path, "shop").log_path.read_text()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 129, "with space"])
def test_a_name_that_could_leave_its_directory_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="run name"):
        RunDirectory.create(tmp_path, RunSpec(name, model="m", train_data="t"))


def test_an_unknown_run_offers_near_names(tmp_path, spec):
    RunDirectory.create(tmp_path, spec)
    with pytest.raises(UnknownNameError, match="did you mean 'shop'"):
        RunDirectory.open(tmp_path, "shpo")


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.FAILED, RunState.CANCELLED])
def test_final_states_are_final(tmp_path, spec, state):
    directory = RunDirectory.create(tmp_path, spec)
    directory.move(RunState.RUNNING)
    directory.move(state)
    with pytest.raises(RunError, match=f"is {state.value}"):
        directory.move(RunState.RUNNING)


def test_created_cannot_become_finished(tmp_path, spec):
    with pytest.raises(RunError, match="is created: it cannot become finished"):
        RunDirectory.create(tmp_path, spec).move(RunState.FINISHED)


def test_a_run_whose_process_died_counts_as_failed_and_may_be_reopened(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    status = {"state": "running", "created": 1.0, "updated": 1.0, "pid": child.pid}
    (directory.path / "status.json").write_text(json.dumps(status))
    assert directory.status().state is RunState.FAILED
    assert "resume" in (directory.status().error or "")
    directory.reopen()
    assert directory.status().state is RunState.CREATED


def test_a_running_or_finished_run_is_not_reopened(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    with directory.held():
        directory.move(RunState.RUNNING)
        assert directory.status().pid == os.getpid()
        with pytest.raises(RunError, match="nothing to resume"):
            directory.reopen()
        directory.move(RunState.FINISHED)
    with pytest.raises(RunError, match="nothing to resume"):
        directory.reopen()


@pytest.mark.skipif(os.name == "nt", reason="there is no such lock on Windows")
def test_a_dead_runs_number_may_be_anothers_by_now(tmp_path, spec):
    """As after the restart of a container, where numbers begin anew."""
    directory = RunDirectory.create(tmp_path, spec)
    status = {"state": "running", "created": 1.0, "updated": 1.0, "pid": os.getpid()}
    (directory.path / "status.json").write_text(json.dumps(status))
    assert directory.status().state is RunState.FAILED
    directory.reopen()


@pytest.mark.skipif(os.name == "nt", reason="there is no such lock on Windows")
def test_only_one_carries_out_a_run_and_another_is_refused(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    again = RunDirectory.open(tmp_path, "shop")
    with directory.held():
        with pytest.raises(RunError, match="by another process"), again.held():
            pass
        for attempt in (again.reopen, again.delete):
            with pytest.raises(RunError, match="by another process"):
                attempt()
    with again.held():
        pass


def test_a_result_is_there_only_when_finished(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    with pytest.raises(RunError, match="is created; it has no result"):
        directory.result()
    result = Result({"before": {"map@r": 0.5}, "after": {"map@r": 0.75}}, "id", 10, 1.5)
    directory.write("result.json", result)
    assert directory.result() == result


def test_a_damaged_file_is_named(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    (directory.path / "spec.json").write_text("{")
    with pytest.raises(RunError, match=r"spec\.json is damaged"):
        directory.spec()


def test_deleting_removes_the_files_but_not_of_a_running_run(tmp_path, spec):
    directory = RunDirectory.create(tmp_path, spec)
    with directory.held():
        directory.move(RunState.RUNNING)
        with pytest.raises(RunError, match="is running"):
            directory.delete()
        directory.move(RunState.CANCELLED)
    directory.delete()
    assert list_names(tmp_path) == ()


def test_a_home_that_is_a_file_is_an_error(tmp_path):
    home = tmp_path / "home"
    home.write_text("")
    with pytest.raises(UsageError, match="is a file: runs live under a directory"):
        list_names(home)
