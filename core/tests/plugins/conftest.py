"""Temporary distributions: real metadata and modules in a folder on ``sys.path``."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path

import pytest

numbers = itertools.count()

Install = Callable[..., list[EntryPoint]]

LOSS = """
from finetuner.contracts import LossRecord
from finetuner.plugins import hookimpl

@hookimpl
def finetuner_losses():
    yield LossRecord({name!r}, lambda xp, pairs: 0.0, consumes=("pairs",))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a distribution with one hook module and give its entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def write(
        source: str,
        *,
        distribution: str = "acme-losses",
        version: str = "1.2",
        name: str = "acme",
        requires: tuple[str, ...] = (),
    ) -> list[EntryPoint]:
        module = f"temporary_plugin_{next(numbers)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        folder = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        lines = [f"Requires-Dist: {each}" for each in requires]
        head = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n")
        (folder / "entry_points.txt").write_text(f"[finetuner]\n{name} = {module}\n")
        return list(PathDistribution(folder).entry_points)

    yield write
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def loss_plugin() -> Callable[[str], str]:
    """The source of a hook module that provides one loss."""
    return lambda name: LOSS.format(name=name)
