"""Jobs stand in line by their table; which worker is at a letter"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("claimed_by", sa.String(32), nullable=True))
    with op.batch_alter_table("job") as job:
        # Jobs of before stand in no line: they go on as they did.
        job.add_column(sa.Column("place", sa.Integer, nullable=False, server_default="0"))
        job.add_column(sa.Column("table_name", sa.String(64), nullable=False, server_default=""))
        job.add_column(sa.Column("turn_at", sa.Float, nullable=True))
    op.create_index("ix_job_place", "job", ["place"])
    with op.batch_alter_table("job") as job:
        job.alter_column("place", server_default=None)
        job.alter_column("table_name", server_default=None)


def downgrade() -> None:
    op.drop_index("ix_job_place", "job")
    with op.batch_alter_table("job") as job:
        for name in ("turn_at", "table_name", "place"):
            job.drop_column(name)
    op.drop_column("inbox", "claimed_by")
