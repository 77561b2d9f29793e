"""The hub as an ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError

from finetuner_hub.server.access import Hub
from finetuner_hub.server.body_limit import BodyLimit
from finetuner_hub.server.database.connection import Database
from finetuner_hub.server.database.migrate import migrate
from finetuner_hub.server.errors import HubError
from finetuner_hub.server.keeper import Keeper
from finetuner_hub.server.routes import account, devices, health, outputs, runs, users, workers
from finetuner_hub.server.secrets import Passwords
from finetuner_hub.server.settings import Settings

_log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    passwords: Passwords | None = None,
) -> FastAPI:
    """The hub that ``settings`` describe; its tables are brought up to date when it starts."""
    hub = Hub(settings, Database(settings.database_url), passwords or Passwords(), clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        migrate(hub.database.engine)
        keeper = Keeper(hub)
        keeper.start()
        yield
        keeper.stop()
        hub.database.close()

    app = FastAPI(
        title="Finetuner hub",
        version=version("finetuner-hub"),
        description="Users, their runs, and the queue that workers take them from.",
        lifespan=lifespan,
        docs_url=None,  # these two pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.hub = hub
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_exception_handler(HubError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(OperationalError, _unavailable)
    for module in (health, account, devices, users, runs, outputs, workers):
        app.include_router(module.router)
    return app


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HubError)
    return JSONResponse({"detail": str(error)}, error.status, headers=error.headers)


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    """The database is away or too busy; what it says may hold its address, and is logged."""
    _log.error("the database does not answer: %s", getattr(error, "orig", error))
    headers = {"Retry-After": "1"}
    return JSONResponse({"detail": "the database does not answer"}, 503, headers=headers)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """What is wrong and where, without repeating it: it might be a password."""
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"detail": "; ".join(problems)}, 422)
