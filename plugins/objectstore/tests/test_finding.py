"""Accounts, endpoints and credentials are found where each cloud's own tools find them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from finetuner.artifacts import open_store
from finetuner.errors import StoreError
from finetuner.plugins import Host
from finetuner_objectstore import azure, hooks, s3
from finetuner_objectstore.gcs import open_gcs
from finetuner_objectstore.place import Place
from servers.process import Server

SHOP = Place("az", "shop")


def test_stores_are_opened_by_their_scheme(
    moto_server: Server, use: Callable[[Server], Server]
) -> None:
    use(moto_server)
    moto_server.make_bucket("by-scheme")
    store = open_store("s3://by-scheme/models", Host.discover(entry_points=(), extra=[hooks]))
    store.put("a", io.BytesIO(b"x"))
    assert [info.key for info in store.list()] == ["a"]


def test_a_profile_of_the_aws_files_is_used(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(
        "[profile shop]\nregion = eu-west-1\nservices = here\n"
        f"[services here]\ns3 =\n  endpoint_url = {moto_server.endpoint}\n"
    )
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[shop]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n"
    )
    moto_server.make_bucket("by-profile")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    store = s3.open_s3("s3://by-profile")
    store.put("a", io.BytesIO(b"x"))
    assert store.stat("a").size == 1


def test_the_endpoint_of_s3_alone_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:2 did not answer"):
        s3.open_s3("s3://shop", timeout=1).stat("a")


@pytest.mark.parametrize(
    ("endpoint", "unsigned"),
    [
        (None, True),
        ("https://minio.example.org", True),
        ("http://127.0.0.1:9000", True),
        ("http://minio.example.org", False),
        ("http://localhost.example.org", False),
    ],
)
def test_bodies_are_signed_where_somebody_could_change_them_on_the_way(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, unsigned: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    given: list[object] = []
    monkeypatch.setattr(s3, "S3Store", lambda *_, **config: given.append(config))
    s3.open_s3("s3://shop", endpoint=endpoint)
    assert [config["unsigned_payload"] for config in given] == [unsigned] * len(given)  # type: ignore[index]
    assert given


def test_no_credentials_is_told_when_a_store_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"no AWS credentials are found.*aws configure"):
        s3.open_s3("s3://shop")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"AWS configuration cannot be used .ProfileNotFound"):
        s3.open_s3("s3://shop")
    with pytest.raises(StoreError, match="no Azure storage account is named"):
        azure.open_azure("az://shop")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/account.json")
    with pytest.raises(StoreError, match=r"no Google credentials are found.*gcloud"):
        open_gcs("gs://shop")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "k"},
            {"account_name": "a", "account_key": "k"},
        ),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=s"},
            {"account_name": "a", "sas_key": "sv=1&sig=s"},
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=k==;"
                "EndpointSuffix=e.org"
            },
            {"account_name": "a", "account_key": "k==", "endpoint": "https://a.blob.e.org"},
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://a.blob.e.org;"
                "SharedAccessSignature=sv=1&sig=s"
            },
            {"account_name": "a", "sas_key": "sv=1&sig=s", "endpoint": "https://a.blob.e.org"},
        ),
    ],
)
def test_variables_of_azure(variables: Mapping[str, str], expected: Mapping[str, str]) -> None:
    assert azure._config(SHOP, variables) == expected


def test_the_development_storage_of_azure() -> None:
    found = azure._config(SHOP, {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"})
    assert found["endpoint"] == "http://127.0.0.1:10000/devstoreaccount1"


LAZY = """
import sys
import finetuner_objectstore.hooks
from finetuner.plugins import Host

host = Host.discover()
assert host.provided("stores", "s3").distribution == "finetuner-objectstore"
heavy = {"obstore", "botocore", "google.auth", "requests", "azure.identity"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_nothing_heavy_is_imported_until_a_store_is_opened() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
