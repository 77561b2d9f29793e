"""Looking after users."""

from __future__ import annotations

from fastapi import APIRouter

from finetuner_hub.server.access import Admin, TheHub
from finetuner_hub.server.errors import ConflictingError
from finetuner_hub.server.routes import words
from finetuner_hub.server.routes.words import refusals
from finetuner_hub.server.services import users

router = APIRouter(prefix="/v1/users", tags=["users"])


class NewUser(words.Request):
    name: words.Word
    password: words.Password
    admin: bool = False


class UserView(words.Answer):
    name: str
    admin: bool
    disabled: bool
    created: float


@router.post("", status_code=201, responses=refusals(401, 403, 409))
def add_user(hub: TheHub, _: Admin, asked: NewUser) -> UserView:
    """A new user."""
    with hub.database.write() as session:
        user = users.add(
            session, hub.passwords, asked.name, asked.password, hub.clock(), admin=asked.admin
        )
        return UserView.model_validate(user)


@router.get("", responses=refusals(401, 403))
def list_users(hub: TheHub, _: Admin) -> list[UserView]:
    """Everybody, by name."""
    with hub.database.read() as session:
        return [UserView.model_validate(user) for user in users.everybody(session)]


@router.post("/{name}/disable", status_code=204, responses=refusals(401, 403, 404, 409))
def disable_user(hub: TheHub, who: Admin, name: str) -> None:
    """Lock a user out; what they have running or queued is cancelled."""
    if name == who.user_name:
        raise ConflictingError("you cannot lock yourself out")
    with hub.database.write() as session:
        users.disable(session, name, hub.clock())


@router.post("/{name}/enable", status_code=204, responses=refusals(401, 403, 404))
def enable_user(hub: TheHub, _: Admin, name: str) -> None:
    """Let a user log in again who was locked out."""
    with hub.database.write() as session:
        users.enable(session, name)
