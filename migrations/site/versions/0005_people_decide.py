"""The institution's people, what waits for them, what they decided; tables taken back; privacy budgets"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("roles", sa.String(200), nullable=False),
        sa.Column("public", sa.LargeBinary(32), nullable=False),
        sa.Column("pseudonym", sa.String(32), nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.Column("removed_at", sa.Double, nullable=True),
    )
    op.create_table(
        "waiting",
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("what", sa.String(20), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("closed_at", sa.Double, nullable=True),
    )
    op.create_table(
        "decision",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("person", sa.String(32), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("done_at", sa.Double, nullable=True),
        sa.Column("refusal", sa.Text, nullable=False),
    )
    op.create_index("ix_decision_run", "decision", ["run"])
    op.create_table(
        "budget_line",
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("question", sa.LargeBinary(32), nullable=False),
        sa.Column("totals", sa.Integer, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("closed_at", sa.Double, nullable=True),
    )
    op.create_index("ix_budget_line_table_name", "budget_line", ["table_name"])
    op.create_index("ix_budget_line_question", "budget_line", ["question"])
    op.create_table(
        "withdrawn",
        sa.Column("table_name", sa.String(64), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in ("withdrawn", "budget_line", "decision", "waiting", "person"):
        op.drop_table(table)
