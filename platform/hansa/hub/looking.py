"""The jobs that a person may see, a page at a time, and what of them wants somebody.

Which jobs concern a member is read from an index (`models.Concerned`), so that ten thousand of others cost nothing;
whatever SQL finds is held to `access` once more, row by row, before it is shown.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, desc, exists, func, or_, select, union_all
from sqlalchemy.orm import Session

from hansa import access
from hansa.access import Thing, may
from hansa.hub import models, pace
from hansa.hub.actions import Hub, thing_in
from hansa.hub.models import Concerned, Job, Member, Participant, WitnessRow
from hansa.hub.pace import Progress
from hansa.jobs.base import Step
from hansa.mail.boxes import Outbox
from hansa.messages import decode
from hansa.plan import Plan

Viewer = access.Person
AT_ONCE: Final = 25
STATUSES: Final = (*models.OPEN, models.DONE, models.REFUSED, models.NOT_ENOUGH, models.CANCELLED, models.FAILED)
_UNHEARD: Final = 3  # attempts at a letter after which its receiver counts as silent
_HEX: Final = frozenset("0123456789abcdef")
_SHOWN: Final[tuple[Any, ...]] = (  # of a job, in a list; what is large stays in the database
    Job.run, Job.plan, Job.person, Job.status, Job.reason, Job.created_at, Job.ended_at, Job.step, Job.step_bytes,
)  # fmt: skip


class JobView(Struct, frozen=True):
    """A job as shown in a list."""

    run: str
    kind: str
    table: str
    proposer: str
    person: str
    status: str
    reason: str
    created_at: float
    ended_at: float | None
    step: str  # the step that is being totalled, in words; empty before and after
    parameters: dict[str, Any]


class Which(Struct, frozen=True):
    """Of the jobs; empty leaves them all. `member`: who asked, or takes part. `run`: how its id begins."""

    state: Literal["all", "open", "ended"] = "all"
    kind: str = ""
    table: str = ""
    status: str = ""
    member: str = ""
    run: str = ""


ALL: Final = Which()


class Silent(Struct, frozen=True):
    """A site that acknowledges nothing, or was never heard; `heard_at` is when it last said anything that was kept."""

    site: str
    letters: int
    heard_at: float | None


def jobs(hub: Hub, limit: int = 100, who: Viewer | None = None) -> list[JobView]:
    """The newest first, of those that `who` may see; None is whoever has the hub's home, and so sees all."""
    with Session(hub.reading) as db:
        return _views(db, hub, who, ALL, limit)


def page(hub: Hub, who: Viewer | None, which: Which = ALL, number: int = 1) -> list[JobView]:
    """A page of `AT_ONCE` jobs, the newest first."""
    with Session(hub.reading) as db:
        return _views(db, hub, who, which, AT_ONCE, (number - 1) * AT_ONCE)


def count(hub: Hub, who: Viewer | None, which: Which = ALL) -> int:
    with Session(hub.reading) as db:
        return _count(db, hub, who, which)


def under_way(hub: Hub, who: Viewer, limit: int) -> list[tuple[JobView, Progress]]:
    """The newest open jobs, with what each waits for."""
    found = []
    with Session(hub.reading) as db:
        for view in _views(db, hub, who, Which(state="open"), limit):
            job = db.get_one(Job, view.run)
            parts = db.scalars(select(Participant).where(Participant.run == view.run).order_by(Participant.site)).all()
            found.append((view, pace.progress(job, hub.desk.plan(job.plan), parts)))
    return found


def for_people(hub: Hub, who: Viewer, limit: int = AT_ONCE) -> list[tuple[JobView, float]]:
    """Open jobs for which a person at the viewer's own site is to decide, and until when."""
    own = select(Participant.waits_until).where(Participant.run == Job.run, Participant.site == who.member)
    until = func.coalesce(own.scalar_subquery(), Job.waits_until)
    signs = and_(Job.status == "proposed", Job.waits_until.is_not(None), Job.proposer == who.member)
    decides = own.where(Participant.waits_until.is_not(None)).exists()
    with Session(hub.reading) as db:
        views = _views(db, hub, who, Which(state="open"), limit, also=[or_(signs, decides)])
        rows = db.execute(select(Job.run, until).where(Job.run.in_([view.run for view in views])))
        times = {row[0]: float(row[1]) for row in rows}
    return [(view, times[view.run]) for view in views]


def ended_badly(hub: Hub, who: Viewer, since: float, limit: int) -> list[JobView]:
    """The newest jobs, asked since then, that ended without an answer and not because somebody cancelled them."""
    badly = models.REFUSED, models.NOT_ENOUGH, models.FAILED
    with Session(hub.reading) as db:
        return _views(db, hub, who, ALL, limit, also=[Job.status.in_(badly), Job.created_at >= since])


def silent(hub: Hub) -> list[Silent]:
    """Members whose sites were never heard, or do not acknowledge letters that were sent again and again."""
    tried = select(Outbox.receiver, func.count()).where(Outbox.acked_at.is_(None), Outbox.attempts >= _UNHEARD)
    with Session(hub.reading) as db:
        waiting = dict(db.execute(tried.group_by(Outbox.receiver)).all())
        seen = dict(db.execute(select(Member.site, Member.seen_at)).all())
        spoken = dict(db.execute(select(WitnessRow.site, WitnessRow.at)).all())
    found = []
    for member in hub.desk.charter.members:
        heard = max(seen.get(member.id, 0.0), spoken.get(member.id, 0.0))
        if member.id in waiting or not heard:
            found.append(Silent(member.id, waiting.get(member.id, 0), heard or None))
    return found


# ---- in SQL ----


def _views(
    db: Session, hub: Hub, who: Viewer | None, which: Which, limit: int, offset: int = 0,
    also: Sequence[ColumnElement[bool]] = (),
) -> list[JobView]:  # fmt: skip
    arms = [query.add_columns(place.label("place")) for query, place in _arms(hub, who, which, also)]
    if not arms:
        return []
    query = arms[0] if len(arms) == 1 else union_all(*arms)
    rows = db.execute(query.order_by(desc("place")).limit(limit).offset(offset)).all()
    views = []
    for row in rows:
        plan = hub.desk.plan(row.plan)
        if who is None or may(who, "see job", thing_in(hub.desk, plan)):
            views.append(view_of(row, plan))
    return views


def _count(db: Session, hub: Hub, who: Viewer | None, which: Which) -> int:
    if who is not None and which == ALL:
        mine = Concerned.member.in_(_names(hub, who))
        return db.scalar(select(func.count()).select_from(Concerned).where(mine)) or 0
    counts = [query.with_only_columns(func.count()) for query, _place in _arms(hub, who, which, ())]
    return sum(db.scalar(query) or 0 for query in counts)


def _arms(
    hub: Hub, who: Viewer | None, which: Which, also: Sequence[ColumnElement[bool]]
) -> list[tuple[Select[*tuple[Any, ...]], SQLColumnExpression[int]]]:
    """A query for each range of the index, with the order in which it stands there."""
    fits = [*_fits(which), *also]
    if who is None:
        return [(select(*_SHOWN).where(*fits), Job.place)]
    mine = select(*_SHOWN).join(Concerned, Concerned.run == Job.run)
    return [(mine.where(Concerned.member == name, *fits), Concerned.place) for name in _names(hub, who)]


def _names(hub: Hub, who: Viewer) -> list[str]:
    """Under which jobs concern a person's member; none where the person's roles show no job at all."""
    if not may(who, "see job", Thing(proposer=who.member)):
        return []
    on_charter = who.member in {member.id for member in hub.desk.charter.members}
    return [who.member, *([models.EVERYBODY] if on_charter else [])]


def _fits(which: Which) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if which.state != "all":
        is_open = Job.status.in_(models.OPEN)
        found.append(is_open if which.state == "open" else ~is_open)
    for column, value in ((Job.kind, which.kind), (Job.table_name, which.table), (Job.status, which.status)):
        if value:
            found.append(column == value)
    if which.member:
        part = exists().where(Participant.run == Job.run, Participant.site == which.member)
        found.append(or_(Job.proposer == which.member, part))
    if which.run:  # as a range, which an index answers; "g" is above every hexadecimal digit
        begins = which.run.strip().lower()
        found += [Job.run >= begins, Job.run < begins + "g"] if set(begins) <= _HEX else [Job.run == ""]
    return found


def view_of(row: Any, plan: Plan) -> JobView:
    """`row`: a job, or as many of its columns as a list shows."""
    step = ""
    if row.step_bytes is not None:
        step = f"step {row.step + 1}: {decode(row.step_bytes, Step).name}"
    asked = plan.kind, plan.table, plan.proposer, row.person
    stands = row.status, row.reason, row.created_at, row.ended_at, step
    return JobView(row.run, *asked, *stands, msgspec.json.decode(plan.parameters, type=dict[str, Any]))
