"""Addresses of artifacts, and the stores that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuner.artifacts import Address, LocalStore, MemoryStore, open_store, parse_address
from finetuner.errors import FinetunerError, UnknownNameError, UsageError
from finetuner.plugins.host import Host

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://models/shop/net", Address("s3://models/shop", "net", "latest")),
        ("s3://models/shop/net:v1.2", Address("s3://models/shop", "net", "v1.2")),
        (f"s3://models/net@sha256:{DIGEST}", Address("s3://models", "net", digest=DIGEST)),
        ("file:///models/net:x", Address("file:///models", "net", "x")),
        ("./models/net", Address("./models", "net")),
        ("http://host:80/a/net:b", Address("http://host:80/a", "net", "b")),
        ("memory:///net", Address("memory://", "net")),
    ],
)
def test_parts_of_an_address(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("s3://models/net:v1", f"file:///m/net@sha256:{DIGEST}"):
        assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["net", "", "/net", "memory://net", "s3://b/", "s3://b/:x", "s3://b/net:", "s3://b/a b"]
    + ["s3://b/net@", "s3://b/net@sha256:abc", f"s3://b/net@md5:{DIGEST}", "s3://b/net:a:b"],
)
def test_what_names_no_artifact(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


@pytest.fixture
def host() -> Host:
    from finetuner.builtin import hooks

    return Host.discover(entry_points=(), extra=[hooks])


def test_stores_open_by_scheme(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"file://{tmp_path}/models", f"{tmp_path}/models", "./models", "models"):
        store = open_store(url, host)
        assert isinstance(store, LocalStore)
        assert store.root == tmp_path / "models"
    assert isinstance(open_store("memory://one", host), MemoryStore)


def test_a_memory_url_is_one_store(host: Host) -> None:
    one = open_store("memory://test-address", host)
    assert open_store("memory://test-address/", host) is one
    assert open_store("memory://test-address-2", host) is not one


def test_an_unknown_scheme_names_those_known(host: Host) -> None:
    with pytest.raises(UnknownNameError, match=r"'s4'.*file.*memory"):
        open_store("s4://bucket", host)


def test_errors_of_a_store_plugin_name_it(host: Host) -> None:
    with pytest.raises(FinetunerError) as caught:
        open_store("file://", host)
    assert any("finetuner_stores" in note for note in caught.value.__notes__)
