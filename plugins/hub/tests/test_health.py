"""Health, the description of the interface, and what the hub does by itself."""

import asyncio
import time
from dataclasses import replace

from fastapi.testclient import TestClient
from hubs import House
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from finetuner_hub.server.app import create_app
from finetuner_hub.server.body_limit import BodyLimit
from finetuner_hub.server.keeper import sweep, tend


def test_a_hub_that_works_says_so(house):
    assert house.client.get("/healthz").json() == {"status": "ok"}
    assert house.client.get("/readyz").json() == {"status": "ready"}


def test_a_hub_whose_tables_have_another_form_is_not_ready(house):
    with house.hub.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    answer = house.client.get("/readyz")
    assert answer.status_code == 503
    assert "another revision" in answer.json()["status"]


def test_a_hub_whose_database_is_gone_is_not_ready(house, tmp_path):
    house.hub.database.close()
    for path in tmp_path.glob("hub.sqlite3*"):
        path.unlink()
    tmp_path.joinpath("hub.sqlite3").write_bytes(b"not a database, and long enough to be one" * 9)
    assert house.client.get("/readyz").status_code == 503


def test_a_database_that_does_not_answer_is_no_fault_of_the_request(house, monkeypatch):
    house.user("ada")

    def busy(*_):
        raise OperationalError("SELECT secret", {}, Exception("database is locked"))

    monkeypatch.setattr(house.hub.database, "read", busy)
    answer = house.log_in("ada")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "the database does not answer"}


def test_the_interface_is_described(house):
    described = house.client.get("/openapi.json").json()
    assert described["info"]["title"] == "Finetuner hub"
    assert "/v1/runs/{name}/logs/stream" in described["paths"]


def test_what_is_over_is_removed(house):
    house.user("ada")
    house.token("ada", lifetime=60)
    house.client.post("/v1/device", json={})
    house.clock.advance(3600)
    sweep(house.hub)
    with house.hub.database.read() as session:
        for table in ("tokens", "devices", "attempts"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def running(house):
    """A user's token; the worker of their run ``first`` was last heard of 60 s ago."""
    house.user("root", admin=True)
    token = house.token("root")
    house.start(token)
    house.take(house.token("root", scope="worker"))
    house.clock.advance(60)
    return token


def state(house, token):
    return house.call(token, "GET", "/runs/first").json()["state"]


def test_a_hub_that_starts_gives_workers_time_to_be_heard_of(house):
    token = running(house)
    tend(house.hub, up=59.9)
    assert state(house, token) == "running"
    tend(house.hub, up=60.0)
    assert state(house, token) == "queued"


def test_a_hub_looks_after_its_queue_by_itself(settings, clock, passwords):
    quick = replace(settings, keep_every=0.02, dead_after=0.1)
    with TestClient(create_app(quick, clock=clock, passwords=passwords)) as client:
        house = House(client, clock)
        token, until = running(house), time.monotonic() + 10
        while state(house, token) != "queued":
            assert time.monotonic() < until
            time.sleep(0.02)


def test_no_more_of_a_large_request_is_read_than_is_allowed():
    """Ten pieces of 10 bytes come, and 25 are allowed: the third is the last that is read."""
    read, sent = [], []

    async def application(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"x" * 10, "more_body": len(read) < 10}

    async def send(message):
        sent.append(message)

    asyncio.run(BodyLimit(application, 25)({"type": "http", "headers": []}, receive, send))
    assert len(read) == 3
    assert sent[0]["status"] == 413
