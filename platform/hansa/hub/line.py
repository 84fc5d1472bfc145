"""Which signed job may ask for consents next.

Jobs over one table at one site stand in line, in the order in which they were proposed; jobs that share no table don't
wait for each other. A job goes first until it has ended, but no longer than `HOLD_SECONDS` after its turn came, and
while it waits for consents no longer than `CONSENT_SECONDS`: one that is large, or that waits for a person or for a
silent site, lets the others pass. So small jobs end in the order of their proposals, and no job blocks another.

Jobs may be slow because there are too many: each that passes then slows down all, and more pass, until none ends. So
for every `AT_ONCE` jobs that are at work already, those times are twice as long.

    proposed ──signed──► waiting ──its turn──► consenting ──► …
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.hub.models import OPEN, Job, Participant
from hansa.messages import RunId, SiteId

HOLD_SECONDS = 60.0
CONSENT_SECONDS = 10.0
AT_ONCE = 8  # jobs that go first somewhere: more would only wait for each other's cores
LOOK_AHEAD = 200  # jobs in line that are looked at; what comes after them waits


class InLine(Struct, frozen=True):
    run: RunId
    status: str
    table: str
    sites: tuple[SiteId, ...]
    since: float | None  # when its turn came; of one that is not signed yet, when it was proposed
    rests: bool = False  # a person somewhere decides: it takes nobody's time


def admitted(line: Sequence[InLine], now: float) -> list[RunId]:
    """Those of `line` (oldest first) whose turn has come."""
    taken, found = set[tuple[str, SiteId]](), list[RunId]()
    at_work = [job for job in line if job.status not in ("proposed", "waiting") and not job.rests]
    patience = 2.0 ** max(len(at_work) // AT_ONCE - 1, 0)
    room = AT_ONCE - sum(_holds(job, now, patience) for job in at_work)
    for job in line:
        places = {(job.table, site) for site in job.sites}
        if job.status != "waiting":
            if _holds(job, now, patience):
                taken |= places
            continue
        if not places & taken and len(found) < room:
            found.append(job.run)
        taken |= places
    return found


def _holds(job: InLine, now: float, patience: float) -> bool:
    longest = (CONSENT_SECONDS if job.status == "consenting" else HOLD_SECONDS) * (1.0 if job.rests else patience)
    return job.since is not None and 0 <= now - job.since < longest


def in_line(db: Session, table: str = "") -> list[InLine]:
    """The open jobs, oldest first, up to `LOOK_AHEAD` that wait; all, or those over `table`."""
    fields = Job.run, Job.status, Job.table_name, Job.turn_at, Job.created_at
    query = select(*fields).where(Job.status.in_(OPEN), Job.table_name == table if table else Job.table_name != "")
    rows = list(db.execute(query.order_by(Job.place).limit(2 * LOOK_AHEAD)))
    runs = [row.run for row in rows]
    sites, resting = _sites(db, runs), _resting(db, runs)
    return [
        InLine(run, status, name, tuple(sites.get(run, ())), created if status == "proposed" else turn, run in resting)
        for run, status, name, turn, created in rows
    ]


def _resting(db: Session, runs: Sequence[RunId]) -> set[RunId]:
    """Those for which a person at some site decides."""
    return set(
        db.scalars(select(Participant.run).where(Participant.run.in_(runs), Participant.waits_until.is_not(None)))
    )


def _sites(db: Session, runs: Iterable[RunId]) -> dict[RunId, list[SiteId]]:
    found: dict[RunId, list[SiteId]] = {}
    for run, site in db.execute(select(Participant.run, Participant.site).where(Participant.run.in_(list(runs)))):
        found.setdefault(run, []).append(site)
    return found
