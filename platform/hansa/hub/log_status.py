"""How the log stands, for the hub's operator: who cosigns it, who does not and why."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit.log import first_row
from hansa.charter import Charter, threshold
from hansa.hub import checkpoints, log, new_log
from hansa.hub.models import WitnessRow
from hansa.mail.checks import Finding, span

QUIET = 600.0  # seconds, after which a witness that is behind is named
OLDER = (
    "this database is older than what members have seen: put the newest one back. If it is lost, the members begin a "
    "new log: `hansa charter new-log` drafts the version of the charter that does it (deploy/README.md)"
)
REFUSES = "its operator sees the same alarm: settle with them why the two logs differ, before anything else"


def look(db: Session, charter: Charter | None, now: float) -> Iterator[Finding]:
    if charter is None:
        return
    if not charter.witnessed:
        mend = "give it one: every member draws new keys (`hansa site new-keys`), then `hansa charter rotate-key`"
        yield Finding(
            "note", "log", "the charter is of Hansa 0.1 and names no key for the log: nobody cosigns it", mend
        )
        return
    size, final = log.size(db, first_row(charter)), checkpoints.newest_final(db, charter) or 0
    yield Finding("ok", "log", f"{size} entries, the first {final} final ({charter.quorum} members cosigned them)")
    yield from _due(db, charter)
    for row in db.scalars(select(WitnessRow).order_by(WitnessRow.site)):
        if row.size > size:
            yield Finding("wrong", "log", f"'{row.site}' has cosigned {row.size} entries: this log has {size}", OLDER)
        elif row.refusal:
            yield Finding("wrong", "log", f"'{row.site}' does not cosign: {row.refusal}", REFUSES)
        elif row.size < final and row.at < now - QUIET:
            says = f"'{row.site}' has cosigned up to {row.size}, and was last heard of {span(now - row.at)} ago"
            yield Finding("note", "log", says)


def _due(db: Session, charter: Charter) -> Iterator[Finding]:
    """Whether the log can't go on, and what is still to be known before another begins."""
    if not new_log.is_due(db):
        return
    there, due = new_log.heard(db, charter), threshold(charter)
    away = sorted({member.id for member in charter.members} - set(there))
    says = f"a new log is due; {len(there)} of {len(charter.members)} members have said how far they cosigned this one"
    if len(there) < due:
        yield Finding("wrong", "new log", says, f"{due} must: let the hub run, and the site of {', '.join(away)}")
        return
    mend = "if the newest database is lost: `hansa charter new-log`, then the members sign and accept"
    yield Finding(
        "wrong", "new log", says, mend + (f"; wait for {', '.join(away)} first, if they come" if away else "")
    )
