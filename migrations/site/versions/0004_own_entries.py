"""What this site says in the log, what it saw of it, and what is wrong with it"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "own_entry",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sent", sa.Boolean, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=True),
        sa.Column("receipt", sa.LargeBinary, nullable=True),
    )
    op.create_index("own_entry_sent", "own_entry", ["sent", "sequence"])
    op.create_index("own_entry_number", "own_entry", ["number", "at"])
    op.create_table(
        "witnessed",
        sa.Column("origin", sa.String(100), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("final", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sort", sa.String(20), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("evidence", sa.LargeBinary, nullable=False),
        sa.Column("closed_at", sa.Double, nullable=True),
    )
    op.create_table(
        "noted",
        sa.Column("what", sa.String(100), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    for table in ("noted", "alarm", "witnessed", "own_entry"):
        op.drop_table(table)
