"""``finetuner hub``: serve a hub, look after its users. No logic is here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finetuner.runs.directory import home_directory
from finetuner_hub.server import starting
from finetuner_hub.server.settings import Settings

GRACE = 3
"""Seconds that open requests have when the hub ends; logs that are followed never end."""

app = typer.Typer(
    help="Serve a hub and look after its users.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_Home = Annotated[
    Path | None,
    typer.Option(envvar="FINETUNER_HOME", help="The hub's files are in its folder hub/."),
]
_Database = Annotated[
    str | None,
    typer.Option(
        envvar="FINETUNER_HUB_DATABASE",
        help="postgresql+psycopg://USER@HOST/NAME or sqlite:///PATH; SQLite in home by default.",
    ),
]
_Name = Annotated[str, typer.Argument(help="The user's name.")]
_Password = Annotated[
    str,
    typer.Option(
        prompt=True, hide_input=True, confirmation_prompt=True, envvar="FINETUNER_HUB_PASSWORD"
    ),
]


@app.command()
def start(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8765,
    url: Annotated[str | None, typer.Option(help="Where users reach the hub.")] = None,
    home: _Home = None,
    database: _Database = None,
) -> None:
    """Serve a hub until it is interrupted; the first time, make its administrator."""
    import uvicorn

    from finetuner_hub.server.app import create_app

    settings = _settings(home, database, url or f"http://{host}:{port}")
    password = starting.prepare(settings)
    typer.echo(starting.greeting(settings, password))
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE,
    )


@app.command()
def add_user(
    name: _Name,
    password: _Password,
    admin: Annotated[bool, typer.Option("--admin", help="One who looks after users.")] = False,
    home: _Home = None,
    database: _Database = None,
) -> None:
    """Make a user."""
    starting.add_user(_settings(home, database), name, password, admin=admin)
    typer.echo(f"{name} can log in")


@app.command()
def set_password(
    name: _Name, password: _Password, home: _Home = None, database: _Database = None
) -> None:
    """Give a user another password, and revoke their tokens."""
    starting.set_password(_settings(home, database), name, password)
    typer.echo(f"{name} can log in with the new password, and has no tokens")


def _settings(home: Path | None, database: str | None, url: str | None = None) -> Settings:
    directory = home_directory(home) / "hub"
    return Settings(directory, database, url) if url else Settings(directory, database)
