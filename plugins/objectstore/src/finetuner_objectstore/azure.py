"""``az://``: Azure Blob Storage, found and signed in to as the Azure tools do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from os import environ
from typing import Any

from obstore.store import AzureStore

from finetuner.errors import StoreError
from finetuner_objectstore.cloud_store import CloudStore
from finetuner_objectstore.failures import Words
from finetuner_objectstore.obstore_bucket import ObstoreBucket, connect
from finetuner_objectstore.place import Place, parse_place

TIMEOUT = 60.0
_TOOL_NAMES = {
    "account_name": ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
    "account_key": ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
    "sas_key": ("AZURE_STORAGE_SAS_TOKEN",),
    "endpoint": ("AZURE_STORAGE_SERVICE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"),
}
_IN_CONNECTION_STRING = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}
_EMULATOR = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
    "K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)
"""The emulator's account and key, which Microsoft publishes."""


def open_azure(url: str, *, endpoint: str | None = None, timeout: float = TIMEOUT) -> CloudStore:
    """The store at ``az://CONTAINER/PREFIX``.

    Account, key, shared access signature and endpoint come from the variables of the
    ``az`` tool, ``AZURE_STORAGE_CONNECTION_STRING`` before the others; without key and
    signature, a token comes from ``DefaultAzureCredential`` where azure-identity is
    installed, else from a workload's or a machine's identity. ``endpoint`` goes before
    all. Raises ``UsageError`` for a URL that is none, ``StoreError`` without an account.
    """
    place = parse_place(url, "az")
    config = _config(place, environ)
    if endpoint is not None:
        config["endpoint"] = endpoint
    server = config.get("endpoint") or f"https://{config['account_name']}.blob.core.windows.net"
    return CloudStore(
        place,
        ObstoreBucket(
            partial(connect, AzureStore, place, config), _words(place, server), timeout, lambda _: 0
        ),
    )


def _config(place: Place, env: Mapping[str, str]) -> dict[str, Any]:
    connection = env.get("AZURE_STORAGE_CONNECTION_STRING")
    config: dict[str, Any]
    if connection:
        config = _from_connection_string(connection, place)
    else:
        found = {
            option: next((env[name] for name in names if env.get(name)), None)
            for option, names in _TOOL_NAMES.items()
        }
        config = {option: value for option, value in found.items() if value}
    if "account_name" not in config:
        raise StoreError(
            f"{place.url}: no Azure storage account is named: set AZURE_STORAGE_ACCOUNT, or "
            "AZURE_STORAGE_CONNECTION_STRING ('az storage account show-connection-string')"
        )
    if "sas_key" in config:
        config["sas_key"] = config["sas_key"].removeprefix("?")
    if not {"account_key", "sas_key"} & config.keys() and find_spec("azure.identity"):
        from obstore.auth.azure import AzureCredentialProvider

        config["credential_provider"] = AzureCredentialProvider()
    return config


def _from_connection_string(text: str, place: Place) -> dict[str, Any]:
    pairs = (part.partition("=") for part in text.split(";"))
    parts = {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return _from_connection_string(_EMULATOR, place)
    config = {
        option: parts[name] for name, option in _IN_CONNECTION_STRING.items() if parts.get(name)
    }
    if "account_name" not in config and "endpoint" in config:
        host = config["endpoint"].partition("://")[2]
        config["account_name"] = host.partition(".")[0]
    if "endpoint" not in config and "account_name" in config:
        scheme = parts.get("defaultendpointsprotocol", "https")
        suffix = parts.get("endpointsuffix", "core.windows.net")
        config["endpoint"] = f"{scheme}://{config['account_name']}.blob.{suffix}"
    return config


def _words(place: Place, server: str) -> Words:
    return Words(
        server=server,
        bucket="container",
        make_bucket=f"'az storage container create --name {place.bucket}'",
        credentials="check the account and its key, signature or login ('az login', "
        "'az storage account keys list')",
        renew="get a new shared access signature, or run 'az login', and start again",
        permissions="the role 'Storage Blob Data Contributor' is needed, or a signature with "
        "read, add, create, write, delete and list",
    )
