"""This site's part in each job, as its journal tells it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.jobs import KINDS
from hansa.plan import Plan, read
from hansa_site import budget, pending
from hansa_site.journal import Act, Agreed, BudgetLine, Decided, Run, Sent, Waiting
from hansa_site.shown.opened import OpenedSite

WAITS = "waits for a person"
_NO_JOB = "0" * 24 + "%"  # how the runs begin that belong to no job


class JobView(Struct, frozen=True):
    """`plan` is None where this site refused at once and kept nothing but the run. `is_open`: it takes part in it now.
    `totals`: contributions made; `left`: bytes of letters and chunks."""

    run: str
    plan: Plan | None
    parameters: dict[str, Any]
    status: str
    began_at: float
    ended_at: float | None
    is_open: bool
    totals: int
    left: int


class Said(Struct, frozen=True):
    """What a person signed. `refusal`: why it counts for nothing; `digest` names the decision in the log."""

    person: str
    what: str
    at: float
    done: bool
    refusal: str
    digest: str


class JobDetail(Struct, frozen=True):
    """`acts` are (when, what) of the journal. `spent`: of the table's privacy budget, in words. `answer`: the JSON
    whose release this site agreed to."""

    view: JobView
    learns: str
    corrupt: int
    said: tuple[Said, ...]
    acts: tuple[tuple[float, str], ...]
    spent: str
    answer: bytes
    answered_by: tuple[str, ...]


def jobs(site: OpenedSite, most: int = 25, after: int = 0) -> list[JobView]:
    """The newest first; `after` so many."""
    newest = _runs().order_by(func.max(Act.at).desc()).limit(most).offset(after)
    with site.reading() as db:
        return _views(db, db.scalars(newest).all())


def job(site: OpenedSite, run: str) -> JobDetail | None:
    with site.reading() as db:
        views = _views(db, db.scalars(_runs().where(Act.run == run)).all())
        if not views:
            return None
        [view], plan = views, views[0].plan
        agreed, line = db.get(Agreed, run), db.get(BudgetLine, run)
        acts = db.execute(select(Act.at, Act.text).where(Act.run == run).order_by(Act.id)).all()
        return JobDetail(
            view=view,
            learns=KINDS[plan.kind].learns if plan is not None and plan.kind in KINDS else "",
            corrupt=0 if plan is None else pending.floors(plan, site.charter)[0],
            said=_said(db, run),
            acts=tuple((at, text) for at, text in acts),
            spent="" if line is None else _spent(site, line),
            answer=b"" if agreed is None else agreed.answer,
            answered_by=() if agreed is None else msgspec.msgpack.decode(agreed.sites, type=tuple[str, ...]),
        )


def _runs() -> Any:
    return select(Act.run).where(Act.run != "", Act.run.not_like(_NO_JOB)).group_by(Act.run)


def _views(db: Session, runs: Sequence[str]) -> list[JobView]:
    columns = Run.run, Run.plan, Run.status, Run.steps, Run.ended_at
    rows = {row.run: row for row in db.execute(select(*columns).where(Run.run.in_(runs)))}
    asked = select(Waiting).where(Waiting.run.in_(runs), Waiting.what != "release").order_by(Waiting.asked_at)
    waiting = {row.run: row for row in db.scalars(asked)}
    spans = select(Act.run, func.min(Act.at), func.max(Act.id)).where(Act.run.in_(runs)).group_by(Act.run)
    found = {run: (at, number) for run, at, number in db.execute(spans)}
    numbers = [number for _at, number in found.values()]
    texts = dict(db.execute(select(Act.run, Act.text).where(Act.id.in_(numbers))).all())
    sums = select(Sent.run, func.sum(Sent.size)).where(Sent.run.in_(runs)).group_by(Sent.run)
    left = dict(db.execute(sums).all())
    return [
        _view(run, rows.get(run), waiting.get(run), (found[run][0], texts.get(run, ""), int(left.get(run, 0))))
        for run in runs
    ]


def _view(run: str, row: Any, asked: Waiting | None, told: tuple[float, str, int]) -> JobView:
    """`row` is of `Run`, once the site has consented; `told` when it began here, what was noted last, bytes left."""
    began_at, last, left = told
    data = row.plan if row is not None else None if asked is None else asked.content
    plan = None if data is None else read(data)
    waits = row is None and asked is not None and asked.closed_at is None
    return JobView(
        run=run,
        plan=plan,
        parameters={} if plan is None else msgspec.json.decode(plan.parameters, type=dict[str, Any]),
        status=row.status if row is not None else WAITS if waits else last,
        began_at=began_at,
        ended_at=None if row is None else row.ended_at,
        is_open=row is not None and row.ended_at is None,
        totals=0 if row is None else row.steps,
        left=left,
    )


def _said(db: Session, run: str) -> tuple[Said, ...]:
    rows = db.scalars(select(Decided).where(Decided.run == run).order_by(Decided.at))
    return tuple(
        Said(row.person, row.what, row.at, row.done_at is not None, row.refusal, row.digest.hex()) for row in rows
    )


def _spent(site: OpenedSite, line: BudgetLine) -> str:
    held = site.settings.policy.budget.get(line.table_name)
    if held is None:
        return "the policy gives this table no privacy budget any more"
    whole = budget.total_of(held)
    if line.closed_at is None:
        return f"{budget.percent(line.spent, whole)} spent so far, of {budget.percent(line.reserved, whole)} set aside"
    return f"{budget.percent(line.spent, whole)} spent"
