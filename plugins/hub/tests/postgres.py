"""A PostgreSQL server of the tests' own, in a directory, on a socket."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return path


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """The server's URL. It refuses to run as root: then it runs as the user ``postgres``."""
    initdb, control = _program("initdb"), _program("pg_ctl")
    root = os.geteuid() == 0
    # A socket's path may have 107 characters.
    place = Path(tempfile.mkdtemp(prefix="hub-pg-", dir="/tmp"))
    user = "postgres" if root else getpass.getuser()
    if root:
        shutil.chown(place, "postgres", "postgres")
    prefix = ["runuser", "-u", "postgres", "--"] if root else []
    data = str(place / "data")

    def call(*command: str) -> None:
        log = directory / "postgres.log"
        with log.open("ab") as file:
            done = subprocess.run(
                [*prefix, *command], cwd=place, stdout=file, stderr=file, check=False
            )
        assert done.returncode == 0, log.read_text()[-2000:]

    call(initdb, "-D", data, "-U", user, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-k {place} -c listen_addresses='' -c fsync=off -c max_connections=200"
    call(control, "-D", data, "-w", "-l", str(place / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://{user}@/postgres?host={place}"
    finally:
        call(control, "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(place)
