"""What a person may see at the hub: plain values, ready to show. Nothing here changes anything."""

import time

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.charter import Charter
from hansa.errors import Refused
from hansa.hub import people, reviewing
from hansa.hub.actions import Hub
from hansa.hub.job_detail import JobDetail, KeptEvidence, SiteProgress, TimelineEntry, answer_bytes, evidence, job
from hansa.hub.looking import JobView, Viewer, jobs
from hansa.hub.models import Member, Person
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
log, log_state, check_log = reviewing.log, reviewing.log_state, reviewing.check_log  # for who asks little of the log


class MemberView(Struct, frozen=True):
    site: str
    seen_at: float | None  # seconds since 1970; None before its first letter
    version: str
    tables: tuple[Schema, ...]


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


def floors(hub: Hub, sites: int, minimum: int) -> Floors:
    """What the protocol asks of so many sites: how many may collude, sign and survive. Refuses as it would."""
    rules = hub.desk.charter.rules
    return Floors.of(sites, rules.corrupt, max(minimum, rules.minimum_sites))


def session_holds(hub: Hub, token: bytes) -> bool:
    """Whether a sign-in is still good, without noting its use: for pages that refresh themselves."""
    with Session(hub.reading, autoflush=False) as db:
        return people.who(db, token, time.time()) is not None
