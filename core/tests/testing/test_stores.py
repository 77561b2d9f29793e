"""The suite of stores passes the sound ones and fails every broken one, in the right place."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from finetuner.artifacts import LocalStore, MemoryStore
from finetuner.contracts import Store
from finetuner.errors import UsageError
from finetuner.testing import (
    CREATE_IF_ABSENT,
    SERVER_CLOCK,
    STREAMING,
    StoreCase,
    StoreTests,
    overrides,
)

pytest_plugins = ["pytester"]


def _module(name: str) -> ModuleType:
    """Test folders are no packages, so a module beside this one is loaded by its path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


http_store, broken_stores = _module("http_store"), _module("broken_stores")


def memory_case(store: MemoryStore) -> StoreCase:
    objects = store._objects
    return StoreCase(
        store=store,
        read_raw=lambda key: objects[key][0] if key in objects else None,
        keys_raw=lambda: set(objects),
        reopen=lambda: store,
        large=200_000,
        capabilities=frozenset({CREATE_IF_ABSENT}),
    )


def local_case(root: Path) -> StoreCase:
    store = LocalStore(root)
    return StoreCase(
        store=store,
        read_raw=lambda key: (root / key).read_bytes() if (root / key).is_file() else None,
        keys_raw=lambda: {
            os.path.relpath(path, root) for path in root.rglob("*") if path.is_file()
        },
        reopen=lambda: LocalStore(root),
        capabilities=frozenset({CREATE_IF_ABSENT, SERVER_CLOCK, STREAMING}),
    )


def http_case(server: Any, kind: type[Store] = http_store.HttpStore) -> StoreCase:
    objects = server.objects
    return StoreCase(
        store=kind(server.endpoint),  # type: ignore[call-arg]
        read_raw=lambda key: objects[key][0] if key in objects else None,
        keys_raw=lambda: set(objects),
        reopen=lambda: kind(server.endpoint),  # type: ignore[call-arg]
        endpoint=server.endpoint,
        open_at=lambda endpoint: kind(endpoint, timeout=0.3),  # type: ignore[call-arg]
        large=200_000,
        patience=1.5,
        capabilities=frozenset({CREATE_IF_ABSENT, SERVER_CLOCK}),
    )


class TestMemoryStore(StoreTests):
    @pytest.fixture
    def case(self) -> StoreCase:
        return memory_case(MemoryStore())


class TestLocalStore(StoreTests):
    @pytest.fixture
    def case(self, tmp_path: Path) -> StoreCase:
        return local_case(tmp_path / "store")


class TestHttpStore(StoreTests):
    @pytest.fixture
    def case(self) -> Iterator[StoreCase]:
        with http_store.object_server() as server:
            yield http_case(server)


SUITE = """
    import pytest
    from finetuner.testing.stores import FaultTests, StoreTests

    class TestBroken({tests}):
        @pytest.fixture
        def case(self, broken_case):
            return broken_case
"""


Fresh = Callable[[], AbstractContextManager[StoreCase]]


def failures(pytester: pytest.Pytester, fresh: Fresh, tests: str = "StoreTests") -> set[str]:
    """Names of the suite's tests that a store fails; ``fresh()`` gives it anew for each."""

    class Plugin:
        @pytest.fixture
        def broken_case(self) -> Iterator[StoreCase]:
            with fresh() as case:
                yield case

    pytester.makepyfile(SUITE.format(tests=tests))
    _, _, failed = pytester.inline_run("-p", "no:cacheprovider", plugins=[Plugin()]).listoutcomes()
    return {report.location[2].split(".")[-1].split("[")[0] for report in failed}


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("Overwrites", "test_if_absent_keeps_what_is_there"),
        ("LooksThenWrites", "test_of_many_creators_one_wins"),
        ("KeepsHalf", "test_a_failing_stream_writes_nothing"),
        ("WritesInPlace", "test_a_reader_sees_the_old_object_or_the_new"),
        ("ReadsAllAtOnce", "test_a_long_stream_is_not_held_in_memory"),
        ("ForgetsTheEnd", "test_ranges"),
        ("HasItsOwnErrors", "test_nothing_there_is_one_error"),
        ("DeletesNothingGladly", "test_nothing_there_is_one_error"),
        ("TakesAnyKey", "test_keys_that_could_escape_are_refused"),
        ("ListsOnePage", "test_more_keys_than_one_page_holds"),
        ("ListsAsWritten", "test_a_listing_is_sorted_by_key_and_tells_sizes"),
        ("ListsFolders", "test_prefix_and_after_filter_by_the_whole_key"),
        ("StartsAtAfter", "test_prefix_and_after_filter_by_the_whole_key"),
        ("AsksThisClock", "test_this_machines_clock_is_not_asked"),
        ("ListsOtherTimes", "test_modified_is_when_it_was_written"),
    ],
)
def test_a_broken_store_fails_where_it_is_broken(
    pytester: pytest.Pytester, name: str, test: str
) -> None:
    kind = getattr(broken_stores, name)
    failed = failures(
        pytester, lambda: nullcontext(broken_stores.claims(kind, memory_case(kind())))
    )
    assert test in failed
    assert len(failed) < 7, failed


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("TakesShortAnswers", "test_a_torn_answer_is_never_short_data"),
        ("WaitsForever", "test_a_server_that_stays_broken_is_told_in_time"),
        ("TakesFailureForAbsence", "test_a_server_that_stays_broken_is_told_in_time"),
        ("LeaksItsLibrary", "test_a_server_that_is_not_there_is_told_in_time"),
        ("CallsEverythingFinal", "test_a_passing_failure_is_got_over_or_told"),
        ("TriesOnlyToCreate", "test_a_torn_write_leaves_the_old_object"),
    ],
)
def test_a_store_that_is_broken_behind_http_fails_where_it_is_broken(
    pytester: pytest.Pytester, name: str, test: str
) -> None:
    kind = broken_stores.http_stores(http_store.HttpStore)[name]

    @contextmanager
    def fresh() -> Iterator[StoreCase]:
        with http_store.object_server() as server:
            yield http_case(server, kind)

    failed = failures(pytester, fresh, "FaultTests")
    assert test in failed
    assert len(failed) < 11, failed


def test_a_sound_store_fails_nothing(pytester: pytest.Pytester) -> None:
    assert failures(pytester, lambda: nullcontext(memory_case(MemoryStore()))) == set()


def test_a_test_of_the_suite_is_not_replaced_without_a_reason() -> None:
    with pytest.raises(UsageError, match=r"Quiet replaces test_ranges of its conformance suite"):

        class Quiet(StoreTests):
            def test_ranges(self) -> None: ...  # type: ignore[override]

    with pytest.raises(UsageError, match="overrides"):

        class Silent(StoreTests):
            test_deleted_is_gone = None  # type: ignore[assignment]


def test_a_test_of_the_suite_is_replaced_with_a_reason() -> None:
    class Honest(StoreTests):
        @overrides("the server has no ranges")
        def test_ranges(self) -> None: ...  # type: ignore[override]

        def test_of_its_own(self) -> None: ...

    with pytest.raises(UsageError, match="Heir replaces test_of_its_own"):

        class Heir(Honest):
            def test_of_its_own(self) -> None: ...


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_a_reason_has_words(reason: Any) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        overrides(reason)


def test_a_suite_without_a_case_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="fixture case"):
        StoreTests.case.__wrapped__(StoreTests())
