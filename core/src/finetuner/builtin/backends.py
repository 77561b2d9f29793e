"""The backend that core brings along."""

from __future__ import annotations

from finetuner.contracts import Backend, BackendRecord


def _load() -> Backend:
    from finetuner.builtin.numpy_backend import NumpyBackend

    return NumpyBackend()


BACKENDS = (BackendRecord("numpy", "numpy", _load),)
