"""What workers ask: the next run, and to be known alive."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from finetuner_hub.server.access import Attempt, TheHub, Worker
from finetuner_hub.server.errors import UnusableError
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.outputs import CheckpointView
from finetuner_hub.server.routes.runs import RunView
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.services import queue

router = APIRouter(prefix="/v1", tags=["workers"])


class Take(words.Request):
    worker: words.Word


class Taken(words.Answer):
    """A run to carry out. Every other request about it is made with ``token``."""

    run: RunView
    owner_id: int
    spec: dict[str, Any]
    token: str
    checkpoint: CheckpointView | None
    heartbeat_every: float


class Finish(words.Request):
    """Either what the run gave, or why it failed."""

    result: dict[str, Any] | None = None
    error: Annotated[words.Text, Field(min_length=1, max_length=10_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Finish:
        if (self.result is None) == (self.error is None):
            raise ValueError("give either 'result' or 'error'")
        return self


@router.post(
    "/queue/take", response_model=Taken, responses={204: {"model": None}, **refusals(401, 403)}
)
def take(hub: TheHub, _: Worker, asked: Take) -> Taken | Response:
    """The next run, or status 204 if nothing waits."""
    with hub.database.write() as session:
        taken = queue.take(session, asked.worker, hub.clock(), hub.settings.token_lifetime)
        if taken is None:
            return Response(status_code=204)
        point = taken.checkpoint
        return Taken(
            run=RunView.model_validate(taken.run),
            owner_id=taken.run.owner_id,
            spec=msgspec.json.decode(taken.run.spec, type=dict[str, Any]),
            token=taken.token.secret,
            checkpoint=None if point is None else CheckpointView.model_validate(point),
            heartbeat_every=hub.settings.heartbeat_every,
        )


@router.post("/runs/{name}/heartbeat", status_code=204, responses=refusals(401, 403, 404, 409))
def heartbeat(hub: TheHub, who: Attempt, name: str) -> None:
    """The worker lives. A refusal means that this attempt is over: the worker stops."""
    with hub.database.write() as session:
        queue.heartbeat(session, who, name, hub.clock())


@router.post("/runs/{name}/finish", responses=refusals(401, 403, 404, 409))
def finish(hub: TheHub, who: Attempt, name: str, asked: Finish) -> RunView:
    """End the run. Sent again, it changes nothing."""
    try:
        result = None if asked.result is None else msgspec.json.encode(asked.result).decode()
    except UnicodeEncodeError as problem:
        raise UnusableError(f"the run's result: {problem}") from None
    with hub.database.write() as session:
        run = queue.finish(session, who, name, hub.clock(), result=result, error=asked.error)
        return RunView.model_validate(run)
