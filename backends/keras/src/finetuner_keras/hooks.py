"""The entry point: records only, nothing heavy is imported until one is used."""

from __future__ import annotations

from collections.abc import Iterator

from finetuner.contracts import BackboneRecord, Backend, BackendRecord
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_backends() -> Iterator[BackendRecord]:
    yield BackendRecord("keras", "keras", _load, ("*.keras",))


@hookimpl
def finetuner_backbones() -> Iterator[BackboneRecord]:
    from finetuner_keras.backbones import BACKBONES

    yield from BACKBONES


def _load() -> Backend:
    from finetuner_keras.backend import KerasBackend

    return KerasBackend()
