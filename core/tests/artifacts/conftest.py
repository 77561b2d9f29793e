"""A small bundle, both stores, and faulty ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from finetuner.artifacts import LocalStore, MemoryStore, write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing


@pytest.fixture
def manifest() -> Manifest:
    preprocessing = Preprocessing("array", (InputSpec("array", "float32", (None, 4)),))
    metrics = {"before": {"recall@1": 0.5}, "after": {"recall@1": 0.75}}
    return Manifest("shop", preprocessing, width=2, files=(), metrics=metrics)


@pytest.fixture
def make_bundle(tmp_path: Path, manifest: Manifest) -> Callable[..., Path]:
    """``make_bundle(name, **contents)``: files by stem, so that two bundles may share some."""

    def make(name: str = "bundle", model: bytes = b"model", weights: bytes = b"weights") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        (directory / "model.onnx").write_bytes(model)
        (directory / "weights.safetensors").write_bytes(weights)
        (directory / "README.md").write_bytes(b"# shop\n")
        write_manifest(directory, manifest)
        return directory

    return make


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle()


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalStore | MemoryStore:
    return LocalStore(tmp_path / "store") if request.param == "file" else MemoryStore("memory://t")


class Faulty:
    """Hands everything to ``inner`` but what a test replaces."""

    def __init__(self, inner: LocalStore | MemoryStore) -> None:
        self._inner = inner
        self.puts: list[str] = []

    def content(self) -> list[str]:
        """Keys written that are not a push's own bookkeeping."""
        return [key for key in self.puts if not key.startswith(("leases/", "probe"))]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, stream: object, *, if_absent: bool = False) -> None:
        self.puts.append(key)
        self._inner.put(key, stream, if_absent=if_absent)  # type: ignore[arg-type]


@pytest.fixture
def faulty() -> type[Faulty]:
    return Faulty


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """The files below a directory with their bytes."""

    def take(directory: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }

    return take
