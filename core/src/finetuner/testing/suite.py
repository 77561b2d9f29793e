"""What every conformance suite is: its tests may be replaced for a stated reason only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from finetuner.errors import UsageError

Test = TypeVar("Test", bound=Callable[..., Any])

_REASON = "override_reason"


def overrides(reason: str) -> Callable[[Test], Test]:
    """Mark a test that stands in for one of the suite's, and say why.

    >>> class TestMyBackend(BackendTests):
    ...     @overrides("the accelerator adds in no fixed order: equal to 1e-6, not to the bit")
    ...     def test_embedding_twice_gives_the_same_bits(self, case): ...

    Raises ``UsageError`` for an empty reason.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError("overrides() needs a reason in words, as in @overrides('why it differs')")

    def mark(test: Test) -> Test:
        setattr(test, _REASON, reason)
        return test

    return mark


class ConformanceSuite:
    """Base of the suites. A subclass that replaces a test without a reason is refused."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in (name for name in dir(cls) if name.startswith("test_")):
            *replacing, _ = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
            if not all(getattr(test, _REASON, "") for test in replacing):
                raise UsageError(
                    f"{cls.__qualname__} replaces {name} of its conformance suite without a "
                    "reason: decorate it with @overrides('why it differs')"
                )
