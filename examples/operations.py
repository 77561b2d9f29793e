"""Real text from an installed package: descriptions of cloud operations, label = service.

botocore ships the documentation of every operation of several hundred services.
The names of the service are masked, so that a model has to know what a service
is about and cannot match its name.
"""

from __future__ import annotations

import gzip
import html
import json
import random
import re
from importlib.util import find_spec
from pathlib import Path

Rows = tuple[list[str], list[str]]
"""Texts and their labels."""

_TAG = re.compile(r"<[^>]+>")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]+")
_COMMON = """
amazon aws service services manager management data api web cloud center control
for and of the hub store systems system platform runtime application
"""


def services(at_least: int = 30) -> dict[str, list[str]]:
    """Masked operation descriptions by service, for services with ``at_least`` of them."""
    spec = find_spec("botocore")
    if spec is None or spec.origin is None:
        raise SystemExit("this example reads its texts from botocore: pip install botocore")
    found: dict[str, list[str]] = {}
    for folder in sorted((Path(spec.origin).parent / "data").iterdir()):
        versions = sorted(folder.glob("*/service-2.json*")) if folder.is_dir() else []
        if versions:
            texts = _descriptions(versions[-1])
            if len(texts) >= at_least:
                found[folder.name] = texts
    return found


def split(seed: int = 0, held_out: int = 24, per_service: int = 40) -> tuple[Rows, Rows]:
    """Texts of some services to train on and of ``held_out`` other services to measure on."""
    every = services()
    names = sorted(every)
    random.Random(seed).shuffle(names)
    return (
        _rows(every, names[held_out:], per_service, seed),
        _rows(every, names[:held_out], per_service, seed),
    )


def _rows(every: dict[str, list[str]], names: list[str], limit: int, seed: int) -> Rows:
    pick = random.Random(seed)
    rows = [
        (text, name)
        for name in sorted(names)
        for text in pick.sample(every[name], min(limit, len(every[name])))
    ]
    return [text for text, _ in rows], [name for _, name in rows]


def _descriptions(path: Path) -> list[str]:
    raw = path.read_bytes()
    model = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    mask = _mask(model["metadata"], path.parent.parent.name)
    texts = (
        mask.sub("it", _plain(operation.get("documentation", "")))
        for operation in model.get("operations", {}).values()
    )
    return sorted({text for text in texts if len(text.split()) >= 5})


def _plain(documentation: str) -> str:
    text = html.unescape(_TAG.sub(" ", documentation))
    return " ".join(text.split())[:300]


def _mask(metadata: dict[str, str], folder: str) -> re.Pattern[str]:
    """Matches the service's names and the telling words in them."""
    keys = ("serviceFullName", "serviceAbbreviation", "serviceId", "endpointPrefix")
    names = [metadata[key] for key in keys if metadata.get(key)] + [folder]
    words = {word for name in names for word in _WORD.findall(name)}
    telling = {word for word in words if word.lower() not in _COMMON.split() and len(word) > 2}
    parts = sorted({*names, *telling}, key=len, reverse=True)
    return re.compile(r"\b(" + "|".join(map(re.escape, parts)) + r")s?\b", re.IGNORECASE)
