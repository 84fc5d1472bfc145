"""What an auditor reads at the hub: the log in pages, each entry, a job's story, who signed off. Changes nothing.

What is held to the verifier, exported or compared stands in `verifying.py`.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit import log as audit_log
from hansa.audit.log import ROWS, first_row
from hansa.audit.log import read as read_entry
from hansa.audit.tree import root_at
from hansa.charter import Charter
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.hub import checkpoints, log_check, log_pages, new_log
from hansa.hub import log as the_log
from hansa.hub.actions import Hub
from hansa.hub.log_pages import EVERYTHING, Mark, Wanted
from hansa.hub.models import CosignatureRow, EntryRow, PayloadRow, WitnessRow
from hansa.messages import HUB

MOST_CHECKED = 100_000  # entries of which the tree is made anew while somebody waits
MOST_OF_JOB = 5_000
_MOST_SIGN_OFFS = 2_000
ACTS = tuple(sorted(audit_log.OF_HUB | audit_log.OF_MEMBER))
Payload = Literal["none", "kept", "erased"]


class LogEntry(Struct, frozen=True):
    """`final`: a quorum of the members has cosigned a checkpoint that covers it. `log`: the origin of the one that it
    is the entry `number` of."""

    number: int
    at: float
    act: str
    by: str
    run: str
    details: dict[str, str]
    digest: str
    final: bool
    log: str


class Page(Struct, frozen=True):
    """`count`: of all that match, `log_pages.COUNTED` + 1 for more than that, None if that isn't known."""

    entries: tuple[LogEntry, ...]
    older: Mark | None
    count: int | None


class EntryDetail(Struct, frozen=True):
    """`signed_under`: the newest version of the charter whose key of its author holds; 0 if none does. `covered`: the
    size of the oldest final checkpoint that has it, else of the newest one that does, 0 if none; `cosigned` who
    cosigned that, and when."""

    entry: LogEntry
    sequence: int
    signed_under: int
    commitment: str
    payload: Payload
    covered: int
    cosigned: tuple[tuple[str, float], ...]
    quorum: int


class WitnessView(Struct, frozen=True):
    """A member as a witness: up to which size it cosigned, when its site last spoke of the log, and what it refuses."""

    site: str
    size: int
    at: float | None
    refusal: str


class LogState(Struct, frozen=True):
    """`final`: the first entries that a quorum cosigned; `quorum` is 0 under a charter that names no witnesses."""

    size: int
    root: str
    final: int
    quorum: int
    witnesses: tuple[WitnessView, ...]


class SignOff(Struct, frozen=True):
    """A member's last word on having read the log: up to `size`, 0 if it never said so. `unread` entries came after it,
    the first of them at `since`. `of_this_log`: what it says of the root is true of the entries that are here."""

    site: str
    size: int
    at: float | None
    person: str  # a pseudonym, if the entry names one
    number: int | None
    unread: int
    since: float | None
    of_this_log: bool


def log(hub: Hub, limit: int = 200, run: str = "", wanted: Wanted = EVERYTHING) -> list[LogEntry]:
    """The newest entries first: all, or those of one run (how its id begins is enough); of logs that are over, those
    too."""
    query = select(EntryRow).where(EntryRow.at >= wanted.since, EntryRow.at < wanted.until)
    if run:
        query = query.where(EntryRow.run.startswith(run, autoescape=True) if len(run) < 32 else EntryRow.run == run)
    if wanted.by:
        query = query.where(EntryRow.by == wanted.by)
    if wanted.act:
        query = query.where(EntryRow.act == wanted.act)
    with Session(hub.reading) as db:
        return _views(hub, db, db.scalars(query.order_by(EntryRow.number.desc()).limit(limit)).all())


def page(hub: Hub, wanted: Wanted = EVERYTHING, start: Mark | None = None, limit: int = 100) -> Page:
    """`start` is None, or what the page before it calls `older`."""
    with Session(hub.reading) as db:
        found = log_pages.find(db, wanted, start, limit)
        rows = {row.number: row for row in db.scalars(select(EntryRow).where(EntryRow.number.in_(found.rows)))}
        entries = _views(hub, db, [rows[number] for number in found.rows])
        count = _sizes(hub, db) if wanted == EVERYTHING else log_pages.count(db, wanted)
    return Page(tuple(entries), found.older, count)


def _sizes(hub: Hub, db: Session) -> int:
    return sum(the_log.size(db, first_row(one)) for one in _each(hub))


def authors(hub: Hub) -> list[str]:
    """Whoever may have acted: the hub, and the members of every version of the charter that is here."""
    versions = (hub.desk.charter, *hub.desk.former)
    return [HUB, *sorted({member.id for charter in versions for member in charter.members})]


def mark_of(hub: Hub, number: int) -> Mark:
    """With which a page without filters begins at the entry `number` of the log that goes on."""
    return (first_row(hub.desk.charter) + number,)


def _each(hub: Hub) -> list[Charter]:
    """The last version of the charter of every log that is here."""
    return [*new_log.logs(hub.desk.charter, hub.desk.former), hub.desk.charter]


def _views(hub: Hub, db: Session, rows: Sequence[EntryRow]) -> list[LogEntry]:
    final = {first_row(one): checkpoints.newest_final(db, one) or 0 for one in _each(hub)}
    found = []
    for row in rows:
        entry, digest, number = read_entry(row.data), leaf(row.data).hex(), row.number % ROWS
        is_final = number < final.get(row.number - number, 0)
        found.append(LogEntry(number, row.at, row.act, row.by, row.run, entry.details, digest, is_final, entry.log))
    return found


def entry(hub: Hub, number: int, log: str = "") -> EntryDetail | None:
    """Of the log that goes on, or of the one with this origin; None if there is no such entry."""
    charter = next((one for one in _each(hub) if one.origin == log), hub.desk.charter)
    with Session(hub.reading) as db:
        row = db.get(EntryRow, first_row(charter) + number)
        if row is None:
            return None
        covered = checkpoints.covering(db, charter, number) or _newest_over(db, charter, number)
        of_size = CosignatureRow.size == first_row(charter) + covered
        cosigned = db.execute(select(CosignatureRow.site, CosignatureRow.at).where(of_size)) if covered else ()
        commitment = read_entry(row.data).payload
        return EntryDetail(
            _views(hub, db, [row])[0],
            row.sequence % ROWS,
            _signed_under(hub, row.data),
            commitment.hex(),
            _payload(db, commitment),
            covered,
            tuple(sorted((site, at) for site, at in cosigned)),
            charter.quorum,
        )


def _newest_over(db: Session, charter: Charter, number: int) -> int:
    last = checkpoints.newest_row(db, charter)
    size = 0 if last is None else last.size - first_row(charter)
    return size if size > number else 0


def _payload(db: Session, commitment: bytes) -> Payload:
    if not commitment:
        return "none"
    return "erased" if db.get(PayloadRow, commitment) is None else "kept"


def _signed_under(hub: Hub, data: bytes) -> int:
    for charter in (hub.desk.charter, *reversed(hub.desk.former)):
        try:
            audit_log.check(data, charter)
        except ProtocolViolation:
            continue
        return charter.version
    return 0


def story(hub: Hub, run: str) -> list[LogEntry]:
    """What the log tells of one job, the oldest entry first; at most `MOST_OF_JOB`. Its id may be given by how it
    begins; empty where none begins so, or several do."""
    with Session(hub.reading) as db:
        runs = log_pages.runs_of(db, run)
        query = select(EntryRow).where(EntryRow.run == runs[0]) if len(runs) == 1 else None
        rows = [] if query is None else db.scalars(query.order_by(EntryRow.number).limit(MOST_OF_JOB)).all()
        return _views(hub, db, rows)


def sign_offs(hub: Hub) -> list[SignOff]:
    """Of each member, in the order of the charter."""
    charter = hub.desk.charter
    first = first_row(charter)
    with Session(hub.reading) as db:
        query = select(EntryRow).where(EntryRow.act == "log reviewed", EntryRow.number >= first)
        newest: dict[str, EntryRow] = {}
        for row in db.scalars(query.order_by(EntryRow.number.desc()).limit(_MOST_SIGN_OFFS)):
            newest.setdefault(row.by, row)
        there = the_log.size(db, first)
        return [_sign_off(db, first, there, member.id, newest.get(member.id)) for member in charter.members]


def _sign_off(db: Session, first: int, there: int, site: str, row: EntryRow | None) -> SignOff:
    """A member may have written any number and any root."""
    details = {} if row is None else read_entry(row.data).details
    said = details.get("size", "")
    size = int(said) if said.isdecimal() and len(said) < 16 and int(said) <= there else 0
    after = db.get(EntryRow, first + size)
    true = bool(size) and root_at(size, the_log.reader(db, first)).hex() == details.get("root")
    person, since = details.get("person", ""), None if after is None else after.at
    at, number = (None, None) if row is None else (row.at, row.number - first)
    return SignOff(site, size, at, person, number, there - size, since, true)


def log_state(hub: Hub) -> LogState:
    agreed = hub.desk.charter
    with Session(hub.reading) as db:
        head, final = the_log.head(db, first_row(agreed)), checkpoints.newest_final(db, agreed) or 0
        rows = {row.site: row for row in db.scalars(select(WitnessRow))}
    if not agreed.witnessed:
        return LogState(head.size, head.root.hex(), final=0, quorum=0, witnesses=())
    witnesses = []
    for member in agreed.members:
        row = rows.get(member.id)
        witnesses.append(
            WitnessView(member.id, 0, None, "")
            if row is None
            else WitnessView(member.id, row.size, row.at, row.refusal)
        )
    return LogState(head.size, head.root.hex(), final, agreed.quorum, tuple(witnesses))


def check_log(hub: Hub) -> tuple[int, str]:
    """(size, root) of the log, after `log_check.check` of this one and of those that are over; ProtocolViolation names
    the first thing that does not hold."""
    with Session(hub.reading) as db:
        for former in new_log.logs(hub.desk.charter, hub.desk.former):
            log_check.check(db, first_row(former))
        head = log_check.check(db, first_row(hub.desk.charter))
    return head.size, head.root.hex()
