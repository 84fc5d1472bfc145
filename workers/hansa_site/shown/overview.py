"""How the site stands: what runs, what waits, what left, what is wrong."""

from msgspec import Struct
from sqlalchemy import func, select

from hansa.mail import workers
from hansa.mail.boxes import Inbox, Outbox
from hansa.mail.checks import Finding
from hansa_site import doctor
from hansa_site.journal import Alarm, HubSeen, Run, Sent, Spoken, Waiting
from hansa_site.shown.opened import OpenedSite


class Overview(Struct, frozen=True):
    """`processes` of this site that run now; `unacked`: letters whose receipt the hub has not said yet; `left`: bytes
    of letters and chunks, in all."""

    consortium: str
    version: int  # of the charter
    members: int
    processes: int
    hub_version: str
    heard_at: float | None
    waiting: int
    open_jobs: int
    alarms: int
    unacked: int
    left: int


def overview(site: OpenedSite) -> Overview:
    charter = site.charter
    with site.reading() as db:
        hub = db.get(HubSeen, 1)
        return Overview(
            consortium=charter.consortium,
            version=charter.version,
            members=len(charter.members),
            processes=workers.running(site.home),
            hub_version="" if hub is None else hub.version,
            heard_at=db.scalar(select(func.max(Inbox.received_at))),
            waiting=db.scalar(select(func.count()).select_from(Waiting).where(Waiting.closed_at.is_(None))) or 0,
            open_jobs=db.scalar(select(func.count()).select_from(Run).where(Run.ended_at.is_(None))) or 0,
            alarms=db.scalar(select(func.count()).select_from(Alarm).where(Alarm.closed_at.is_(None))) or 0,
            unacked=db.scalar(select(func.count()).select_from(Outbox).where(Outbox.acked_at.is_(None))) or 0,
            left=sum(int(db.scalar(select(func.sum(of.size))) or 0) for of in (Sent, Spoken)),
        )


def findings(site: OpenedSite, now: float) -> list[Finding]:
    """What `hansa site doctor` finds; it goes to the mailbox, which may take some seconds."""
    return doctor.look(site.home, now)
