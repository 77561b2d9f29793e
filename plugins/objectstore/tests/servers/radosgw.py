"""A Ceph cluster of one monitor and one memory store behind a radosgw: a real S3 server."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from servers.process import NotInstalledError, Server, free_port, running, wait_for_http
from servers.s3 import s3_server

PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)
KEY, SECRET = "finetunertest", "b3JhbmdlcyBhcmUgbm90IHRoZSBvbmx5IGZydWl0"
OTHER = "c3RyYW5nZXJzIGluIHRoZSBuaWdodCBleGNoYW5n"
MEMORY = 6 << 30

_CONF = """
[global]
fsid = {fsid}
mon host = 127.0.0.1:{port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {root}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
osd data = {root}/osd
memstore device bytes = {memory}
mon data = {root}/mon
mon allow pool size one = true
run dir = {root}
log file = {root}/$name.log
admin socket = {root}/$cluster-$name.asok
pid file =
rgw gc obj min wait = 1
rgw gc processor period = 2
rgw gc processor max time = 2
rgw dynamic resharding = false
rgw enable usage log = false
"""

_CAPS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw": {"mon": "allow rwx", "osd": "allow rwx"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}


@contextmanager
def radosgw(root: Path) -> Iterator[Server]:
    """The server, with its files below ``root``; raises ``NotInstalledError``."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise NotInstalledError(
            f"no {', '.join(missing)} here: apt-get install ceph-mon ceph-osd radosgw ceph-common"
        )
    conf, port, fsid = root / "ceph.conf", free_port(), str(uuid.uuid4())
    conf.write_text(_CONF.format(fsid=fsid, port=port, root=root, memory=MEMORY))
    env = {**os.environ, "CEPH_CONF": str(conf)}

    def do(*command: str) -> str:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        return done.stdout

    (root / "mon").mkdir(), (root / "osd").mkdir()
    monmap, keyring = str(root / "monmap"), str(root / "keyring")
    for number, (name, caps) in enumerate(_CAPS.items()):
        given = [part for daemon, cap in caps.items() for part in ("--cap", daemon, cap)]
        create = ["--create-keyring"] * (number == 0)
        do("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *given)
    do("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{port}]", "--fsid", fsid, monmap)
    do("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    with ExitStack() as stack:
        stack.enter_context(running(["ceph-mon", "-i", "a", "-f"], root / "out.log", env))
        disk = str(uuid.uuid4())
        do("ceph", "osd", "new", disk, "0")
        do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        stack.enter_context(running(["ceph-osd", "-i", "0", "-f"], root / "out.log", env))
        web = free_port()
        command = ["radosgw", "-n", "client.rgw", "-f"]
        command.append(f"--rgw-frontends=beast endpoint=127.0.0.1:{web}")
        process = stack.enter_context(running(command, root / "out.log", env))
        wait_for_http(f"http://127.0.0.1:{web}", process, root / "out.log", 120)
        for name, key, secret in (("finetuner", KEY, SECRET), ("stranger", "stranger", OTHER)):
            user = ["user", "create", f"--uid={name}", f"--display-name={name}"]
            do("radosgw-admin", *user, f"--access-key={key}", f"--secret-key={secret}")
        stranger = {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": OTHER}
        server = s3_server("radosgw", f"http://127.0.0.1:{web}", KEY, SECRET)
        yield replace(server, stranger=stranger)
