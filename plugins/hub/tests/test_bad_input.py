"""What no client sends by accident: the hub refuses it, and never falls over."""

import json

import pytest


@pytest.fixture
def tokens(house):
    """Tokens of Ada and of the worker that carries out her run ``first``."""
    house.user("root", admin=True)
    house.user("ada")
    ada = house.token("ada")
    house.start(ada)
    return ada, house.take(house.token("root", scope="worker"))["token"]


ODD_NAMES = (
    "%00",
    "a%00b",
    "%ff",
    "%F0%9F%92%A9",
    "..%2f..%2fetc",
    "x" * 5000,
    "'; DROP TABLE runs",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names_of_nothing(house, tokens, name):
    ada, attempt = tokens
    for token, method, path in (
        (ada, "GET", f"/runs/{name}"),
        (ada, "GET", f"/runs/{name}/logs/stream"),
        (ada, "POST", f"/runs/{name}/cancel"),
        (ada, "DELETE", f"/runs/{name}"),
        (attempt, "POST", f"/runs/{name}/heartbeat"),
    ):
        assert house.call(token, method, path).status_code in (403, 404, 405)
    assert house.call(ada, "GET", "/runs/first").status_code == 200


@pytest.mark.parametrize("number", ["-1", "1e3", "99999999999999999999", "NaN", "", "１"])
def test_odd_numbers_are_refused(house, tokens, number):
    ada, _ = tokens
    for path in ("/runs/first/logs?offset=", "/runs/first/metrics?after=", "/runs?limit="):
        assert house.call(ada, "GET", path + number).status_code in (200, 422)
    assert house.call(ada, "DELETE", f"/tokens/{number}").status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"offset": 0.5, "text": ""}',
        b'{"offset": 99999999999999999999, "text": ""}',
        b'{"offset": 0, "text": null}',
        b'{"offset": 0, "text": "", "more": 1}',
        b"[" * 100_000,
    ],
)
def test_bodies_that_are_no_piece_of_a_log_are_refused(house, tokens, body):
    _, attempt = tokens
    headers = {"Content-Type": "application/json"}
    answer = house.call(attempt, "POST", "/runs/first/logs", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert house.call(attempt, "GET", "/runs/first").json()["log_size"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": {"a": "\\ud800"}}',
        b'{"result": []}',
        b'{"error": "' + b"x" * 10_001 + b'"}',
    ],
)
def test_results_that_are_none_are_refused(house, tokens, body):
    ada, attempt = tokens
    headers = {"Content-Type": "application/json"}
    answer = house.call(attempt, "POST", "/runs/first/finish", content=body, headers=headers)
    assert answer.status_code == 422
    assert house.call(ada, "GET", "/runs/first/status").json()["state"] == "running"


@pytest.mark.parametrize("odd", [b"\\u0000", b"\\ud800", b"\\udfff"])
def test_what_no_database_keeps_is_replaced_in_a_log_or_an_error(house, tokens, odd):
    ada, attempt = tokens
    headers = {"Content-Type": "application/json"}
    piece = b'{"offset": 0, "text": "a' + odd + b'b"}'
    answer = house.call(attempt, "POST", "/runs/first/logs", content=piece, headers=headers)
    assert answer.json() == {"size": 3}
    assert house.call(ada, "GET", "/runs/first/logs").json()["text"] == "a\ufffdb"
    error = b'{"error": "a' + odd + b'b"}'
    house.call(attempt, "POST", "/runs/first/finish", content=error, headers=headers)
    assert house.call(ada, "GET", "/runs/first/status").json()["error"] == "a\ufffdb"


@pytest.mark.parametrize("field", ["user", "password", "label", "scope"])
@pytest.mark.parametrize("odd", [b"\\u0000", b"\\ud800"])
def test_what_is_no_text_logs_nobody_in(house, field, odd):
    body = {"user": "ada", "password": "x", "label": "", "scope": "run", field: "ODD"}
    content = json.dumps(body).encode().replace(b"ODD", odd)
    headers = {"Content-Type": "application/json"}
    answer = house.client.post("/v1/tokens", content=content, headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer fth_", "Bearer \xff\xfe", "bearer x y"],
)
def test_odd_credentials_are_those_of_nobody(house, header):
    answer = house.client.get("/v1/me", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
