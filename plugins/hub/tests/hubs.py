"""Short words for what tests do with a hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

from finetuner_hub.server.services import users

PASSWORD = "correct horse battery"
DATA = "s3://shop/data/clicks@sha256:" + "ab" * 32


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def spec(name: str = "first", **others: Any) -> dict[str, Any]:
    """A spec that the hub takes."""
    return {"name": name, "model": "resnet.keras", "train_data": DATA, **others}


@dataclass(frozen=True)
class House:
    """A hub, its clock, and people in it."""

    client: TestClient
    clock: Clock

    @property
    def hub(self) -> Any:
        return self.client.app.state.hub

    def user(self, name: str, *, admin: bool = False) -> None:
        with self.hub.database.write() as session:
            users.add(session, self.hub.passwords, name, PASSWORD, self.clock(), admin=admin)

    def log_in(self, name: str, **asked: Any) -> Response:
        body = {"user": name, "password": PASSWORD, **asked}
        return self.client.post("/v1/tokens", json=body)

    def token(self, name: str, **asked: Any) -> str:
        answer = self.log_in(name, **asked)
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def call(self, token: str | None, method: str, path: str, **asked: Any) -> Response:
        headers = {**asked.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, f"/v1{path}", headers=headers, **asked)

    def start(self, token: str, name: str = "first", **others: Any) -> Response:
        return self.call(token, "POST", "/runs", json={"spec": spec(name, **others)})

    def take(self, token: str, worker: str = "one") -> dict[str, Any] | None:
        answer = self.call(token, "POST", "/queue/take", json={"worker": worker})
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.status_code == 200 else None
