"""What a new version of the charter ends at the hub, when its processes start under it.

Jobs are bound to the charter that they were asked under, by their plan: whoever signed that plan agreed to those
members and rules. So an open one ends with a reason, and may be asked again. Who has left is sent nothing.
"""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hansa.hub import models, rounds
from hansa.hub.models import Job
from hansa.mail.boxes import Desk, Outbox
from hansa.plan import read


def settle(db: Session, desk: Desk, now: float) -> None:
    """Call it before anything else is done for open jobs. Doing it again changes nothing."""
    reason = f"version {desk.charter.version} of the charter was accepted while the job was open: ask again"
    for job in db.scalars(select(Job).where(Job.status.in_(models.OPEN)).order_by(Job.place)).all():
        if read(job.plan).charter != desk.charter.digest:
            rounds.end(db, desk, job, models.FAILED, reason, now)
    members = [member.id for member in desk.charter.members]
    left = update(Outbox).where(Outbox.acked_at.is_(None), Outbox.receiver.not_in(members))
    db.execute(left.values(acked_at=now))
