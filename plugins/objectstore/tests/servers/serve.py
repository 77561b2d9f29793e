"""Run a command beside a server, with the variables that find it.

python plugins/objectstore/tests/servers/serve.py radosgw -- finetuner ls s3://finetuner/models

The bucket `finetuner` is there. Without a command, the variables are printed and the server
runs until the standard input ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.azurite import azurite
from servers.fake_gcs import fake_gcs
from servers.process import NotInstalledError
from servers.radosgw import radosgw
from servers.s3 import moto

SERVERS = {"azurite": azurite, "fake-gcs": fake_gcs, "moto": moto, "radosgw": radosgw}


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the server first
    if not arguments or arguments[0] not in SERVERS:
        print(f"{__doc__}\nservers: {', '.join(SERVERS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as root:
        try:
            with SERVERS[arguments[0]](Path(root)) as server:
                server.make_bucket("finetuner")
                if command := arguments[2:]:
                    return subprocess.call(command, env={**os.environ, **server.environment})
                for name, value in server.environment.items():
                    print(f"export {name}='{value}'", flush=True)
                sys.stdin.read()
        except NotInstalledError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
