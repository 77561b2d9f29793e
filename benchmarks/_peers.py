"""What others do with the same files, as processes: boto3's transfer manager and the aws CLI."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

BOTO3 = """
import sys, pathlib, boto3
what, directory, bucket, prefix = sys.argv[1:]
client = boto3.client("s3")
for name in ("manifest.json", "model.onnx", "weights.safetensors"):
    path, key = str(pathlib.Path(directory) / name), prefix + "/" + name
    if what == "push": client.upload_file(path, bucket, key)
    else: client.download_file(bucket, key, path)
"""


def peers(bundle: Path, out: Path, bucket: str, prefix: str) -> dict[str, tuple[list[str], ...]]:
    """Commands that send and fetch the same files, by the name of the peer."""
    found: dict[str, tuple[list[str], ...]] = {}
    with contextlib.suppress(ImportError):
        import boto3  # noqa: F401

        script = [sys.executable, "-c", BOTO3]
        where = [bucket, f"{prefix}/boto3"]
        found["boto3"] = (
            [*script, "push", str(bundle), *where],
            [*script, "pull", str(out), *where],
        )
    if aws := shutil.which("aws"):
        url = f"s3://{bucket}/{prefix}/aws"
        quiet = ["--recursive", "--only-show-errors"]
        found["aws"] = (
            [aws, "s3", "cp", str(bundle), url, *quiet],
            [aws, "s3", "cp", url, str(out), *quiet],
        )
    return found


LAUNCHER = """
import os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def process(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a process; an error if it fails.

    It is started by a small one: Linux counts what its parent held as its own peak.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command[:3]} failed: {done.stderr[-2000:]}")
    spent, peak = map(float, done.stdout.split())
    return spent, peak
