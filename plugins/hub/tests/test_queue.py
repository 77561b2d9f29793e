"""The queue: fair, raced for, and robbed of its workers; on SQLite and PostgreSQL."""

import threading
from collections import Counter

import pytest
from hubs import spec
from sqlalchemy import select

from finetuner.contracts.runs import RunState
from finetuner_hub.server.database.models import Run, Token, User
from finetuner_hub.server.errors import ConflictingError
from finetuner_hub.server.scopes import Principal, Scope
from finetuner_hub.server.services import queue, runs
from finetuner_hub.server.services.specs import check_spec

DAY = 86_400.0


def person(database, passwords, name):
    with database.write() as session:
        user = User(name=name, password=passwords.hash("x"), admin=False, created=0.0)
        session.add(user)
        session.flush()
        return user.id


def submit(database, owner, name, now=0.0):
    with database.write() as session:
        return runs.create(session, owner, check_spec(spec(name)), now).run.id


def take(database, worker="one", now=100.0):
    """The taken run's name and who its worker is to the hub, ``None`` if nothing waits."""
    with database.write() as session:
        taken = queue.take(session, worker, now, DAY)
        if taken is None:
            return None
        run = taken.run
        who = Principal(run.owner_id, "", Scope.ATTEMPT, taken.token.id, run.id, run.attempt)
        return run.name, who


def state(database, run_id):
    with database.read() as session:
        return session.get_one(Run, run_id).state


@pytest.fixture
def ada(database, passwords):
    return person(database, passwords, "ada")


@pytest.fixture
def bob(database, passwords):
    return person(database, passwords, "bob")


def test_one_users_runs_are_taken_oldest_first(database, ada):
    for when, name in enumerate(["c", "a", "b"]):
        submit(database, ada, name, now=float(when))
    assert [take(database)[0] for _ in range(3)] == ["c", "a", "b"]
    assert take(database) is None


def test_a_user_with_many_runs_does_not_keep_others_waiting(database, ada, bob):
    for number in range(4):
        submit(database, ada, f"a{number}", now=float(number))
    for number in range(2):
        submit(database, bob, f"b{number}", now=50.0 + number)
    order = [take(database, now=100.0 + turn)[0] for turn in range(6)]
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_who_was_served_longest_ago_comes_first_when_runs_are_short(database, ada, bob):
    for number in range(2):
        submit(database, ada, f"a{number}", now=float(number))
        submit(database, bob, f"b{number}", now=10.0 + number)
    order = []
    for turn in range(4):
        name, who = take(database, now=100.0 + turn)
        order.append(name)
        with database.write() as session:
            queue.finish(session, who, name, 100.0, result="{}", error=None)
    assert order == ["a0", "b0", "a1", "b1"]


def test_who_has_fewer_runs_running_comes_before_who_was_served_longer_ago(database, ada, bob):
    submit(database, ada, "long")
    take(database, now=100.0)
    submit(database, bob, "short")
    name, who = take(database, now=110.0)
    with database.write() as session:
        queue.finish(session, who, name, 120.0, result="{}", error=None)
    submit(database, ada, "a", now=130.0)
    submit(database, bob, "b", now=140.0)
    assert [take(database, now=150.0 + turn)[0] for turn in range(2)] == ["b", "a"]


def test_workers_that_race_take_every_run_once(database, ada, bob):
    names = [f"r{number}" for number in range(20)]
    for name in names:
        submit(database, ada, name)
        submit(database, bob, name)
    taken, problems = [], []
    together = threading.Barrier(8)

    def work(worker):
        try:
            together.wait()
            idle = 0
            while idle < 20:
                found = take(database, f"worker {worker}")
                idle = 0 if found else idle + 1
                if found:
                    taken.append((found[1].run_id, found[1].attempt))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(taken) == 40
    assert set(Counter(run for run, _ in taken).values()) == {1}


def test_a_run_that_is_ended_and_cancelled_at_once_ends_in_one_way(database, ada):
    for number in range(10):
        name = f"r{number}"
        run_id = submit(database, ada, name)
        _, who = take(database)
        owner = Principal(ada, "ada", Scope.RUN, 0)
        outcomes = race(
            lambda session, who=who, name=name: queue.finish(
                session, who, name, 1.0, result="{}", error=None
            ),
            lambda session, owner=owner, name=name: runs.stop(
                session, runs.find(session, owner, name, lock=True), 1.0, "by ada"
            ),
            database=database,
        )
        assert sorted(outcomes) == ["conflict", "done"]
        assert state(database, run_id) in (RunState.FINISHED, RunState.CANCELLED)


def race(*actions, database):
    """What became of ``actions``, each in a transaction and a thread of its own."""
    outcomes = []

    def act(action):
        try:
            with database.write() as session:
                action(session)
            outcomes.append("done")
        except ConflictingError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_the_same_run_created_at_once_is_made_once(database, ada):
    made = []

    def create(session):
        made.append(runs.create(session, ada, check_spec(spec()), 0.0).new)

    race(*[create] * 6, database=database)
    assert sorted(made) == [False] * 5 + [True]


def requeue(database, now):
    with database.write() as session:
        return queue.requeue_dead(session, now, dead_after=60.0, max_requeues=2)


def test_a_worker_that_is_heard_of_keeps_its_run(database, ada):
    submit(database, ada, "first")
    name, who = take(database, now=100.0)
    with database.write() as session:
        queue.heartbeat(session, who, name, 150.0)
    assert requeue(database, now=209.0) == []
    assert requeue(database, now=210.0) == [who.run_id]


def test_a_dead_workers_run_is_queued_again_and_the_dead_cannot_write(database, ada):
    run_id = submit(database, ada, "first")
    name, dead = take(database, now=100.0)
    requeue(database, now=160.0)
    assert state(database, run_id) is RunState.QUEUED
    with database.read() as session:
        assert session.scalars(select(Token)).all() == []
    _, living = take(database, "two", now=170.0)
    assert living.attempt == 2
    with pytest.raises(ConflictingError, match="attempt 1 is over"), database.write() as session:
        queue.finish(session, dead, name, 171.0, result="{}", error=None)
    assert state(database, run_id) is RunState.RUNNING


def test_a_run_whose_workers_die_again_and_again_fails_with_the_reason(database, ada):
    run_id = submit(database, ada, "first")
    for attempt in range(1, 4):
        assert take(database, f"w{attempt}", now=100.0 * attempt)[1].attempt == attempt
        requeue(database, now=100.0 * attempt + 60)
    with database.read() as session:
        run = session.get_one(Run, run_id)
        assert run.state is RunState.FAILED
        assert run.error == "its worker w3 was not heard of for 60 s, at attempt 3 of 3"
        past = [event.state.value for event in runs.history(session, run)]
    expected = ["created", *["queued", "running"] * 3, "failed"]
    assert past == expected
    assert take(database) is None


def test_a_run_that_was_queued_again_keeps_its_place(database, ada):
    submit(database, ada, "old", now=0.0)
    take(database, now=10.0)
    submit(database, ada, "new", now=20.0)
    requeue(database, now=80.0)
    assert take(database)[0] == "old"
