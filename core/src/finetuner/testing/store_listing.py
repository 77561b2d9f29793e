"""Conformance of a store: listings."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from finetuner.testing.store_case import StoreCase, StoreSuite, keys, put

KEYS = ("a.b", "a/b", "a/b-c", "a/b.c", "a0", "b/c/d", "b/c/e", "b/cc", "B", "_")
PREFIXES = ("", "a", "a/", "a/b", "a/b.", "b/", "b/c", "b/c/", "x")
AFTER = ("", "a", "a/", "a/b", "a/c", "b", "b/c/d", "b/c/zz", "z")


class ListingTests(StoreSuite):
    """Keys come in their own order, filtered as whole strings."""

    def test_an_empty_store_lists_nothing(self, case: StoreCase) -> None:
        assert keys(case.store) == []
        assert keys(case.store, "refs/") == []

    def test_a_listing_is_sorted_by_key_and_tells_sizes(self, case: StoreCase) -> None:
        for key in KEYS:
            put(case.store, key, key.encode())
        infos = list(case.store.list())
        assert [info.key for info in infos] == sorted(KEYS)
        assert [info.size for info in infos] == [len(info.key) for info in infos]

    def test_prefix_and_after_filter_by_the_whole_key(self, case: StoreCase) -> None:
        for key in KEYS:
            put(case.store, key)
        for prefix in PREFIXES:
            for after in AFTER:
                expected = sorted(key for key in KEYS if key.startswith(prefix) and key > after)
                assert keys(case.store, prefix, after) == expected, (prefix, after)

    def test_a_prefix_that_is_a_key_lists_it(self, case: StoreCase) -> None:
        for key in ("a/b", "a/bc"):
            put(case.store, key)
        assert keys(case.store, "a/b") == ["a/b", "a/bc"]
        assert keys(case.store, "a/b", after="a/b") == ["a/bc"]

    def test_more_keys_than_one_page_holds(self, case: StoreCase) -> None:
        wanted = [f"p/{number:05d}" for number in range(1_203)]

        def write(key: str) -> None:
            case.store.put(key, io.BytesIO(b""))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, wanted))
        put(case.store, "q")
        assert keys(case.store, "p/") == wanted
        assert keys(case.store, "p/", after=wanted[99]) == wanted[100:]
        assert keys(case.store, after=wanted[-2]) == [wanted[-1], "q"]
        assert [info.key for info in islice(case.store.list("p/"), 3)] == wanted[:3]

    def test_a_listing_may_be_used_while_objects_are_deleted(self, case: StoreCase) -> None:
        for key in KEYS:
            put(case.store, key)
        for info in case.store.list():
            case.store.delete(info.key)
        assert case.keys_raw() == set()
