"""Server processes on loopback: a free port, started, waited for, and ended with the block."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class NotInstalledError(Exception):
    """The server is not on this machine; the message says how it gets here."""


@dataclass(frozen=True)
class Server:
    """A running server. ``environment`` is what the cloud's own tools read to find it."""

    name: str
    scheme: str
    endpoint: str
    environment: Mapping[str, str] = field(repr=False)
    make_bucket: Callable[[str], None] = field(repr=False)
    secret: str = field(default="", repr=False)
    """What must never be seen in an error or a log."""
    stranger: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables of somebody who may sign in and see nothing."""


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` as a process that is ended with the block; what it prints goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_http(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Return when ``url`` answers anything; raises with the end of ``log`` if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
