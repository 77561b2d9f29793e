"""The conformance suite for backends.

An author subclasses :class:`BackendTests` and gives one fixture:

>>> class TestMyBackend(BackendTests):
...     @pytest.fixture
...     def case(self) -> BackendCase:
...         return BackendCase(MyBackend(), make_model, ...)
"""

from __future__ import annotations

import pytest

from finetuner.testing.backend_case import BackendCase
from finetuner.testing.backend_learning import LearningTests
from finetuner.testing.backend_models import ModelTests
from finetuner.testing.backend_statistics import StatisticsTests
from finetuner.testing.backend_training import TrainingTests


class BackendTests(ModelTests, TrainingTests, LearningTests, StatisticsTests):
    """Everything that core relies on. Subclass it and give ``case``.

    A test that a backend cannot pass is replaced by one marked
    :func:`~finetuner.testing.overrides` with the reason; nothing else may replace one.
    """

    @pytest.fixture
    def case(self) -> BackendCase:
        """The backend under test, with a model and inputs for it."""
        raise NotImplementedError("a subclass of BackendTests gives the fixture case")
