"""From names and live objects to backends, models and options."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from finetuner.contracts import BackboneRecord, Backend, BackendRecord, LoadedModel
from finetuner.errors import MissingDependencyError, UnknownNameError, UsageError
from finetuner.plugins.host import Host

REFERENCE_BACKEND = "numpy"
"""The built-in oracle: never chosen for a path unless it is asked for by name."""


def load_model(
    model: object, backend: str | None, options: Mapping[str, Any], host: Host
) -> tuple[Backend, LoadedModel]:
    """The backend and the loaded model that ``model`` means.

    A string is a backbone's name or a path; anything else is a live model, whose
    backend is found among the frameworks that are already imported.
    """
    if isinstance(model, (str, Path)):
        return _load_named(str(model), backend, options, host)
    found = get_backend(backend, host) if backend else _backend_of(model, host)
    if not found.recognises(model):
        raise UsageError(
            f"backend {found.name!r} cannot use a {_class_name(model)}: give a {found.framework} "
            "model, or leave backend= out to have it detected"
        )
    return found, found.load(model, options)


def get_backend(name: str, host: Host) -> Backend:
    """The backend ``name``, loaded."""
    return backend_record(name, host).load()


def backend_record(name: str, host: Host) -> BackendRecord:
    """The record of the backend ``name``; the error for a missing one names the package."""
    try:
        record: BackendRecord = host.get("backends", name)
    except UnknownNameError as error:
        if name in ("torch", "keras"):
            raise MissingDependencyError(
                f"backend {name!r} is not installed: pip install finetuner-{name}"
            ) from error
        raise
    return record


def _load_named(
    name: str, backend: str | None, options: Mapping[str, Any], host: Host
) -> tuple[Backend, LoadedModel]:
    record = _backbone(name, backend, host)
    if record is not None:
        return get_backend(record.backend, host), record.load(name, options)
    if not Path(name).expanduser().exists():
        patterns = [p.record.pattern for p in host.records("backbones").values()]
        raise UnknownNameError(
            "model",
            name,
            _known_backbones(name, host),
            f". It is neither a path that exists nor a backbone name ({', '.join(patterns)})",
        )
    found = get_backend(backend or _default_backend(name, host), host)
    return found, found.load(str(Path(name).expanduser()), options)


def _backbone(name: str, backend: str | None, host: Host) -> BackboneRecord | None:
    for provided in host.records("backbones").values():
        record: BackboneRecord = provided.record
        if fnmatchcase(name, record.pattern) and backend in (None, record.backend):
            return record
    return None


def _known_backbones(name: str, host: Host) -> list[str]:
    """Names near which a misspelt one may lie; only cheap listings are asked."""
    known: list[str] = []
    for provided in host.records("backbones").values():
        record: BackboneRecord = provided.record
        if record.names is not None and name.split("/")[0] in record.pattern:
            known.extend(record.names())
    return known


def _default_backend(path: str, host: Host) -> str:
    """The backend for a path: the one that claims its kind, else the only one that claims none."""
    claims = {
        name: provided.record.paths
        for name, provided in host.records("backends").items()
        if name != REFERENCE_BACKEND
    }
    claiming = [n for n, paths in claims.items() if any(fnmatchcase(path, p) for p in paths)]
    names = claiming or [n for n, paths in claims.items() if not paths] or list(claims)
    if not names:
        raise MissingDependencyError(
            "no backend is installed: pip install finetuner-torch (or finetuner-keras)"
        )
    if len(names) > 1:
        loaded = [n for n in names if host.get("backends", n).framework in sys.modules]
        if len(loaded) != 1:
            raise UsageError(f"several backends are installed: say backend= one of {names}")
        return loaded[0]
    return names[0]


def _backend_of(model: object, host: Host) -> Backend:
    for provided in host.records("backends").values():
        record: BackendRecord = provided.record
        if record.framework in sys.modules:
            backend = record.load()
            if backend.recognises(model):
                return backend
    framework = type(model).__module__.split(".")[0]
    mro = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    for known in ("torch", "keras"):
        if known in mro and known not in host.records("backends"):
            raise MissingDependencyError(
                f"a {_class_name(model)} needs the {known} backend: pip install finetuner-{known}"
            )
    installed = ", ".join(host.records("backends"))
    raise UsageError(
        f"no installed backend ({installed}) recognises a {_class_name(model)} of {framework!r}: "
        "give a model object of a supported framework, a backbone name or a path"
    )


def _class_name(model: object) -> str:
    cls = type(model)
    return f"{cls.__module__}.{cls.__qualname__}"
