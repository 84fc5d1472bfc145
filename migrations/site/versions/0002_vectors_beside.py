"""The vector that was sent beside an answer"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("said", sa.Column("beside", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("said", "beside")
