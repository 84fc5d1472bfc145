"""A job's timeline, for people. What happened stands in the log (`log.py`)."""

from sqlalchemy.orm import Session

from hansa.hub.models import Event


def tell(db: Session, now: float, run: str, text: str, site: str = "") -> None:
    """A line of the job's timeline."""
    db.add(Event(run=run, at=now, site=site, text=text))
