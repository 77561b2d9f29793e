"""What is special to S3: uploads that nobody completed, and memory."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from finetuner_objectstore.s3 import open_s3
from servers.process import Server
from servers.s3 import client


@pytest.fixture(params=["moto", "radosgw"])
def server(request: pytest.FixtureRequest, use: Callable[[Server], Server]) -> Server:
    return use(request.getfixturevalue(f"{request.param}_server"))


def test_tidying_aborts_what_was_begun_before(server: Server) -> None:
    bucket, raw = f"test-{secrets.token_hex(6)}", client(server)
    server.make_bucket(bucket)
    begun = raw.create_multipart_upload(Bucket=bucket, Key="models/a")
    raw.upload_part(
        Bucket=bucket, Key="models/a", UploadId=begun["UploadId"], PartNumber=1, Body=b"0123456789"
    )
    raw.create_multipart_upload(Bucket=bucket, Key="others/a")
    store = open_s3(f"s3://{bucket}/models")
    store.put("b", io.BytesIO(b"x"))
    assert store.tidy(before=0) == 0  # moto dates every upload in 2010
    assert len(raw.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2
    assert store.tidy(before=time.time() + 3600) == 10
    assert [row["Key"] for row in raw.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [
        "others/a"
    ]
    assert [info.key for info in store.list()] == ["b"]


MEMORY = """
import sys, threading, time
from finetuner_objectstore.s3 import open_s3

class Zeros:
    left = int(sys.argv[2])
    def read(self, count=-1):
        count = min(count, self.left) if count >= 0 else self.left
        self.left -= count
        return bytes(count)

def watch():
    while True:
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                seen.append(int(line.split()[1]))
        time.sleep(0.05)

seen = []
threading.Thread(target=watch, daemon=True).start()
store = open_s3(sys.argv[1])
store.put("large", Zeros(), if_absent=sys.argv[3] == "create")
size = 0
with store.get("large") as stream:
    while block := stream.read(1 << 20):
        size += len(block)
assert size == int(sys.argv[2])
print(max(seen) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["put", "create"])
def test_a_gigabyte_goes_and_comes_in_200_megabytes(
    radosgw_server: Server, use: Callable[[Server], Server], mode: str
) -> None:
    use(radosgw_server)
    bucket = f"test-{secrets.token_hex(6)}"
    radosgw_server.make_bucket(bucket)
    arguments = [f"s3://{bucket}/models", str(1 << 30), mode]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 200
