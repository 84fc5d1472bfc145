"""What the hub's operator sees on the page: processes, letters on their way, what was set aside, the line of jobs.

Of a question nothing is shown but that it is there: no table, no kind, no person. Nothing here changes anything.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

import hansa
from hansa.access import Person, authorise
from hansa.hub import line, status
from hansa.hub import settings as hub_settings
from hansa.hub.actions import Hub
from hansa.hub.models import OPEN, Job, Member
from hansa.mail import boxes, workers
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.mail.checks import Finding
from hansa.mail.letters import apart

MOST_ASIDE = 50


class Lane(Struct, frozen=True):
    """Between the hub and a site. `waiting` letters to it are not acknowledged; the one that was sent most often has
    waited `at_least` so many seconds. Of those that came from it, `unread` are not worked off, the oldest since
    `since`. `apart`: why the two versions don't work together, if they don't."""

    site: str
    version: str
    apart: str
    seen_at: float | None
    waiting: int
    attempts: int
    at_least: float
    unread: int
    since: float | None


class Aside(Struct, frozen=True):
    """A letter that was not believed."""

    at: float
    came_by: str
    reason: str


class InLine(Struct, frozen=True):
    """An open job. `due`: its turn has come. `since`: when its turn came, or when it was proposed."""

    run: str
    status: str
    sites: int
    since: float | None
    rests: bool
    due: bool


class Operations(Struct, frozen=True):
    """`leads`: a process does what only one may do. `free` and `disk` in bytes, of where the home lies; `database` the
    size of its file, None where it is a server's."""

    version: str
    processes: int
    leads: bool
    free: int
    disk: int
    database: int | None
    lanes: tuple[Lane, ...]
    aside: tuple[Aside, ...]
    line: tuple[InLine, ...]
    open: Mapping[str, int]


def operations(hub: Hub, who: Person, now: float) -> Operations:
    authorise(who, "operate")
    disk = shutil.disk_usage(hub.home)
    with Session(hub.reading) as db:
        lanes = _lanes(hub, db)
        rows = db.execute(
            select(SetAside.at, SetAside.came_by, SetAside.reason).order_by(SetAside.id.desc()).limit(MOST_ASIDE)
        )
        aside = tuple(Aside(*row) for row in rows)
        waiting = line.in_line(db)
        open_jobs = select(Job.status, func.count()).where(Job.status.in_(OPEN)).group_by(Job.status)
        counts = {row[0]: row[1] for row in db.execute(open_jobs)}
    due = set(line.admitted(waiting, now))
    in_line = (InLine(job.run, job.status, len(job.sites), job.since, job.rests, job.run in due) for job in waiting)
    running, leads = workers.running(hub.home), workers.led(hub.home)
    size = _database(hub.home)
    return Operations(
        hansa.__version__, running, leads, disk.free, disk.total, size, lanes, aside, tuple(in_line), counts
    )


def findings(hub: Hub, who: Person, now: float) -> list[Finding]:
    """What `hansa hub status` finds. It tries every broker: a silent one takes five seconds."""
    authorise(who, "operate")
    return status.look(hub.home, now)


def _lanes(hub: Hub, db: Session) -> tuple[Lane, ...]:
    to_sites = select(Outbox.receiver, func.count(), func.max(Outbox.attempts)).where(Outbox.acked_at.is_(None))
    from_sites = select(Inbox.sender, func.count(), func.min(Inbox.received_at)).where(Inbox.done_at.is_(None))
    waiting = {site: (count, tried) for site, count, tried in db.execute(to_sites.group_by(Outbox.receiver))}
    unread = {site: (count, since) for site, count, since in db.execute(from_sites.group_by(Inbox.sender))}
    members = {row.site: row for row in db.execute(select(Member.site, Member.version, Member.seen_at))}
    found = []
    for member in hub.desk.charter.members:
        row, (count, tried) = members.get(member.id), waiting.get(member.id, (0, 0))
        version, seen = ("", None) if row is None else (row.version, row.seen_at)
        why = apart(hansa.__version__, version) if version else ""
        here = unread.get(member.id, (0, None))
        found.append(Lane(member.id, version, why, seen, count, tried, boxes.waited(tried), *here))
    return tuple(found)


def _database(home: Path) -> int | None:
    url = make_url(hub_settings.read_settings(home).database)
    path = Path(url.database or "")
    return path.stat().st_size if url.get_backend_name() == "sqlite" and path.is_file() else None
