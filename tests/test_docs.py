"""Documentation must not drift from the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import click
import pytest
import typer

from finetuner.cli.extensions import add_plugin_commands
from finetuner.cli.main import app
from finetuner.plugins import spec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    path
    for pattern in ("README.md", "docs/*.md", "core/README.md", "*s/*/README.md")
    for path in sorted(ROOT.glob(pattern))
]
QUOTE = re.compile(r"(?:<!-- from (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    import build_plugins

    return build_plugins


@pytest.mark.parametrize("page", ["plugins", "api"])
def test_a_page_is_what_the_code_says(page: str) -> None:
    if page == "api":
        pytest.importorskip("docarray")
    command = [sys.executable, str(DOCS / "build.py"), "--check", "--page", page]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not all(map(find_spec, ("torch", "sklearn", "finetuner_torch"))), reason="needs a backend"
)
@pytest.mark.timeout(600)
def test_the_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    source = readme.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env=os.environ | {"FINETUNER_HOME": str(tmp_path), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "map@r" in done.stdout
    promised = re.search(r"print\(.*\)  # (\(\d+, \d+\))", source)
    assert promised is not None
    assert done.stdout.splitlines()[-1] == promised[1]


def commands(text: str) -> list[str]:
    """``finetuner …`` as it is written in shell blocks and between backticks."""
    blocks = "\n".join(re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.S))
    lines = [re.sub(r"^\s*\$ |\s#.*", "", line) for line in blocks.splitlines()]
    quoted = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    return [found for found in [*lines, *quoted] if re.match(r"finetuner [a-z-]", found)]


@pytest.fixture(scope="module")
def program() -> click.Group:
    """The command line with the commands of installed plugins."""
    whole = copy(app)
    whole.registered_commands = [*app.registered_commands]
    whole.registered_groups = [*app.registered_groups]
    add_plugin_commands(whole)
    return typer.main.get_command(whole)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_exists_with_its_options(
    page: Path, program: click.Group
) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        found, words = program, shlex.split(line)[1:]
        while words and not words[0].startswith("-") and hasattr(found, "commands"):
            name, *words = words
            assert name in found.commands, line
            found = found.commands[name]
        flags = {flag for each in found.params for flag in [*each.opts, *each.secondary_opts]}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= {*flags, "--help"}, line


@pytest.mark.parametrize("hook", spec.HOOKS)
def test_every_hook_has_a_section_with_its_record(build, hook):
    section = build.page().split(f"\n## {hook}\n")[1].split("\n## ")[0]
    assert f"{spec.record_type(hook).__name__}(" in section
    assert "@hookimpl" in section


def test_the_example_of_the_introduction_works(build):
    from types import SimpleNamespace

    from finetuner.plugins import Host

    source = build.INTRODUCTION.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(source, names)
    host = Host.discover(
        entry_points=(), extra=[SimpleNamespace(finetuner_losses=names["finetuner_losses"])]
    )
    assert host.get("losses", "PullLoss").consumes == ("pairs",)
    assert host.plugins()[0].problem is None


def quotes():
    """Source, language and text of every block of the tutorial; shell commands have no source."""
    tutorial = (DOCS / "backends.md").read_text(encoding="utf-8")
    return [found for found in QUOTE.findall(tutorial) if found[1] != "bash"]


@pytest.mark.parametrize(("source", "language", "text"), quotes())
def test_the_tutorial_quotes_the_files_that_run(source, language, text):
    assert source, f"say where this {language} block is from:\n{text}"
    written = (ROOT / source).read_text(encoding="utf-8")
    indents = ("", "    ", "        ")
    assert any(textwrap.indent(text, indent) in written for indent in indents), text


def test_the_tutorial_is_reached_from_the_plugin_page(build):
    assert "(backends.md)" in build.page()
