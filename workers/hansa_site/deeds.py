"""What this site does, for the log: each deed an entry signed by the member, in the transaction of the deed itself.

begin    says, first of all in a new log, what this member wrote and cosigned in the one before
write    makes the next entry: the member's own count has no gaps, whatever crashes
submit   puts what was not sent yet into a letter to the hub
overdue  entries that have no receipt after the merge delay: the hub may be leaving them out
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from hansa.audit import log
from hansa.audit.log import ROWS, Entry, Payload, first_row
from hansa.audit.tree import EMPTY_HEAD, Head
from hansa.charter import Charter
from hansa.crypto.keys import digest
from hansa.crypto.merkle import leaf, root
from hansa.jobs.base import Schema
from hansa.mail.boxes import Desk
from hansa.mail.letters import MOST_ENTRIES, Entries, Submitted
from hansa.messages import encode
from hansa_site import leaving
from hansa_site.journal import Member, Noted, OwnEntry, Witnessed
from hansa_site.policy import Policy, fingerprint

T = TypeVar("T")
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
    first = first_row(desk.charter)
    sequence = count(db, first)
    payload = None if deed.content is None else Payload(draw(log.SALT_BYTES), deed.content)
    commitment = payload.commitment if payload else b""
    origin = desk.charter.origin
    entry = Entry(origin, desk.name, sequence, int(now * 1000), deed.act, run, deed.details, commitment)
    data = log.sign(entry, desk.keys.consent)
    db.add(
        OwnEntry(
            sequence=first + sequence,
            data=data,
            payload=encode(payload) if payload else b"",
            at=now,
            sent=False,
            number=None,
            receipt=None,
        )
    )
    db.flush()


def begin(db: Session, desk: Desk, now: float, draw: Callable[[int], bytes]) -> None:
    """Where members began a new log, its hub may have lost entries of the one before. They stay in this journal; what
    this says of them, and of the head that this site cosigned, is what anybody can hold the hub to. Settings are
    entered anew, for what the log knew of them may be lost too."""
    first = first_row(desk.charter)
    if not first or not desk.charter.witnessed or count(db, first):
        return
    for before in _left(db, desk):
        data = db.scalars(of_log(select(OwnEntry.data), first_row(before)).order_by(OwnEntry.sequence)).all()
        seen = db.get(Witnessed, before.origin)
        head = EMPTY_HEAD if seen is None else Head(seen.size, seen.root)
        details = {"log": before.origin, "entries": str(len(data)), "digest": root(map(leaf, data)).hex()}
        details |= {"size": str(head.size), "root": head.root.hex()}
        write(db, desk, Deed("log continued", details), "", now, draw)
    db.execute(delete(Noted))


def _left(db: Session, desk: Desk) -> list[Charter]:
    """The last version of each log that went before and in which this member stood, from the last one on in which it
    wrote: it may have been away for more than one."""
    following = [*desk.former[1:], desk.charter] if desk.former else []
    over = [one for one, after in zip(desk.former, following, strict=True) if one.origin != after.origin]
    mine = [one for one in over if one.witnessed and desk.name in {member.id for member in one.members}]
    written = [place for place, one in enumerate(mine) if count(db, first_row(one))]
    return mine[written[-1] :] if written else mine[-1:]


def count(db: Session, first: int) -> int:
    """Of this member's entries in the log whose rows begin there."""
    last = db.scalar(of_log(select(func.max(OwnEntry.sequence)), first))
    return 0 if last is None else last - first + 1


def of_log(query: Select[T], first: int) -> Select[T]:
    return query.where(OwnEntry.sequence >= first, OwnEntry.sequence < first + ROWS)


def newest(db: Session) -> int:
    """The first row of the log in which this member wrote last."""
    last = db.scalar(select(func.max(OwnEntry.sequence)))
    return 0 if last is None else last // ROWS * ROWS


def of_settings(db: Session, charter: Charter, policy: Policy, tables: Sequence[Schema]) -> list[Deed]:
    """What differs from what the log knows of this site's charter, policy and tables; noted as known from now on."""
    if not charter.witnessed:
        return []
    policy_digest, version = fingerprint(policy), {"version": str(charter.version)}
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


def of_policy(db: Session, charter: Charter, policy: Policy, by: Mapping[str, str]) -> list[Deed]:
    """A policy that a person has put in the place of the former, `by` whom; noted as known from now on."""
    made = fingerprint(policy)
    known = {row.what: row for row in db.scalars(select(Noted).where(Noted.what == "policy"))}
    if not charter.witnessed or not _is_new(db, known, "policy", made):
        return []
    return [Deed("policy changed", {"policy": made.hex(), **by})]


def of_people(db: Session, charter: Charter) -> list[Deed]:
    """Who was let in or has gone since this was last entered; noted as known from now on."""
    if not charter.witnessed:
        return []
    known = set(db.scalars(select(Noted.what).where(Noted.what.like("person %"))))
    found = []
    for row in db.scalars(select(Member).order_by(Member.added_at)):
        here, gone = f"person {row.pseudonym} here", f"person {row.pseudonym} gone"
        if here not in known:
            details = {"person": row.pseudonym, "roles": row.roles, "key": row.public.hex()}
            found.append(Deed("person added", details))
            db.add(Noted(what=here, digest=digest("person", row.public)))
        if row.removed_at is not None and gone not in known:
            found.append(Deed("person removed", {"person": row.pseudonym}))
            db.add(Noted(what=gone, digest=digest("person", row.public)))
    return found


def _is_new(db: Session, known: Mapping[str, Noted], what: str, made: bytes) -> bool:
    row = known.get(what) or Noted(what=what, digest=b"")
    is_new, row.digest = row.digest != made, made
    db.add(row)
    return is_new


def submit(db: Session, desk: Desk, now: float) -> int:
    """How many entries went into a letter; call it again while it is full."""
    query = of_log(select(OwnEntry).where(~OwnEntry.sent), first_row(desk.charter))
    query = query.order_by(OwnEntry.sequence).limit(MOST_ENTRIES)
    rows, size = list[OwnEntry](), 0
    for row in db.scalars(query):
        size += len(row.data) + len(row.payload)
        if rows and size > MOST_BYTES:
            break
        rows.append(row)
    if rows:
        entries = tuple(Submitted(row.data, row.payload) for row in rows)
        leaving.write(db, desk, desk.standing, "entries", Entries(entries), now)
        db.execute(update(OwnEntry).where(OwnEntry.sequence.in_([row.sequence for row in rows])).values(sent=True))
    return len(rows)


def unsent(db: Session, first: int = 0) -> bool:
    """Whether entries wait for the log whose rows begin at `first`."""
    return db.scalar(of_log(select(OwnEntry.sequence).where(~OwnEntry.sent), first).limit(1)) is not None


def receipted(db: Session, first: int = 0) -> int:
    """Of how many entries of a log, counted from the first, there is a receipt."""
    query = select(func.min(OwnEntry.sequence)).where(OwnEntry.number.is_(None))
    without = db.scalar(of_log(query, first))
    return count(db, first) if without is None else without - first


def overdue(db: Session, now: float, first: int = 0) -> Sequence[OwnEntry]:
    """The oldest entries of a log without a receipt after the merge delay. In one that is over none will come."""
    late = OwnEntry.number.is_(None), OwnEntry.at < now - MERGE_DELAY
    query = of_log(select(OwnEntry).where(*late), first)
    return db.scalars(query.order_by(OwnEntry.sequence).limit(100)).all()


def _lock(db: Session) -> None:
    """One writer at a time; SQLite has no other."""
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_OWN)))
