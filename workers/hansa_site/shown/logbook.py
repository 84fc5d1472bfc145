"""This site in the hub's log: its entries and their receipts, what it cosigned, alarms, sign-offs."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Select, func, select

from hansa.audit.checkpoint import parse_text
from hansa.audit.log import ROWS, Payload, read
from hansa.audit.note import parse
from hansa.errors import ProtocolViolation
from hansa.messages import decode
from hansa_site import log_state
from hansa_site.journal import Alarm, Decided, OwnEntry, Witnessed
from hansa_site.reviewing import Review
from hansa_site.shown.opened import OpenedSite

_AROUND = 5.0  # seconds around a job in which its entries were written


class EntryView(Struct, frozen=True):
    """`sequence` counts this member's own entries in `log`; `number` is its place there once the hub has proved it.
    `says`: what it commits to, which the log does not show."""

    log: str
    sequence: int
    number: int | None
    at: float
    act: str
    run: str
    details: dict[str, str]
    says: str


class Head(Struct, frozen=True):
    """The newest checkpoint that this site cosigned; `final`: the size of the newest that enough members did, or 0."""

    log: str
    size: int
    root: str
    at: float
    final: int


class AlarmView(Struct, frozen=True):
    number: int
    at: float
    text: str
    closed_at: float | None


class ReviewView(Struct, frozen=True):
    """A sign-off by a person; `refusal` says why it counts for nothing, `done` whether the site has worked it off."""

    person: str
    at: float
    size: int
    note: str
    done: bool
    refusal: str


def entries(site: OpenedSite, most: int = 50, after: int = 0) -> list[EntryView]:
    """This member's own, the newest first."""
    return _views(site, select(OwnEntry).order_by(OwnEntry.sequence.desc()).limit(most).offset(after))


def entries_of(site: OpenedSite, run: str, began_at: float, ended_at: float | None) -> list[EntryView]:
    """Of one job, in their order; the times are those between which it ran here."""
    within = OwnEntry.at >= began_at - _AROUND
    query = select(OwnEntry).where(within).order_by(OwnEntry.sequence)
    if ended_at is not None:
        query = query.where(OwnEntry.at <= ended_at + _AROUND)
    return [entry for entry in _views(site, query.limit(10_000)) if entry.run == run]


def _views(site: OpenedSite, query: Select[Any]) -> list[EntryView]:
    with site.reading() as db:
        return [_view(row) for row in db.scalars(query)]


def _view(row: OwnEntry) -> EntryView:
    entry = read(row.data)
    says = decode(row.payload, Payload).content.decode("utf-8", "replace") if row.payload else ""
    at = entry.milliseconds / 1000
    return EntryView(entry.log, row.sequence % ROWS, row.number, at, entry.act, entry.run, entry.details, says)


def counts(site: OpenedSite) -> tuple[int, int]:
    """(entries, those without a receipt)."""
    with site.reading() as db:
        both = select(func.count(), func.count().filter(OwnEntry.number.is_(None)))
        every, without = db.execute(both.select_from(OwnEntry)).one()
    return every, without


def receipt(site: OpenedSite, sequence: int, origin: str) -> bytes:
    """C2SP tlog-proof; refuses where the hub has given none yet."""
    with site.reading() as db:
        return log_state.receipt(db, sequence, origin)


def head(site: OpenedSite) -> Head | None:
    with site.reading() as db:
        seen = db.scalar(select(Witnessed).order_by(Witnessed.at.desc()).limit(1))
    if seen is None:
        return None
    return Head(seen.origin, seen.size, seen.root.hex(), seen.at, _size(seen.final))


def _size(note: bytes) -> int:
    try:
        return parse_text(parse(note).text).head.size if note else 0
    except ProtocolViolation:
        return 0


def alarms(site: OpenedSite) -> list[AlarmView]:
    """Those that are open first, then the newest."""
    rows = select(Alarm).order_by(Alarm.closed_at.is_not(None), Alarm.id.desc()).limit(100)
    with site.reading() as db:
        return [AlarmView(row.id, row.at, row.text, row.closed_at) for row in db.scalars(rows)]


def reviews(site: OpenedSite, most: int = 20) -> list[ReviewView]:
    """The newest first, of those that a person signed."""
    rows = select(Decided).where(Decided.what == "review").order_by(Decided.at.desc()).limit(most)
    found = []
    with site.reading() as db:
        for row in db.scalars(rows):
            try:
                review = decode(row.content or b"", Review)
            except ProtocolViolation:
                continue  # the site refuses it as well
            done = row.done_at is not None
            found.append(ReviewView(row.person, row.at, review.size, review.note, done, row.refusal))
    return found
