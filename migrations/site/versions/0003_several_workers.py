"""Which worker is at a letter; what the hub said of itself"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("claimed_by", sa.String(32), nullable=True))
    op.create_table(
        "hub_seen",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("hub_seen")
    op.drop_column("inbox", "claimed_by")
