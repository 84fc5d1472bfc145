"""When the open round began: a transfer that makes progress extends it, up to a bound from there"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("job", sa.Column("opened_at", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "opened_at")
