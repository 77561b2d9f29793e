"""Who is to blame: notes on every exception that comes out of a plugin."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("finetuner.plugins")


@dataclass(frozen=True)
class Origin:
    """Where something came from: entry point, distribution, its version, and the hook."""

    plugin: str
    distribution: str
    version: str | None = None
    hook: str | None = None

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        hook = f", hook {self.hook}" if self.hook else ""
        return f"plugin {self.plugin!r} of {self.distribution}{version}{hook}"


class blame:  # noqa: N801  (reads as a verb: ``with blame(origin):``)
    """A context in which whatever is raised gets a note naming ``origin``.

    >>> with blame(Origin("acme", "acme-losses", "1.0", "finetuner_losses")):
    ...     record.function(xp, pairs)
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if isinstance(error, Exception):
            add_origin(error, self.origin)
        return False


def add_origin(error: BaseException, origin: Origin) -> None:
    """Note ``origin`` on ``error``, once."""
    note = f"raised in {origin}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def observe(
    function: Callable[P, T], origin: Origin | None, /, *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """Call an observer that must not kill a run.

    What it raises is logged as a warning with its traceback and ``origin``, and
    ``None`` is returned in place of a result. ``KeyboardInterrupt`` and
    ``SystemExit`` pass.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if origin is not None:
            add_origin(error, origin)
        who = str(origin) if origin is not None else repr(function)
        logger.warning("an observer failed and is passed over: %s", who, exc_info=True)
        return None
