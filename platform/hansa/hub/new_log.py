"""How a log begins: the first of a consortium, the one after Hansa 0.1's, and a new one where an older database was put
back.

A hub that was restored can't go on where its members are: it would sign other checkpoints of sizes that they have
cosigned. So the members begin a new log, by a version of the charter that changes its origin. Its first entry says what
the hub holds of the one before, and how far members had seen it; each member's first says what *it* saw and wrote
(`hansa_site/deeds.py`). What the hub holds of the log before stays where it is, and goes with every export.
"""

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hansa.audit.log import first_row
from hansa.charter import Charter, threshold
from hansa.errors import Refused
from hansa.hub import checkpoints, log
from hansa.hub.models import WitnessRow
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Outbox


def open_log(db: Session, desk: Desk, now: float) -> None:
    """The first entry of the charter's log, once. What jobs and letters of the log before it are left is settled."""
    charter = desk.charter
    first = first_row(charter)
    if log.newest(db) > first:
        raise Refused(f"this database holds a later log than version {charter.version} of the charter names")
    if log.size(db, first):
        _note_start(db)
        return
    before = log_before(charter, desk.former)
    if before is not None:
        log.record(db, desk, now, "log opened", details=_known_of(db, desk, before))
        _leave(db, before, now)
        return
    if charter.log_began > 1:
        raise Refused(f"the version before {charter.log_began} of the charter is not in this home: put `charters` back")
    size, head = log.former_head(db)
    log.record(
        db, desk, now, "log opened", details={"former size": str(size), "former head": head.hex()} if size else {}
    )


def log_before(charter: Charter, former: Sequence[Charter]) -> Charter | None:
    """The last version under the log that went before this charter's; None if none did."""
    return next((one for one in reversed(former) if one.origin != charter.origin), None)


def logs(charter: Charter, former: Sequence[Charter]) -> list[Charter]:
    """The last version of each log that is over, the oldest first."""
    following = [*former[1:], charter] if former else []
    return [one for one, after in zip(former, following, strict=True) if one.origin != after.origin]


def is_due(db: Session) -> bool:
    """Whether a member has cosigned what this database does not hold."""
    return db.scalar(select(WitnessRow.site).where(WitnessRow.seen.is_not(None)).limit(1)) is not None


def heard(db: Session, charter: Charter) -> list[str]:
    """The members that have said how far they cosigned, since the hub was started on this database."""
    found = db.scalars(select(WitnessRow.site).where(WitnessRow.heard).order_by(WitnessRow.site))
    return [site for site in found if site in {member.id for member in charter.members}]


def check_due(db: Session, charter: Charter) -> None:
    """Refuses a new log that is not needed, or for which too few members were asked: any so many of them, and any
    quorum, have an honest member in common, so it knows every checkpoint that was ever final."""
    if not charter.witnessed:
        raise Refused("the charter is of Hansa 0.1, and nobody cosigns its log: this hub can go on with it")
    if not is_due(db):
        raise Refused("no member has cosigned anything that this hub does not hold: its log can go on")
    due, there = threshold(charter), heard(db, charter)
    if len(there) < due:
        away = ", ".join(sorted({member.id for member in charter.members} - set(there)))
        raise Refused(
            f"{len(there)} members have said how far they cosigned the log, and {due} must before another begins: "
            f"let the hub run, and the site of {away}"
        )


def told(db: Session, charter: Charter) -> str:
    """How much of the log is lost, for the operator."""
    there = log.size(db, first_row(charter))
    rows = {row.site: row.size for row in db.scalars(select(WitnessRow).order_by(WitnessRow.site)) if row.seen}
    said = ", ".join(f"'{site}' has cosigned {size}" for site, size in rows.items())
    return f"this hub holds {there} entries of the log, and {said}; asked were {', '.join(heard(db, charter))}"


def _note_start(db: Session) -> None:
    """Who was heard before this start may know of more than this database, unless that is known already."""
    if not is_due(db):
        db.execute(update(WitnessRow).values(heard=False))


def _known_of(db: Session, desk: Desk, before: Charter) -> dict[str, str]:
    """Of the log before: what is here, and the largest of all checkpoints that are here or at a member."""
    first = first_row(before)
    head = log.head(db, first)
    known = {"former log": before.origin, "former size": str(head.size), "former root": head.root.hex()}
    known["heard"] = ", ".join(heard(db, before))
    notes = [note for note in db.scalars(select(WitnessRow.seen)) if note is not None]
    seen = {note: checkpoints.seen_head(before, desk.former, note) for note in notes}
    sizes = {note: found.size for note, found in seen.items() if found is not None}
    newest = checkpoints.newest_row(db, before)
    if newest is not None:
        sizes[newest.note] = newest.size - first
    if sizes:
        known["witnessed"] = max(sizes, key=lambda note: sizes[note]).decode()
    return known


def _leave(db: Session, before: Charter, now: float) -> None:
    """Letters that belonged to no job, and what was known of witnesses. What restored hub and sites would still write
    to each other there has lost its order."""
    run = boxes.standing(before)
    boxes.done_with(db, run, now)
    db.execute(update(Outbox).where(Outbox.run == run, Outbox.acked_at.is_(None)).values(acked_at=now))
    db.execute(delete(WitnessRow))
