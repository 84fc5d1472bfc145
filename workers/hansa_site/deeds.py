"""What this site does, for the log: each deed an entry signed by the member, in the transaction of the deed itself.

write    makes the next entry: the member's own count has no gaps, whatever crashes
submit   puts what was not sent yet into a letter to the hub
overdue  entries that have no receipt after the merge delay: the hub may be leaving them out
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.json import encode as to_json
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hansa.audit import log
from hansa.audit.log import Entry, Payload
from hansa.charter import Charter
from hansa.crypto.keys import digest
from hansa.jobs.base import Schema
from hansa.mail.boxes import Desk
from hansa.mail.letters import MOST_ENTRIES, STANDING, Entries, Submitted
from hansa.messages import HUB, encode
from hansa_site.journal import Noted, OwnEntry
from hansa_site.policy import Policy

MERGE_DELAY = 60.0  # seconds
_OWN = 0x68616E7362  # the advisory lock's number
MOST_BYTES = 2**22  # in one letter


class Deed(Struct, frozen=True):
    """Of `content` the entry holds the commitment only; salt and content go beside it, and can be erased."""

    act: str
    details: dict[str, str] = {}
    content: bytes | None = None


def write(db: Session, desk: Desk, deed: Deed, run: str, now: float, draw: Callable[[int], bytes]) -> None:
    """Nothing under a charter of Hansa 0.1: its hub keeps such entries itself."""
    if not desk.charter.witnessed:
        return
    _lock(db)
    last = db.scalar(select(func.max(OwnEntry.sequence)))
    sequence = 0 if last is None else last + 1
    payload = None if deed.content is None else Payload(draw(log.SALT_BYTES), deed.content)
    commitment = payload.commitment if payload else b""
    origin = desk.charter.origin
    entry = Entry(origin, desk.name, sequence, int(now * 1000), deed.act, run, deed.details, commitment)
    data = log.sign(entry, desk.keys.consent)
    db.add(
        OwnEntry(
            sequence=sequence,
            data=data,
            payload=encode(payload) if payload else b"",
            at=now,
            sent=False,
            number=None,
            receipt=None,
        )
    )
    db.flush()


def of_settings(db: Session, charter: Charter, policy: Policy, tables: Sequence[Schema]) -> list[Deed]:
    """What differs from what the log knows of this site's charter, policy and tables; noted as known from now on."""
    if not charter.witnessed:
        return []
    policy_digest, version = digest("policy", to_json(policy)), {"version": str(charter.version)}
    schemas = {f"table {table.table}": digest("schema", encode(table)) for table in tables}
    known = {row.what: row for row in db.scalars(select(Noted))}
    found = []
    if _is_new(db, known, "charter", charter.digest):
        found.append(Deed("charter accepted", version | {"charter": charter.digest.hex()}))
    if _is_new(db, known, "policy", policy_digest):
        found.append(Deed("policy changed", {"policy": policy_digest.hex()}))
    for what in sorted(what for what in known.keys() - schemas.keys() if what.startswith("table ")):
        found.append(Deed("table withdrawn", {"table": what[6:], "schema": known[what].digest.hex()}))
        db.delete(known[what])
    for what, made in schemas.items():
        if _is_new(db, known, what, made):
            found.append(Deed("table added", {"table": what[6:], "schema": made.hex()}))
    return found


def _is_new(db: Session, known: Mapping[str, Noted], what: str, made: bytes) -> bool:
    row = known.get(what) or Noted(what=what, digest=b"")
    is_new, row.digest = row.digest != made, made
    db.add(row)
    return is_new


def submit(db: Session, desk: Desk, now: float) -> int:
    """How many entries went into a letter; call it again while it is full."""
    query = select(OwnEntry).where(~OwnEntry.sent).order_by(OwnEntry.sequence).limit(MOST_ENTRIES)
    rows, size = list[OwnEntry](), 0
    for row in db.scalars(query):
        size += len(row.data) + len(row.payload)
        if rows and size > MOST_BYTES:
            break
        rows.append(row)
    if rows:
        entries = tuple(Submitted(row.data, row.payload) for row in rows)
        desk.write(db, HUB, STANDING, "entries", Entries(entries), now)
        db.execute(update(OwnEntry).where(OwnEntry.sequence.in_([row.sequence for row in rows])).values(sent=True))
    return len(rows)


def unsent(db: Session) -> bool:
    return db.scalar(select(OwnEntry.sequence).where(~OwnEntry.sent).limit(1)) is not None


def receipted(db: Session) -> int:
    """Of how many entries, counted from the first, there is a receipt."""
    first = db.scalar(select(func.min(OwnEntry.sequence)).where(OwnEntry.number.is_(None)))
    if first is not None:
        return first
    last = db.scalar(select(func.max(OwnEntry.sequence)))
    return 0 if last is None else last + 1


def overdue(db: Session, now: float) -> Sequence[OwnEntry]:
    """The oldest entries without a receipt after the merge delay."""
    late = OwnEntry.number.is_(None), OwnEntry.at < now - MERGE_DELAY
    return db.scalars(select(OwnEntry).where(*late).order_by(OwnEntry.sequence).limit(100)).all()


def _lock(db: Session) -> None:
    """One writer at a time; SQLite has no other."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_OWN)))
