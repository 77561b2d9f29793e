"""The tables. Times are POSIX seconds by the hub's clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from finetuner.contracts.runs import RunState
from finetuner_hub.server.scopes import Scope

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _words(kind: type[Any]) -> Enum:
    """An enumeration as the words that its members stand for."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def _owner(table: str, *, index: bool = False, primary_key: bool = False) -> Any:
    """A reference to a row that takes this one with it when it goes."""
    return mapped_column(
        ForeignKey(f"{table}.id", ondelete="CASCADE"), index=index, primary_key=primary_key
    )


_MANY = BigInteger().with_variant(Integer(), "sqlite")
"""A number for rows of which there may be more than 2³¹; SQLite's integers are that long."""


class Base(DeclarativeBase):
    """What every table shares."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012
        float: Double(),
        RunState: _words(RunState),
        Scope: _words(Scope),
    }


class User(Base):
    """Somebody who can log in. ``served`` is when a run of theirs was last taken."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    password: Mapped[str] = mapped_column(String(255))
    admin: Mapped[bool]
    disabled: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float]
    served: Mapped[float] = mapped_column(default=0.0)


class Run(Base):
    """A run. ``heartbeat`` is when its worker was last heard of; ``log_size`` is in characters."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        Index("ix_runs_state_created", "state", "created"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner_id: Mapped[int] = _owner("users")
    name: Mapped[str] = mapped_column(String(128))
    experiment: Mapped[str] = mapped_column(String(128))
    spec: Mapped[str] = mapped_column(Text)
    spec_digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[RunState]
    error: Mapped[str | None] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    created: Mapped[float]
    updated: Mapped[float]
    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(255))
    heartbeat: Mapped[float | None]
    log_size: Mapped[int] = mapped_column(default=0)


class Token(Base):
    """A token, by its digest. One with a run is good for that attempt at it alone."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = _owner("users", index=True)
    scope: Mapped[Scope]
    label: Mapped[str] = mapped_column(String(255))
    created: Mapped[float]
    expires: Mapped[float]
    run_id: Mapped[str | None] = _owner("runs", index=True)
    attempt: Mapped[int | None]


class Device(Base):
    """A log-in that waits for somebody to approve it elsewhere (RFC 8628)."""

    __tablename__ = "devices"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_code: Mapped[str] = mapped_column(String(16), unique=True)
    scope: Mapped[Scope]
    label: Mapped[str] = mapped_column(String(255))
    expires: Mapped[float]
    asked: Mapped[float] = mapped_column(default=0.0)
    denied: Mapped[bool] = mapped_column(default=False)
    user_id: Mapped[int | None] = _owner("users", index=True)


class Attempts(Base):
    """How often something was tried in one window of time."""

    __tablename__ = "attempts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    window: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int]


class RunEvent(Base):
    """One step of a run's history."""

    __tablename__ = "run_events"

    id: Mapped[int] = mapped_column(_MANY, primary_key=True)
    run_id: Mapped[str] = _owner("runs", index=True)
    at: Mapped[float]
    state: Mapped[RunState]
    message: Mapped[str] = mapped_column(Text)


class LogChunk(Base):
    """A piece of a run's log: ``text`` from character ``start`` on."""

    __tablename__ = "log_chunks"

    run_id: Mapped[str] = _owner("runs", primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class Metric(Base):
    """One value of one metric at one step. What is written again comes last again."""

    __tablename__ = "metrics"
    __table_args__ = (
        UniqueConstraint("run_id", "name", "step"),
        Index("ix_metrics_run_id_id", "run_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_MANY, primary_key=True)
    run_id: Mapped[str] = _owner("runs")
    name: Mapped[str] = mapped_column(String(128))
    step: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float]


class Checkpoint(Base):
    """Where a run can go on from: the address of its state at ``step``."""

    __tablename__ = "checkpoints"

    run_id: Mapped[str] = _owner("runs", primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
