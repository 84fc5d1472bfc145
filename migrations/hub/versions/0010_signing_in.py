"""Signing in: identity providers, one-time codes, attempts that failed, and invitations"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    with op.batch_alter_table("person") as person:
        person.add_column(sa.Column("subject", sa.String(400), nullable=True))
        person.add_column(sa.Column("second", sa.LargeBinary, nullable=True))
        person.add_column(sa.Column("second_used", sa.BigInteger, nullable=False, server_default="0"))
        person.create_unique_constraint("uq_person_subject", ["subject"])
    with op.batch_alter_table("person") as person:
        person.alter_column("second_used", server_default=None)
    op.create_table(
        "attempt",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_table(
        "invitation",
        sa.Column("token", sa.LargeBinary(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("member", sa.String(32), nullable=False),
        sa.Column("roles", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("invitation")
    op.drop_table("attempt")
    with op.batch_alter_table("person") as person:
        person.drop_constraint("uq_person_subject", type_="unique")
        for name in ("second_used", "second", "subject"):
            person.drop_column(name)
