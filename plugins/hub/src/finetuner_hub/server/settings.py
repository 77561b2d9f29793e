"""What can be set about a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from finetuner.errors import UsageError

DAY = 86_400.0


@dataclass(frozen=True)
class Settings:
    """How one hub behaves. Times are seconds; ``UsageError`` for values that cannot work.

    ``database`` is an SQLAlchemy URL; without one, it is SQLite in ``home``.
    ``url`` is where users reach the hub, as it is printed to them.
    """

    home: Path
    database: str | None = None
    url: str = "http://127.0.0.1:8765"
    token_lifetime: float = 30 * DAY
    """How long a token is good where nothing else is asked for, and at most."""
    login_attempts: int = 5
    """Log-ins tried in a minute for one name from one address; four times that an address."""
    device_lifetime: float = 600.0
    device_interval: float = 5.0
    """How long a device waits between two questions whether it was approved."""
    dead_after: float = 60.0
    """A worker that was not heard of for so long is dead; it should be heard of four times."""
    max_requeues: int = 3
    """How often a run goes back to the queue because its worker died."""
    max_log_characters: int = 10_000_000
    """How much log a run may have."""
    max_body_bytes: int = 4 << 20
    """How large a request may be."""
    stream_poll: float = 0.5
    """How often a log that is being followed is looked at."""
    keep_every: float = 5.0
    """How often dead workers are looked for."""

    def __post_init__(self) -> None:
        for name in (
            "token_lifetime",
            "login_attempts",
            "device_lifetime",
            "dead_after",
            "max_log_characters",
            "max_body_bytes",
            "stream_poll",
            "keep_every",
        ):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)!r}: it must be above 0")
        if self.max_requeues < 0:
            raise UsageError(f"max_requeues is {self.max_requeues!r}: it must be 0 or more")

    @property
    def database_url(self) -> str:
        """Where the tables are."""
        path = URL.create("sqlite", database=str(self.home / "hub.sqlite3"))
        return self.database or path.render_as_string()

    @property
    def heartbeat_every(self) -> float:
        """How often a worker should be heard of."""
        return self.dead_after / 4
