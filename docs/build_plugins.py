"""The page ``plugins.md``: hook specifications and the records' docstrings."""

from __future__ import annotations

import dataclasses

from build_markdown import docstring, markdown

from finetuner import contracts
from finetuner.plugins import spec

INTRODUCTION = """\
# Plugins

<!-- Written by docs/build.py from the hook specifications. Do not edit. -->

Everything in Finetuner that could differ is a plugin behind a hook, the built-in
parts included. A plugin is a distribution with an entry point of the group
`finetuner` that names a small module:

```toml
[project]
name = "finetuner-acme"
dependencies = ["finetuner-core~=0.1.0"]

[project.entry-points.finetuner]
acme = "finetuner_acme.hooks"
```

The module marks functions as hook implementations. Each yields frozen records, and
heavy modules are imported inside the functions that the records hold, so that
looking at what there is loads nothing:

```python
from finetuner.contracts import LossRecord
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_losses():
    def pull(xp, pairs):
        return xp.mean(xp.where(pairs.positive, pairs.distances, 0.0))

    yield LossRecord("PullLoss", pull, consumes=("pairs",))
```

`finetuner plugins` lists every plugin with its distribution, version, records and
problems.

- Records are chosen by name. A name that two distributions provide is refused,
  and the error names both.
- The range of `finetuner-core` that a distribution asks for is checked before
  anything of it is imported.
- A plugin that cannot be imported, asks for another core, has a hook that does not
  exist, or yields what is no record of the hook harms nobody else. Its problem is
  listed, and raised when something of its is asked for.
- Whatever a plugin raises carries a note that names the plugin, its distribution
  and the hook. What a callback raises is logged and does not stop the run.
- A host can be built by hand, for tests above all:
  `Host.discover(entry_points=(), extra=[my_hooks])`.
- Two small distributions to start from are in `examples/plugins/`. For a framework,
  [writing a backend](backends.md) goes through one of them.
"""

VALUES = """\
## What the functions see and give

All of these, like the records, are in `finetuner.contracts`.
"""

SEEN = (
    contracts.LoadedModel,
    contracts.HeadDecision,
    contracts.FreezeDecision,
    contracts.PairBatch,
    contracts.Triplets,
    contracts.PairWeights,
    contracts.Ranking,
    contracts.Rows,
)


def page() -> str:
    """The whole page."""
    table = ["| hook | yields | for |", "|---|---|---|", *map(_row, spec.HOOKS)]
    parts = [INTRODUCTION, *table, "", *map(_section, spec.HOOKS), VALUES, *map(_value, SEEN)]
    return "\n".join(parts).rstrip() + "\n"


def _row(hook: str) -> str:
    summary = markdown(docstring(getattr(spec, hook)).split("\n\n")[0]).rstrip(".")
    return f"| [`{hook}`](#{hook}) | `{spec.record_type(hook).__name__}` | {summary} |"


def _section(hook: str) -> str:
    record = spec.record_type(hook)
    return "\n".join(
        [
            f"## {hook}\n",
            f"{markdown(docstring(getattr(spec, hook)))}\n",
            f"### {record.__name__}\n",
            *_described(record),
        ]
    )


def _value(value: type) -> str:
    return "\n".join([f"### {value.__name__}\n", *_described(value)])


def _described(value: type) -> list[str]:
    return ["```python", _signature(value), "```\n", f"{markdown(docstring(value))}\n"]


def _signature(record: type) -> str:
    """The fields as they are written when one is made."""
    fields = (_field(each) for each in dataclasses.fields(record))
    return f"{record.__name__}(\n" + "".join(f"    {text},\n" for text in fields) + ")"


def _field(each: dataclasses.Field[object]) -> str:
    text = f"{each.name}: {each.type}"
    if each.default is not dataclasses.MISSING:
        return f"{text} = {each.default!r}"
    if each.default_factory is not dataclasses.MISSING:
        return f"{text} = {each.default_factory()!r}"
    return text
