"""A conformance suite whose tests nobody turns off by accident."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

_REASON = "__finetuner_override__"


def overrides(reason: str) -> Callable[[Test], Test]:
    """Mark a test that takes the place of the suite's test of that name, and say why.

    ::

        @overrides("this server lists deleted keys for a minute")
        def test_deleted_is_gone(self, case): ...
    """
    if not isinstance(reason, str) or not reason.strip():
        raise TypeError('@overrides needs the reason: @overrides("the server …")')

    def mark(test: Test) -> Test:
        setattr(test, _REASON, reason)
        return test

    return mark


class Guarded:
    """Base of a suite: a subclass that replaces one of its tests must say why.

    Anything under the name of a test counts, ``None`` too. Raises ``TypeError`` when
    the subclass is defined.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            replaced = [base for base in cls.__mro__[1:] if name in vars(base)]
            if name.startswith("test") and replaced and not getattr(value, _REASON, None):
                raise TypeError(
                    f"{cls.__name__}.{name} takes the place of {replaced[0].__name__}.{name}: "
                    'rename it, or mark it @overrides("why")'
                )
