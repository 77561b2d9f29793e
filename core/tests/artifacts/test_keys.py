"""Where things are in a store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.artifacts.keys import (
    blob_key,
    check_key,
    check_name,
    manifest_key,
    parse_ref_key,
    ref_key,
)
from finetuner.errors import UsageError

DIGEST = "ab" + "c" * 62


def test_the_layout() -> None:
    assert blob_key(DIGEST) == f"blobs/sha256/ab/{DIGEST}"
    assert manifest_key(DIGEST) == f"manifests/sha256/ab/{DIGEST}"
    assert ref_key("shop", "latest", 1) == "refs/shop/latest/00000001"


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(names, names, st.integers(1, 10**12))
def test_ref_keys_are_read_back(name: str, tag: str, number: int) -> None:
    key = check_key(ref_key(check_name("name", name), check_name("tag", tag), number))
    assert parse_ref_key(key) == (name, tag, number)


@pytest.mark.parametrize("key", ["refs/shop/latest/1", "blobs/shop/latest/00000001", "refs/a"])
def test_other_keys_are_no_refs(key: str) -> None:
    assert parse_ref_key(key) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "-x", ".x", "a:b", "a@b", "ä", "a\n"]
)
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        check_name("name", name)
