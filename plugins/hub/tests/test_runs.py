"""Runs: what may be asked for, and what becomes of it."""

import hashlib
import json

import pytest
from hubs import DATA, spec


@pytest.fixture
def ada(house):
    house.user("ada")
    return house.token("ada")


@pytest.fixture
def worker(house):
    house.user("root", admin=True)
    return house.token("root", scope="worker")


def states(house, token, name="first"):
    return [event["state"] for event in house.call(token, "GET", f"/runs/{name}/events").json()]


def test_a_run_is_queued_and_knows_its_spec_by_content(house, ada):
    answer = house.start(ada, loss="TripletMarginLoss")
    assert answer.status_code == 201
    assert answer.json()["state"] == "queued"
    kept = house.call(ada, "GET", "/runs/first/spec").json()
    assert kept["loss"] == "TripletMarginLoss"
    assert kept["batch_size"] is None
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert answer.json()["spec_digest"] == digest
    assert states(house, ada) == ["created", "queued"]


def test_what_a_spec_leaves_out_and_what_it_says_by_default_are_the_same(house, ada):
    short = house.start(ada, plan={"pooling": "gem"})
    whole = house.call(ada, "GET", "/runs/first/spec").json()
    again = house.call(ada, "POST", "/runs", json={"spec": whole})
    assert again.status_code == 200
    assert again.json()["spec_digest"] == short.json()["spec_digest"]


def test_the_same_spec_sent_again_is_the_same_run(house, ada):
    first, again = house.start(ada), house.start(ada)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_another_spec_under_the_same_name_is_refused(house, ada):
    house.start(ada)
    answer = house.start(ada, epochs=2)
    assert answer.status_code == 409
    assert "another spec" in answer.json()["detail"]


def test_a_spec_that_arrives_changed_is_refused(house, ada):
    body = {"spec": spec(), "digest": "sha256:" + "0" * 64}
    answer = house.call(ada, "POST", "/runs", json=body)
    assert answer.status_code == 422
    assert "changed on its way" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a/b"}, "run name 'a/b'"),
        ({"epoch": 3}, "unknown field 'epoch': did you mean 'epochs'?"),
        ({"epochs": "many"}, "Expected `int`, got `str` - at `$.epochs`"),
        ({"train_data": None}, "at `$.train_data`"),
        ({"train_data": "in-process"}, "train_data: 'in-process' names no artifact"),
        ({"train_data": "s3://shop/data:latest"}, "can change its meaning"),
        ({"train_data": DATA.replace("s3", "file")}, "is on one machine"),
        ({"train_data": "/etc/passwd@sha256:" + "ab" * 32}, "train_data"),
        ({"eval_data": "clicks.csv"}, "eval_data: 'clicks.csv' names no artifact"),
        ({"model": "in-process"}, "model 'in-process'"),
        ({"model": "../../etc/passwd"}, "expected a backbone's name"),
        ({"model": "/home/ada/model.keras"}, "expected a backbone's name"),
        ({"store": "s3://mine"}, "the hub chooses where it is kept"),
        ({"executor": "ray"}, "the hub chooses one"),
        ({"experiment_name": ""}, "use 1 to 128 characters"),
    ],
)
def test_a_spec_that_the_hub_cannot_take_is_refused_with_the_reason(house, ada, change, message):
    answer = house.call(ada, "POST", "/runs", json={"spec": spec(**change)})
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("text", ["\ud800", "\x00"])
def test_what_is_no_text_is_no_name(house, ada, text):
    body = json.dumps({"spec": spec(experiment_name=f"a{text}")})
    headers = {"Content-Type": "application/json"}
    answer = house.call(ada, "POST", "/runs", content=body, headers=headers)
    assert answer.status_code == 422


def test_runs_are_listed_by_name_in_pages_and_by_experiment(house, ada):
    for name in ("c", "a", "b"):
        house.start(ada, name, experiment_name="odd" if name == "b" else "even")
    names = [run["name"] for run in house.call(ada, "GET", "/runs").json()]
    assert names == ["a", "b", "c"]
    page = house.call(ada, "GET", "/runs", params={"after": "a", "limit": 1}).json()
    assert [run["name"] for run in page] == ["b"]
    odd = house.call(ada, "GET", "/runs", params={"experiment": "odd"}).json()
    assert [run["name"] for run in odd] == ["b"]


def test_a_run_that_is_carried_out_goes_from_queued_to_finished(house, ada, worker):
    house.start(ada)
    taken = house.take(worker)
    assert taken["run"]["state"] == "running"
    assert taken["spec"]["train_data"] == DATA
    assert taken["checkpoint"] is None
    assert house.call(ada, "GET", "/runs/first/result").status_code == 409
    done = {"result": {"artifact_id": "s3://shop/first@sha256:00", "metrics": {"after": {}}}}
    answer = house.call(taken["token"], "POST", "/runs/first/finish", json=done)
    assert answer.json()["state"] == "finished"
    assert house.call(ada, "GET", "/runs/first/result").json() == done["result"]
    assert states(house, ada) == ["created", "queued", "running", "finished"]


def test_finishing_again_changes_nothing_and_differently_is_refused(house, ada, worker):
    house.start(ada)
    token = house.take(worker)["token"]
    house.call(token, "POST", "/runs/first/finish", json={"result": {"a": 1}})
    again = house.call(token, "POST", "/runs/first/finish", json={"result": {"a": 1}})
    other = house.call(token, "POST", "/runs/first/finish", json={"error": "no"})
    assert (again.status_code, other.status_code) == (200, 409)
    assert states(house, ada)[-2:] == ["running", "finished"]


def test_a_failed_run_says_why(house, ada, worker):
    house.start(ada)
    token = house.take(worker)["token"]
    house.call(token, "POST", "/runs/first/finish", json={"error": "out of memory"})
    status = house.call(ada, "GET", "/runs/first/status").json()
    assert (status["state"], status["error"]) == ("failed", "out of memory")


@pytest.mark.parametrize("body", [{}, {"result": {}, "error": "x"}, {"error": ""}])
def test_a_run_ends_in_one_way(house, ada, worker, body):
    house.start(ada)
    token = house.take(worker)["token"]
    assert house.call(token, "POST", "/runs/first/finish", json=body).status_code == 422


def test_cancelling_a_queued_run_takes_it_out_of_the_queue(house, ada, worker):
    house.start(ada)
    assert house.call(ada, "POST", "/runs/first/cancel").json()["state"] == "cancelled"
    assert house.take(worker) is None


def test_cancelling_a_running_run_shuts_its_worker_out_at_once(house, ada, worker):
    house.start(ada)
    token = house.take(worker)["token"]
    assert house.call(ada, "POST", "/runs/first/cancel").status_code == 200
    assert house.call(token, "POST", "/runs/first/heartbeat").status_code == 401
    assert house.call(token, "POST", "/runs/first/finish", json={"error": "x"}).status_code == 401
    assert house.call(ada, "POST", "/runs/first/cancel").status_code == 200
    assert states(house, ada) == ["created", "queued", "running", "cancelled"]


def test_a_finished_run_cannot_be_cancelled(house, ada, worker):
    house.start(ada)
    token = house.take(worker)["token"]
    house.call(token, "POST", "/runs/first/finish", json={"result": {}})
    answer = house.call(ada, "POST", "/runs/first/cancel")
    assert answer.status_code == 409
    assert "is finished: it cannot become cancelled" in answer.json()["detail"]


def test_deleting_a_running_run_leaves_nothing_of_it(house, ada, worker):
    house.start(ada)
    token = house.take(worker)["token"]
    house.call(token, "POST", "/runs/first/logs", json={"offset": 0, "text": "secret\n"})
    assert house.call(ada, "DELETE", "/runs/first").status_code == 204
    assert house.call(ada, "GET", "/runs/first").status_code == 404
    assert house.call(token, "POST", "/runs/first/heartbeat").status_code == 401
    house.start(ada)
    assert house.call(ada, "GET", "/runs/first/logs").json() == {"text": "", "next_offset": 0}
