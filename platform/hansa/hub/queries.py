"""What a person may see at the hub: plain values, ready to show. Nothing here changes anything."""

import time
from math import inf

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.audit.log import ROWS, first_row
from hansa.audit.log import read as read_entry
from hansa.charter import Charter
from hansa.crypto.merkle import leaf
from hansa.errors import Refused
from hansa.hub import checkpoints, log_check, new_log, people
from hansa.hub import log as the_log
from hansa.hub.actions import Hub
from hansa.hub.job_detail import JobDetail, KeptEvidence, SiteProgress, TimelineEntry, answer_bytes, evidence, job
from hansa.hub.looking import JobView, Viewer, jobs
from hansa.hub.models import EntryRow, Member, Person, WitnessRow
from hansa.jobs.base import Schema
from hansa.mail.letters import Budgets
from hansa.messages import decode
from hansa.plan import Question
from hansa.protocols.thresholds import Floors

__all__ = [  # with those that stand in files of their own
    "JobDetail",
    "JobView",
    "KeptEvidence",
    "SiteProgress",
    "TimelineEntry",
    "Viewer",
    "answer_bytes",
    "evidence",
    "job",
    "jobs",
]


class MemberView(Struct, frozen=True):
    site: str
    seen_at: float | None  # seconds since 1970; None before its first letter
    version: str
    tables: tuple[Schema, ...]


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


def viewer(hub: Hub, person: str) -> Viewer:
    """A person with the roles of now; refuses one that is not known here."""
    with Session(hub.reading) as db:
        row = db.get(Person, person)
        if row is None:
            raise Refused(f"no person '{person}' is known at this hub")
        return people.access_of(row)


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


def floors(hub: Hub, sites: int, minimum: int) -> Floors:
    """What the protocol asks of so many sites: how many may collude, sign and survive. Refuses as it would."""
    rules = hub.desk.charter.rules
    return Floors.of(sites, rules.corrupt, max(minimum, rules.minimum_sites))


def session_holds(hub: Hub, token: bytes) -> bool:
    """Whether a sign-in is still good, without noting its use: for pages that refresh themselves."""
    with Session(hub.reading, autoflush=False) as db:
        return people.who(db, token, time.time()) is not None
