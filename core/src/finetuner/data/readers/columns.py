"""Which columns of a table hold the content and the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetuner.contracts.preprocessing import Modality
from finetuner.errors import UnknownNameError, UsageError

COLUMN_OPTIONS = ("text", "image", "label")
"""Options that name a column, or give its number from 0."""

TEXT_NAMES = frozenset(("text", "sentence", "content", "document"))
IMAGE_NAMES = frozenset(
    ("image", "img", "uri", "url", "path", "file", "filename", "file_name", "image_path")
)
LABEL_NAMES = frozenset(("finetuner_label", "label", "class", "category", "target"))


@dataclass(frozen=True)
class Columns:
    """Column numbers; ``modality`` is ``None`` where the values have to tell."""

    content: int
    label: int | None
    modality: Modality | None


def is_known_name(name: object) -> bool:
    """Whether a column of this name is recognised as content or label."""
    return _plain(name) in TEXT_NAMES | IMAGE_NAMES | LABEL_NAMES


def choose_columns(names: Sequence[str], options: Mapping[str, Any], source: str) -> Columns:
    """Pick by ``options``, else by the usual names, else (content, label) of two columns.

    Raises ``UnknownNameError`` for a column that is not there and ``UsageError``,
    naming the columns and the options, where the choice is not clear.
    """
    if "text" in options and "image" in options:
        raise UsageError("both text= and image= were given: a run has one kind of content")
    label = find_column(options["label"], names, source) if "label" in options else None
    if label is None:
        label = _usual_label(names, source)
    for modality in ("text", "image"):
        if modality in options:
            content = find_column(options[modality], names, source)
            if label is None and len(names) == 2:
                label = 1 - content
            return Columns(content, label if label != content else None, modality)
    return _usual_content(names, label, source)


def find_column(wanted: object, names: Sequence[str], source: str) -> int:
    """The number of the column that is named, or numbered, ``wanted``."""
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if not 0 <= wanted < len(names):
            raise UsageError(
                f"column {wanted} was asked of {source}, which has {len(names)} "
                f"(0 to {len(names) - 1})"
            )
        return wanted
    if wanted not in names:
        raise UnknownNameError(f"column of {source}", str(wanted), names)
    return list(names).index(str(wanted))


def _usual_label(names: Sequence[str], source: str) -> int | None:
    found = [index for index, name in enumerate(names) if _plain(name) in LABEL_NAMES]
    own = [index for index in found if _plain(names[index]) == "finetuner_label"]
    if len(own or found) > 1:
        raise UsageError(
            f"the columns {_listed(names, found)} of {source} could all be the label: "
            "choose with label= in csv_options"
        )
    return next(iter(own or found), None)


def _usual_content(names: Sequence[str], label: int | None, source: str) -> Columns:
    texts = [index for index, name in enumerate(names) if _plain(name) in TEXT_NAMES]
    images = [index for index, name in enumerate(names) if _plain(name) in IMAGE_NAMES]
    found = [index for index in texts + images if index != label]
    if len(found) == 1:
        if label is None and len(names) == 2:
            label = 1 - found[0]
        return Columns(found[0], label, "text" if found[0] in texts else "image")
    if not found and len(names) == 1 and label is None:
        return Columns(0, None, None)
    if not found and len(names) == 2:
        return Columns(0, 1, None) if label is None else Columns(1 - label, label, None)
    raise UsageError(
        f"which column of {source} holds the content is not clear (columns: "
        f"{_listed(names, range(len(names)))}): choose with text= or image=, and label=, "
        "in csv_options"
    )


def _plain(name: object) -> str:
    return str(name).strip().casefold()


def _listed(names: Sequence[str], which: Sequence[int]) -> str:
    shown = [repr(names[index]) for index in list(which)[:12]]
    return ", ".join(shown) + (", …" if len(which) > 12 else "")
