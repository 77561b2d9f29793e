"""S3 servers pass core's suite over real connections."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from finetuner.testing import CREATE_IF_ABSENT, StoreCase, StoreTests, overrides
from finetuner_objectstore.s3 import open_s3
from servers.process import Server
from servers.s3 import client

PREFIX = "models of ä/50%+1"
"""What a prefix may be made of, all of which some layer would like to encode."""


def s3_case(server: Server) -> StoreCase:
    bucket, raw = f"test-{secrets.token_hex(6)}", client(server)
    server.make_bucket(bucket)
    url = f"s3://{bucket}/{PREFIX}"
    raw.put_object(Bucket=bucket, Key="models of ä/50%", Body=b"a neighbour")

    def read_raw(key: str) -> bytes | None:
        try:
            body: bytes = raw.get_object(Bucket=bucket, Key=f"{PREFIX}/{key}")["Body"].read()
        except raw.exceptions.NoSuchKey:
            return None
        return body

    def keys_raw() -> set[str]:
        pages = raw.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}/")
        found: list[dict[str, Any]] = [row for page in pages for row in page.get("Contents", ())]
        found += raw.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
        return {row["Key"].removeprefix(f"{PREFIX}/") for row in found}

    return StoreCase(
        store=open_s3(url),
        read_raw=read_raw,
        keys_raw=keys_raw,
        reopen=lambda: open_s3(url),
        endpoint=server.endpoint,
        open_at=lambda endpoint: open_s3(url, endpoint=endpoint, timeout=2.0),
        missing=lambda: open_s3(f"s3://no-such-{bucket}/models"),
    )


class TestMoto(StoreTests):
    @pytest.fixture
    def case(self, moto_server: Server, use: Callable[[Server], Server]) -> StoreCase:
        return s3_case(use(moto_server))

    @overrides("moto looks and then writes, so that two creations at once may both succeed")
    def test_of_many_creators_one_wins(self, case: StoreCase) -> None:  # type: ignore[override]
        assert CREATE_IF_ABSENT in case.capabilities  # one after the other, it keeps to it


class TestRadosgw(StoreTests):
    @pytest.fixture
    def case(self, radosgw_server: Server, use: Callable[[Server], Server]) -> StoreCase:
        return s3_case(use(radosgw_server))
