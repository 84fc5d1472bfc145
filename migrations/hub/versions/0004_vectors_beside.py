"""Vectors beside the letters: a reply's, a receipt's, and the chunks of a total that is being added up"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("participant", sa.Column("beside", sa.LargeBinary(), nullable=True))
    op.add_column("participant", sa.Column("chunks", sa.LargeBinary(), nullable=True))
    op.add_column("job", sa.Column("total", sa.LargeBinary(), nullable=True))
    op.create_table(
        "total_chunk",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["job.run"]),
        sa.PrimaryKeyConstraint("run", "round", "number"),
    )


def downgrade() -> None:
    op.drop_table("total_chunk")
    op.drop_column("job", "total")
    op.drop_column("participant", "chunks")
    op.drop_column("participant", "beside")
