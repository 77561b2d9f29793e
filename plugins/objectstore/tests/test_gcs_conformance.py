"""An emulator of Google Cloud Storage passes core's suite over a real connection."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from urllib.parse import quote

import pytest

from finetuner.testing import StoreCase, StoreTests
from finetuner_objectstore.gcs import open_gcs
from servers.fake_gcs import fetch, upload
from servers.process import Server

PREFIX = "models of ä/50%+1"


def gcs_case(server: Server) -> StoreCase:
    bucket = f"test-{secrets.token_hex(6)}"
    server.make_bucket(bucket)
    url = f"gs://{bucket}/{PREFIX}"
    upload(server, bucket, "models of ä/50%", b"a neighbour")

    def keys_raw() -> set[str]:
        listing = json.loads(fetch(server, f"{bucket}/o?prefix={quote(PREFIX)}/") or b"{}")
        return {row["name"].removeprefix(f"{PREFIX}/") for row in listing.get("items", ())}

    return StoreCase(
        store=open_gcs(url),
        read_raw=lambda key: fetch(
            server, f"{bucket}/o/{quote(f'{PREFIX}/{key}', safe='')}?alt=media"
        ),
        keys_raw=keys_raw,
        reopen=lambda: open_gcs(url),
        endpoint=server.endpoint,
        open_at=lambda endpoint: open_gcs(url, endpoint=endpoint, timeout=2.0),
        missing=lambda: open_gcs(f"gs://no-such-{bucket}/models"),
    )


class TestFakeGcsServer(StoreTests):
    @pytest.fixture
    def case(self, fake_gcs_server: Server, use: Callable[[Server], Server]) -> StoreCase:
        return gcs_case(use(fake_gcs_server))
