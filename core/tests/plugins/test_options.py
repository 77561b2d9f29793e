from __future__ import annotations

from typing import Any

import pytest

from finetuner.errors import UnknownNameError, UsageError
from finetuner.plugins.options import check_options, named_options


def function(
    xp: Any, pairs: Any, *, margin: float = 0.2, steps: int = 3, soft: bool = False
) -> None:
    pass


def open_function(xp: Any, *, rate: float = 1.0, **options: Any) -> None:
    pass


def demanding_function(xp: Any, *, classes: int) -> None:
    pass


def test_options_come_back_as_they_were_given() -> None:
    given = {"margin": 1, "steps": 2, "soft": True}
    assert check_options("loss", "X", function, given) == given


def test_an_unknown_option_offers_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"option of loss X 'margn'.*did you mean 'margin'"):
        check_options("loss", "X", function, {"margn": 0.1})


def test_a_positional_argument_is_no_option() -> None:
    with pytest.raises(UnknownNameError):
        check_options("loss", "X", function, {"pairs": 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("margin", "0.2"),
        ("margin", None),
        ("margin", True),
        ("margin", float("nan")),
        ("margin", float("inf")),
        ("steps", 1.5),
        ("soft", 1),
    ],
)
def test_a_value_of_another_type_is_refused(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"option '{option}' of loss X"):
        check_options("loss", "X", function, {option: value})


def test_a_function_with_open_options_takes_any() -> None:
    assert check_options("loss", "X", open_function, {"whatever": "x"}) == {"whatever": "x"}


def test_an_option_without_a_default_must_be_given() -> None:
    with pytest.raises(UsageError, match="needs the option 'classes'"):
        check_options("loss", "X", demanding_function, {})
    assert check_options("loss", "X", demanding_function, {"classes": 2}) == {"classes": 2}


def test_a_builder_may_be_given_all_that_has_a_name() -> None:
    class Tracker:
        def __init__(self, every: int = 1, *, name: str) -> None: ...

    known = named_options(Tracker)
    given = {"every": 2, "name": "x"}
    assert check_options("callback", "t", Tracker, given, known=known) == given
    with pytest.raises(UsageError, match="callback t needs the option 'name'"):
        check_options("callback", "t", Tracker, {"every": 2}, known=known)


def test_the_records_own_check_is_asked() -> None:
    def refuse(options: Any) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        check_options("loss", "X", function, {}, refuse)
