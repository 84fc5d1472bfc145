"""What a person may see at the hub: plain values, ready to show. Nothing here changes anything."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa import access
from hansa.access import may
from hansa.audit.log import ROWS, first_row
from hansa.audit.log import read as read_entry
from hansa.charter import Charter
from hansa.crypto.merkle import leaf
from hansa.errors import Refused
from hansa.hub import checkpoints, log_check, models, new_log, people
from hansa.hub import evidence as kept
from hansa.hub import log as the_log
from hansa.hub.actions import Hub, thing_of
from hansa.hub.models import EntryRow, Event, Job, Member, Participant, Person, WitnessRow
from hansa.jobs.base import Schema
from hansa.mail import charter_files
from hansa.mail.letters import Budgets
from hansa.messages import decode
from hansa.plan import Disclosure, Noise, Plan, Question
from hansa.plan import read as read_plan
from hansa.protocols.thresholds import Floors

Viewer = access.Person


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


class LogEntry(Struct, frozen=True):
    """`final`: a quorum of the members has cosigned a checkpoint that covers it. `log`: the origin of the one that it
    is the entry `number` of."""

    number: int
    at: float
    act: str
    by: str
    run: str
    details: dict[str, str]
    digest: str
    final: bool
    log: str


class WitnessView(Struct, frozen=True):
    """A member as a witness: up to which size it cosigned, when its site last spoke of the log, and what it refuses."""

    site: str
    size: int
    at: float | None
    refusal: str


class LogState(Struct, frozen=True):
    """`final`: the first entries that a quorum cosigned; `quorum` is 0 under a charter that names no witnesses."""

    size: int
    root: str
    final: int
    quorum: int
    witnesses: tuple[WitnessView, ...]


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


class Wanted(Struct, frozen=True):
    """Of the log: who acted and how (empty: everybody, everything), since when and until when by the author's clock."""

    by: str = ""
    act: str = ""
    since: float = 0.0
    until: float = inf


EVERYTHING = Wanted()


def log(hub: Hub, limit: int = 200, run: str = "", wanted: Wanted = EVERYTHING) -> list[LogEntry]:
    """The newest entries first: all, or those of one run (how its id begins is enough); of logs that are over, those
    too."""
    agreed = hub.desk.charter
    query = select(EntryRow).where(EntryRow.at >= wanted.since, EntryRow.at < wanted.until)
    if run:
        query = query.where(EntryRow.run.startswith(run, autoescape=True) if len(run) < 32 else EntryRow.run == run)
    if wanted.by:
        query = query.where(EntryRow.by == wanted.by)
    if wanted.act:
        query = query.where(EntryRow.act == wanted.act)
    with Session(hub.reading) as db:
        rows = db.scalars(query.order_by(EntryRow.number.desc()).limit(limit)).all()
        each = [*new_log.logs(agreed, hub.desk.former), agreed]
        final = {first_row(one): checkpoints.newest_final(db, one) or 0 for one in each}
    found = []
    for row in rows:
        entry, digest, number = read_entry(row.data), leaf(row.data).hex(), row.number % ROWS
        is_final = number < final.get(row.number - number, 0)
        found.append(LogEntry(number, row.at, row.act, row.by, row.run, entry.details, digest, is_final, entry.log))
    return found


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


def log_state(hub: Hub) -> LogState:
    agreed = hub.desk.charter
    with Session(hub.reading) as db:
        head, final = the_log.head(db, first_row(agreed)), checkpoints.newest_final(db, agreed) or 0
        rows = {row.site: row for row in db.scalars(select(WitnessRow))}
    if not agreed.witnessed:
        return LogState(head.size, head.root.hex(), 0, 0, ())
    witnesses = []
    for member in agreed.members:
        row = rows.get(member.id)
        witnesses.append(
            WitnessView(member.id, 0, None, "")
            if row is None
            else WitnessView(member.id, row.size, row.at, row.refusal)
        )
    return LogState(head.size, head.root.hex(), final, agreed.quorum, tuple(witnesses))


def check_log(hub: Hub) -> tuple[int, str]:
    """(size, root) of the log, after `log_check.check` of this one and of those that are over; ProtocolViolation names
    the first thing that does not hold."""
    with Session(hub.reading) as db:
        for former in new_log.logs(hub.desk.charter, hub.desk.former):
            log_check.check(db, first_row(former))
        head = log_check.check(db, first_row(hub.desk.charter))
    return head.size, head.root.hex()


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
