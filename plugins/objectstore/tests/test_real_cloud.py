"""The suite against a real cloud, where ``FINETUNER_TEST_STORE`` names a place in one.

The way around the store is another store of the same kind, since there is no server here
to be asked otherwise; faults are left to the emulators.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from finetuner.artifacts import open_store
from finetuner.contracts import Store
from finetuner.errors import NotFoundError
from finetuner.plugins import Host
from finetuner.testing import StoreCase, StoreTests
from finetuner_objectstore import hooks

URL = os.environ.get("FINETUNER_TEST_STORE", "")
ENVIRONMENT = dict(os.environ)


@pytest.mark.skipif(not URL, reason="FINETUNER_TEST_STORE names no store to test")
class TestRealCloud(StoreTests):
    @pytest.fixture
    def case(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreCase]:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            if name not in ENVIRONMENT:
                monkeypatch.delenv(name, raising=False)
        host = Host.discover(entry_points=(), extra=[hooks])
        url = f"{URL.rstrip('/')}/test-{secrets.token_hex(6)}"

        def reopen() -> Store:
            return open_store(url, host)

        def read_raw(key: str) -> bytes | None:
            try:
                with reopen().get(key) as stream:
                    return stream.read()
            except NotFoundError:
                return None

        yield StoreCase(
            store=reopen(),
            read_raw=read_raw,
            keys_raw=lambda: {info.key for info in reopen().list()},
            reopen=reopen,
        )
        store = reopen()
        for info in store.list():
            store.delete(info.key)
