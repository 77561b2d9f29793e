"""Documentation that is generated must not drift from the code."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from finetuner.plugins import spec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
QUOTE = re.compile(r"(?:<!-- from (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    found = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_plugin_page_is_what_the_hook_specifications_say(build):
    written = (DOCS / "plugins.md").read_text(encoding="utf-8")
    assert written == build.page(), "run python docs/build.py"


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
