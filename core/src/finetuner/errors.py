"""Every exception that finetuner raises on purpose.

A message says what was found, where, and what to do. All of them derive from
:class:`FinetunerError`, so that a caller can catch what is a user's or a
plugin's mistake and let real bugs through.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FinetunerError(Exception):
    """Base of every error that finetuner raises on purpose."""


class UsageError(FinetunerError, ValueError):
    """An argument or a combination of arguments cannot be used as given."""


class UnknownNameError(UsageError):
    """A name (of a model, loss, miner, layer, option, …) is not known.

    ``kind`` is the word for what was asked for, ``name`` what was asked, ``known``
    what exists (at most three near names are offered) and ``hint`` ends the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known, self.hint = kind, name, tuple(sorted(known)), hint
        super().__init__(f"unknown {kind} {name!r}: {suggest(name, self.known)}{hint}")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.kind, self.name, self.known, self.hint)


class MissingDependencyError(FinetunerError, ImportError):
    """A package that an operation needs is not installed; the message names it."""


class PluginError(FinetunerError):
    """A plugin broke its contract; the message names plugin, distribution and hook."""


class DataError(FinetunerError, ValueError):
    """Data that cannot be used; the message names the row."""


class ModelError(FinetunerError, ValueError):
    """A model that cannot be interpreted, adapted or trained as asked."""


class TrainingError(FinetunerError, RuntimeError):
    """Training had to stop; the last good checkpoint is kept."""


class ExportError(FinetunerError, RuntimeError):
    """An exported model could not be written or does not match its source."""


class ArtifactError(FinetunerError):
    """A bundle that is malformed, unsafe or was changed."""


class IntegrityError(ArtifactError):
    """Bytes do not have the digest that they should have."""


class StoreError(FinetunerError):
    """A store could not do what was asked of it."""


class TransientStoreError(StoreError):
    """What a store could not do this time and may do the next: a time-out, a 500, a cut line.

    A store raises it and tries nothing again by itself; the engine does, over any store.
    """


class NotFoundError(StoreError, LookupError):
    """A store has nothing under that key, name or tag."""


class ConflictError(StoreError):
    """Somebody else made the object first."""


class RunError(FinetunerError):
    """A run is unknown, or its state does not allow what was asked."""


def suggest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Words that offer the known names nearest to ``name``.

    >>> suggest("semihard", ["all", "hard", "semi-hard"])
    "did you mean 'semi-hard'?"
    """
    names = sorted(known)
    near = get_close_matches(str(name), names, n=limit, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "none are available"
    if len(names) <= 12:
        return f"known: {', '.join(names)}"
    return f"known: {', '.join(names[:12])}, … ({len(names)} in all)"
