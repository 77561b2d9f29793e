"""Logging in: with a password, on a device, how often, for how long."""

import pytest
from hubs import PASSWORD
from sqlalchemy import text

DAY = 86_400


def test_a_password_gives_a_token_that_says_who_one_is(house):
    house.user("ada")
    answer = house.log_in("ada", label="laptop", scope="read")
    assert answer.status_code == 201
    assert answer.json()["token"].startswith("fth_")
    assert answer.json()["expires"] == house.clock() + 30 * DAY
    me = house.call(answer.json()["token"], "GET", "/me")
    assert me.json() == {"user": "ada", "scope": "read"}


def test_neither_token_nor_password_is_kept(house):
    house.user("ada")
    token = house.token("ada")
    with house.hub.database.read() as session:
        kept = session.execute(text("SELECT digest FROM tokens")).scalar_one()
        password = session.execute(text("SELECT password FROM users")).scalar_one()
    assert token not in kept
    assert len(kept) == 64
    assert password.startswith("$argon2id$")
    assert PASSWORD not in password


def test_a_wrong_password_and_an_unknown_user_read_alike(house):
    house.user("ada")
    wrong = house.log_in("ada", password="not the password")
    nobody = house.log_in("bob", password="not the password")
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json() == nobody.json()


def test_a_malformed_request_is_refused_without_repeating_the_password(house):
    answer = house.client.post("/v1/tokens", json={"user": 3, "password": PASSWORD, "x": PASSWORD})
    assert answer.status_code == 422
    assert "body.user" in answer.json()["detail"]
    assert PASSWORD not in answer.text


def test_a_token_ends_when_its_time_is_over(house):
    house.user("ada")
    token = house.token("ada", lifetime=60)
    house.clock.advance(59)
    assert house.call(token, "GET", "/me").status_code == 200
    house.clock.advance(1)
    assert house.call(token, "GET", "/me").status_code == 401


def test_nobody_gets_a_token_for_longer_than_the_hub_allows(house):
    house.user("ada")
    answer = house.log_in("ada", lifetime=365 * DAY)
    assert answer.json()["expires"] == house.clock() + 30 * DAY


def test_tokens_are_listed_without_their_secret_and_revoked(house):
    house.user("ada")
    keep, lose = house.token("ada", label="keep"), house.log_in("ada", label="lose").json()
    listed = house.call(keep, "GET", "/tokens").json()
    assert [token["label"] for token in listed] == ["keep", "lose"]
    assert all("token" not in token and "digest" not in token for token in listed)
    assert house.call(keep, "DELETE", f"/tokens/{lose['id']}").status_code == 204
    assert house.call(lose["token"], "GET", "/me").status_code == 401
    assert house.call(keep, "DELETE", f"/tokens/{lose['id']}").status_code == 404


def test_another_users_token_and_none_read_alike(house):
    house.user("ada")
    house.user("bob")
    his = house.log_in("bob").json()["id"]
    token = house.token("ada")
    other = house.call(token, "DELETE", f"/tokens/{his}")
    absent = house.call(token, "DELETE", "/tokens/4711")
    assert other.status_code == absent.status_code == 404
    assert other.json()["detail"].replace(str(his), "4711") == absent.json()["detail"]


@pytest.mark.parametrize("scope", ["admin", "worker", "attempt"])
def test_scopes_of_administrators_are_not_for_users(house, scope):
    house.user("ada")
    assert house.log_in("ada", scope=scope).status_code == 403


def test_logging_in_too_often_is_refused_even_with_the_right_password(house):
    house.user("ada")
    for _ in range(5):
        assert house.log_in("ada", password="not the password").status_code == 401
    house.clock.now = house.clock.now // 60 * 60 + 10
    for _ in range(5):
        house.log_in("ada", password="not the password")
    refused = house.log_in("ada")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "50"
    house.clock.advance(50)
    assert house.log_in("ada").status_code == 201


def test_logging_in_rightly_is_not_counted_against_one(house):
    house.user("ada")
    assert [house.log_in("ada").status_code for _ in range(8)] == [201] * 8


def test_an_address_cannot_try_many_names(house):
    answers = [house.log_in(f"user{i}").status_code for i in range(21)]
    assert answers == [401] * 20 + [429]


def test_a_user_who_is_locked_out_is_out_at_once(house):
    house.user("root", admin=True)
    house.user("ada")
    token, admin = house.token("ada"), house.token("root", scope="admin")
    house.start(token)
    assert house.call(admin, "POST", "/users/ada/disable").status_code == 204
    assert house.call(token, "GET", "/me").status_code == 401
    assert house.log_in("ada").status_code == 401
    assert house.take(house.token("root", scope="worker")) is None
    assert house.call(admin, "POST", "/users/root/disable").status_code == 409
    assert house.call(admin, "POST", "/users/ada/enable").status_code == 204
    assert house.log_in("ada").status_code == 201
    assert house.call(token, "GET", "/me").status_code == 401


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        ("ada", PASSWORD, 409),
        ("Ada!", PASSWORD, 422),
        ("bob", "short", 422),
        ("bob", PASSWORD, 201),
    ],
)
def test_users_are_made_by_administrators(house, name, password, status):
    house.user("root", admin=True)
    house.user("ada")
    admin = house.token("root", scope="admin")
    answer = house.call(admin, "POST", "/users", json={"name": name, "password": password})
    assert answer.status_code == status
    assert PASSWORD not in answer.text
