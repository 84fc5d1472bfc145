"""Roles of people, how long a person at a site has to decide, and what sites say of their privacy budgets"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Everybody could ask and look before there were roles.
    op.add_column("person", sa.Column("roles", sa.String(200), nullable=False, server_default="analyst, auditor"))
    with op.batch_alter_table("person") as table:
        table.alter_column("roles", server_default=None)
    op.add_column("member", sa.Column("budgets", sa.LargeBinary, nullable=True))
    op.add_column("participant", sa.Column("waits_until", sa.Double, nullable=True))
    op.add_column("job", sa.Column("waits_until", sa.Double, nullable=True))


def downgrade() -> None:
    op.drop_column("job", "waits_until")
    op.drop_column("participant", "waits_until")
    op.drop_column("member", "budgets")
    op.drop_column("person", "roles")
