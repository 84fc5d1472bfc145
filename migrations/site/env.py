"""Alembic environment of the site's database; `hansa.mail.database.migrate` passes the connection."""

from alembic import context

from hansa.mail.boxes import Base as Boxes
from hansa_site.journal import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=[Base.metadata, Boxes.metadata])
with context.begin_transaction():
    context.run_migrations()
