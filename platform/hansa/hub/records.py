"""What the hub writes down: the log, and a job's timeline. Called inside the transaction of the act itself."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.audit.log import GENESIS, link
from hansa.hub.models import AuditEntry, Event
from hansa.messages import HUB

_LOG = 0x68616E7361  # the advisory lock's number


def record(
    db: Session, now: float, act: str, by: str = HUB, run: str = "", details: Mapping[str, str] | None = None
) -> None:
    """Appends one act to the log, linked to the entry before it."""
    if db.get_bind().dialect.name == "postgresql":  # one writer at a time; SQLite has no other
        db.execute(select(func.pg_advisory_xact_lock(_LOG)))
    last = db.scalar(select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1))
    number, previous = (0, GENESIS) if last is None else (last.number + 1, last.digest)
    entry, digest = link(number, previous, int(now * 1000), act, by, run, details or {})
    db.add(AuditEntry(number=number, entry=entry, digest=digest))
    db.flush()


def tell(db: Session, now: float, run: str, text: str, site: str = "") -> None:
    """A line of the job's timeline, for people."""
    db.add(Event(run=run, at=now, site=site, text=text))
