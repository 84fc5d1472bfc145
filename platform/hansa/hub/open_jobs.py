"""What every open job waits for, in words, for `hansa hub status`."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Charter
from hansa.hub.models import OPEN, Job, Participant
from hansa.mail.checks import Finding, moment, span
from hansa.messages import decode
from hansa.plan import Plan

SHOWN: Final = 20  # the oldest
LATE_SECONDS: Final = 30.0  # past its deadline; a hub that runs closes a round within a second


def look(db: Session, charter: Charter | None, now: float) -> list[Finding]:
    jobs = db.scalars(select(Job).where(Job.status.in_(OPEN)).order_by(Job.place)).all()
    if not jobs:
        return [Finding("ok", "jobs", "none is open")]
    line = sum(job.status in ("proposed", "waiting") for job in jobs)
    says = f"{line} in line, {len(jobs) - line} under way; the oldest was asked {moment(jobs[0].created_at, now)}"
    return [Finding("ok", "jobs", says), *(_job(db, job, charter, now) for job in jobs[:SHOWN])]


def _job(db: Session, job: Job, charter: Charter | None, now: float) -> Finding:
    says, late = f"{job.status}: waits for {_waits_for(db, job, charter)}", 0.0
    if job.deadline is not None:
        late = now - job.deadline
        says += f"; its deadline was {span(late)} ago" if late > 0 else f"; until {span(-late)} from now"
    about = f"job {job.run[:8]}"
    if late > LATE_SECONDS:
        return Finding("wrong", about, says, "see that the hub runs and its broker can be used, and the hub's journal")
    return Finding("note", about, says)


def _waits_for(db: Session, job: Job, charter: Charter | None) -> str:
    parts = db.scalars(select(Participant).where(Participant.run == job.run).order_by(Participant.site)).all()
    active = [part for part in parts if part.active]
    if job.status == "proposed":
        proposer = f"'{decode(job.plan, Plan).proposer}'" if charter is not None else "its member"
        return f"{proposer} to sign it"
    if job.status == "waiting":
        return f"its turn over table '{job.table_name}'"
    if job.status == "consenting":
        sites = [part.site for part in active if part.consent is None]
        return f"consents of {', '.join(sites)}" if sites else "its turn at the hub"
    sites = [part.site for part in active if part.asked and part.reply is None]
    if sites and job.status == "releasing":
        return f"{', '.join(sites)} to agree to the release"
    if sites:
        return f"replies of {', '.join(sites)} in round {job.round}"
    sites = [part.site for part in active if part.asked and part.chunks is not None]
    return f"chunks of {', '.join(sites)}, or the hub's own work" if sites else "the hub's own work"
