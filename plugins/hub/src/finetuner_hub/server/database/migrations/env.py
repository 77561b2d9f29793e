"""How Alembic runs the migrations: on the connection that it is given."""

from __future__ import annotations

from alembic import context

from finetuner_hub.server.database.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
