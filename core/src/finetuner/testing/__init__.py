"""Conformance suites for the authors of plugins. They need pytest."""

import pytest

pytest.register_assert_rewrite("finetuner.testing.backends")

from finetuner.testing.backends import BackendCase, BackendTests  # noqa: E402

__all__ = ["BackendCase", "BackendTests"]
