"""Indexes by which a page of the log is found under a filter, however many entries there are"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_index("log_entry_act", "log_entry", ["act", "number"])
    op.create_index("log_entry_at", "log_entry", ["at", "number"])
    op.drop_index("ix_log_entry_act", "log_entry")


def downgrade() -> None:
    op.create_index("ix_log_entry_act", "log_entry", ["act"])
    op.drop_index("log_entry_at", "log_entry")
    op.drop_index("log_entry_act", "log_entry")
