"""The sites of each total, and the answers whose release this site agreed to: what a later one is held to"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "totalled",
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("columns", sa.LargeBinary, nullable=False),
        sa.Column("sites", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_totalled_table_name", "totalled", ["table_name"])
    op.create_table(
        "agreed",
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("plan", sa.LargeBinary, nullable=False),
        sa.Column("sites", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("exact", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_agreed_table_name", "agreed", ["table_name"])


def downgrade() -> None:
    for table in ("agreed", "totalled"):
        op.drop_table(table)
