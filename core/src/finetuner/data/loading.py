"""From whatever the user has to a checked ``LabeledDataset``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.contracts import ReaderRecord, Rows
from finetuner.data.checks import check_arrays, check_classes, check_texts, unreadable_images
from finetuner.data.dataset import LabeledDataset
from finetuner.data.labels import encode_labels
from finetuner.data.lazy import pick
from finetuner.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from finetuner.plugins.host import Host

FORMS = (
    "a docarray DocList, a .csv or .tsv file, a folder with one subfolder of images per class, "
    "(X, y) arrays, (texts, labels) lists, a pandas or polars frame, a Hugging Face dataset, "
    "a data set in a store (STORE/NAME[:TAG]), or a list of texts, images or arrays"
)
"""The forms of data that core reads, in words."""


def load_dataset(
    data: object,
    host: Host,
    *,
    options: Mapping[str, Any] | None = None,
    require_labels: bool = True,
    trainable: bool | None = None,
    skip_unreadable: bool = False,
) -> LabeledDataset:
    """Read ``data`` with the reader that recognises it, and check every row.

    ``options`` go to the reader (``csv_options``), except ``reader``, which names
    one where several match. Without ``require_labels`` labels are left out, as
    for encoding. ``trainable`` (by default the same as ``require_labels``) asks
    for two classes with two items each; give ``False`` for data to evaluate on,
    which keeps label names of its own. ``skip_unreadable`` leaves out images that
    cannot be read and counts them in ``skipped``.

    Raises ``DataError`` naming the row that cannot be used, ``UsageError`` for
    data of no known form, ``UnknownNameError`` for an unknown option.
    """
    if isinstance(data, LabeledDataset):
        dataset = _passed(data, dict(options or {}), require_labels)
    else:
        rows = read_rows(data, host, options or {})
        if require_labels and rows.labels is None:
            raise DataError(_no_labels(data, rows.columns))
        dataset = _checked(rows, require_labels, skip_unreadable)
    if trainable if trainable is not None else require_labels:
        if dataset.labels is None:
            raise UsageError("trainable data needs labels, but they were not to be read")
        check_classes(dataset.labels, dataset.label_names)
    return dataset


def read_rows(data: object, host: Host, options: Mapping[str, Any]) -> Rows:
    """The raw rows of ``data``, by the one reader that recognises it."""
    records: dict[str, ReaderRecord] = host.by_name("readers")
    options = dict(options)
    asked = options.pop("reader", None)
    if asked is not None:
        if asked not in records:
            raise UnknownNameError("reader", str(asked), records)
        return records[asked].read(data, options)
    return _recognise(data, records).read(data, options)


def _recognise(data: object, records: Mapping[str, ReaderRecord]) -> ReaderRecord:
    matching = [record for record in records.values() if record.matches(data)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = " and ".join(repr(record.name) for record in matching)
        raise UsageError(
            f"the readers {names} both recognise a {type(data).__name__}: choose with "
            "the option reader=NAME in csv_options"
        )
    if isinstance(data, str | os.PathLike):
        name = os.fspath(data)
        if os.path.exists(name):
            raise DataError(
                f"{name!r} is neither a folder, a .csv or .tsv file, nor an image: give what "
                "is in it, as a list of texts or as a file of such a kind"
            )
        raise DataError(f"{name!r} is not there: give the path of a file or folder that exists")
    raise UsageError(f"data of type {type(data).__name__} is not recognised: give {FORMS}")


def _no_labels(data: object, columns: Sequence[str]) -> str:
    if columns:
        listed = ", ".join(map(repr, columns[:12]))
        return (
            f"the data has no labels: none of its columns ({listed}) is known as the label; name "
            "it with label= in csv_options"
        )
    if isinstance(data, str | os.PathLike):
        return (
            f"{os.fspath(data)!r} is read as one text or image, or holds no labels: training "
            "data in a file is a .csv or .tsv with a label column, or a folder with one "
            "subfolder of images per class"
        )
    return (
        f"the data ({type(data).__name__}) has no labels: put them in 'finetuner_label', a label "
        "column, or give (contents, labels)"
    )


def _passed(data: LabeledDataset, options: dict[str, Any], require_labels: bool) -> LabeledDataset:
    if options:
        raise UsageError(
            f"the option {next(iter(options))!r} does not apply: the data was read already"
        )
    if require_labels and data.labels is None:
        raise DataError("the data set has no labels")
    return data if require_labels else replace(data, labels=None, label_names=())


def _checked(rows: Rows, require_labels: bool, skip_unreadable: bool) -> LabeledDataset:
    if len(rows.contents) == 0:
        raise DataError("the data is empty: there is no row in it")
    _check_counts(rows)
    if rows.modality == "image":
        rows = _readable(rows, skip_unreadable, offer_skipping=require_labels)
    name_row = _namer(rows.origins)
    contents: Sequence[Any] | np.ndarray = rows.contents
    if rows.modality == "text":
        check_texts(contents, name_row)
    elif rows.modality == "array":
        contents = check_arrays(contents, name_row)
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    if require_labels:
        assert rows.labels is not None
        labels, names = encode_labels(rows.labels, name_row)
    return LabeledDataset(contents, labels, names, rows.modality, rows.origins, rows.skipped)


def _check_counts(rows: Rows) -> None:
    for what, count in (("labels", rows.labels), ("origins", rows.origins or None)):
        if count is not None and len(count) != len(rows.contents):
            raise DataError(f"there are {len(rows.contents)} contents, but {len(count)} {what}")


def _readable(rows: Rows, skip: bool, *, offer_skipping: bool) -> Rows:
    bad = unreadable_images(rows.contents, first_only=not skip)
    if not bad:
        return rows
    name_row = _namer(rows.origins)
    if not skip:
        row, error = min(bad.items())
        place, problem = name_row(row), str(error)
        where = problem if place in problem else f"{place}: {problem}"
        advice = (
            "; repair it, or give skip_unreadable=True to leave such rows out and count them"
            if offer_skipping
            else ""
        )
        raise DataError(f"{where}{advice}") from error
    good = [row for row in range(len(rows.contents)) if row not in bad]
    if not good:
        raise DataError(f"none of the {len(bad)} images can be read; the first: {bad[min(bad)]}")
    return replace(
        rows,
        contents=pick(rows.contents, np.asarray(good)),
        labels=None if rows.labels is None else [rows.labels[row] for row in good],
        origins=[name_row(row) for row in good],
        skipped=rows.skipped + len(bad),
    )


def _namer(origins: Sequence[str]) -> Any:
    return origins.__getitem__ if origins else "row {}".format
