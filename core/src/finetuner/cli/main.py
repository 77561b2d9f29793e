"""``finetuner``: the commands. They parse and print; all logic is in the API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finetuner.cli.extensions import add_plugin_commands
from finetuner.cli.options import MODEL, CsvOptions, Home, Json, Options, print_json
from finetuner.cli.stores import add_store_commands
from finetuner.errors import FinetunerError

if TYPE_CHECKING:
    from finetuner.runs.run import Run

app = typer.Typer(
    name="finetuner",
    help="Fine-tune embedding models on your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

add_store_commands(app)


def _print_version(asked: bool) -> None:
    if asked:
        import finetuner

        typer.echo(finetuner.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Fine-tune embedding models on your data."""


@app.command()
def fit(
    model: Annotated[str | None, typer.Argument(help="Backbone name or path.")] = None,
    train_data: Annotated[str | None, typer.Argument(help="CSV or image folder.")] = None,
    eval_data: Annotated[str | None, typer.Option(help="Labelled data to report on.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML with arguments of fit().")] = None,
    run_name: Annotated[str | None, typer.Option(help="Unique name of the run.")] = None,
    backend: Annotated[str | None, typer.Option(help="torch, keras, …")] = None,
    loss: Annotated[str | None, typer.Option(help="Name of the loss.")] = None,
    miner: Annotated[str | None, typer.Option(help="Name of the miner.")] = None,
    pooling: Annotated[str | None, typer.Option(help="Name of the pooling.")] = None,
    freeze: Annotated[str | None, typer.Option(help="none, backbone, first:F, …")] = None,
    output_dim: Annotated[int | None, typer.Option(help="Width of a projection.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    store: Annotated[str | None, typer.Option(help="URL of the store to push to.")] = None,
    options: Options = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Fine-tune MODEL on TRAIN_DATA; flags win over the config file."""
    from finetuner import api
    from finetuner.cli.arguments import fit_arguments

    flags = {
        "model": model,
        "train_data": train_data,
        "eval_data": eval_data,
        "run_name": run_name,
        "backend": backend,
        "loss": loss,
        "miner": miner,
        "pooling": pooling,
        "freeze": freeze,
        "output_dim": output_dim,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "store": store,
        "home": home,
    }
    progress = False if as_json else None
    _show(api.fit(**fit_arguments(config, options or [], flags), progress=progress), as_json)


@app.command()
def resume(
    name: str,
    weights_only: Annotated[
        bool, typer.Option("--weights-only", help="Keep the weights, without an ONNX model.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Continue a run that was broken off, from its last checkpoint."""
    from finetuner import api

    progress, to_onnx = False if as_json else None, False if weights_only else None
    _show(api.resume_run(name, to_onnx=to_onnx, home=home, progress=progress), as_json)


@app.command()
def inspect(
    model: str,
    data: Annotated[str | None, typer.Option(help="A sample of the data.")] = None,
    backend: Annotated[str | None, typer.Option()] = None,
    head: Annotated[list[str] | None, typer.Option(help="The head's layers.")] = None,
    keep_head: Annotated[bool, typer.Option("--keep-head", help="Remove nothing.")] = False,
    embedding_layer: Annotated[str | None, typer.Option()] = None,
    pooling: Annotated[str | None, typer.Option()] = None,
    freeze: Annotated[str | None, typer.Option()] = None,
    output_dim: Annotated[int | None, typer.Option()] = None,
    normalize: Annotated[bool, typer.Option()] = True,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Model options.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print how MODEL would become an embedding model, and why."""
    from rich.console import Console

    from finetuner import api
    from finetuner.adaptation import plan_to_json, render_plan
    from finetuner.cli.arguments import pairs

    plan = api.inspect(
        model,
        data,
        model_options=pairs(options or []),
        backend=backend,
        head=None if keep_head else (head or "auto"),
        embedding_layer=embedding_layer,
        pooling=pooling,
        freeze=freeze,
        output_dim=output_dim,
        normalize=normalize,
    )
    if as_json:
        typer.echo(plan_to_json(plan))
    else:
        Console().print(render_plan(plan))


@app.command()
def encode(
    model: Annotated[str, typer.Argument(help=MODEL)],
    data: Annotated[list[str] | None, typer.Argument(help="Texts, images, a CSV …")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help=".npy file.")] = None,
    batch_size: Annotated[int, typer.Option()] = 32,
    options: CsvOptions = None,
    home: Home = None,
) -> None:
    """Embed DATA (or the lines of standard input); JSON lines, or .npy with --output."""
    import json

    import numpy as np

    from finetuner import api
    from finetuner.cli.arguments import pairs

    embedder = api.get_model(model, home=home)
    contents: Any = data or [line.rstrip("\n") for line in sys.stdin]
    if data and len(data) == 1:
        contents = data[0]  # a text, or the name of a file or folder
    vectors = api.encode(
        embedder, contents, batch_size=batch_size, csv_options=pairs(options or [])
    )
    if output is not None:
        with output.open("wb") as file:  # given a name, numpy appends .npy to it
            np.save(file, vectors, allow_pickle=False)
        typer.echo(f"{vectors.shape[0]} x {vectors.shape[1]} float32 written to {output}")
        return
    for vector in vectors:
        typer.echo(json.dumps([round(float(value), 7) for value in vector]))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL)],
    data: Annotated[str, typer.Argument(help="Labelled data.")],
    index: Annotated[str | None, typer.Option(help="Search here, not leave-one-out.")] = None,
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="Such as map@r.")] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read.")
    ] = False,
    options: CsvOptions = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Measure a tuned model's retrieval on labelled DATA."""
    from finetuner import api
    from finetuner.cli.arguments import pairs

    found = api.evaluate(
        api.get_model(model, home=home),
        data,
        index=index,
        metrics=metrics or None,
        csv_options=pairs(options or []),
        skip_unreadable=skip_unreadable,
    )
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            typer.echo(f"{name:<14} {value:.4f}")


@app.command()
def export(
    run: Annotated[str, typer.Argument(help=MODEL)],
    directory: Annotated[Path, typer.Argument(help="Where to write.")],
    form: Annotated[str, typer.Option("--format", help="bundle, or an exporter plugin's.")] = (
        "bundle"
    ),
    home: Home = None,
) -> None:
    """Write a tuned model's files to DIRECTORY."""
    from finetuner import api

    typer.echo(str(api.export(run, directory, form=form, home=home)))


@app.command()
def runs(
    experiment: Annotated[str | None, typer.Option(help="Only of this experiment.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the runs."""
    from finetuner import api

    found = [
        {
            "name": run.name,
            "status": run.status().value,
            "experiment": run.config.experiment_name,
            "model": run.config.model,
            "error": run.error(),
        }
        for run in api.list_runs(experiment_name=experiment, home=home)
    ]
    if as_json:
        print_json(found)
        return
    for row in found:
        typer.echo(f"{row['status']:<10} {row['name']:<40} {row['experiment']:<16} {row['model']}")


@app.command()
def logs(
    name: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the run is over.")] = False,
    home: Home = None,
) -> None:
    """Print a run's log."""
    from finetuner import api

    run = api.get_run(name, home=home)
    if not follow:
        typer.echo(run.logs(), nl=False)
        return
    for line in run.stream_logs():
        typer.echo(line)


@app.command()
def plugins(as_json: Json = False) -> None:
    """List plugins, what they provide, and their problems."""
    from finetuner.cli.plugins import rows, table

    if as_json:
        print_json(rows())
    else:
        from rich.console import Console

        Console().print(table())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: a user's error is one message and exit status 1, never a traceback."""
    try:
        add_plugin_commands(app)
        app(args=None if arguments is None else list(arguments), standalone_mode=True)
    except FinetunerError as error:
        typer.echo(f"error: {error}", err=True)
        for note in getattr(error, "__notes__", ()):
            typer.echo(f"  {note}", err=True)
        sys.exit(1)
    except OSError as error:
        # A folder that may not be written, a full disk: the system's words name the path.
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


def _show(run: Run, as_json: bool) -> None:
    """What a run gave."""
    if as_json:
        print_json({"name": run.name, "artifact_id": run.artifact_id, "metrics": run.metrics()})
        return
    run.display_metrics()
    run.display_examples()
    typer.echo(f"run {run.name}\nartifact {run.artifact_id}")
