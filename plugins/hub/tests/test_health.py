"""Health, the description of the interface, and what the hub does by itself."""

from dataclasses import replace

from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from finetuner_hub.server.app import create_app
from finetuner_hub.server.keeper import sweep


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


def test_a_hub_that_starts_gives_workers_time_to_be_heard_of(settings, clock, passwords):
    """Then it queues the runs of those that were not."""
    import time

    from hubs import House

    quick = replace(settings, keep_every=0.02, dead_after=0.3)
    with TestClient(create_app(quick, clock=clock, passwords=passwords)) as client:
        house = House(client, clock)
        house.user("root", admin=True)
        token = house.token("root")
        house.start(token)
        house.take(house.token("root", scope="worker"))
        clock.advance(60)
        assert house.call(token, "GET", "/runs/first").json()["state"] == "running"
        until = time.monotonic() + 10
        while house.call(token, "GET", "/runs/first").json()["state"] == "running":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert house.call(token, "GET", "/runs/first").json()["state"] == "queued"
