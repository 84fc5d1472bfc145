"""What waits for a person, and whether that has changed."""

from sqlalchemy import func, select

from hansa_site import pending
from hansa_site.journal import Decided, Waiting
from hansa_site.pending import Pending
from hansa_site.shown.opened import OpenedSite

Marks = tuple[tuple[tuple[str, str], ...], int]


def waiting(site: OpenedSite, now: float) -> list[Pending]:
    """The oldest first."""
    with site.reading() as db:
        return pending.look(db, site.ground, now)


def marks(site: OpenedSite) -> Marks:
    """What differs as soon as something waits, is decided, or waits no more; cheap to ask for again and again."""
    open_ = select(Waiting.run, Waiting.what).where(Waiting.closed_at.is_(None)).order_by(Waiting.asked_at)
    with site.reading() as db:
        found = tuple((run, what) for run, what in db.execute(open_))
        return found, db.scalar(select(func.count()).where(Decided.done_at.is_not(None))) or 0
