"""A folder with one subfolder of images per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.contents import looks_like_image_path
from finetuner.data.readers.options import only_known
from finetuner.data.stored import is_stored
from finetuner.errors import DataError


def matches(data: object) -> bool:
    """The path of an existing folder that holds no data set of a store."""
    return isinstance(data, str | os.PathLike) and os.path.isdir(data) and not is_stored(data)


def read(data: str | os.PathLike[str], options: Mapping[str, Any]) -> Rows:
    """All files below each subfolder, labelled by its name.

    Names that start with a dot are left out, and so are files beside the
    subfolders that are not images. A folder of images without subfolders has no
    labels. Raises ``DataError`` for images beside subfolders, for an empty
    subfolder and for a link to a folder inside one.
    """
    only_known(options, (), "folder")
    root = Path(data)
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if looks_like_image_path(entry.name)]
    if not classes:
        if not loose:
            raise DataError(f"the folder {root} is empty: it has no images and no subfolders")
        return Rows(loose, None, "image", [str(path) for path in loose])
    if loose:
        raise DataError(
            f"{loose[0]} lies beside the class folders of {root}: move it into the folder of "
            "its class"
        )
    paths: list[Path] = []
    labels: list[str] = []
    for folder in classes:
        found = list(_files(folder))
        if not found:
            raise DataError(f"the class folder {folder} is empty: fill or remove it")
        paths += found
        labels += [folder.name] * len(found)
    return Rows(paths, labels, "image", [str(path) for path in paths])


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (link := Path(place, name)).is_symlink():
                raise DataError(f"{link} is a link to a folder, which is not followed: move it out")
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
