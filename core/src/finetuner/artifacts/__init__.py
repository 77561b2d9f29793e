"""Bundles, their digests, and the stores that keep them."""

from finetuner.artifacts.address import (
    DEFAULT_TAG,
    Address,
    OpenStore,
    open_store,
    parse_address,
    store_opener,
)
from finetuner.artifacts.bundle import read_manifest, verify_bundle, write_manifest
from finetuner.artifacts.card import model_card
from finetuner.artifacts.local_store import LocalStore
from finetuner.artifacts.manifest import CARD, MANIFEST, MODEL, Limits
from finetuner.artifacts.memory_store import MemoryStore
from finetuner.artifacts.refs import Ref, delete_ref, list_refs, resolve_ref, write_ref
from finetuner.artifacts.transfer import pull, pull_cached, push

__all__ = [
    "CARD",
    "DEFAULT_TAG",
    "MANIFEST",
    "MODEL",
    "Address",
    "Limits",
    "LocalStore",
    "MemoryStore",
    "OpenStore",
    "Ref",
    "delete_ref",
    "list_refs",
    "model_card",
    "open_store",
    "parse_address",
    "pull",
    "pull_cached",
    "push",
    "read_manifest",
    "resolve_ref",
    "store_opener",
    "verify_bundle",
    "write_manifest",
    "write_ref",
]
