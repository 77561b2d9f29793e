"""What a run's worker writes: log, metrics, checkpoints."""

import json

import pytest

from finetuner_hub.server.services import outputs


@pytest.fixture
def ada(house):
    house.user("ada")
    return house.token("ada")


@pytest.fixture
def attempt(house, ada):
    """The token of the worker that carries out Ada's run ``first``."""
    house.user("root", admin=True)
    house.start(ada)
    return house.take(house.token("root", scope="worker"))["token"]


def write(house, token, offset, text):
    return house.call(token, "POST", "/runs/first/logs", json={"offset": offset, "text": text})


def log(house, token, offset=0):
    return house.call(token, "GET", "/runs/first/logs", params={"offset": offset}).json()


def events(answer):
    """The events of a stream: their name, id and data."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line[:1] not in ("", ":"))
        if lines:
            found.append((lines["event"], int(lines["id"]), json.loads(lines["data"])))
    return found


def test_the_log_is_read_from_any_character_on(house, ada, attempt):
    assert write(house, attempt, 0, "größe\n").json() == {"size": 6}
    assert write(house, attempt, 6, "two\n").json() == {"size": 10}
    assert log(house, ada) == {"text": "größe\ntwo\n", "next_offset": 10}
    assert log(house, ada, 2) == {"text": "öße\ntwo\n", "next_offset": 10}
    assert log(house, ada, 6) == {"text": "two\n", "next_offset": 10}
    assert log(house, ada, 10) == {"text": "", "next_offset": 10}
    assert log(house, ada, 99) == {"text": "", "next_offset": 99}


def test_a_piece_that_is_sent_twice_is_kept_once(house, ada, attempt):
    write(house, attempt, 0, "one\n")
    again = write(house, attempt, 0, "one\n")
    assert again.status_code == 409
    assert "ends at 4, not 0" in again.json()["detail"]
    assert log(house, ada)["text"] == "one\n"


def test_a_log_that_grows_too_long_is_refused(house, ada, attempt):
    assert write(house, attempt, 0, "x" * 1000).status_code == 200
    answer = write(house, attempt, 1000, "x")
    assert answer.status_code == 413
    assert "more than 1000 characters" in answer.json()["detail"]
    assert log(house, ada)["next_offset"] == 1000


def test_a_long_log_is_read_in_parts(house, ada, attempt, monkeypatch):
    monkeypatch.setattr(outputs, "PIECES", 3)
    for offset, letter in enumerate("abcde"):
        write(house, attempt, offset, letter)
    assert log(house, ada) == {"text": "abc", "next_offset": 3}
    assert log(house, ada, 3) == {"text": "de", "next_offset": 5}


def test_a_stream_ends_with_the_run_and_says_how(house, ada, attempt):
    write(house, attempt, 0, "loss 0.5\rloss 0.4\n")
    house.call(attempt, "POST", "/runs/first/finish", json={"result": {}})
    answer = house.call(ada, "GET", "/runs/first/logs/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer) == [
        ("log", 18, {"text": "loss 0.5\rloss 0.4\n"}),
        ("end", 18, {"state": "finished"}),
    ]


def test_a_stream_resumes_after_the_last_event(house, ada, attempt):
    write(house, attempt, 0, "one\n")
    write(house, attempt, 4, "two\n")
    house.call(attempt, "POST", "/runs/first/finish", json={"error": "no"})
    answer = house.call(
        ada, "GET", "/runs/first/logs/stream?offset=0", headers={"Last-Event-ID": "4"}
    )
    assert events(answer) == [("log", 8, {"text": "two\n"}), ("end", 8, {"state": "failed"})]


@pytest.mark.parametrize("last", ["-1", "four", "4" * 20, "²"])
def test_a_stream_cannot_resume_after_no_event(house, ada, attempt, last):
    headers = {"Last-Event-ID": last.encode()}
    answer = house.call(ada, "GET", "/runs/first/logs/stream", headers=headers)
    assert answer.status_code == 422


def test_metrics_come_as_they_are_written(house, ada, attempt):
    points = [{"name": "loss", "step": step, "value": 1 / step} for step in (1, 2)]
    house.call(attempt, "POST", "/runs/first/metrics", json={"points": points})
    read = house.call(ada, "GET", "/runs/first/metrics").json()
    assert [(m["name"], m["step"], m["value"]) for m in read] == [("loss", 1, 1), ("loss", 2, 0.5)]
    again = [{"name": "loss", "step": 2, "value": 0.25}]
    house.call(attempt, "POST", "/runs/first/metrics", json={"points": again})
    new = house.call(ada, "GET", "/runs/first/metrics", params={"after": read[-1]["id"]}).json()
    assert [(m["step"], m["value"]) for m in new] == [(2, 0.25)]
    assert len(house.call(ada, "GET", "/runs/first/metrics").json()) == 2


def test_a_value_that_is_no_number_is_refused(house, attempt):
    body = '{"points": [{"name": "loss", "step": 1, "value": NaN}]}'
    headers = {"Content-Type": "application/json"}
    answer = house.call(attempt, "POST", "/runs/first/metrics", content=body, headers=headers)
    assert answer.status_code == 422


def test_a_lost_run_goes_on_from_its_last_checkpoint(house, ada, attempt):
    for step in (10, 20):
        body = {"step": step, "address": f"s3://hub/first-{step}@sha256:{'ab' * 32}"}
        assert house.call(attempt, "POST", "/runs/first/checkpoints", json=body).status_code == 204
    listed = house.call(ada, "GET", "/runs/first/checkpoints").json()
    assert [checkpoint["step"] for checkpoint in listed] == [10, 20]
    from finetuner_hub.server.keeper import requeue

    house.clock.advance(60)
    assert len(requeue(house.hub)) == 1
    assert house.take(house.token("root", scope="worker"))["checkpoint"]["step"] == 20
    assert write(house, attempt, 0, "I live").status_code == 401


def test_a_request_that_is_too_large_is_refused(house, attempt):
    text = "x" * (5 << 20)
    assert write(house, attempt, 0, text).status_code == 413

    def chunks():
        yield b'{"offset": 0, "text": "'
        yield text.encode()

    streamed = house.call(attempt, "POST", "/runs/first/logs", content=chunks())
    assert streamed.status_code == 413
