"""The access matrix: every endpoint for everybody. A new endpoint without a row fails."""

import pytest
from fastapi.routing import APIRoute
from hubs import PASSWORD, spec

from finetuner_hub.server.routes import account, devices, health, outputs, runs, users, workers

ACTORS = (
    "nobody",
    "expired",
    "worker",
    "reader",
    "owner",
    "stranger",
    "admin",
    "attempt",
    "other attempt",
)
"""``owner`` has the run ``first``, and ``attempt`` carries it out. ``stranger`` and ``admin``
have none; ``other attempt`` carries out the stranger's run ``second``, which nobody else sees."""

LOG, POINTS = {"offset": 0, "text": "x"}, {"points": []}
CHECKPOINT = {"step": 1, "address": "s3://hub/c@sha256:00"}
CODE = {"user_code": "BBBB-BBBB", "approve": True}
USER = {"name": "new", "password": PASSWORD}
LOG_IN = {"user": "owner", "password": PASSWORD}

# Columns as in ACTORS.
MATRIX = [
    ("GET", "/healthz", None,                   (200, 200, 200, 200, 200, 200, 200, 200, 200)),
    ("GET", "/readyz", None,                    (200, 200, 200, 200, 200, 200, 200, 200, 200)),
    ("POST", "/v1/tokens", LOG_IN,              (201, 201, 201, 201, 201, 201, 201, 201, 201)),
    ("POST", "/v1/device", {},                  (201, 201, 201, 201, 201, 201, 201, 201, 201)),
    ("POST", "/v1/device/token", {"device_code": "x"},
                                                (400, 400, 400, 400, 400, 400, 400, 400, 400)),
    ("POST", "/v1/device/decision", CODE,       (401, 401, 403, 403, 404, 404, 404, 403, 403)),
    ("GET", "/v1/me", None,                     (401, 401, 403, 200, 200, 200, 200, 403, 403)),
    ("GET", "/v1/tokens", None,                 (401, 401, 403, 200, 200, 200, 200, 403, 403)),
    ("DELETE", "/v1/tokens/{token_id}", None,   (401, 401, 403, 403, 204, 404, 404, 403, 403)),
    ("POST", "/v1/users", USER,                 (401, 401, 403, 403, 403, 403, 201, 403, 403)),
    ("GET", "/v1/users", None,                  (401, 401, 403, 403, 403, 403, 200, 403, 403)),
    ("POST", "/v1/users/{user}/disable", None,  (401, 401, 403, 403, 403, 403, 204, 403, 403)),
    ("POST", "/v1/users/{user}/enable", None,   (401, 401, 403, 403, 403, 403, 204, 403, 403)),
    ("POST", "/v1/runs", {"spec": spec("new")}, (401, 401, 403, 403, 201, 201, 201, 403, 403)),
    ("GET", "/v1/runs", None,                   (401, 401, 403, 200, 200, 200, 200, 403, 403)),
    ("GET", "/v1/runs/{name}", None,            (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("GET", "/v1/runs/{name}/status", None,     (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("GET", "/v1/runs/{name}/spec", None,       (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("GET", "/v1/runs/{name}/result", None,     (401, 401, 403, 409, 409, 404, 404, 409, 404)),
    ("GET", "/v1/runs/{name}/events", None,     (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("POST", "/v1/runs/{name}/cancel", None,    (401, 401, 403, 403, 200, 404, 404, 403, 403)),
    ("DELETE", "/v1/runs/{name}", None,         (401, 401, 403, 403, 204, 404, 404, 403, 403)),
    ("GET", "/v1/runs/{name}/logs", None,       (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("GET", "/v1/runs/{name}/logs/stream", None,
                                                (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("POST", "/v1/runs/{name}/logs", LOG,       (401, 401, 403, 403, 403, 403, 403, 200, 404)),
    ("GET", "/v1/runs/{name}/metrics", None,    (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("POST", "/v1/runs/{name}/metrics", POINTS, (401, 401, 403, 403, 403, 403, 403, 204, 404)),
    ("GET", "/v1/runs/{name}/checkpoints", None,
                                                (401, 401, 403, 200, 200, 404, 404, 200, 404)),
    ("POST", "/v1/runs/{name}/checkpoints", CHECKPOINT,
                                                (401, 401, 403, 403, 403, 403, 403, 204, 404)),
    ("POST", "/v1/runs/{name}/heartbeat", None, (401, 401, 403, 403, 403, 403, 403, 204, 404)),
    ("POST", "/v1/runs/{name}/finish", {"result": {}},
                                                (401, 401, 403, 403, 403, 403, 403, 200, 404)),
    ("POST", "/v1/queue/take", {"worker": "w"}, (401, 401, 204, 403, 403, 403, 403, 403, 403)),
]  # fmt: skip


def people(house):
    """Everybody's token, and a token of the owner's that may go."""
    house.user("root", admin=True)
    house.user("stranger")
    house.user("owner")
    expired = house.token("owner", lifetime=1)
    house.clock.advance(1)
    worker, owner = house.token("root", scope="worker"), house.token("owner")
    stranger = house.token("stranger")
    spare = house.log_in("owner").json()["id"]
    house.start(stranger, "second")
    other_attempt = house.take(worker)["token"]
    house.start(owner, "first")
    attempt = house.take(worker)["token"]
    return spare, {
        "nobody": None,
        "expired": expired,
        "worker": worker,
        "reader": house.token("owner", scope="read"),
        "owner": owner,
        "stranger": stranger,
        "admin": house.token("root", scope="admin"),
        "attempt": attempt,
        "other attempt": other_attempt,
    }


def ask(house, token, method, path, body):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return house.client.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(("method", "path", "body", "expected"), MATRIX)
def test_everybody_gets_what_is_theirs(house, method, path, body, expected):
    spare, tokens = people(house)
    named = path.replace("{name}", "first").replace("{user}", "stranger")
    named = named.replace("{token_id}", str(spare))
    found = {}
    # Those who may change something come last: what the others get is how things were.
    for actor in sorted(ACTORS, key=lambda one: expected[ACTORS.index(one)] in (200, 201, 204)):
        token = tokens[actor]
        if path.endswith("/stream") and expected[ACTORS.index(actor)] == 200:
            ask(house, tokens["attempt"], "POST", "/v1/runs/first/finish", {"result": {}})
        found[actor] = ask(house, token, method, named, body).status_code
        house.clock.advance(60)  # so that no limit of tries is reached
        ask(house, tokens["attempt"], "POST", "/v1/runs/first/heartbeat", None)
    assert found == dict(zip(ACTORS, expected, strict=True))


def test_every_endpoint_is_in_the_matrix():
    modules = (account, devices, health, outputs, runs, users, workers)
    routes = [route for module in modules for route in module.router.routes]
    there = {
        (method, route.path.replace("/users/{name}", "/users/{user}"))
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert {(method, path) for method, path, _, _ in MATRIX} == there


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method, path, _, expected in MATRIX
        if "{name}" in path and 404 in expected
    ],
)
def test_what_is_anothers_and_what_is_not_there_read_alike(house, method, path):
    bodies = {(one[0], one[1]): one[2] for one in MATRIX}
    _, tokens = people(house)
    for actor in ("stranger", "admin", "other attempt"):
        answers = [
            ask(house, tokens[actor], method, path.replace("{name}", name), bodies[method, path])
            for name in ("first", "absent")
        ]
        theirs, absent = answers
        assert theirs.status_code == absent.status_code
        assert theirs.text.replace("first", "absent") == absent.text


def test_an_attempt_does_not_reach_its_owners_other_runs(house):
    _, tokens = people(house)
    house.start(tokens["owner"], "other")
    assert ask(house, tokens["attempt"], "GET", "/v1/runs/other", None).status_code == 404
    beat = ask(house, tokens["attempt"], "POST", "/v1/runs/other/heartbeat", None)
    assert beat.status_code == 404


def test_the_same_name_means_ones_own_run(house):
    _, tokens = people(house)
    house.start(tokens["stranger"], "first", epochs=7)
    theirs = ask(house, tokens["stranger"], "GET", "/v1/runs/first/spec", None).json()
    mine = ask(house, tokens["owner"], "GET", "/v1/runs/first/spec", None).json()
    assert (theirs["epochs"], mine["epochs"]) == (7, 1)
    assert ask(house, tokens["stranger"], "DELETE", "/v1/runs/first", None).status_code == 204
    assert ask(house, tokens["owner"], "GET", "/v1/runs/first", None).status_code == 200
