"""Logging in on a device without a browser (RFC 8628)."""

import pytest


def begin(house, **asked):
    answer = house.client.post("/v1/device", json={"label": "server room", **asked})
    assert answer.status_code == 201, answer.text
    return answer.json()


def poll(house, begun):
    return house.client.post("/v1/device/token", json={"device_code": begun["device_code"]})


def decide(house, token, begun, approve=True):
    body = {"user_code": begun["user_code"], "approve": approve}
    return house.call(token, "POST", "/device/decision", json=body)


@pytest.fixture
def ada(house):
    house.user("ada")
    return house.token("ada")


def test_an_approved_device_gets_a_token_once(house, ada):
    begun = begin(house, scope="read")
    assert poll(house, begun).json() == {"error": "authorization_pending"}
    assert decide(house, ada, begun).status_code == 204
    house.clock.advance(5)
    answer = poll(house, begun)
    assert answer.status_code == 201
    me = house.call(answer.json()["token"], "GET", "/me").json()
    assert me == {"user": "ada", "scope": "read"}
    house.clock.advance(5)
    assert poll(house, begun).json() == {"error": "expired_token"}


def test_a_device_that_asks_too_soon_is_told_to_slow_down(house, ada):
    begun = begin(house)
    poll(house, begun)
    house.clock.advance(4)
    assert poll(house, begun).json() == {"error": "slow_down"}
    house.clock.advance(5)
    assert poll(house, begun).json() == {"error": "authorization_pending"}


def test_a_denied_device_gets_nothing(house, ada):
    begun = begin(house)
    assert decide(house, ada, begun, approve=False).status_code == 204
    assert poll(house, begun).json() == {"error": "access_denied"}
    assert decide(house, ada, begun).status_code == 404


def test_a_device_that_nobody_approves_in_time_gets_nothing(house, ada):
    begun = begin(house)
    house.clock.advance(600)
    assert poll(house, begun).json() == {"error": "expired_token"}
    assert decide(house, ada, begun).status_code == 404


def test_codes_are_typed_with_or_without_hyphen_in_small_letters(house, ada):
    begun = begin(house)
    typed = {"user_code": begun["user_code"].replace("-", "").lower()}
    assert decide(house, ada, typed).status_code == 204


def test_nobody_gives_a_device_more_than_they_have(house, ada):
    begun = begin(house, scope="admin")
    assert decide(house, ada, begun).status_code == 403
    house.clock.advance(5)
    assert poll(house, begun).json() == {"error": "authorization_pending"}


def test_guessing_codes_is_limited(house, ada):
    guesses = [decide(house, ada, {"user_code": "BBBB-BBBB"}).status_code for _ in range(21)]
    assert guesses == [404] * 20 + [429]


def test_beginning_log_ins_is_limited(house):
    answers = [house.client.post("/v1/device", json={}).status_code for _ in range(21)]
    assert answers == [201] * 20 + [429]
