"""A log of signed entries under a Merkle tree, its checkpoints and who cosigned them; the former log stays as it is"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

APPEND_ONLY = ("log_entry", "log_node", "log_checkpoint")
# INSERT OR REPLACE deletes without firing a DELETE trigger.
_SAME = {
    "log_entry": "number >= NEW.number OR (by = NEW.by AND sequence = NEW.sequence)",
    "log_node": "level = NEW.level AND place >= NEW.place",
    "log_checkpoint": "size >= NEW.size",
}
_SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END
"""
_SQLITE_INSERT = """
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END
"""
_POSTGRES = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_refuse()
"""


def upgrade() -> None:
    op.create_table(
        "log_entry",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("by", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("act", sa.String(40), nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.UniqueConstraint("by", "sequence"),
    )
    op.create_index("log_entry_run", "log_entry", ["run", "number"])
    op.create_index("ix_log_entry_act", "log_entry", ["act"])
    op.create_table(
        "log_node",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "log_checkpoint",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "log_cosignature",
        sa.Column("size", sa.BigInteger, sa.ForeignKey("log_checkpoint.size"), primary_key=True, autoincrement=False),
        sa.Column("site", sa.String(32), primary_key=True),
        sa.Column("lines", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "log_payload",
        sa.Column("commitment", sa.LargeBinary(32), primary_key=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False, index=True),
    )
    op.create_table(
        "log_witness",
        sa.Column("site", sa.String(32), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("receipted", sa.BigInteger, nullable=False),
        sa.Column("refusal", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    _append_only()
    with op.batch_alter_table("person") as person:
        person.add_column(sa.Column("pseudonym", sa.String(32), nullable=False, server_default=""))
    people = sa.table("person", sa.column("name", sa.String), sa.column("pseudonym", sa.String))
    for (name,) in op.get_bind().execute(sa.select(people.c.name)).all():
        op.execute(people.update().where(people.c.name == name).values(pseudonym=secrets.token_hex(8)))
    with op.batch_alter_table("person") as person:
        person.alter_column("pseudonym", server_default=None)


def _append_only() -> None:
    for table in APPEND_ONLY:
        if op.get_bind().dialect.name == "sqlite":
            for verb in ("update", "delete"):
                op.execute(_SQLITE.format(table=table, verb=verb))
            op.execute(_SQLITE_INSERT.format(table=table, same=_SAME[table]))
        else:
            op.execute(_POSTGRES.format(table=table))


def downgrade() -> None:
    with op.batch_alter_table("person") as person:
        person.drop_column("pseudonym")
    for table in ("log_witness", "log_payload", "log_cosignature", "log_checkpoint", "log_node", "log_entry"):
        op.drop_table(table)
