"""What is erased, when, and what stays: the tree stays, for ever.

    payloads    what entries commit to (plans, reasons, notes): after the charter's `retention_years`, or at once
    evidence    of a job, with its chunks and its answer: likewise

An entry holds a salted commitment only, so without salt and payload nothing of it can be guessed, and every proof over
the log goes on holding. Names of people are erased with the person (`people.remove_person`).
"""

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hansa.audit.log import read
from hansa.errors import Refused
from hansa.hub import models
from hansa.hub.models import EntryRow, Event, EvidenceRow, Job, PayloadRow, RoundRow, TotalChunk
from hansa.mail.boxes import Desk

YEAR = 365.25 * 86_400.0
EVERY = 3600.0  # seconds between two sweeps


def sweep(db: Session, desk: Desk, now: float) -> list[str]:
    """Erases what the charter's time is over for; gives the runs whose chunks are to go too."""
    before = now - desk.charter.rules.retention_years * YEAR
    db.execute(delete(PayloadRow).where(PayloadRow.at < before))
    ended = Job.ended_at < before, Job.answer.is_not(None)
    runs = db.scalars(select(Job.run).where(*ended)).all()
    _forget(db, runs)
    return list(runs)


def erase(db: Session, run: str) -> None:
    """Everything of one job that may be erased, at once: somebody has a right to it."""
    job = db.get(Job, run)
    if job is None:
        raise Refused(f"there is no job {run}")
    if job.status in models.OPEN:
        raise Refused("the job is open: cancel it first")
    found = [read(data).payload for data in db.scalars(select(EntryRow.data).where(EntryRow.run == run))]
    db.execute(delete(PayloadRow).where(PayloadRow.commitment.in_([one for one in found if one])))
    _forget(db, [run])


def _forget(db: Session, runs: Sequence[str]) -> None:
    for kept in (EvidenceRow, RoundRow, TotalChunk, Event):
        db.execute(delete(kept).where(kept.run.in_(runs)))
    db.execute(update(Job).where(Job.run.in_(runs)).values(answer=None, receipt=None, total=None, reason=""))
