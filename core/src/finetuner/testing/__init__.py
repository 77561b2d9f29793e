"""Conformance suites for the authors of plugins. They need pytest."""

import pytest

for _module in (
    "backend_case",
    "backend_learning",
    "backend_models",
    "backend_statistics",
    "backend_training",
):
    pytest.register_assert_rewrite(f"finetuner.testing.{_module}")

from finetuner.testing.backend_case import BackendCase  # noqa: E402
from finetuner.testing.backends import BackendTests  # noqa: E402
from finetuner.testing.suite import overrides  # noqa: E402

__all__ = ["BackendCase", "BackendTests", "overrides"]
