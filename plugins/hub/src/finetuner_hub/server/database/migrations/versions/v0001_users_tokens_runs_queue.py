"""Users, tokens, runs and the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WORD = sa.String(16)
_MANY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("window", sa.Integer(), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("password", sa.String(255), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("served", sa.Double(), nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "devices",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("user_code", sa.String(16), nullable=False),
        sa.Column("scope", _WORD, nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("denied", sa.Boolean(), nullable=False),
        sa.Column("user_id", sa.Integer(), _to("users"), index=True),
        sa.UniqueConstraint("user_code"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner_id", sa.Integer(), _to("users"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("experiment", sa.String(128), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("spec_digest", sa.String(64), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("result", sa.Text()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("heartbeat", sa.Double()),
        sa.Column("log_size", sa.Integer(), nullable=False),
        sa.UniqueConstraint("owner_id", "name"),
        sa.Index("ix_runs_state_created", "state", "created"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.Integer(), _to("users"), nullable=False, index=True),
        sa.Column("scope", _WORD, nullable=False),
        sa.Column("label", sa.String(255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("run_id", sa.String(32), _to("runs"), index=True),
        sa.Column("attempt", sa.Integer()),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "run_events",
        sa.Column("id", _MANY, primary_key=True),
        sa.Column("run_id", sa.String(32), _to("runs"), nullable=False, index=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_table(
        "log_chunks",
        sa.Column("run_id", sa.String(32), _to("runs"), primary_key=True),
        sa.Column("start", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "metrics",
        sa.Column("id", _MANY, primary_key=True),
        sa.Column("run_id", sa.String(32), _to("runs"), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.UniqueConstraint("run_id", "name", "step"),
        sa.Index("ix_metrics_run_id_id", "run_id", "id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("run_id", sa.String(32), _to("runs"), primary_key=True),
        sa.Column("step", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
    )


def _to(table: str) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
