"""What a person may see at the hub: plain values, ready to show. Nothing here changes anything."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa import access
from hansa.access import may
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.hub import evidence as kept
from hansa.hub import models, people, reviewing
from hansa.hub.actions import Hub, thing_of
from hansa.hub.models import Event, Job, Member, Participant, Person
from hansa.jobs.base import Schema
from hansa.mail import charter_files
from hansa.mail.letters import Budgets
from hansa.messages import decode
from hansa.plan import Disclosure, Noise, Plan, Question
from hansa.plan import read as read_plan
from hansa.protocols.thresholds import Floors

Viewer = access.Person
log, log_state, check_log = reviewing.log, reviewing.log_state, reviewing.check_log  # for who asks little of the log


class MemberView(Struct, frozen=True):
    site: str
    seen_at: float | None  # seconds since 1970; None before its first letter
    version: str
    tables: tuple[Schema, ...]


class SiteProgress(Struct, frozen=True):
    site: str
    stage: str
    reason: str
    consented: bool
    took_part: bool
    bytes_moved: int
    changed_at: float


class TimelineEntry(Struct, frozen=True):
    at: float
    site: str
    text: str


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


class JobDetail(Struct, frozen=True):
    view: JobView
    plan_digest: str
    protection: str
    minimum_sites: int
    deadline: float | None  # of the open round, seconds since 1970; a hub that runs closes it soon after
    parameters: dict[str, Any]
    sites: tuple[SiteProgress, ...]
    timeline: tuple[TimelineEntry, ...]
    answer: dict[str, Any] | None
    remarks: tuple[str, ...]  # what a reader of the answer must know about who is in it
    answer_digest: str
    recipients: tuple[str, ...]  # members; empty where the plan is of Hansa 0.1, which names none: everybody
    purpose: str
    disclosure: Disclosure | None
    noise: Noise | None
    withheld: bool  # there is an answer, and it is not for who looks


def charter(hub: Hub) -> Charter:
    return hub.desk.charter


def members(hub: Hub) -> list[MemberView]:
    with Session(hub.reading) as db:
        rows = {row.site: row for row in db.scalars(select(Member))}
    found = []
    for member in hub.desk.charter.members:
        row = rows.get(member.id)
        tables = decode(row.tables, tuple[Schema, ...]) if row else ()
        found.append(MemberView(member.id, row.seen_at if row else None, row.version if row else "", tables))
    return found


def _view(row: Job, plan: Plan) -> JobView:
    step = ""
    if row.step_bytes is not None:
        from hansa.jobs.base import Step

        step = f"step {row.step + 1}: {decode(row.step_bytes, Step).name}"
    return JobView(
        row.run,
        plan.kind,
        plan.table,
        plan.proposer,
        row.person,
        row.status,
        row.reason,
        row.created_at,
        row.ended_at,
        step,
    )


def viewer(hub: Hub, person: str) -> Viewer:
    """A person with the roles of now; refuses one that is not known here."""
    with Session(hub.reading) as db:
        row = db.get(Person, person)
        if row is None:
            raise Refused(f"no person '{person}' is known at this hub")
        return people.access_of(row)


def _shows(hub: Hub, row: Job, who: Viewer | None, what: Literal["see job", "see answer"]) -> bool:
    return who is None or may(who, what, thing_of(hub.desk, row))


def jobs(hub: Hub, limit: int = 100, who: Viewer | None = None) -> list[JobView]:
    """The newest first, of those that `who` may see; None is whoever has the hub's home, and so sees all."""
    found: list[JobView] = []
    with Session(hub.reading) as db:
        for row in db.scalars(select(Job).order_by(Job.created_at.desc()).execution_options(yield_per=200)):
            if _shows(hub, row, who, "see job"):
                found.append(_view(row, hub.desk.plan(row.plan)))
            if len(found) == limit:
                break
    return found


def job(hub: Hub, run: str, who: Viewer | None = None) -> JobDetail | None:
    """None too if `who` may not see it; without the answer if it is for others."""
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        if row is None or not _shows(hub, row, who, "see job"):
            return None
        shown = row.answer is not None and _shows(hub, row, who, "see answer")
        plan = hub.desk.plan(row.plan)
        parts = db.scalars(select(Participant).where(Participant.run == run).order_by(Participant.site)).all()
        events = db.scalars(select(Event).where(Event.run == run).order_by(Event.id)).all()
        return JobDetail(
            _view(row, plan),
            plan.digest.hex(),
            plan.protection,
            plan.minimum_sites,
            row.deadline,
            msgspec.json.decode(plan.parameters, type=dict[str, Any]),
            tuple(_progress(part) for part in parts),
            tuple(TimelineEntry(event.at, event.site, event.text) for event in events),
            msgspec.json.decode(row.answer, type=dict[str, Any]) if row.answer is not None and shown else None,
            tuple(_remark(part) for part in parts if row.status == models.DONE and part.stage != "took part"),
            row.answer_digest.hex() if row.answer_digest else "",
            plan.recipients,
            plan.purpose,
            plan.disclosure,
            plan.noise,
            row.answer is not None and not shown,
        )


def _progress(part: Participant) -> SiteProgress:
    return SiteProgress(
        part.site,
        part.stage,
        part.reason,
        part.consent is not None,
        part.stage == "took part",
        part.bytes_sent + part.bytes_received,
        part.changed_at,
    )


def _remark(part: Participant) -> str:
    why = f"{part.site} is not in the answer: {part.reason or part.stage}."
    if part.steps:
        why += (
            f" Its numbers are in the first {part.steps} of the totals that led here, so the hub can estimate its part"
            " of those totals from what changed when it left."
        )
    return why


class Cost(Struct, frozen=True):
    """What a question under noise would take of a site's privacy budget, in percent of the whole; `fits`: it is
    there."""

    site: str
    cost: float
    left: float
    epsilon: str
    delta: str
    unit: str
    fits: bool


def costs(hub: Hub, question: Question) -> list[Cost]:
    """By the budgets as the sites last told them; a site that told of none for the table is not there. Empty without
    noise."""
    if question.noise is None:
        return []
    found, price = [], question.noise.nano_rho
    with Session(hub.reading) as db:
        rows = list(db.scalars(select(Member).order_by(Member.site)))
    for row in rows:
        told = decode(row.budgets, Budgets).tables if row.budgets else ()
        for one in told:
            if one.table == question.table and (not question.sites or row.site in question.sites):
                cost, left = (100 * part / max(one.total, 1) for part in (price, one.left))
                names = one.epsilon, one.delta, one.unit
                found.append(Cost(row.site, cost, left, *names, price <= one.left))
    return found


def letters_waiting(hub: Hub) -> dict[str, int]:
    """Letters to each site that it has not acknowledged yet."""
    from hansa.mail.boxes import Outbox

    with Session(hub.reading) as db:
        query = select(Outbox.receiver, func.count()).where(Outbox.acked_at.is_(None)).group_by(Outbox.receiver)
        return {row[0]: row[1] for row in db.execute(query)}


def answer_bytes(hub: Hub, run: str, who: Viewer | None = None) -> bytes | None:
    """The answer as it was released: the JSON whose SHA-256 the log holds. None if it is not for `who`."""
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        return None if row is None or not _shows(hub, row, who, "see answer") else row.answer


class KeptEvidence(Struct, frozen=True):
    """From what anybody recomputes a job's totals and its answer (`hansa.replay`). Shows no input."""

    content: bytes  # `replay.Evidence`, encoded
    chunks: tuple[bytes, ...]  # the digests of what lies beside it: the chunks of large vectors
    read: Callable[[bytes], bytes]


def evidence(hub: Hub, run: str) -> KeptEvidence:
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        if row is None:
            raise Refused(f"there is no job {run}")
        charter = charter_files.signed(hub.home, read_plan(row.plan).charter)
        assembled = kept.assemble(db, run, charter)
    return KeptEvidence(assembled.encoded, kept.large(assembled), partial(hub.desk.folder.get, run))


def parameters(hub: Hub, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each of some jobs was asked with."""
    with Session(hub.reading) as db:
        rows = db.execute(select(Job.run, Job.plan).where(Job.run.in_(runs))).all()
    plans = {run: hub.desk.plan(plan) for run, plan in rows}
    return {run: msgspec.json.decode(plan.parameters, type=dict[str, Any]) for run, plan in plans.items()}


def floors(hub: Hub, sites: int, minimum: int) -> Floors:
    """What the protocol asks of so many sites: how many may collude, sign and survive. Refuses as it would."""
    rules = hub.desk.charter.rules
    return Floors.of(sites, rules.corrupt, max(minimum, rules.minimum_sites))


def session_holds(hub: Hub, token: bytes) -> bool:
    """Whether a sign-in is still good, without noting its use: for pages that refresh themselves."""
    with Session(hub.reading, autoflush=False) as db:
        return people.who(db, token, time.time()) is not None
