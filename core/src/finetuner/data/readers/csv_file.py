"""A CSV or TSV file: one column of texts or image paths, one of labels."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.contents import modality_of
from finetuner.data.readers.columns import (
    COLUMN_OPTIONS,
    Columns,
    choose_columns,
    is_known_name,
)
from finetuner.data.readers.options import only_known
from finetuner.errors import DataError, UsageError

CSV_OPTIONS = (*COLUMN_OPTIONS, "delimiter", "header", "encoding")

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OTHERS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class _Table:
    """Non-blank records with their numbers in the file, counted from 1."""

    name: str
    records: tuple[list[str], ...]
    numbers: tuple[int, ...]

    def origin(self, index: int) -> str:
        return f"row {self.numbers[index]} of {self.name}"


def matches(data: object) -> bool:
    """An existing file whose name ends in .csv or .tsv."""
    return (
        isinstance(data, str | os.PathLike)
        and os.path.splitext(os.fspath(data))[1].lower() in _DELIMITERS
        and os.path.isfile(data)
    )


def read(data: str | os.PathLike[str], options: Mapping[str, Any]) -> Rows:
    """Read the file.

    ``text`` or ``image``, and ``label``, name columns or give their numbers.
    ``header`` is True, False or "auto": there is a header if a column is asked
    for by name, or if a cell of the first row is one of the usual names (text,
    image, label, …); a first row that might be either is an error that says so.
    Without a header the first of two columns is the content, the second the
    label. ``delimiter`` is a comma (.tsv: a tab), ``encoding`` UTF-8. Image paths
    are relative to the file's folder; labels lose blanks around them.
    """
    chosen = only_known(options, CSV_OPTIONS, "csv")
    path = Path(data)
    table = _read_table(path, chosen)
    header = _has_header(table, chosen)
    body = range(1 if header else 0, len(table.records))
    if not body:
        raise DataError(f"{path.name} is empty: it has no row of data")
    columns = _columns(table, header, chosen)
    cells = [table.records[row][columns.content] for row in body]
    modality = columns.modality or modality_of(cells)
    return Rows(
        contents=[_locate(cell, path.parent) for cell in cells] if modality == "image" else cells,
        labels=None
        if columns.label is None
        else [table.records[row][columns.label].strip() for row in body],
        modality=modality,
        origins=[table.origin(row) for row in body],
        columns=_names(table, header),
    )


def _read_table(path: Path, options: Mapping[str, Any]) -> _Table:
    delimiter = options.get("delimiter", _DELIMITERS.get(path.suffix.lower(), ","))
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '\r\n"':
        raise UsageError(f"delimiter is {delimiter!r}: give one character that parts cells")
    text = _decode(path, options.get("encoding", "utf-8-sig"))
    with _fields_up_to(len(text)):
        table = _parse(path.name, text, delimiter)
    if "delimiter" not in options:
        _check_delimiter(table, delimiter)
    return table


@contextmanager
def _fields_up_to(length: int) -> Iterator[None]:
    """Let cells be longer than the csv module's 131,072 characters, which is for all readers."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, length))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parse(name: str, text: str, delimiter: str) -> _Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    numbers: list[int] = []
    try:
        for number, record in enumerate(reader, 1):
            if not any(cell.strip() for cell in record):
                continue
            records.append(record)
            numbers.append(number)
            if len(record) != len(records[0]):
                raise DataError(
                    f"row {number} of {name} has {len(record)} cells, but row {numbers[0]} "
                    f"has {len(records[0])}: quote cells that hold the delimiter {delimiter!r}"
                )
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} of {name} is not CSV: {error}") from error
    if not records:
        raise DataError(f"{name} is empty: it has no row of data")
    return _Table(name, tuple(records), tuple(numbers))


def _check_delimiter(table: _Table, delimiter: str) -> None:
    """Refuse to take whole lines for cells where another delimiter parts all of them."""
    if len(table.records[0]) > 1 or len(table.records) < 2:
        return
    for other in _OTHERS:
        counts = {line.count(other) for (line,) in table.records}
        if other != delimiter and len(counts) == 1 and 0 not in counts:
            raise UsageError(
                f"no row of {table.name} holds the delimiter {delimiter!r}, but each holds "
                f"{other!r}: say which it is in csv_options, as delimiter={other!r}"
            )


def _decode(path: Path, encoding: object) -> str:
    if not isinstance(encoding, str):
        raise UsageError(f"encoding is {encoding!r}: give its name, such as 'utf-8' or 'cp1252'")
    try:
        data = path.read_bytes()
        return data.decode(encoding)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except LookupError as error:
        raise UsageError(f"encoding is {encoding!r}, which Python does not know") from error
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"row {row} of {path.name} is not {error.encoding}: byte {error.start} is "
            f"0x{data[error.start]:02x}; give the file's own with encoding= in csv_options"
        ) from error


def _has_header(table: _Table, options: Mapping[str, Any]) -> bool:
    asked = options.get("header", "auto")
    if asked not in (True, False, "auto"):
        raise UsageError(f"header is {asked!r}: give True, False or 'auto'")
    named = [name for name in COLUMN_OPTIONS if isinstance(options.get(name), str)]
    if asked is False and named:
        raise UsageError(
            f"{named[0]}={options[named[0]]!r} names a column, but header=False: give its number"
        )
    if asked != "auto":
        return bool(asked)
    if named or any(is_known_name(cell) for cell in table.records[0]):
        return True
    _check_first_row(table, options)
    return False


def _check_first_row(table: _Table, options: Mapping[str, Any]) -> None:
    """Refuse to guess where the first row's label is the only one that stands alone."""
    label = options.get("label", 1 if len(table.records[0]) == 2 else None)
    if not isinstance(label, int) or not label < len(table.records[0]) or len(table.records) < 3:
        return
    first, *others = (record[label] for record in table.records)
    counts = Counter(others)
    if first not in counts and min(counts.values()) > 1:
        raise UsageError(
            f"the first row of {table.name} ({', '.join(map(repr, table.records[0]))}) may be a "
            "header or data: give header=True or header=False in csv_options"
        )


def _columns(table: _Table, header: bool, options: Mapping[str, Any]) -> Columns:
    return choose_columns(_names(table, header), options, table.name)


def _names(table: _Table, header: bool) -> list[str]:
    first = table.records[0]
    if header:
        return [name.strip() for name in first]
    return [f"column {index}" for index in range(len(first))]


def _locate(cell: str, folder: Path) -> str | Path:
    """An image path beside the file; URIs and blanks stay, to be named when they are read."""
    cell = cell.strip()
    return cell if not cell or "://" in cell or cell.startswith("data:") else folder / cell
