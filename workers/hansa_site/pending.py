"""What waits for a person, with all that is needed to decide. Nothing here changes anything."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Charter
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs import KINDS
from hansa.jobs.base import Schema
from hansa.messages import decode
from hansa.plan import Plan, load, read
from hansa.protocols.thresholds import Floors
from hansa_site import budget, consent, deciding, tables
from hansa_site.consent import Opinion
from hansa_site.journal import Decided, Run, Waiting
from hansa_site.releasing import Candidate
from hansa_site.settings import Settings


class Ground(NamedTuple):
    """What a plan is judged on here. `schema` reads that of a table by its name."""

    settings: Settings
    charter: Charter
    schema: Callable[[str], Schema]


class Pending(Struct, frozen=True, kw_only=True):
    """`digest` is what a decision must name. `said`: who has said yes already, of `needed`; `proposed`: who of our
    people signed the proposal. `similar`: (run, how it ended) of earlier jobs of the kind over the table.
    `corrupt`: how many sites may collude with the hub; `stay`: how many must, to the end. `cost`: of noise, in words.
    Of a release, `sites` are those whose rows are in it, and `answer` is the JSON that would be released."""

    run: str
    what: str
    asked_at: float  # seconds since 1970, as `until`
    until: float
    plan: Plan
    digest: bytes
    parameters: dict[str, Any]
    learns: str
    corrupt: int
    stay: int
    cost: str
    opinions: tuple[Opinion, ...]
    proposed: str
    said: tuple[str, ...]
    needed: int
    similar: tuple[tuple[str, str], ...]
    sites: tuple[str, ...] = ()
    answer: bytes = b""


def ground_of(settings: Settings, charter: Charter, home: Path) -> Ground:
    """With each table read anew."""
    return Ground(settings, charter, lambda table: tables.schema(settings.source(table), home))


def look(db: Session, ground: Ground, now: float) -> list[Pending]:
    """Without what was asked under a former charter: the hub ends that."""
    rows = db.scalars(select(Waiting).where(Waiting.closed_at.is_(None)).order_by(Waiting.asked_at)).all()
    found = []
    for row in rows:
        with suppress(ProtocolViolation):
            found.append(_pending(db, row, ground, now))
    return found


def _pending(db: Session, row: Waiting, ground: Ground, now: float) -> Pending:
    policy = ground.settings.policy
    candidate = decode(row.content, Candidate) if row.what == "release" else None
    plan = load(row.content if candidate is None else candidate.plan, ground.charter)
    corrupt, stay = floors(plan, ground.charter)
    cost, unaffordable = _cost(db, ground, plan) if row.what == "consent" else ("", ())
    return Pending(
        run=row.run,
        what=row.what,
        asked_at=row.asked_at,
        until=row.until,
        plan=plan,
        digest=row.digest,
        parameters=msgspec.json.decode(plan.parameters, type=dict[str, Any]),
        learns=KINDS[plan.kind].learns if plan.kind in KINDS else "",
        corrupt=corrupt,
        stay=stay,
        cost=cost,
        opinions=(*opinions(ground, plan, now), *unaffordable),
        proposed=next(iter(_said(db, row.run, "sign proposal")), ""),
        said=_said(db, row.run, "sign proposal" if row.what == "proposal" else row.what),
        needed={"consent": policy.persons, "release": policy.releasers}.get(row.what, 1),
        similar=similar(db, plan, ground.charter),
        sites=() if candidate is None else candidate.sites,
        answer=b"" if candidate is None else candidate.answer,
    )


def _said(db: Session, run: str, what: str) -> tuple[str, ...]:
    """Whose decisions of this sort count, each once."""
    counts = Decided.run == run, Decided.what == what, Decided.refusal == "", Decided.done_at.is_not(None)
    return tuple(dict.fromkeys(db.scalars(select(Decided.person).where(*counts).order_by(Decided.at))))


def floors(plan: Plan, charter: Charter) -> tuple[int, int]:
    rules = charter.rules
    try:
        found = Floors.of(len(plan.sites), rules.corrupt, max(plan.minimum_sites, rules.minimum_sites))
    except (Refused, NotEnoughSites):  # then the job ends by itself
        return 0, plan.minimum_sites
    return found.corrupt, found.survivors


def _cost(db: Session, ground: Ground, plan: Plan) -> tuple[str, tuple[Opinion, ...]]:
    """What noise costs, in words; and what stands against a consent beside the policy: a table that was withdrawn, a
    budget that does not bear it."""
    try:
        deciding.refuse_withdrawn(db, plan.table)
        found = budget.refuse_unaffordable(db, ground.settings.policy, plan)
    except Refused as refusal:
        return "", (Opinion("table", str(refusal)),)
    return ("" if found is None else budget.words(found, plan)), ()


def opinions(ground: Ground, plan: Plan, now: float) -> Sequence[Opinion]:
    """What the policy says of a plan as it is now; a table that is not there is an opinion too."""
    try:
        schema = ground.schema(plan.table)
    except Refused as refusal:
        return [Opinion("tables", str(refusal))]
    return list(consent.opinions(ground.settings.policy, plan, ground.settings.name, schema, now))


def similar(db: Session, plan: Plan, charter: Charter, most: int = 5) -> tuple[tuple[str, str], ...]:
    found = []
    rows = select(Run.run, Run.plan, Run.status).where(Run.run != plan.run).order_by(Run.started_at.desc()).limit(500)
    for run, data, status in db.execute(rows):
        try:
            other = load(data, charter)
        except ProtocolViolation:
            continue  # of a former charter
        if (other.kind, other.table) == (plan.kind, plan.table):
            found.append((run, status))
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
