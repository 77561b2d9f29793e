"""Runs: created, found, moved from state to state, removed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from finetuner.contracts.runs import RunState
from finetuner_hub.server.database.models import Run, RunEvent
from finetuner_hub.server.errors import ConflictingError, NotThereError
from finetuner_hub.server.scopes import Principal, Scope
from finetuner_hub.server.services import tokens
from finetuner_hub.server.services.specs import CheckedSpec


@dataclass(frozen=True)
class Created:
    """A run, and whether it was made by this call."""

    run: Run
    new: bool


def create(session: Session, owner_id: int, checked: CheckedSpec, now: float) -> Created:
    """Queue a run. The same spec under the same name is the same run, however often it is sent.

    ``ConflictingError`` where the owner has a run of that name with another spec.
    """
    run = Run(
        id=uuid.uuid4().hex,
        owner_id=owner_id,
        name=checked.spec.name,
        experiment=checked.spec.experiment_name,
        spec=checked.json,
        spec_digest=checked.digest,
        state=RunState.CREATED,
        created=now,
        updated=now,
    )
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        same = session.scalars(_mine(owner_id).where(Run.name == checked.spec.name)).one()
        if same.spec_digest != checked.digest:
            raise ConflictingError(
                f"you have a run {same.name!r} with another spec: choose another name, or delete it"
            ) from None
        return Created(same, new=False)
    _note(session, run, now, "created")
    move(session, run, RunState.QUEUED, now, "waits for a worker")
    return Created(run, new=True)


def find(session: Session, who: Principal, name: str, *, lock: bool = False) -> Run:
    """The run ``name`` within the reach of ``who``; ``NotThereError``.

    With ``lock`` nobody else changes it until the transaction ends.
    """
    if not name.isprintable():  # and so the name of nothing; PostgreSQL would refuse a NUL
        raise NotThereError("run", name)
    query = _mine(who.user_id).where(Run.name == name)
    if who.scope is Scope.ATTEMPT:
        query = query.where(Run.id == who.run_id)
    run = session.scalar(query.with_for_update() if lock else query)
    if run is None:
        raise NotThereError("run", name)
    return run


def of_user(
    session: Session, user_id: int, *, experiment: str | None, after: str | None, limit: int
) -> list[Run]:
    """A user's runs by name, from the one that follows ``after``."""
    query = _mine(user_id).order_by(Run.name).limit(limit)
    if experiment is not None:
        query = query.where(Run.experiment == experiment)
    if after is not None:
        query = query.where(Run.name > after)
    return list(session.scalars(query))


def move(session: Session, run: Run, state: RunState, now: float, why: str) -> None:
    """Go to ``state`` and note why; ``ConflictingError`` where the present state forbids it.

    The caller holds the run's lock.
    """
    if not run.state.may_become(state):
        raise ConflictingError(
            f"run {run.name!r} is {run.state.value}: it cannot become {state.value}"
        )
    run.state, run.updated = state, now
    _note(session, run, now, why)


def stop(session: Session, run: Run, now: float, why: str) -> None:
    """Cancel a run at once: its worker's token is good for nothing from now on."""
    move(session, run, RunState.CANCELLED, now, why)
    tokens.revoke_attempts(session, run.id)


def delete(session: Session, run: Run) -> None:
    """Remove a run in any state, with everything that is kept of it; its worker's token too."""
    session.delete(run)


def history(session: Session, run: Run) -> list[RunEvent]:
    """The run's states, oldest first."""
    return list(
        session.scalars(select(RunEvent).where(RunEvent.run_id == run.id).order_by(RunEvent.id))
    )


def _mine(owner_id: int) -> Select[Run]:
    return select(Run).where(Run.owner_id == owner_id)


def _note(session: Session, run: Run, now: float, message: str) -> None:
    session.add(RunEvent(run_id=run.id, at=now, state=run.state, message=message))
    session.flush()
