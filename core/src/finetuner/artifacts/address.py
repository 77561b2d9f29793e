"""Addresses of artifacts, and opening the store that one names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from finetuner.artifacts.keys import check_name
from finetuner.contracts import Store
from finetuner.errors import UsageError

if TYPE_CHECKING:
    from finetuner.plugins.host import Host

DEFAULT_TAG = "latest"

OpenStore = Callable[[str], Store]
"""Gives the store at a URL."""

_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@]*:[^/@]*@")
_SECRETS = re.compile(r"[?&][^=&]*(?:sig|token|secret|password|key|credential)[^=&]*=", re.I)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Address:
    """``STORE/NAME@sha256:…``, which never changes its meaning, or ``STORE/NAME:TAG``."""

    store: str
    name: str
    tag: str = DEFAULT_TAG
    digest: str | None = None
    """Hex sha256 of the manifest, where the address has one."""

    def __str__(self) -> str:
        end = f":{self.tag}" if self.digest is None else f"@sha256:{self.digest}"
        return f"{self.store}/{self.name}{end}"


def parse_address(text: str) -> Address:
    """The parts of ``text``: ``STORE_URL/NAME``, with ``:TAG`` or ``@sha256:DIGEST``.

    The name is the last segment. Raises ``UsageError`` for anything else.
    """
    refuse_secrets(text)
    store, slash, last = text.rpartition("/")
    if not slash or not store or store.endswith(":/"):
        raise UsageError(
            f"{text!r} names no artifact: expected STORE/NAME, STORE/NAME:TAG or "
            "STORE/NAME@sha256:DIGEST, as in file:///models/shop:latest"
        )
    name, at, digest = last.partition("@")
    if at:
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"{text!r}: after '@', 'sha256:' and 64 hex digits are expected")
        return Address(store, check_name("name", name), digest=digest.removeprefix("sha256:"))
    name, colon, tag = last.partition(":")
    return Address(
        store, check_name("name", name), check_name("tag", tag) if colon else DEFAULT_TAG
    )


def refuse_secrets(url: str) -> str:
    """``url`` itself; ``UsageError``, which does not repeat it, if a secret is in it."""
    if _PASSWORD.match(url) or _SECRETS.search(url):
        raise UsageError(
            f"the URL {url.partition('://')[0]}://… has a password or key in it, which would end "
            "up in logs, run records and artifact ids: leave it out, and give credentials the "
            "way the cloud's own tools find them"
        )
    return url


def open_store(url: str, host: Host) -> Store:
    """The store at ``url``, opened by the plugin that knows its scheme.

    A plain path means ``file://``. Raises ``UnknownNameError`` with the known
    schemes for one that no installed plugin opens, ``UsageError`` for a URL with a
    secret in it.
    """
    refuse_secrets(url)
    match = _SCHEME.match(url)
    provided = host.provided("stores", match[1].lower() if match else "file")
    with host.guard(provided):
        store: Store = provided.record.open(url)
    return store


def store_opener(host: Host) -> OpenStore:
    """:func:`open_store` with the plugins of ``host``, as :func:`pull` takes it."""
    return partial(open_store, host=host)
