"""Which signed job may ask for consents next.

Jobs over one table at one site stand in line, in the order in which they were proposed; jobs that share no table don't
wait for each other. A job goes first until it has ended, but no longer than `HOLD_SECONDS` after its turn came, and
while it waits for consents no longer than `CONSENT_SECONDS`: one that is large, or that waits for a person or for a
silent site, lets the others pass. So small jobs end in the order of their proposals, and no job blocks another.

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


def admitted(line: Sequence[InLine], now: float) -> list[RunId]:
    """Those of `line` (oldest first) whose turn has come."""
    taken, found = set[tuple[str, SiteId]](), list[RunId]()
    room = AT_ONCE - sum(job.status not in ("proposed", "waiting") and _holds(job, now) for job in line)
    for job in line:
        places = {(job.table, site) for site in job.sites}
        if job.status != "waiting":
            if _holds(job, now):
                taken |= places
            continue
        if not places & taken and len(found) < room:
            found.append(job.run)
        taken |= places
    return found


def _holds(job: InLine, now: float) -> bool:
    longest = CONSENT_SECONDS if job.status == "consenting" else HOLD_SECONDS
    return job.since is not None and 0 <= now - job.since < longest


def in_line(db: Session, table: str = "") -> list[InLine]:
    """The open jobs, oldest first, up to `LOOK_AHEAD` that wait; all, or those over `table`."""
    fields = Job.run, Job.status, Job.table_name, Job.turn_at, Job.created_at
    query = select(*fields).where(Job.status.in_(OPEN), Job.table_name == table if table else Job.table_name != "")
    rows = list(db.execute(query.order_by(Job.place).limit(2 * LOOK_AHEAD)))
    sites = _sites(db, [row.run for row in rows])
    return [
        InLine(run, status, name, tuple(sites.get(run, ())), created if status == "proposed" else turn)
        for run, status, name, turn, created in rows
    ]


def _sites(db: Session, runs: Iterable[RunId]) -> dict[RunId, list[SiteId]]:
    found: dict[RunId, list[SiteId]] = {}
    for run, site in db.execute(select(Participant.run, Participant.site).where(Participant.run.in_(list(runs)))):
        found.setdefault(run, []).append(site)
    return found
