"""Giving an artifact that is in a store another tag."""

from __future__ import annotations

from finetuner.artifacts.address import Address
from finetuner.artifacts.inventory import read_layout
from finetuner.artifacts.keys import blob_key, check_name, manifest_key
from finetuner.artifacts.layout import fetch_manifest
from finetuner.artifacts.leases import leased
from finetuner.artifacts.manifest import decode_listing
from finetuner.artifacts.refs import last_number, resolve_ref, write_ref
from finetuner.artifacts.retry import reliable
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import Store


def add_tag(store: Store, address: Address, tag: str) -> str:
    """Point ``tag`` of the same name to the artifact at ``address``; returns its artifact id.

    Under a lease, as a push: all that the artifact needs is there when the tag is
    made. Raises ``NotFoundError`` for what is not, ``ConflictError`` if somebody else
    moved the tag meanwhile.
    """
    check_name("tag", tag)
    store = reliable(store)
    digest = address.digest or resolve_ref(store, address.name, address.tag)
    with leased(store, address.name, tag) as lease:
        number = last_number(store, address.name, tag)
        lease.protect([digest])
        data = fetch_manifest(store, address.name, digest)
        manifest = decode_listing(data, f"{store.url}/{manifest_key(digest)}")
        files = list(read_layout(store, manifest))
        pieces = {piece.sha256 for file in files for piece in file.pieces}
        lease.protect(sorted(pieces | {file.entry.sha256 for file in files}))
        for _ in parallel(lambda sha256: store.stat(blob_key(sha256)), sorted(pieces), LISTERS):
            pass
        write_ref(store, address.name, tag, digest, after=number)
    return str(Address(store.url, address.name, digest=digest))
