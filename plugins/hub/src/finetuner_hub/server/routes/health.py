"""Whether the hub lives, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from finetuner_hub.server.access import TheHub
from finetuner_hub.server.database.migrate import is_current
from finetuner_hub.server.routes.words import Answer

router = APIRouter(tags=["health"])


class Health(Answer):
    status: str


@router.get("/healthz")
def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(hub: TheHub, response: Response) -> Health:
    """The database answers, and its tables have the form that this version knows."""
    try:
        with hub.database.read() as session:
            if is_current(session.connection()):
                return Health(status="ready")
        status = "the database is at another revision"
    except SQLAlchemyError:
        status = "the database does not answer"
    response.status_code = 503
    return Health(status=status)
