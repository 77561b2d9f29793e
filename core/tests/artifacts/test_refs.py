"""Refs move forward only, each by an object that nobody else can have made."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from finetuner.artifacts import delete_ref, list_refs, resolve_ref, write_ref
from finetuner.contracts import Store
from finetuner.errors import ArtifactError, ConflictError, NotFoundError, StoreError, UsageError

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64


def keys(store: Store) -> list[str]:
    return [info.key for info in store.list()]


def test_a_ref_is_a_numbered_object_with_a_nonce(store: Store) -> None:
    ref = write_ref(store, "shop", "latest", ONE)
    assert keys(store) == ["refs/shop/latest/00000001"]
    content = json.loads(store.get("refs/shop/latest/00000001").read())
    assert content["manifest"] == ONE
    assert len(content["nonce"]) == 32
    assert (ref.name, ref.tag, ref.number, ref.manifest) == ("shop", "latest", 1, ONE)


def test_the_highest_number_counts(store: Store) -> None:
    for digest in (ONE, TWO, THREE):
        write_ref(store, "shop", "latest", digest)
    assert resolve_ref(store, "shop", "latest") == THREE
    assert keys(store)[-1] == "refs/shop/latest/00000003"


def test_numbers_beyond_eight_digits_still_count(store: Store) -> None:
    content = json.dumps({"manifest": ONE, "nonce": "n", "created": ""}).encode()
    store.put("refs/shop/latest/99999999", io.BytesIO(content))
    assert write_ref(store, "shop", "latest", TWO).number == 100_000_000
    assert resolve_ref(store, "shop", "latest") == TWO
    assert write_ref(store, "shop", "latest", THREE).number == 100_000_001


def test_tags_are_apart(store: Store) -> None:
    write_ref(store, "shop", "latest", ONE)
    write_ref(store, "shop", "latest-2", TWO)
    write_ref(store, "shopping", "latest", THREE)
    assert resolve_ref(store, "shop", "latest") == ONE
    assert [(ref.name, ref.tag, ref.manifest) for ref in list_refs(store)] == [
        ("shop", "latest", ONE),
        ("shop", "latest-2", TWO),
        ("shopping", "latest", THREE),
    ]


def test_deleting_writes_a_tombstone(store: Store) -> None:
    write_ref(store, "shop", "latest", ONE)
    assert delete_ref(store, "shop", "latest").number == 2
    assert keys(store)[-1] == "refs/shop/latest/00000002"
    assert list(list_refs(store)) == []
    with pytest.raises(NotFoundError):
        resolve_ref(store, "shop", "latest")
    with pytest.raises(NotFoundError):
        delete_ref(store, "shop", "latest")
    assert write_ref(store, "shop", "latest", TWO).number == 3
    assert resolve_ref(store, "shop", "latest") == TWO


def test_a_missing_name_offers_near_ones(store: Store) -> None:
    write_ref(store, "shop", "latest", ONE)
    with pytest.raises(NotFoundError, match=r"no artifact 'shpo'.*did you mean 'shop'"):
        resolve_ref(store, "shpo", "latest")


def test_a_missing_tag_offers_near_ones(store: Store) -> None:
    write_ref(store, "shop", "version-1", ONE)
    with pytest.raises(NotFoundError, match=r"no tag 'version-2' of 'shop'.*'version-1'"):
        resolve_ref(store, "shop", "version-2")


def test_an_empty_store_says_that_there_is_nothing(store: Store) -> None:
    with pytest.raises(NotFoundError, match="none are available"):
        resolve_ref(store, "shop", "latest")


def test_names_are_checked_before_the_store_is_asked(store: Store) -> None:
    for name, tag in (("../x", "latest"), ("shop", "a/b")):
        with pytest.raises(UsageError):
            write_ref(store, name, tag, ONE)
        with pytest.raises(UsageError):
            resolve_ref(store, name, tag)


def test_a_number_taken_meanwhile_is_skipped(store: Store, faulty: type[Any]) -> None:
    class Raced(faulty):  # type: ignore[misc]
        raced = False

        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            if not self.raced:
                self.raced = True
                write_ref(store, "shop", "latest", ONE)
            super().put(key, stream, if_absent=if_absent)

    assert write_ref(Raced(store), "shop", "latest", TWO).number == 2
    assert resolve_ref(store, "shop", "latest") == TWO


def test_concurrent_writers_take_different_numbers(store: Store) -> None:
    numbers: list[int] = []

    def write() -> None:
        numbers.append(write_ref(store, "shop", "latest", ONE).number)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [StoreError("timed out"), ConflictError("already there")])
def test_a_write_that_was_answered_too_late_is_found_to_be_ours(
    store: Store, faulty: type[Any], error: StoreError
) -> None:
    class Late(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            super().put(key, stream, if_absent=if_absent)
            raise error

    late = Late(store)
    assert write_ref(late, "shop", "latest", ONE).number == 1
    assert keys(store) == ["refs/shop/latest/00000001"]


def test_a_store_that_fails_is_not_asked_for_other_numbers(store: Store, faulty: type[Any]) -> None:
    class Down(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            self.puts.append(key)
            raise StoreError("no connection")

    down = Down(store)
    with pytest.raises(StoreError, match="no connection"):
        write_ref(down, "shop", "latest", ONE)
    assert len(down.puts) == 1


def test_a_store_where_numbers_are_always_taken_is_given_up(
    store: Store, faulty: type[Any]
) -> None:
    class Taken(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: Any, *, if_absent: bool = False) -> None:
            raise ConflictError("already there")

    with pytest.raises(StoreError, match="try again later"):
        write_ref(Taken(store), "shop", "latest", ONE)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"{}", b'{"manifest": 1, "nonce": "", "created": ""}']
)
def test_a_ref_that_cannot_be_read_is_named(store: Store, content: bytes) -> None:
    store.put("refs/shop/latest/00000001", io.BytesIO(content))
    with pytest.raises(ArtifactError, match="refs/shop/latest/00000001"):
        resolve_ref(store, "shop", "latest")


def test_other_objects_under_refs_are_passed_over(store: Store) -> None:
    write_ref(store, "shop", "latest", ONE)
    store.put("refs/shop/latest/notes", io.BytesIO(b"x"))
    store.put("refs/README", io.BytesIO(b"x"))
    assert resolve_ref(store, "shop", "latest") == ONE
    assert len(list(list_refs(store))) == 1
