"""``finetuner hub``, as it is called in a terminal."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

FINETUNER = Path(sys.executable).with_name("finetuner")


def call(home, *arguments, **environment):
    return subprocess.run(
        [FINETUNER, "hub", *arguments, "--home", home],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def started(tmp_path):
    """Starts the hub in ``tmp_path``; gives its URL and what it printed, and ends it."""
    running = []

    def start():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        output = tmp_path / f"output{len(running)}"
        with output.open("w") as file:
            running.append(
                subprocess.Popen(
                    [FINETUNER, "hub", "start", "--home", tmp_path, "--port", str(port)],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while True:
            try:
                assert httpx.get(f"{url}/readyz").status_code == 200
                return url, output.read_text()
            except httpx.TransportError:
                assert running[-1].poll() is None, output.read_text()
                assert time.monotonic() < until, output.read_text()
                time.sleep(0.05)

    def stop():
        running[-1].send_signal(signal.SIGTERM)
        running[-1].wait(10)

    yield start, stop
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_from_nothing_to_a_token_and_over_a_restart(started, tmp_path):
    start, stop = started
    url, printed = start()
    password = re.search(r"administrator 'admin', password (\S+)", printed)[1]
    log_in = {"user": "admin", "password": password}
    answer = httpx.post(f"{url}/v1/tokens", json=log_in)
    assert answer.status_code == 201
    stop()
    url, printed = start()
    assert password not in printed
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert httpx.get(f"{url}/v1/me", headers=headers).json()["user"] == "admin"
    assert (tmp_path / "hub").stat().st_mode & 0o077 == 0


def test_users_are_made_and_given_passwords(tmp_path):
    secret = {"FINETUNER_HUB_PASSWORD": "correct horse battery"}
    assert call(tmp_path, "add-user", "ada", **secret).stdout == "ada can log in\n"
    again = call(tmp_path, "add-user", "ada", **secret)
    assert again.returncode == 1
    assert again.stderr == "error: there is a user 'ada' already\n"
    changed = call(tmp_path, "set-password", "ada", **secret)
    assert "ada can log in with the new password" in changed.stdout
    unknown = call(tmp_path, "set-password", "bob", **secret)
    assert unknown.stderr == "error: there is no user 'bob'\n"


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("mysql://localhost/hub", "error: a database of the kind 'mysql'"),
        ("sqlite:////proc/nowhere/hub.db", "error: the hub's database cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_message(tmp_path, database, message):
    answer = call(tmp_path, "add-user", "ada", "--database", database, "--password", "x" * 12)
    assert answer.returncode == 1
    assert answer.stderr.startswith(message)
    assert "Traceback" not in answer.stderr


def test_without_the_extra_the_message_names_it(monkeypatch):
    from finetuner.errors import MissingDependencyError
    from finetuner_hub.hooks import _load

    monkeypatch.delitem(sys.modules, "finetuner_hub.cli", raising=False)
    monkeypatch.delitem(sys.modules, "finetuner_hub.server.settings", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingDependencyError, match=r"finetuner-hub\[server\]"):
        _load()
