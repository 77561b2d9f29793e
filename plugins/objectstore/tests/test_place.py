"""Addresses of stores."""

from __future__ import annotations

import pytest

from finetuner.errors import UsageError
from finetuner_objectstore.place import Place, parse_place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://shop", Place("s3", "shop")),
        ("S3://shop/", Place("s3", "shop")),
        ("s3://shop.models/a/b/", Place("s3", "shop.models", "a/b")),
        ("s3://shop/50%25 of+ä", Place("s3", "shop", "50%25 of+ä")),
    ],
)
def test_a_url_is_a_bucket_and_a_prefix_as_it_stands(url: str, place: Place) -> None:
    assert parse_place(url, "s3") == place
    assert parse_place(place.url, "s3") == place


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///a",
        "shop",
        "gs://shop",
        "s3://-shop",
        "s3://s",
        "s3://a b/c",
        "s3://shop/a//b",
    ]
    + ["s3://shop/../a", "s3://shop/./a", "s3://shop/a\\b", "s3://shop/a\n", "s3://shop/a?b=c"]
    + ["s3://shop/a#b", "s3://shop?x=1"],
)
def test_what_is_no_store(url: str) -> None:
    with pytest.raises(UsageError):
        parse_place(url, "s3")
