"""Commands that plugins add: listed by their record, loaded when they are called."""

from __future__ import annotations

import typer

from finetuner.plugins.host import Host, Provided, default_host

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_plugin_commands(app: typer.Typer, host: Host | None = None) -> None:
    """Add to ``app`` the commands of installed plugins; a name that is taken is left alone."""
    chosen = host or default_host()
    taken = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
    }
    for name, provided in chosen.records("commands").items():
        if name not in taken:
            _add(app, name, provided, chosen)


def _add(app: typer.Typer, name: str, provided: Provided, host: Host) -> None:
    @app.command(name, help=provided.record.help, context_settings=dict(_PASS_ON))
    def run(context: typer.Context) -> None:
        with host.guard(provided):
            loaded = provided.record.load()
        if not isinstance(loaded, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command()(loaded)
            loaded = single
        loaded(args=list(context.args), prog_name=f"finetuner {name}")
