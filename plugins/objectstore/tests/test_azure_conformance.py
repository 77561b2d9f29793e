"""Azure's emulator passes core's suite over a real connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from finetuner.testing import StoreCase, StoreTests
from finetuner_objectstore.azure import open_azure
from servers.azurite import ACCOUNT, client
from servers.process import Server

PREFIX = "models of ä/50%+1"


def azure_case(server: Server) -> StoreCase:
    bucket = f"test-{secrets.token_hex(6)}"
    server.make_bucket(bucket)
    raw = client(server).get_container_client(bucket)
    url = f"az://{bucket}/{PREFIX}"
    raw.upload_blob("models of ä/50%", b"a neighbour")

    def read_raw(key: str) -> bytes | None:
        blob = raw.get_blob_client(f"{PREFIX}/{key}")
        return bytes(blob.download_blob().readall()) if blob.exists() else None

    return StoreCase(
        store=open_azure(url),
        read_raw=read_raw,
        keys_raw=lambda: {
            blob.name.removeprefix(f"{PREFIX}/")
            for blob in raw.list_blobs(name_starts_with=f"{PREFIX}/")
        },
        reopen=lambda: open_azure(url),
        endpoint=server.endpoint,
        open_at=lambda endpoint: open_azure(url, endpoint=f"{endpoint}/{ACCOUNT}", timeout=2.0),
        missing=lambda: open_azure(f"az://no-such-{bucket}/models"),
    )


class TestAzurite(StoreTests):
    @pytest.fixture
    def case(self, azurite_server: Server, use: Callable[[Server], Server]) -> StoreCase:
        return azure_case(use(azurite_server))
