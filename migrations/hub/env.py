"""Alembic environment of the hub's database; `hansa.mail.database.migrate` passes the connection."""

from alembic import context

from hansa.hub.models import Base
from hansa.mail.boxes import Base as Boxes

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=[Base.metadata, Boxes.metadata])
with context.begin_transaction():
    context.run_migrations()
