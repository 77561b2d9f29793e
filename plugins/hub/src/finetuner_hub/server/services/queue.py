"""The queue is the table of runs: who takes which, and what becomes of those a worker lost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from finetuner.contracts.runs import RunState
from finetuner_hub.server.database.models import Checkpoint, Run, User
from finetuner_hub.server.errors import ConflictingError
from finetuner_hub.server.scopes import Principal
from finetuner_hub.server.services import runs, tokens


@dataclass(frozen=True)
class Taken:
    """A run for a worker: the token of this attempt, and where to go on from, if anywhere."""

    run: Run
    token: tokens.Issued
    checkpoint: Checkpoint | None


def take(session: Session, worker: str, now: float, token_life: float) -> Taken | None:
    """The next run for ``worker``, ``None`` if nothing waits.

    Fair between users: first comes who has the fewest runs running, then who was
    served longest ago; of one user's runs the oldest. Workers that ask at the same
    time get different runs: on PostgreSQL each skips what another has locked, on
    SQLite one asks after the other.
    """
    running = (
        select(Run.owner_id, func.count().label("count"))
        .where(Run.state == RunState.RUNNING)
        .group_by(Run.owner_id)
        .subquery()
    )
    run = session.scalar(
        select(Run)
        .join(User, User.id == Run.owner_id)
        .outerjoin(running, running.c.owner_id == Run.owner_id)
        .where(Run.state == RunState.QUEUED, User.disabled.is_(False))
        .order_by(func.coalesce(running.c.count, 0), User.served, Run.created, Run.id)
        .limit(1)
        .with_for_update(of=Run, skip_locked=True)
    )
    if run is None:
        return None
    run.attempt += 1
    run.worker, run.heartbeat = worker, now
    runs.move(session, run, RunState.RUNNING, now, f"attempt {run.attempt} by {worker}")
    session.get_one(User, run.owner_id).served = now
    return Taken(run, tokens.issue_attempt(session, run, now, token_life), _last(session, run))


def held(session: Session, who: Principal, name: str) -> Run:
    """The run that ``who`` carries out, locked; ``ConflictingError`` if it does so no more."""
    run = runs.find(session, who, name, lock=True)
    if run.state is not RunState.RUNNING or run.attempt != who.attempt:
        raise ConflictingError(
            f"run {name!r} is {run.state.value} at attempt {run.attempt}: "
            f"attempt {who.attempt} is over, stop it"
        )
    return run


def heartbeat(session: Session, who: Principal, name: str, now: float) -> None:
    """Note that the worker lives."""
    held(session, who, name).heartbeat = now


def finish(
    session: Session,
    who: Principal,
    name: str,
    now: float,
    *,
    result: str | None,
    error: str | None,
) -> Run:
    """End the run: finished with ``result``, or failed with ``error``.

    Sent again, because the answer was lost, it changes nothing.
    """
    run = runs.find(session, who, name, lock=True)
    state = RunState.FINISHED if error is None else RunState.FAILED
    again = run.state is state and run.attempt == who.attempt
    if again and (run.result, run.error) == (result, error):
        return run
    run = held(session, who, name)
    run.result, run.error = result, error
    runs.move(session, run, state, now, error or "done")
    return run


def requeue_dead(session: Session, now: float, dead_after: float, max_requeues: int) -> list[str]:
    """Queue the runs whose worker was not heard of for ``dead_after`` seconds; gives their ids.

    One that was queued again ``max_requeues`` times already has failed. The lost
    worker's token is good for nothing: should it live after all, it cannot write.
    """
    lost = session.scalars(
        select(Run)
        .where(Run.state == RunState.RUNNING, Run.heartbeat <= now - dead_after)
        .order_by(Run.created)
        .with_for_update(skip_locked=True)
    ).all()
    for run in lost:
        tokens.revoke_attempts(session, run.id)
        why = f"its worker {run.worker} was not heard of for {dead_after:g} s"
        if run.attempt > max_requeues:
            run.error = f"{why}, at attempt {run.attempt} of {max_requeues + 1}"
            runs.move(session, run, RunState.FAILED, now, run.error)
        else:
            runs.move(session, run, RunState.QUEUED, now, why)
    return [run.id for run in lost]


def _last(session: Session, run: Run) -> Checkpoint | None:
    return session.scalar(
        select(Checkpoint)
        .where(Checkpoint.run_id == run.id)
        .order_by(Checkpoint.step.desc())
        .limit(1)
    )
