"""A store must show that it keeps what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetuner.artifacts import push
from finetuner.artifacts.probe import require_create_if_absent
from finetuner.contracts import Store
from finetuner.errors import StoreError


@pytest.fixture
def overwriting(faulty: type[Any]) -> type[Any]:
    class Overwriting(faulty):  # type: ignore[misc]
        def put(self, key: str, stream: object, *, if_absent: bool = False) -> None:
            super().put(key, stream)

    return Overwriting


def test_a_store_that_keeps_is_asked_once(store: Store, faulty: type[Any]) -> None:
    watched = faulty(store)
    require_create_if_absent(watched)
    assert watched.puts == ["probe", "probe"]  # the first made it
    watched.puts.clear()
    require_create_if_absent(watched)
    assert watched.puts == ["probe"]


def test_a_store_that_overwrites_is_refused(
    store: Store, bundle: Path, overwriting: type[Any]
) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match=r"both would seem to win.*--single-writer"):
            push(bundle, overwriting(store), "shop")
    assert {info.key for info in store.list()} == {"probe"}


def test_a_single_writer_may_use_it(store: Store, bundle: Path, overwriting: type[Any]) -> None:
    assert push(bundle, overwriting(store), "shop", single_writer=True)
