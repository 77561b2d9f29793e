"""Listings of any keys whatever; all else that a store does is in ``finetuner.testing``."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from finetuner.artifacts import MemoryStore

segments = st.sampled_from(["a", "b", "a.b", "a-b", "a0", "_"])
keys = st.lists(segments, min_size=1, max_size=3).map("/".join)


@given(st.sets(keys, max_size=8), st.text("ab./-0", max_size=4), st.text("ab./-0", max_size=4))
def test_a_listing_filters_and_sorts_by_the_whole_key(
    found: set[str], prefix: str, after: str
) -> None:
    store = MemoryStore()
    for key in found:
        store.put(key, io.BytesIO(b"0123456789"))
    expected = sorted(key for key in found if key.startswith(prefix) and key > after)
    assert [info.key for info in store.list(prefix, after)] == expected
