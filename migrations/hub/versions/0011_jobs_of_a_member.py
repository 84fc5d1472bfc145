"""Which jobs concern whom, so that lists are read from an index; how long rounds took"""

import sqlalchemy as sa
from alembic import op

from hansa.plan import read

revision = "0011"
down_revision = "0010"

EVERYBODY = "*"
_OF_JOB = ("run", "plan", "place", "kind", "proposer", "table_name", "created_at", "ended_at")


def upgrade() -> None:
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("kind", sa.String(64), nullable=False, server_default=""))
        job.add_column(sa.Column("proposer", sa.String(32), nullable=False, server_default=""))
    concerned = op.create_table(
        "concerned",
        sa.Column("run", sa.String(32), sa.ForeignKey("job.run"), primary_key=True),
        sa.Column("member", sa.String(32), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
    )
    op.create_index("concerned_newest", "concerned", ["member", "place", "run"])
    op.create_table(
        "round_time",
        sa.Column("run", sa.String(32), sa.ForeignKey("job.run"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("closed_at", sa.Double, nullable=False),
        sa.Column("replied", sa.LargeBinary, nullable=False),
    )
    _read_plans(concerned)
    with op.batch_alter_table("job") as job:
        job.alter_column("kind", server_default=None)
        job.alter_column("proposer", server_default=None)


def _read_plans(concerned: sa.Table) -> None:
    """Jobs of Hansa 0.1 all stand at place 0; they get places of their own below it, the oldest the lowest. Those that
    are open stand in no line, and go on as they did, without the name of their table."""
    connection, job = op.get_bind(), sa.table("job", *map(sa.column, _OF_JOB))
    wanted = sa.select(job.c.run, job.c.plan, job.c.place, job.c.ended_at, job.c.table_name)
    rows = connection.execute(wanted.order_by(job.c.place, job.c.created_at)).all()
    first = sum(place <= 0 for _run, _plan, place, _ended, _table in rows)
    for number, (run, data, before, ended, table) in enumerate(rows):
        plan, place = read(data), before if before > 0 else number + 1 - first
        found = {"place": place, "kind": plan.kind, "proposer": plan.proposer}
        found["table_name"] = table if ended is None else plan.table
        connection.execute(sa.update(job).where(job.c.run == run).values(found))
        members = {plan.proposer, *plan.sites, *plan.recipients} if plan.recipients else {EVERYBODY}
        for member in sorted(members):
            connection.execute(sa.insert(concerned).values(run=run, member=member, place=place))


def downgrade() -> None:
    op.drop_table("round_time")
    op.drop_index("concerned_newest", "concerned")
    op.drop_table("concerned")
    with op.batch_alter_table("job") as job:
        job.drop_column("proposer")
        job.drop_column("kind")
