"""Artifacts in stores: moved, listed, tagged, compared, verified, collected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from finetuner.api.locations import located

if TYPE_CHECKING:
    from finetuner.artifacts import Artifact, Collected, Difference, Side
    from finetuner.plugins.host import Host


def push(
    source: str | os.PathLike[str],
    store: str,
    *,
    name: str | None = None,
    tag: str = "latest",
    force: bool = False,
    single_writer: bool = False,
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> str:
    """Push a bundle's directory, a run's artifact, or one of another store, to ``store``.

    Returns its artifact id. What the store has already, of any artifact or of a push
    that was broken off, is not sent again. If somebody else moves the tag meanwhile,
    ``ConflictError`` says what is there now; ``force`` moves it all the same. A store
    that cannot tell two writers apart is refused unless ``single_writer`` says that
    there is only one. ``progress=None`` shows a bar on a terminal.
    """
    from finetuner.artifacts import open_store, watching
    from finetuner.artifacts import push as push_bundle
    from finetuner.artifacts.bundle import read_any_manifest
    from finetuner.plugins.host import default_host

    host = default_host()
    target = open_store(store, host)
    path = located(source, home, host)
    name = name or read_any_manifest(path).name
    with watching(f"push {name}", progress) as watcher:
        return push_bundle(
            path, target, name, tag, force=force, single_writer=single_writer, watcher=watcher
        )


def pull(source: str, directory: str | os.PathLike[str], *, progress: bool | None = None) -> Path:
    """Fetch an artifact into ``directory``; every digest is verified first.

    The directory appears when all of it is there. A pull that was broken off goes on
    where it was when it is begun again.
    """
    from finetuner.artifacts import pull as pull_bundle
    from finetuner.artifacts import store_opener, watching
    from finetuner.plugins.host import default_host

    opener = store_opener(default_host())
    with watching("pull", progress) as watcher:
        return pull_bundle(source, Path(directory), opener, watcher=watcher)


def list_artifacts(store: str, name: str | None = None, *, details: bool = False) -> list[Artifact]:
    """The artifacts in a store (those called ``name``), one for each tag.

    Names, tags, numbers and times come from one listing; ``details`` reads each for its
    artifact id, kind, bytes and metrics too.
    """
    from finetuner.artifacts import list_artifacts as found_in
    from finetuner.artifacts import open_store
    from finetuner.plugins.host import default_host

    return found_in(open_store(store, default_host()), name, details=details)


def tag_artifact(address: str, tag: str) -> str:
    """Give an artifact (``STORE/NAME:TAG`` or its id) another tag; returns its artifact id."""
    from finetuner.artifacts import add_tag, open_store, parse_address
    from finetuner.plugins.host import default_host

    parsed = parse_address(address)
    return add_tag(open_store(parsed.store, default_host()), parsed, tag)


def delete_artifact(address: str) -> None:
    """Remove the tag that ``STORE/NAME[:TAG]`` names.

    What no other tag needs is deleted by the next :func:`collect_garbage`.
    """
    from finetuner.artifacts import delete_ref, open_store, parse_address, reliable
    from finetuner.errors import UsageError
    from finetuner.plugins.host import default_host

    parsed = parse_address(address)
    if parsed.digest is not None:
        raise UsageError(f"{address} names no tag: give STORE/NAME:TAG; artifacts go when tags do")
    delete_ref(reliable(open_store(parsed.store, default_host())), parsed.name, parsed.tag)


def collect_garbage(store: str, *, now: bool = False, dry_run: bool = False) -> Collected:
    """Delete what no tag in ``store`` needs; pushes under way are safe.

    What pushes that died have sent stays for a quarter of an hour. ``now`` deletes it
    too, and is for when nobody else writes. ``dry_run`` only counts.
    """
    from finetuner.artifacts import collect_garbage as collect
    from finetuner.artifacts import open_store
    from finetuner.plugins.host import default_host

    return collect(open_store(store, default_host()), now=now, dry_run=dry_run)


def verify_artifact(source: str | os.PathLike[str], *, progress: bool | None = None) -> None:
    """Check every digest of an artifact in a store, or of a bundle's directory.

    Raises ``IntegrityError`` or ``ArtifactError`` naming the file.
    """
    from finetuner.artifacts import (
        open_store,
        parse_address,
        verify_artifacts,
        verify_files,
        watching,
    )
    from finetuner.plugins.host import default_host

    if os.path.isdir(source):
        verify_files(os.fspath(source))
        return
    parsed = parse_address(os.fspath(source))
    with watching("verify", progress) as watcher:
        verify_artifacts(open_store(parsed.store, default_host()), parsed, watcher)


def verify_store(store: str, *, progress: bool | None = None) -> int:
    """Check every digest of everything that a tag needs; returns the bytes read."""
    from finetuner.artifacts import open_store, verify_artifacts, watching
    from finetuner.plugins.host import default_host

    with watching("verify", progress) as watcher:
        return verify_artifacts(open_store(store, default_host()), None, watcher)


def diff_artifacts(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    home: str | os.PathLike[str] | None = None,
) -> Difference:
    """What two artifacts (ids, ``STORE/NAME[:TAG]``, runs, directories) do not share.

    Their plans, metrics and everything else that their manifests say, and the bytes of
    their files. Nothing but manifests and lists of chunks is fetched.
    """
    from finetuner.artifacts import compare
    from finetuner.plugins.host import default_host

    host = default_host()
    return compare(_side(before, home, host), _side(after, home, host))


def _side(source: str | os.PathLike[str], home: str | os.PathLike[str] | None, host: Host) -> Side:
    from finetuner.api.locations import address_of
    from finetuner.artifacts import (
        Side,
        cut_bundle,
        open_store,
        parse_address,
        read_layout,
        read_listing,
        reliable,
    )
    from finetuner.artifacts.bundle import read_any_manifest

    if os.path.isdir(source):
        directory = Path(source)
        manifest = read_any_manifest(directory)
        return Side(manifest, cut_bundle(directory, manifest.files))
    parsed = parse_address(address_of(source, home))
    store = reliable(open_store(parsed.store, host))
    manifest = read_listing(store, parsed)
    return Side(manifest, tuple(read_layout(store, manifest)))
