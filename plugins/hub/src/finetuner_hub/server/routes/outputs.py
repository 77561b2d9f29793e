"""What runs write: read by their owner, written by the worker of the present attempt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import Field

from finetuner_hub.server.access import SEES_RUNS, Attempt, RunReader, Secret, TheHub, allow
from finetuner_hub.server.errors import UnusableError
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.stream import Moment, follow
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.services import outputs, queue, runs

router = APIRouter(prefix="/v1/runs/{name}", tags=["outputs"])

_LAST_OFFSET = 2**31 - 1


class LogPiece(words.Request):
    """``offset`` is where the log ends, as the writer knows it."""

    offset: words.Small
    text: words.Text


class LogSize(words.Answer):
    size: int


class LogPart(words.Answer):
    """Offsets are in characters."""

    text: str
    next_offset: int


class Point(words.Request):
    name: words.Word
    step: words.Large
    value: Annotated[float, Field(allow_inf_nan=False)]


class Points(words.Request):
    points: Annotated[list[Point], Field(max_length=1000)]


class MetricView(words.Answer):
    id: int
    name: str
    step: int
    value: float


class CheckpointIn(words.Request):
    step: words.Large
    address: Annotated[str, Field(max_length=2048, pattern=r"^[^\x00-\x1f\x7f]+$")]


class CheckpointView(words.Answer):
    step: int
    address: str
    created: float


@router.post("/logs", responses=refusals(401, 403, 404, 409, 413))
def append_log(hub: TheHub, who: Attempt, name: str, piece: LogPiece) -> LogSize:
    """Append to the log. Sent twice, the second is refused and says where the log ends."""
    with hub.database.write() as session:
        run = queue.held(session, who, name)
        limit = hub.settings.max_log_characters
        return LogSize(size=outputs.append_log(session, run, piece.offset, piece.text, limit))


@router.get("/logs", responses=refusals(401, 403, 404))
def read_log(hub: TheHub, who: RunReader, name: str, offset: words.Small = 0) -> LogPart:
    """The log from ``offset`` on, or as much as is read at once."""
    with hub.database.read() as session:
        part = outputs.read_log(session, runs.find(session, who, name), offset)
        return LogPart.model_validate(part)


@router.get("/logs/stream", response_class=StreamingResponse, responses=refusals(401, 403, 404))
def stream_log(
    hub: TheHub,
    who: RunReader,
    secret: Secret,
    name: str,
    offset: words.Small = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """The log as server-sent events until the run is over; ``Last-Event-ID`` resumes it."""

    def read(start: int) -> Moment:
        # The state first: if it is final then, the log is whole when it is read.
        reader = allow(hub, secret, *SEES_RUNS)
        with hub.database.read() as session:
            run = runs.find(session, reader, name)
            return Moment(run.state, outputs.read_log(session, run, start))

    if last_event_id is not None:
        offset = _offset(last_event_id)
    with hub.database.read() as session:
        runs.find(session, who, name)
    events = follow(read, offset, hub.settings.stream_poll)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.post("/metrics", status_code=204, responses=refusals(401, 403, 404, 409))
def write_metrics(hub: TheHub, who: Attempt, name: str, asked: Points) -> None:
    """Note values. One of the same name and step as before takes its place."""
    points = [outputs.Point(point.name, point.step, point.value) for point in asked.points]
    with hub.database.write() as session:
        outputs.write_metrics(session, queue.held(session, who, name), points)


@router.get("/metrics", responses=refusals(401, 403, 404))
def read_metrics(
    hub: TheHub, who: RunReader, name: str, after: words.Large = 0
) -> list[MetricView]:
    """Up to 10,000 values as they were written, from the one that follows the id ``after``."""
    with hub.database.read() as session:
        found = outputs.read_metrics(session, runs.find(session, who, name), after, 10_000)
        return [MetricView.model_validate(metric) for metric in found]


@router.post("/checkpoints", status_code=204, responses=refusals(401, 403, 404, 409))
def note_checkpoint(hub: TheHub, who: Attempt, name: str, asked: CheckpointIn) -> None:
    """Note where the run can go on from."""
    with hub.database.write() as session:
        run = queue.held(session, who, name)
        outputs.note_checkpoint(session, run, asked.step, asked.address, hub.clock())


@router.get("/checkpoints", responses=refusals(401, 403, 404))
def list_checkpoints(hub: TheHub, who: RunReader, name: str) -> list[CheckpointView]:
    """Where the run can go on from, oldest first."""
    with hub.database.read() as session:
        found = outputs.checkpoints(session, runs.find(session, who, name))
        return [CheckpointView.model_validate(checkpoint) for checkpoint in found]


def _offset(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_OFFSET):
        raise UnusableError(f"Last-Event-ID {text[:32]!r} is the id of no event of a log")
    return int(text)
