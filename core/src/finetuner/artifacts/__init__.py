"""Bundles and data sets, their digests, and the stores that keep them."""

from finetuner.artifacts.address import (
    DEFAULT_TAG,
    Address,
    OpenStore,
    open_store,
    parse_address,
    refuse_secrets,
    store_opener,
)
from finetuner.artifacts.bundle import (
    read_data_manifest,
    read_manifest,
    verify_bundle,
    verify_files,
    write_manifest,
)
from finetuner.artifacts.card import model_card
from finetuner.artifacts.collection import Collected, collect_garbage
from finetuner.artifacts.comparison import Difference, Side, compare, cut_bundle
from finetuner.artifacts.downloads import pull, pull_cached
from finetuner.artifacts.inventory import (
    Artifact,
    list_artifacts,
    read_layout,
    read_listing,
    verify_artifacts,
)
from finetuner.artifacts.local_store import LocalStore
from finetuner.artifacts.manifest import CARD, MANIFEST, MODEL, Limits
from finetuner.artifacts.memory_store import MemoryStore
from finetuner.artifacts.progress import Count, Watcher, watching
from finetuner.artifacts.refs import (
    Ref,
    Tag,
    delete_ref,
    find_ref,
    list_refs,
    list_tags,
    resolve_ref,
    write_ref,
)
from finetuner.artifacts.retry import RetryingStore, reliable
from finetuner.artifacts.tagging import add_tag
from finetuner.artifacts.uploads import push

__all__ = [
    "CARD",
    "DEFAULT_TAG",
    "MANIFEST",
    "MODEL",
    "Address",
    "Artifact",
    "Collected",
    "Count",
    "Difference",
    "Limits",
    "LocalStore",
    "MemoryStore",
    "OpenStore",
    "Ref",
    "RetryingStore",
    "Side",
    "Tag",
    "Watcher",
    "add_tag",
    "collect_garbage",
    "compare",
    "cut_bundle",
    "delete_ref",
    "find_ref",
    "list_artifacts",
    "list_refs",
    "list_tags",
    "model_card",
    "open_store",
    "parse_address",
    "pull",
    "pull_cached",
    "push",
    "read_data_manifest",
    "read_layout",
    "read_listing",
    "read_manifest",
    "refuse_secrets",
    "reliable",
    "resolve_ref",
    "store_opener",
    "verify_artifacts",
    "verify_bundle",
    "verify_files",
    "watching",
    "write_manifest",
    "write_ref",
]
