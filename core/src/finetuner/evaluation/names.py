"""Metric names as users write them: ``mrr`` or ``recall@10``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from finetuner.contracts import MetricRecord
from finetuner.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class Metric:
    """A metric to be computed: its key in the result, its record and its cut."""

    key: str
    record: MetricRecord
    k: int | None = None

    def depth(self, most_relevant: int) -> int:
        """How many neighbours it needs of queries with at most ``most_relevant`` relevant items."""
        asked = most_relevant if self.record.depth == "relevant" else self.record.depth
        return max(asked, self.k or 0)


def parse_metric(name: str, records: Mapping[str, MetricRecord]) -> Metric:
    """``name`` is that of a record, with ``@k`` behind it where the record takes a cut.

    Raises ``UnknownNameError`` for a name that no record has, ``UsageError`` for a
    cut that is missing, superfluous or not a positive number.
    """
    if name in records:
        if records[name].at:
            raise UsageError(f"metric {name!r} needs a cut, as in '{name}@10'")
        return Metric(name, records[name])
    base, at, cut = name.rpartition("@")
    if not at or base not in records:
        raise UnknownNameError("metric", name, _spellings(records, cut if at else "10"))
    if not records[base].at:
        raise UsageError(f"metric {base!r} takes no cut: write {base!r} in place of {name!r}")
    if not (cut.isascii() and cut.isdigit() and int(cut) > 0):
        raise UsageError(f"the cut of metric {name!r} must be a whole number from 1, not {cut!r}")
    return Metric(name, records[base], int(cut))


def parse_metrics(names: Iterable[str], records: Mapping[str, MetricRecord]) -> tuple[Metric, ...]:
    """Every name parsed; ``UsageError`` where there is none or one comes twice."""
    if isinstance(names, str):
        raise UsageError(f"metrics must be a list of names, not the text {names!r}")
    metrics = tuple(parse_metric(name, records) for name in names)
    keys = [metric.key for metric in metrics]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise UsageError(f"metrics asked for twice: {', '.join(twice)}")
    if not metrics:
        raise UsageError("no metric was asked for")
    return metrics


def _spellings(records: Mapping[str, MetricRecord], cut: str) -> list[str]:
    return [f"{name}@{cut}" if record.at else name for name, record in records.items()]
