"""What members cosigned and this database does not hold, and who of them was asked"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("log_witness") as witness:
        witness.add_column(sa.Column("heard", sa.Boolean, nullable=False, server_default=sa.false()))
        witness.add_column(sa.Column("seen", sa.LargeBinary, nullable=True))
    with op.batch_alter_table("log_witness") as witness:
        witness.alter_column("heard", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("log_witness") as witness:
        witness.drop_column("seen")
        witness.drop_column("heard")
