"""Finding plugins: entry points in, sources with their hooks or their problem out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint

import pluggy

from finetuner.errors import PluginError, suggest
from finetuner.plugins import spec
from finetuner.plugins.blame import Origin, add_origin

GROUP = "finetuner"
CORE = "finetuner-core"

Hook = Callable[[], object]
Implementations = Sequence[tuple[str, pluggy.HookImpl]]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a plugin, or one hook of it, and the exception behind it."""

    origin: Origin
    text: str
    cause: BaseException | None = None

    def error(self) -> PluginError:
        """A fresh exception to raise, with its cause and the note."""
        error = PluginError(f"{self.origin}: {self.text}")
        error.__cause__ = self.cause
        add_origin(error, self.origin)
        return error


@dataclass(frozen=True)
class Source:
    """One plugin: its hook implementations, and what is wrong with it.

    A plugin whose import failed has no hooks; one with an unknown hook keeps the
    known ones, so that it can be told which names it would have provided.
    """

    origin: Origin
    hooks: tuple[tuple[str, Hook], ...] = ()
    problem: Problem | None = None


def discover(
    entry_points: Iterable[EntryPoint] | None = None,
    extra: Iterable[object] = (),
    core_version: str | None = None,
) -> tuple[Source, ...]:
    """Every plugin, sorted by distribution and name; those in ``extra`` come last.

    ``entry_points`` replaces those that are installed. ``extra`` holds modules or
    objects with hook implementations that no distribution brings.
    """
    if entry_points is None:
        from importlib.metadata import entry_points as installed

        entry_points = installed(group=GROUP)
    ordered = sorted(entry_points, key=lambda entry: (_distribution(entry), entry.name))
    found = [_from_entry_point(entry, core_version) for entry in ordered]
    return (*found, *(_from_object(plugin) for plugin in extra))


def _distribution(entry: EntryPoint) -> str:
    name = entry.dist.name if entry.dist is not None else None
    return name or "(no distribution)"


def _from_entry_point(entry: EntryPoint, core_version: str | None) -> Source:
    version = entry.dist.version if entry.dist is not None else None
    origin = Origin(entry.name, _distribution(entry), version)
    try:
        if entry.dist is not None:
            check_core_range(entry.dist, core_version)
        plugin = entry.load()
    except PluginError as error:
        return Source(origin, problem=Problem(origin, str(error)))
    except (Exception, SystemExit) as error:
        return _broken(origin, f"cannot be imported: {describe(error)}", error)
    return examine(plugin, origin)


def _from_object(plugin: object) -> Source:
    name = getattr(plugin, "__name__", None) or type(plugin).__name__
    return examine(plugin, Origin(name.rpartition(".")[2], "(given in this process)"))


def _broken(origin: Origin, text: str, cause: BaseException) -> Source:
    add_origin(cause, origin)
    return Source(origin, problem=Problem(origin, text, cause))


def describe(error: BaseException) -> str:
    """An exception's type and message in one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def check_core_range(distribution: Distribution, core_version: str | None = None) -> None:
    """Raise ``PluginError`` where ``distribution`` asks for another core than this one.

    Nothing of the distribution is imported. One that names no range passes.
    """
    asked = [text for text in distribution.requires or () if _names_core(text)]
    if not asked:
        return
    from importlib.metadata import version

    from packaging.requirements import InvalidRequirement, Requirement

    installed = core_version or version(CORE)
    for text in asked:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise PluginError(f"its requirement {text!r} cannot be read: {error}") from error
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and not requirement.specifier.contains(installed, prereleases=True):
            raise PluginError(
                f"it needs {CORE} {requirement.specifier}, but {installed} is installed; "
                f"install versions of {distribution.name} and {CORE} that go together"
            )


def _names_core(requirement: str) -> bool:
    name = re.match(r"\s*([A-Za-z0-9._-]*[A-Za-z0-9])", requirement)
    return name is not None and re.sub(r"[-_.]+", "-", name[1]).lower() == CORE


def examine(plugin: object, origin: Origin) -> Source:
    """Read a plugin's hook implementations, with a manager of its own.

    pluggy's manager is shared by nobody, so a plugin that breaks registration
    leaves the others alone and an unknown hook is known to be this one's.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(spec)
    try:
        manager.register(plugin, name=origin.plugin)
        implementations = [
            (caller.name, implementation)
            for caller in manager.get_hookcallers(plugin) or ()
            for implementation in caller.get_hookimpls()
        ]
        texts = [*_misused(implementations), *_unmarked(plugin, implementations)]
    except Exception as error:
        return _broken(origin, f"cannot be registered: {describe(error)}", error)
    hooks = tuple((name, each.function) for name, each in implementations if name in spec.HOOKS)
    problem = Problem(origin, "; ".join(texts)) if texts else None
    return Source(origin, hooks, problem)


def _misused(implementations: Implementations) -> Iterator[str]:
    for name, each in implementations:
        if name not in spec.HOOKS and not each.optionalhook:
            yield f"unknown hook {name!r}: {suggest(name, spec.HOOKS)}"
        elif each.wrapper or each.hookwrapper:
            yield f"{name} is a hook wrapper: hooks yield records and cannot be wrapped"


def _unmarked(plugin: object, implementations: Implementations) -> Iterator[str]:
    """Functions that are named as hooks are and would be passed over without a word."""
    marked = {each.function for _, each in implementations}
    for name in dir(plugin):
        value = getattr(plugin, name)
        if name.startswith(spec.PREFIX) and inspect.isroutine(value) and value not in marked:
            near = f": {suggest(name, spec.HOOKS)}" if name not in spec.HOOKS else ""
            yield f"{name} is not marked with @hookimpl{near}"
