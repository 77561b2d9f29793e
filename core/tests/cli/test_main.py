"""The commands as a shell sees them: output, errors and exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import finetuner

Shell = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = [sys.executable, "-c", "from finetuner.cli.main import main; main()"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """``shell("runs", "--json")``: that command, in a directory and home of its own."""

    def run(*words: str | Path, given: str | bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, words)],
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | {"FINETUNER_HOME": str(tmp_path / "home"), "COLUMNS": "200"},
        )
        assert b"Traceback" not in done.stderr
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a command that a user's mistake ended."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_the_version(shell: Shell) -> None:
    assert shell("--version").stdout == f"{finetuner.__version__}\n"


def test_a_wrong_command_or_option_offers_near_ones(shell: Shell) -> None:
    assert "Did you mean 'runs'?" in shell("runz").stderr
    assert "--batch-size" in shell("encode", "m", "--batch-sise", "3").stderr
    assert shell("runz").returncode == 2


def test_texts_are_encoded_from_arguments_and_from_standard_input(
    shell: Shell, text_bundle: Path
) -> None:
    expected = finetuner.encode(text_bundle, ["red shoe", "blue"])
    lines = shell("encode", text_bundle, "red shoe", "blue").stdout.splitlines()
    np.testing.assert_allclose([json.loads(line) for line in lines], expected, atol=1e-6)
    for given in ("red shoe\nblue\n", "red shoe\r\nblue"):
        assert shell("encode", text_bundle, given=given).stdout.splitlines() == lines
    nothing = shell("encode", text_bundle)
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_vectors_are_written_under_the_name_that_was_given(
    shell: Shell, text_bundle: Path, tmp_path: Path
) -> None:
    done = shell("encode", text_bundle, "red", "-o", tmp_path / "vectors")
    assert done.stdout == f"1 x 4 float32 written to {tmp_path / 'vectors'}\n"
    assert np.load(tmp_path / "vectors").shape == (1, 4)
    assert "/nowhere/v.npy" in refused(shell("encode", text_bundle, "red", "-o", "/nowhere/v.npy"))


def test_a_csv_is_encoded_by_the_column_that_is_named(
    shell: Shell, text_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "shop.csv").write_text("id,title,note\n1,red shoe,x\n2,blue,y\n")
    assert "choose with text=" in refused(shell("encode", text_bundle, "shop.csv"))
    done = shell("encode", text_bundle, "shop.csv", "--set", "text=title")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "given", "problem"),
    [
        (("encode", "nosuch", "red"), b"", "unknown run 'nosuch'"),
        (("encode", "TEXT", "nosuch.csv"), b"", "'nosuch.csv' is not there"),
        (("encode", "TEXT", "nosuch.jpg"), b"", "there is no image at nosuch.jpg"),
        (("encode", "TEXT", "TEXT/README"), b"", "is neither a folder"),
        (("encode", "TEXT"), b"red\n\n", "row 1 holds an empty text"),
        (("encode", "TEXT"), b"\xff\n", "row 0 holds a text that is not valid Unicode"),
        (("encode", "TEXT", "red", "--batch-size", "0"), b"", "batch_size is 0"),
        (("evaluate", "TEXT", "nosuch.csv"), b"", "'nosuch.csv' is not there"),
        (("push", "TEXT", "s4://b"), b"", "unknown store 's4'"),
        (("push", "TEXT", "/dev/null/store"), b"", "/dev/null/store"),
        (("push", "TEXT", "store", "--name", "../x"), b"", "cannot be the name"),
        (("pull", "store/shop", "out"), b"", "has no artifact 'shop'"),
        (("export", "TEXT", "/dev/null/x"), b"", "/dev/null/x"),
        (("logs", "nosuch"), b"", "unknown run 'nosuch'"),
        (("resume", "nosuch"), b"", "unknown run 'nosuch'"),
        (("fit", "nosuch", "nosuch.csv"), b"", "'nosuch.csv' is not there"),
        (("fit", "m", "d", "--home", "/dev/null/h"), b"", "/dev/null/h"),
        (("fit", "--config", "nosuch.yaml"), b"", "nosuch.yaml"),
        (("fit", "m", "d", "--set", "epochs=many"), b"", "epochs is 'many'"),
        (("inspect", "nosuch"), b"", "nosuch"),
    ],
)
def test_a_mistake_is_one_message(
    shell: Shell, text_bundle: Path, words: tuple[str, ...], given: bytes, problem: str
) -> None:
    (text_bundle.parent / "TEXT").symlink_to(text_bundle)
    if words[-1] == "TEXT/README":
        (text_bundle.parent / "notes").write_text("red")
        words = (*words[:-1], "notes")
    assert problem in refused(shell(*words, given=given))


def test_without_runs_there_is_an_empty_list(shell: Shell) -> None:
    assert shell("runs").stdout == ""
    assert json.loads(shell("runs", "--json").stdout) == []


def test_json_is_all_that_is_printed(shell: Shell, text_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("text,label\nred,a\nred hat,a\nblue,b\nblue hat,b\n")
    found = json.loads(shell("evaluate", text_bundle, "shop.csv", "--json").stdout)
    assert found["queries"] == 4
    assert {"core"} <= {row["plugin"] for row in json.loads(shell("plugins", "--json").stdout)}


def test_artifacts_go_through_stores(shell: Shell, text_bundle: Path, tmp_path: Path) -> None:
    address = shell("push", text_bundle, "my store", "--tag", "v1").stdout.strip()
    assert address.startswith("file:///")
    assert shell("encode", address, "red").returncode == 0
    assert shell("encode", "my store/words:v1", "red").returncode == 0
    assert shell("pull", address, "pulled").stdout == f"{tmp_path / 'pulled'}\n"
    assert shell("export", "pulled", "copy").stdout == "copy\n"
    assert shell("encode", "copy", "red").returncode == 0


def test_a_store_is_looked_after(shell: Shell, text_bundle: Path, tmp_path: Path) -> None:
    address = json.loads(shell("push", text_bundle, "store", "--json").stdout)["artifact_id"]
    assert shell("tag", "store/words", "v1").stdout.strip() == address
    assert [row["tag"] for row in json.loads(shell("ls", "store", "--json").stdout)] == [
        "latest",
        "v1",
    ]
    assert shell("ls", "store", "words").stdout.startswith("words:latest")
    assert address.rpartition(":")[2][:12] in shell("ls", "store", "--long").stdout
    assert shell("diff", address, text_bundle).stdout.startswith("bytes: ")
    assert json.loads(shell("diff", address, text_bundle, "--json").stdout)["files"] == []
    assert shell("verify", address).returncode == 0
    shell("rm", "store/words:latest")
    assert json.loads(shell("gc", "store", "--json").stdout)["artifacts"] == 1
    assert "are what their digests say" in shell("verify", "store", "--all").stdout
    shell("rm", "store/words:v1")
    assert "deleted" in shell("gc", "store", "--now").stdout
    assert [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()] == []
    gone = shell("rm", "store/words:v1")
    assert gone.returncode == 1
    assert "has no artifact 'words'" in gone.stderr


def test_a_reader_that_goes_away_is_no_error(text_bundle: Path) -> None:
    """As in ``finetuner encode … | head -1``."""
    process = subprocess.Popen(
        [*COMMAND, "encode", str(text_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert None not in (process.stdin, process.stdout, process.stderr)
    process.stdout.close()
    process.stdin.write(b"red shoe\n" * 5000)
    process.stdin.close()
    process.wait(timeout=60)
    assert process.stderr.read() == b""


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_leaves_no_traceback(text_bundle: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "encode", str(text_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(2)  # until it waits for its standard input
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in error
