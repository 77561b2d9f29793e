"""The host: the one place where plugins' hooks are called and their records checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint
from typing import Any

from finetuner.contracts import StoreRecord
from finetuner.errors import UnknownNameError
from finetuner.plugins import spec
from finetuner.plugins.blame import Origin, blame
from finetuner.plugins.discovery import Hook, Problem, Source, describe, discover

logger = logging.getLogger("finetuner.plugins")

WORDS = {
    "freezing": "freezing policy",
    "losses": "loss",
    "distances": "distance",
}
"""Singulars that are more than the plural without its s."""


@dataclass(frozen=True)
class Provided:
    """A record with its provider."""

    record: Any
    origin: Origin

    @property
    def plugin(self) -> str:
        """The provider's entry-point name."""
        return self.origin.plugin

    @property
    def distribution(self) -> str:
        """The distribution that brings the provider."""
        return self.origin.distribution


@dataclass(frozen=True)
class PluginInfo:
    """What ``finetuner plugins`` shows of one plugin; ``records`` are names by kind."""

    name: str
    distribution: str
    version: str | None
    records: Mapping[str, tuple[str, ...]]
    problem: str | None = None


@dataclass(frozen=True)
class _Kind:
    """All that one hook gave: usable records, and the problems by name and by plugin."""

    records: Mapping[str, Provided] = field(default_factory=dict)
    refused: Mapping[str, Problem] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class Host:
    """Finds plugins and gives their records by kind and name.

    A kind is a hook's name without ``finetuner_``. Its hook is called in every
    plugin when the kind is first asked for, and no other hook is. Hosts share
    nothing: build one per test with :meth:`discover`.

    What is wrong with a plugin harms nobody else: it is listed by
    :meth:`plugins` and raised by :meth:`get` when something of its is asked for.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)
        self._kinds: dict[str, _Kind] = {}
        self._warned: set[str] = set()

    @classmethod
    def discover(
        cls,
        entry_points: Iterable[EntryPoint] | None = None,
        extra: Iterable[object] = (),
        core_version: str | None = None,
    ) -> Host:
        """A host of the installed plugins, or of ``entry_points``, and of ``extra``.

        ``extra`` are modules or objects with hook implementations. Plugins that
        ask for another core than ``core_version`` (default: the one installed)
        are not imported.
        """
        return cls(discover(entry_points, extra, core_version))

    def get(self, kind: str, name: str) -> Any:
        """The record of that kind and name.

        Raises ``PluginError`` where its plugin is broken or two distributions
        claim the name, and ``UnknownNameError`` where nobody knows it.
        """
        return self.provided(kind, name).record

    def provided(self, kind: str, name: str) -> Provided:
        """As :meth:`get`, with the provider."""
        found = self._kind(kind)
        if name in found.records:
            return found.records[name]
        if name in found.refused:
            raise found.refused[name].error()
        for source in self._sources:
            if source.problem is not None and source.origin.plugin == name:
                raise source.problem.error()
        raise self.unknown(kind, name)

    def records(self, kind: str) -> dict[str, Provided]:
        """Every usable record of that kind by name, sorted.

        Records of broken plugins and names that two distributions claim are left
        out, with a warning in the log the first time. A store is listed under
        each of its schemes.
        """
        found = self._kind(kind)
        if kind not in self._warned:
            self._warned.add(kind)
            for problem in found.problems:
                logger.warning("left out: %s: %s", problem.origin, problem.text)
        return dict(found.records)

    def by_name(self, kind: str) -> dict[str, Any]:
        """As :meth:`records`, the bare records without their providers."""
        return {name: provided.record for name, provided in self.records(kind).items()}

    def unknown(self, kind: str, name: str, known: Iterable[str] | None = None) -> UnknownNameError:
        """The error for a name that nothing of ``kind`` matches, to be raised by the caller.

        Near names are taken from ``known`` (default: the names of that kind);
        broken plugins, any of which might have had it, are named with their cause.
        """
        found = self._kind(kind)
        problems = [source.problem for source in self._sources if source.problem is not None]
        texts = (f"{each.origin}: {each.text}" for each in (*problems, *found.problems))
        causes = "; ".join(dict.fromkeys(texts))
        hint = f" (some plugins are broken, see `finetuner plugins`: {causes})" if causes else ""
        names = found.records if known is None else known
        return UnknownNameError(WORDS.get(kind, kind.removesuffix("s")), name, names, hint)

    def guard(self, provided: Provided) -> blame:
        """A context for a call of one of the record's functions: errors name its plugin."""
        return blame(provided.origin)

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every plugin with its records and problems; calls every hook."""
        kinds = {kind: self._kind(kind) for kind in spec.KINDS}
        return tuple(_info(source, kinds) for source in self._sources)

    def _kind(self, kind: str) -> _Kind:
        if kind not in self._kinds:
            if kind not in spec.KINDS:
                raise UnknownNameError("kind of plugin record", kind, spec.KINDS)
            self._kinds[kind] = _collect(spec.PREFIX + kind, self._sources)
        return self._kinds[kind]


@lru_cache(maxsize=1)
def default_host() -> Host:
    """The host of what is installed, made once in a process."""
    return Host.discover()


def names_of(record: Any) -> tuple[str, ...]:
    """The names that a record is found under: a store's schemes, else its one name."""
    if isinstance(record, StoreRecord):
        return tuple(record.schemes)
    return (record.name,)


class _InvalidError(Exception):
    """What a hook gave is not what it must give."""


def _collect(hook: str, sources: Iterable[Source]) -> _Kind:
    """The choke point: call ``hook`` in each plugin by itself and check what it yields."""
    claims: dict[str, list[Provided]] = {}
    refused: dict[str, Problem] = {}
    problems: list[Problem] = []
    for source in sources:
        for function in (function for name, function in source.hooks if name == hook):
            origin = replace(source.origin, hook=hook)
            records, problem = _call(function, hook, origin)
            problem = source.problem or problem
            if problem is not None:
                problems.append(problem)
            for name, record in ((name, each) for each in records for name in names_of(each)):
                if problem is not None:
                    refused[name] = problem
                else:
                    claims.setdefault(name, []).append(Provided(record, origin))
    for name, claimants in claims.items():
        if len(claimants) > 1:
            conflicts = _conflicts(name, claimants)
            problems.extend(conflicts)
            refused[name] = conflicts[0]
    good = {name: claims[name][0] for name in sorted(claims) if len(claims[name]) == 1}
    return _Kind(good, refused, tuple(problems))


def _call(function: Hook, hook: str, origin: Origin) -> tuple[list[Any], Problem | None]:
    """The valid records up to the first problem; a hook with a problem gives nothing usable."""
    records: list[Any] = []
    try:
        with blame(origin):
            for record in _iterate(function(), hook):
                _check(record, hook)
                records.append(record)
    except _InvalidError as error:
        return records, Problem(origin, str(error))
    except Exception as error:
        return records, Problem(origin, f"the hook raised {describe(error)}", error)
    return records, None


def _iterate(returned: object, hook: str) -> Iterator[Any]:
    if not isinstance(returned, Iterable) or isinstance(returned, str):
        wanted = spec.record_type(hook).__name__
        raise _InvalidError(f"the hook returned {_a(returned)}; it must yield {wanted}s")
    return iter(returned)


def _check(record: object, hook: str) -> None:
    wanted = spec.record_type(hook)
    if not isinstance(record, wanted):
        raise _InvalidError(f"the hook yielded {_a(record)} in place of a {wanted.__name__}")
    if isinstance(record, StoreRecord) and not (record.schemes and type(record.schemes) is tuple):
        raise _InvalidError(f"schemes must be a tuple of one or more, not {record.schemes!r}")
    for name in names_of(record):
        if not isinstance(name, str) or not name.strip():
            raise _InvalidError(f"a {wanted.__name__}'s name must be a non-empty str, not {name!r}")


def _a(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__} ({value!r:.60})"


def _conflicts(name: str, claimants: list[Provided]) -> list[Problem]:
    providers = " and by ".join(str(claimant.origin) for claimant in claimants)
    text = f"the name {name!r} is provided by {providers}; uninstall all but one"
    return [Problem(claimant.origin, text) for claimant in claimants]


def _info(source: Source, kinds: Mapping[str, _Kind]) -> PluginInfo:
    def ours(origin: Origin) -> bool:
        return replace(origin, hook=None) == source.origin

    records = {
        kind: names
        for kind, found in kinds.items()
        if (names := tuple(name for name, each in found.records.items() if ours(each.origin)))
    }
    problems = [source.problem] if source.problem is not None else []
    problems += [each for found in kinds.values() for each in found.problems if ours(each.origin)]
    texts = dict.fromkeys(
        f"{each.origin.hook}: {each.text}" if each.origin.hook else each.text for each in problems
    )
    origin = source.origin
    problem = "; ".join(texts) or None
    return PluginInfo(origin.plugin, origin.distribution, origin.version, records, problem)
