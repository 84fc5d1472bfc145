"""What waits for a person, with all that is needed to decide. Nothing here changes anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import KINDS
from hansa.messages import decode
from hansa.plan import Plan, load, read
from hansa_site import consent, tables
from hansa_site.consent import Opinion
from hansa_site.journal import Decided, Run, Waiting
from hansa_site.releasing import Candidate
from hansa_site.settings import Settings


class Pending(Struct, frozen=True):
    """`said`: who has said yes already, of `needed`. `similar`: (run, how it ended) of earlier jobs of the kind over
    the table. `answer`: of a release, the JSON that would be released; empty of all else."""

    run: str
    what: str
    until: float  # seconds since 1970
    plan: Plan
    parameters: dict[str, Any]
    learns: str
    opinions: tuple[Opinion, ...]
    said: tuple[str, ...]
    needed: int
    similar: tuple[tuple[str, str], ...]
    answer: bytes = b""


def look(db: Session, settings: Settings, charter: Charter, home: Path, now: float) -> list[Pending]:
    rows = db.scalars(select(Waiting).where(Waiting.closed_at.is_(None)).order_by(Waiting.asked_at)).all()
    return [_pending(db, row, settings, charter, home, now) for row in rows]


def _pending(db: Session, row: Waiting, settings: Settings, charter: Charter, home: Path, now: float) -> Pending:
    candidate = decode(row.content, Candidate) if row.what == "release" else None
    plan = load(row.content if candidate is None else candidate.plan, charter)
    what = "sign proposal" if row.what == "proposal" else row.what
    said = select(Decided.person).where(Decided.run == row.run, Decided.what == what, Decided.refusal == "")
    return Pending(
        row.run,
        row.what,
        row.until,
        plan,
        msgspec.json.decode(plan.parameters, type=dict[str, Any]),
        KINDS[plan.kind].learns if plan.kind in KINDS else "",
        tuple(opinions(settings, plan, home, now)),
        tuple(db.scalars(said.where(Decided.done_at.is_not(None)).order_by(Decided.at))),
        {"consent": settings.policy.persons, "release": settings.policy.releasers}.get(row.what, 1),
        similar(db, plan, charter),
        b"" if candidate is None else candidate.answer,
    )


def opinions(settings: Settings, plan: Plan, home: Path, now: float) -> Sequence[Opinion]:
    """What the policy says of a plan as it is now; a table that is not there is an opinion too."""
    try:
        schema = tables.schema(settings.source(plan.table), home)
    except Refused as refusal:
        return [Opinion("tables", str(refusal))]
    return list(consent.opinions(settings.policy, plan, settings.name, schema, now))


def similar(db: Session, plan: Plan, charter: Charter, most: int = 5) -> tuple[tuple[str, str], ...]:
    found = []
    for run in db.scalars(select(Run).where(Run.run != plan.run).order_by(Run.started_at.desc()).limit(500)):
        try:
            other = load(run.plan, charter)
        except ProtocolViolation:
            continue  # of a former charter
        if (other.kind, other.table) == (plan.kind, plan.table):
            found.append((run.run, run.status))
        if len(found) == most:
            break
    return tuple(found)


def past(db: Session, charter: Charter, most: int = 500) -> list[Plan]:
    """The plans of the newest jobs that this site took part in: what a changed policy is tried on."""
    found = []
    for data in db.scalars(select(Run.plan).order_by(Run.started_at.desc()).limit(most)):
        try:
            found.append(load(data, charter))
        except ProtocolViolation:
            continue
    return found


def open_one(db: Session, run: str) -> tuple[str, bytes]:
    """(what waits of this job, the digest that a decision about it names)."""
    rows = db.scalars(select(Waiting).where(Waiting.closed_at.is_(None)).order_by(Waiting.asked_at)).all()
    found = [row for row in rows if row.run.startswith(run)] if len(run) >= 4 else []
    if len(found) != 1:
        raise Refused(f"nothing of a job {run} waits for a decision here: `hansa site pending` shows what does")
    return found[0].what, found[0].digest


def figures(db: Session, run: str) -> bytes:
    """The exact answer (JSON) whose release waits for a person here, before the plan's rules of disclosure."""
    row = db.get(Waiting, (run, "release"))
    if row is None or row.closed_at is not None:
        raise Refused(f"no release of a job {run} waits for a decision here")
    return decode(row.content, Candidate).exact


def whole(db: Session, run: str) -> str:
    """The run that begins so, among what waits and the jobs of this site."""
    names = {*db.scalars(select(Waiting.run)), *db.scalars(select(Run.run))}
    found = [name for name in names if name.startswith(run)] if len(run) >= 4 else []
    if len(found) != 1:
        raise Refused(f"this site knows no job {run}, or several that begin so")
    return str(found[0])


def plan_of(db: Session, run: str, charter: Charter) -> Plan:
    row = db.get(Run, run)
    if row is None or row.ended_at is not None:
        raise Refused(f"this site takes no part in a job {run}, or it has ended")
    return load(row.plan, charter)


def released_over(db: Session, table: str) -> int:
    """How many answers this site's rows in the table are in."""
    ended = db.execute(select(Run.plan, Run.status).where(Run.steps > 0)).all()
    return sum(status.startswith("ended: done") and read(plan).table == table for plan, status in ended)
