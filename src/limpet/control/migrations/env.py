"""Run by Alembic: migrations on the connection that limpet.control.db.migrate hands over."""

from alembic import context

from limpet.control.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
