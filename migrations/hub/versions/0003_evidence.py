"""What is kept of each closed round, so that totals can be recomputed"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "evidence",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["job.run"]),
        sa.PrimaryKeyConstraint("run", "round"),
    )


def downgrade() -> None:
    op.drop_table("evidence")
