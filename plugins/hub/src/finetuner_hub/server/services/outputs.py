"""What a run's worker writes while it runs: log, metrics, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from finetuner_hub.server.database.models import Checkpoint, LogChunk, Metric, Run
from finetuner_hub.server.errors import ConflictingError, TooLargeError

PIECES = 256
"""Pieces of a log that are read at once."""


@dataclass(frozen=True)
class LogPart:
    """A part of a log, and where the next one begins. Offsets are in characters."""

    text: str
    next_offset: int


@dataclass(frozen=True)
class Point:
    """A metric's value at a step."""

    name: str
    step: int
    value: float


def append_log(session: Session, run: Run, offset: int, text: str, limit: int) -> int:
    """Append ``text``, which begins at ``offset``; gives the log's size.

    ``ConflictingError`` with the size where the log ends elsewhere: one who does not
    know whether a piece arrived sees it there. ``TooLargeError`` above ``limit``.
    """
    if offset != run.log_size:
        raise ConflictingError(f"the log of run {run.name!r} ends at {run.log_size}, not {offset}")
    if offset + len(text) > limit:
        raise TooLargeError(f"the log of run {run.name!r} would have more than {limit} characters")
    if text:
        session.add(LogChunk(run_id=run.id, start=offset, text=text))
        run.log_size += len(text)
    return run.log_size


def read_log(session: Session, run: Run, offset: int) -> LogPart:
    """The log from ``offset`` on, or as much as is read at once."""
    first = (
        select(LogChunk.start)
        .where(LogChunk.run_id == run.id, LogChunk.start <= offset)
        .order_by(LogChunk.start.desc())
        .limit(1)
    )
    begin = session.scalar(first)
    pieces = session.scalars(
        select(LogChunk)
        .where(LogChunk.run_id == run.id, LogChunk.start >= (begin or 0))
        .order_by(LogChunk.start)
        .limit(PIECES)
    ).all()
    text = "".join(piece.text for piece in pieces)[offset - (begin or 0) :]
    return LogPart(text, offset + len(text))


def write_metrics(session: Session, run: Run, points: Sequence[Point]) -> None:
    """Note values. One of the same name and step as before takes its place."""
    latest = {(point.name, point.step): point for point in points}
    session.execute(
        sql_delete(Metric).where(
            Metric.run_id == run.id, tuple_(Metric.name, Metric.step).in_(list(latest))
        )
    )
    session.add_all(
        Metric(run_id=run.id, name=point.name, step=point.step, value=point.value)
        for point in latest.values()
    )


def read_metrics(session: Session, run: Run, after: int, limit: int) -> list[Metric]:
    """Values in the order in which they were written, from the one that follows ``after``."""
    return list(
        session.scalars(
            select(Metric)
            .where(Metric.run_id == run.id, Metric.id > after)
            .order_by(Metric.id)
            .limit(limit)
        )
    )


def note_checkpoint(session: Session, run: Run, step: int, address: str, now: float) -> None:
    """Note where the run can go on from. The same step again takes the place of the first."""
    session.merge(Checkpoint(run_id=run.id, step=step, address=address, created=now))


def checkpoints(session: Session, run: Run) -> list[Checkpoint]:
    """The run's checkpoints, oldest first."""
    return list(
        session.scalars(
            select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step)
        )
    )
