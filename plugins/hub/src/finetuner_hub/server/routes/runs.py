"""One's runs: started, looked at, cancelled, removed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from finetuner.contracts.runs import RunState
from finetuner_hub.server.access import Reader, Runner, RunReader, TheHub
from finetuner_hub.server.errors import ConflictingError
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.services import runs
from finetuner_hub.server.services.specs import check_spec

router = APIRouter(prefix="/v1/runs", tags=["runs"])


class NewRun(words.Request):
    """A :class:`finetuner.contracts.RunSpec` in JSON, and its digest where it is known."""

    spec: dict[str, Any]
    digest: words.Word | None = None


class Status(words.Answer):
    """How a run stands; ``error`` says why it failed."""

    state: RunState
    attempt: int
    updated: float
    error: str | None


class RunView(Status):
    id: str
    name: str
    experiment: str
    spec_digest: str
    created: float
    log_size: int


class EventView(words.Answer):
    at: float
    state: RunState
    message: str


@router.post("", status_code=201, responses={200: {"model": RunView}, **refusals(401, 403, 409)})
def create_run(hub: TheHub, who: Runner, asked: NewRun, response: Response) -> RunView:
    """Queue a run. Sent again, it is the same run, and the status is 200."""
    checked = check_spec(asked.spec, asked.digest)
    with hub.database.write() as session:
        made = runs.create(session, who.user_id, checked, hub.clock())
        response.status_code = 201 if made.new else 200
        return RunView.model_validate(made.run)


@router.get("", responses=refusals(401, 403))
def list_runs(
    hub: TheHub,
    who: Reader,
    experiment: words.Word | None = None,
    after: words.Word | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[RunView]:
    """One's runs by name, from the one that follows ``after``."""
    with hub.database.read() as session:
        found = runs.of_user(session, who.user_id, experiment=experiment, after=after, limit=limit)
        return [RunView.model_validate(run) for run in found]


@router.get("/{name}", responses=refusals(401, 403, 404))
def get_run(hub: TheHub, who: RunReader, name: str) -> RunView:
    """One run."""
    with hub.database.read() as session:
        return RunView.model_validate(runs.find(session, who, name))


@router.get("/{name}/status", responses=refusals(401, 403, 404))
def get_status(hub: TheHub, who: RunReader, name: str) -> Status:
    """How a run stands."""
    with hub.database.read() as session:
        return Status.model_validate(runs.find(session, who, name))


@router.get("/{name}/spec", responses=refusals(401, 403, 404))
def get_spec(hub: TheHub, who: RunReader, name: str) -> dict[str, Any]:
    """What the run was asked to do, with every field."""
    with hub.database.read() as session:
        found = runs.find(session, who, name).spec
    return msgspec.json.decode(found, type=dict[str, Any])


@router.get("/{name}/result", responses=refusals(401, 403, 404, 409))
def get_result(hub: TheHub, who: RunReader, name: str) -> dict[str, Any]:
    """What a finished run gave."""
    with hub.database.read() as session:
        run = runs.find(session, who, name)
        if run.result is None:
            cause = f": {run.error}" if run.error else ""
            raise ConflictingError(f"run {name!r} is {run.state.value}{cause}; it has no result")
        return msgspec.json.decode(run.result, type=dict[str, Any])


@router.get("/{name}/events", responses=refusals(401, 403, 404))
def get_events(hub: TheHub, who: RunReader, name: str) -> list[EventView]:
    """The run's states and why it came to them, oldest first."""
    with hub.database.read() as session:
        past = runs.history(session, runs.find(session, who, name))
        return [EventView.model_validate(event) for event in past]


@router.post("/{name}/cancel", responses=refusals(401, 403, 404, 409))
def cancel_run(hub: TheHub, who: Runner, name: str) -> RunView:
    """Cancel a run that is queued or running; its worker can write nothing from now on."""
    with hub.database.write() as session:
        run = runs.find(session, who, name, lock=True)
        if run.state is not RunState.CANCELLED:
            runs.stop(session, run, hub.clock(), f"by {who.user_name}")
        return RunView.model_validate(run)


@router.delete("/{name}", status_code=204, responses=refusals(401, 403, 404))
def delete_run(hub: TheHub, who: Runner, name: str) -> None:
    """Remove a run in any state, with its log, metrics and the list of its checkpoints."""
    with hub.database.write() as session:
        runs.delete(session, runs.find(session, who, name, lock=True))
