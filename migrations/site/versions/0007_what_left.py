"""What left the site, a row a letter and a chunk; and what a decision is about, where that is nowhere else"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "sent",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("receiver", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("holds", sa.String(24), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
    )
    op.create_index("sent_run", "sent", ["run", "id"])
    op.create_table(
        "spoken",
        sa.Column("run", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(24), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.add_column("decision", sa.Column("content", sa.LargeBinary, nullable=True))


def downgrade() -> None:
    op.drop_column("decision", "content")
    for table in ("spoken", "sent"):
        op.drop_table(table)
