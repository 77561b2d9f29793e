"""The entry point: records only, nothing heavy is imported until a store is opened."""

from __future__ import annotations

from collections.abc import Iterator

from finetuner.contracts import Store, StoreRecord
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_stores() -> Iterator[StoreRecord]:
    yield StoreRecord(("s3",), open=_open_s3)
    yield StoreRecord(("gs",), open=_open_gs)
    yield StoreRecord(("az",), open=_open_az)


def _open_s3(url: str) -> Store:
    from finetuner_objectstore.s3 import open_s3

    return open_s3(url)


def _open_gs(url: str) -> Store:
    from finetuner_objectstore.gcs import open_gcs

    return open_gcs(url)


def _open_az(url: str) -> Store:
    from finetuner_objectstore.azure import open_azure

    return open_azure(url)
