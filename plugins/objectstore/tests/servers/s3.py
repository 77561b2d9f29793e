"""What the S3 servers share, and moto's."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from servers.process import NotInstalledError, Server, free_port, running, wait_for_http


@cache
def _session() -> Any:
    """One for all, since each reads boto3's description of all of AWS anew."""
    import boto3

    return boto3.session.Session()


def client(server: Server) -> Any:
    """boto3's client of the server: the independent way to its buckets."""
    from botocore.config import Config

    return _session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def s3_server(name: str, endpoint: str, key: str, secret: str) -> Server:
    """``Server`` with the variables that the AWS tools read."""
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def make_bucket(bucket: str) -> None:
        client(server).create_bucket(Bucket=bucket)

    server = Server(name, "s3", endpoint, environment, make_bucket, secret)
    return server


@contextmanager
def moto(root: Path) -> Iterator[Server]:
    """moto's S3 server, with its log below ``root``; raises ``NotInstalledError``."""
    if find_spec("moto") is None or find_spec("flask") is None:
        raise NotInstalledError('no moto here: pip install "moto[server,s3]"')
    program = shutil.which("moto_server", path=str(Path(sys.executable).parent))
    if program is None:
        raise NotInstalledError('no moto_server beside this Python: pip install "moto[server,s3]"')
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with running([program, "-H", "127.0.0.1", "-p", str(port)], root / "moto.log") as process:
        wait_for_http(endpoint, process, root / "moto.log", 60)
        yield s3_server(
            "moto", endpoint, "finetunertest", "bW90byBuZXZlciBjaGVja3MgdGhpcyBhdCBhbGw"
        )
