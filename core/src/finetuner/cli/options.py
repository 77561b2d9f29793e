"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = "Run, artifact id, STORE/NAME[:TAG] or bundle directory."

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="FINETUNER_HOME", help="Directory of runs and artifacts."),
]
CsvOptions = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="CSV options.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any argument of fit(); the value is YAML."),
]


def print_json(value: object) -> None:
    """One line of JSON on standard output."""
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
