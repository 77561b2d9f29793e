"""What ``finetuner plugins`` shows."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from finetuner.plugins.host import default_host


def rows() -> list[dict[str, Any]]:
    """One row a plugin: its distribution, version, records by kind, and problem."""
    return [
        {
            "plugin": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "records": {kind: list(names) for kind, names in info.records.items()},
            "problem": info.problem,
        }
        for info in default_host().plugins()
    ]


def table() -> Table:
    """The same for a terminal."""
    shown = Table(title="Plugins", show_lines=True)
    for title in ("plugin", "distribution", "version", "provides", "problem"):
        shown.add_column(title, overflow="fold")
    for row in rows():
        provides = "\n".join(
            f"{kind}: {', '.join(names)}" for kind, names in row["records"].items()
        )
        shown.add_row(
            row["plugin"], row["distribution"], row["version"], provides, row["problem"] or ""
        )
    return shown
