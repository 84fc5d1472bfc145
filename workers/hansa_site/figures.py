"""The exact figures of an answer before it is released: shown to a steward once the log knows who will have seen them.

The steward signs that they are to be shown (`people.Decision`); the site's process enters that, and only then are they
given out, to whoever holds the key of that very decision.
"""

from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa_site import pending
from hansa_site.journal import Decided


def show(db: Session, key: bytes) -> bytes:
    """JSON, from before the plan's rules of disclosure; `key` is that of a decision which the site has worked off."""
    row = db.get(Decided, key)
    if row is None or row.what != "see figures" or row.done_at is None or row.refusal:
        raise Refused("the figures are shown once the site's process has entered in the log who sees them")
    return pending.figures(db, row.run)
