"""Conformance suites for the authors of plugins. They need pytest."""

import pytest

for _module in (
    "backend_case",
    "backend_learning",
    "backend_models",
    "backend_statistics",
    "backend_training",
    "store_case",
    "store_faults",
    "store_listing",
    "store_objects",
    "store_writers",
):
    pytest.register_assert_rewrite(f"finetuner.testing.{_module}")

from finetuner.testing.backend_case import BackendCase  # noqa: E402
from finetuner.testing.backends import BackendTests  # noqa: E402
from finetuner.testing.fault_proxy import Fault, FaultProxy  # noqa: E402
from finetuner.testing.store_case import (  # noqa: E402
    CREATE_IF_ABSENT,
    SERVER_CLOCK,
    STREAMING,
    StoreCase,
)
from finetuner.testing.stores import StoreTests  # noqa: E402
from finetuner.testing.suite import overrides  # noqa: E402

__all__ = [
    "CREATE_IF_ABSENT",
    "SERVER_CLOCK",
    "STREAMING",
    "BackendCase",
    "BackendTests",
    "Fault",
    "FaultProxy",
    "StoreCase",
    "StoreTests",
    "overrides",
]
