"""How the hub's log looks from this site: what it cosigned, which receipts are due, what is wrong. For the operator."""

import base64
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.audit.log import ROWS, Entry, first_row_of, read
from hansa.audit.note import parse
from hansa.errors import Refused
from hansa.mail.checks import Finding, moment
from hansa_site import deeds
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
    waiting = deeds.of_log(select(func.count(OwnEntry.sequence)), deeds.newest(db)).where(OwnEntry.number.is_(None))
    due = db.scalar(waiting) or 0
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


def receipt(db: Session, sequence: int, origin: str = "") -> bytes:
    """The C2SP tlog-proof of one of this site's own entries, in the newest log or in the one of this origin."""
    row = db.get(OwnEntry, (first_row_of(origin) if origin else deeds.newest(db)) + sequence)
    if row is None:
        raise Refused(f"this site has made no entry {sequence}")
    if row.receipt is None:
        raise Refused(f"the hub has given no receipt for entry {sequence} yet")
    return row.receipt


class Own(Struct, frozen=True):
    """An entry of this site's own, and its number in its log, once the hub has proved it."""

    sequence: int
    entry: Entry
    number: int | None


def own(db: Session) -> list[Own]:
    rows = db.scalars(select(OwnEntry).order_by(OwnEntry.sequence))
    return [Own(row.sequence % ROWS, read(row.data), row.number) for row in rows]


def copy(db: Session, origin: str) -> bytes:
    """All that this site wrote in a log, and the checkpoint that it cosigned there last: `hansa audit lost` holds it to
    what the site says of it in the log that followed."""
    seen, data = db.get(Witnessed, origin), own_data(db, origin)
    if seen is None and not data:
        raise Refused(f"this site knows no log '{origin}'")
    name = read(data[0]).by if data else ""
    note = "" if seen is None else seen.note.decode()
    encoded = [base64.b64encode(one).decode() for one in data]
    found = {"format": "hansa member's log 1", "site": name, "log": origin, "note": note, "entries": encoded}
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


def own_data(db: Session, origin: str) -> Sequence[bytes]:
    """The leaf data of this site's own entries in a log, in their order."""
    return db.scalars(deeds.of_log(select(OwnEntry.data), first_row_of(origin)).order_by(OwnEntry.sequence)).all()


def head(db: Session, *, final: bool = False, origin: str = "") -> bytes:
    """The newest checkpoint that this site cosigned, or the newest that a quorum of the members did; in the newest log
    or in the one of this origin."""
    query = select(Witnessed).order_by(Witnessed.at.desc()).limit(1)
    seen = db.scalar(query.where(Witnessed.origin == origin) if origin else query)
    note = b"" if seen is None else seen.final if final else seen.note
    if not note:
        raise Refused("the hub has shown no such checkpoint yet")
    parse(note)
    return note
