"""Callbacks as a spec names them: ``"early-stopping:patience=2,metric=mrr"``."""

from __future__ import annotations

import contextlib
from typing import Any

from finetuner.contracts import CallbackRecord
from finetuner.errors import UsageError
from finetuner.plugins.host import Host
from finetuner.plugins.options import check_options, named_options


def named_callback(text: str, host: Host) -> Any:
    """The callback ``NAME`` or ``NAME:OPTION=VALUE,…``; numbers are read as such.

    Raises ``UnknownNameError`` for a callback or option that is not there and
    ``UsageError`` for a value that it cannot take.
    """
    name, colon, argument = text.partition(":")
    record: CallbackRecord = host.get("callbacks", name)
    options = _options(text, argument) if colon else {}
    known = named_options(record.build)
    return record.build(**check_options("callback", name, record.build, options, known=known))


def _options(text: str, argument: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in argument.split(","):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"callback {text!r}: {pair!r} is not OPTION=VALUE")
        options[key] = _number(value)
    return options


def _number(value: str) -> float | int | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value
