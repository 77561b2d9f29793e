"""The commands about artifacts in stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finetuner.cli.options import MODEL, Home, Json, print_json

if TYPE_CHECKING:
    from finetuner.artifacts import Artifact, Difference

STORE = "URL, such as file:///models or s3://bucket/models."
ADDRESS = "Artifact id, or STORE/NAME[:TAG]."

Force = Annotated[bool, typer.Option("--force", help="Move the tag whoever moved it meanwhile.")]
SingleWriter = Annotated[
    bool, typer.Option("--single-writer", help="Nobody else ever writes to this store.")
]


def add_store_commands(app: typer.Typer) -> None:
    """Add the commands of this module to ``app``."""
    for name, command in (
        ("push", push),
        ("pull", pull),
        ("ls", ls),
        ("tag", tag),
        ("rm", rm),
        ("gc", gc),
        ("verify", verify),
        ("diff", diff),
    ):
        app.command(name)(command)


def push(
    source: Annotated[str, typer.Argument(help=MODEL)],
    store: Annotated[str, typer.Argument(help=STORE)],
    name: Annotated[str | None, typer.Option(help="Name in the store.")] = None,
    tag: Annotated[str, typer.Option(help="Tag to move to it.")] = "latest",
    force: Force = False,
    single_writer: SingleWriter = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Push a tuned model to STORE and print its artifact id."""
    from finetuner import api

    artifact_id = api.push(
        source,
        store,
        name=name,
        tag=tag,
        force=force,
        single_writer=single_writer,
        home=home,
        progress=_bar(as_json),
    )
    _say("artifact_id", artifact_id, as_json)


def pull(
    source: Annotated[str, typer.Argument(help=ADDRESS)],
    directory: Annotated[Path, typer.Argument(help="Where to write.")],
    as_json: Json = False,
) -> None:
    """Fetch an artifact into DIRECTORY, verifying every byte."""
    from finetuner import api

    _say("directory", str(api.pull(source, directory, progress=_bar(as_json))), as_json)


def ls(
    store: Annotated[str, typer.Argument(help=STORE)],
    name: Annotated[str | None, typer.Argument(help="Only artifacts of this name.")] = None,
    details: Annotated[
        bool, typer.Option("--long", "-l", help="Artifact ids, sizes and metrics too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the artifacts in STORE."""
    from finetuner import api

    found = api.list_artifacts(store, name, details=details)
    if as_json:
        print_json(found)
        return
    for artifact in found:
        typer.echo(_line(artifact))


def tag(
    address: Annotated[str, typer.Argument(help=ADDRESS)],
    tag: Annotated[str, typer.Argument(help="The other tag.")],
) -> None:
    """Give an artifact another tag and print its artifact id."""
    from finetuner import api

    typer.echo(api.tag_artifact(address, tag))


def rm(address: Annotated[str, typer.Argument(help="STORE/NAME[:TAG].")]) -> None:
    """Remove a tag. What no other tag needs goes with the next gc."""
    from finetuner import api

    api.delete_artifact(address)


def gc(
    store: Annotated[str, typer.Argument(help=STORE)],
    now: Annotated[
        bool, typer.Option("--now", help="Nobody else writes: spare nothing for pushes.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, count.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what no tag in STORE needs; pushes under way are safe."""
    from finetuner import api

    found = api.collect_garbage(store, now=now, dry_run=dry_run)
    if as_json:
        print_json(found)
        return
    verb = "would delete" if dry_run else "deleted"
    typer.echo(
        f"{verb} {found.deleted} objects, {_size(found.freed_bytes)}; kept {found.artifacts} "
        f"artifacts, {_size(found.kept_bytes)}"
    )


def verify(
    source: Annotated[str, typer.Argument(help=f"{ADDRESS} Or a directory.")],
    everything: Annotated[
        bool, typer.Option("--all", help="SOURCE is a store: check all that its tags need.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every digest of an artifact."""
    from finetuner import api

    if everything:
        size = api.verify_store(source, progress=_bar(as_json))
        words = size if as_json else f"{source}: {_size(size)} are what their digests say"
        _say("verified_bytes", words, as_json)
        return
    api.verify_artifact(source, progress=_bar(as_json))
    _say("verified", source, as_json)


def diff(
    before: Annotated[str, typer.Argument(help=MODEL)],
    after: Annotated[str, typer.Argument(help=MODEL)],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what two artifacts do not share: plan, metrics, bytes."""
    from finetuner import api

    found = api.diff_artifacts(before, after, home=home)
    if as_json:
        print_json(found)
        return
    for line in _difference(found):
        typer.echo(line)


def _difference(found: Difference) -> list[str]:
    lines = []
    for title, changes in (
        ("plan", found.plan),
        ("metrics", found.metrics),
        ("other", found.other),
    ):
        lines += [f"{title}:"] * bool(changes)
        lines += [
            f"  {change.what}: {_short(change.before)} -> {_short(change.after)}"
            for change in changes
        ]
    lines += ["files:"] * bool(found.files)
    lines += [
        f"  {file.path}: {_size(file.before)} -> {_size(file.after)}, {_size(file.shared)} shared"
        for file in found.files
    ]
    lines.append(
        f"bytes: {_size(found.shared_bytes)} shared, {_size(found.only_before)} only before, "
        f"{_size(found.only_after)} only after"
    )
    return lines


def _line(artifact: Artifact) -> str:
    line = f"{artifact.name + ':' + artifact.tag:<48} {artifact.modified[:19]}"
    if artifact.artifact_id is None or artifact.bytes is None:
        return line
    digest = artifact.artifact_id.rpartition(":")[2][:12]
    metrics = (artifact.metrics or {}).get("after", {})
    shown = " ".join(f"{name}={value:.4g}" for name, value in list(metrics.items())[:2])
    return f"{line}  {digest}  {_size(artifact.bytes):>10}  {artifact.kind}  {shown}".rstrip()


def _short(value: object) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _bar(as_json: bool) -> bool | None:
    return False if as_json else None


def _say(key: str, value: Any, as_json: bool) -> None:
    if as_json:
        print_json({key: value})
    else:
        typer.echo(str(value))
