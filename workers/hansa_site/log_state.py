"""How the hub's log looks from this site: what it cosigned, which receipts are due, what is wrong. For the operator."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.audit.log import Entry, read
from hansa.audit.note import parse
from hansa.errors import Refused
from hansa.mail.checks import Finding, moment
from hansa_site.journal import Alarm, OwnEntry, Witnessed

MEND = (
    "keep `hansa site alarms` and the file that `hansa site head` writes, tell the other members by telephone, and "
    "compare heads with theirs (`hansa audit compare`); `hansa site alarms --close` once that is settled"
)


def look(db: Session) -> Iterator[Finding]:
    for alarm in open_alarms(db):
        yield Finding("wrong", f"log, alarm {alarm.id}", alarm.text, MEND)
    seen = db.scalar(select(Witnessed).order_by(Witnessed.at.desc()).limit(1))
    if seen is None:
        yield Finding("note", "log", "the hub has shown no checkpoint yet")
        return
    due = db.scalar(select(func.count()).select_from(OwnEntry).where(OwnEntry.number.is_(None))) or 0
    waits = f"; {due} of this site's entries wait for a receipt" if due else ""
    yield Finding("ok", "log", f"{seen.size} entries are cosigned{waits}")


def open_alarms(db: Session) -> Sequence[Alarm]:
    return db.scalars(select(Alarm).where(Alarm.closed_at.is_(None)).order_by(Alarm.id)).all()


def alarms(db: Session, now: float) -> list[tuple[int, str, str]]:
    """(number, when and until when, what) of every alarm, the newest last."""
    rows = db.scalars(select(Alarm).order_by(Alarm.id))
    return [(row.id, _span(row, now), row.text) for row in rows]


def _span(alarm: Alarm, now: float) -> str:
    ended = "OPEN" if alarm.closed_at is None else f"closed {moment(alarm.closed_at, now)}"
    return f"{moment(alarm.at, now)}; {ended}"


def close(db: Session, number: int, now: float) -> None:
    """Somebody has looked into it. It opens again if its reason comes again."""
    alarm = db.get(Alarm, number)
    if alarm is None or alarm.closed_at is not None:
        raise Refused(f"there is no open alarm {number}")
    alarm.closed_at = now


def receipt(db: Session, sequence: int) -> bytes:
    """The C2SP tlog-proof of one of this site's own entries."""
    row = db.get(OwnEntry, sequence)
    if row is None:
        raise Refused(f"this site has made no entry {sequence}")
    if row.receipt is None:
        raise Refused(f"the hub has given no receipt for entry {sequence} yet")
    return row.receipt


class Own(Struct, frozen=True):
    """An entry of this site's own, and its number in the log, once the hub has proved it."""

    sequence: int
    entry: Entry
    number: int | None


def own(db: Session) -> list[Own]:
    rows = db.scalars(select(OwnEntry).order_by(OwnEntry.sequence))
    return [Own(row.sequence, read(row.data), row.number) for row in rows]


def head(db: Session, *, final: bool = False) -> bytes:
    """The newest checkpoint that this site cosigned, or the newest that a quorum of the members did."""
    seen = db.scalar(select(Witnessed).order_by(Witnessed.at.desc()).limit(1))
    note = b"" if seen is None else seen.final if final else seen.note
    if not note:
        raise Refused("the hub has shown no such checkpoint yet")
    parse(note)
    return note
