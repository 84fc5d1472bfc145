"""The log as the hub keeps it: entries, and the nodes of their tree, written in the transaction of the act itself.

The index has no gaps: one writer at a time. What is here once is never changed; triggers see to that, and the
checkpoints that members cosign (`checkpoints.py`) are what shows it.

Logs that are over, because the members began a new one (`new_log.py`), lie in the same tables, each in a range of its
own: rows count from `first_row` of its charter on, and everybody else counts from 0.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.orm import Session

from hansa.audit import log
from hansa.audit.former import GENESIS
from hansa.audit.log import ROWS, Entry, Payload, first_row
from hansa.audit.tree import Head, Read, new_nodes, root_at
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation, Refused
from hansa.hub.models import Base, EntryRow, FormerLog, NodeRow, PayloadRow
from hansa.mail.boxes import Desk
from hansa.mail.letters import Submitted
from hansa.messages import HUB, decode, encode

_LOG = 0x68616E7361  # the advisory lock's number
# Below the object mapper, which costs more than the database does; these rows are never objects that are changed.
_NEW_ENTRY, _NEW_NODE = (insert(Base.metadata.tables[row.__tablename__]) for row in (EntryRow, NodeRow))
_LAST = select(func.max(EntryRow.number))
_LAST_OF_LOG = _LAST.where(EntryRow.number >= bindparam("first"), EntryRow.number < bindparam("end"))
_LAST_OF = select(func.max(EntryRow.sequence)).where(
    EntryRow.by == bindparam("author"), EntryRow.sequence >= bindparam("first"), EntryRow.sequence < bindparam("end")
)
_DIGEST = select(NodeRow.digest).where(NodeRow.level == bindparam("of_level"), NodeRow.place == bindparam("at"))


def record(
    db: Session,
    desk: Desk,
    now: float,
    act: str,
    run: str = "",
    details: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> None:
    """Appends an act of the hub's own. Of `content` the entry holds the commitment only; it can be erased."""
    lock(db)
    payload = None if content is None else Payload(secrets.token_bytes(log.SALT_BYTES), content)
    first, commitment = first_row(desk.charter), payload.commitment if payload else b""
    sequence = _next_of(db, HUB, first)
    if first and not sequence and act != "log opened":
        raise Refused(f"version {desk.charter.version} of the charter begins a new log: start the hub anew to open it")
    entry = Entry(desk.charter.origin, HUB, sequence, int(now * 1000), act, run, dict(details or {}), commitment)
    append(db, [(log.sign(entry, desk.signing), entry)], first)
    if payload is not None:
        db.add(PayloadRow(commitment=commitment, payload=encode(payload), at=now))


def take_entries(db: Session, desk: Desk, site: str, entries: Iterable[Submitted], now: float) -> None:
    """Appends what a member says it did. An entry that is here already is passed over; anything else that is not the
    member's next is its fault, and none of the letter's entries is taken. A member that has new keys may have signed
    with the old ones, of the charter before, until its first entry with the new."""
    lock(db)
    first = first_row(desk.charter)
    due, found, payloads = _next_of(db, site, first), [], []
    for submitted in entries:
        entry = _checked(desk, site, submitted.data)
        if entry.log != desk.charter.origin:
            continue  # too late for the log that is over; its author says in the new one how many there were
        if entry.by != site:
            raise ProtocolViolation(f"'{site}' submits an entry of '{entry.by}'")
        if entry.sequence < due:
            _check_same(db, entry, submitted.data, first)
            continue
        if entry.sequence > due:
            raise ProtocolViolation(f"'{site}' leaves out its entry {due}")
        found.append((submitted.data, entry))
        payloads += _payload(entry, submitted.payload, now)
        due += 1
    if found:
        append(db, found, first)
        db.add_all(payloads)


def _checked(desk: Desk, site: str, data: bytes) -> Entry:
    try:
        return log.check(data, desk.charter)
    except ProtocolViolation:
        before = desk.former[-1] if desk.former else None
        if before is None or not before.witnessed or site not in {member.id for member in before.members}:
            raise
        return log.check(data, before)


def _check_same(db: Session, entry: Entry, data: bytes, first: int) -> None:
    sequence = first + entry.sequence
    kept = db.scalar(select(EntryRow.data).where(EntryRow.by == entry.by, EntryRow.sequence == sequence))
    if kept != data:
        raise ProtocolViolation(f"'{entry.by}' wrote two entries {entry.sequence}: equivocation")


def _payload(entry: Entry, data: bytes, now: float) -> list[PayloadRow]:
    if not data:
        return []
    if decode(data, Payload).commitment != entry.payload:
        raise ProtocolViolation("a payload is not the one that its entry commits to")
    return [PayloadRow(commitment=entry.payload, payload=data, at=now)]


def append(db: Session, entries: Sequence[tuple[bytes, Entry]], first: int = 0) -> None:
    """(leaf data, entry) of each, with the nodes that they complete, into the log that begins at the row `first`. The
    caller holds the log's lock."""
    number, hashes = size(db, first), [leaf(data) for data, _ in entries]
    rows = [
        {
            "number": first + place,
            "data": data,
            "by": entry.by,
            "sequence": first + entry.sequence,
            "act": entry.act,
            "run": entry.run,
            "at": entry.milliseconds / 1000,
        }
        for place, (data, entry) in enumerate(entries, number)
    ]
    nodes = new_nodes(number, hashes, reader(db, first))
    connection = db.connection()
    connection.execute(_NEW_ENTRY, rows)
    made = [{"level": level, "place": first + place, "digest": digest} for level, place, digest in nodes]
    connection.execute(_NEW_NODE, made)


def read_entry(db: Session, number: int, first: int = 0) -> Entry:
    return log.read(db.get_one(EntryRow, first + number).data)


def reader(db: Session, first: int = 0) -> Read:
    return partial(_node, db, first)


def _node(db: Session, first: int, level: int, place: int) -> bytes:
    found: bytes | None = db.connection().execute(_DIGEST, {"of_level": level, "at": first + place}).scalar()
    if found is None:
        raise LookupError(f"the log has no node {place} of level {level}")
    return found


def newest(db: Session) -> int:
    """The first row of the log that began last."""
    last: int | None = db.connection().execute(_LAST).scalar()
    return 0 if last is None else last // ROWS * ROWS


def size(db: Session, first: int = 0) -> int:
    last: int | None = db.connection().execute(_LAST_OF_LOG, {"first": first, "end": first + ROWS}).scalar()
    return 0 if last is None else last - first + 1


def head(db: Session, first: int = 0) -> Head:
    """Of the tree as it stands."""
    there = size(db, first)
    return Head(there, root_at(there, reader(db, first)))


def former_head(db: Session) -> tuple[int, bytes]:
    """Of what Hansa 0.1 wrote."""
    last = db.scalar(select(FormerLog).order_by(FormerLog.number.desc()).limit(1))
    return (0, GENESIS) if last is None else (last.number + 1, last.digest)


def _next_of(db: Session, author: str, first: int) -> int:
    values = {"author": author, "first": first, "end": first + ROWS}
    last: int | None = db.connection().execute(_LAST_OF, values).scalar()
    return 0 if last is None else last - first + 1


def lock(db: Session) -> None:
    """One writer at a time; SQLite has no other."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_LOG)))
