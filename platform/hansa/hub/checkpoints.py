"""Checkpoints of the log: made by the hub, cosigned by the members' sites, and receipts for what these wrote.

    make    one text a size, stored before it leaves. The next is made when enough members cosigned the last, or at
            the latest after `PATIENCE`: a member that is down holds up finality, never the log
    ask     every site that has not cosigned the newest one, or waits for receipts; again until it answers
    take    a site's answer: its cosignatures are checked and kept, or its refusal noted

A checkpoint is final when a quorum of the charter's members has cosigned it. Sizes are counted from 0 here; in the
database they count from the first row of their log.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from hansa.audit import roster
from hansa.audit.checkpoint import Checkpoint, add_cosignatures, checked, cosigned
from hansa.audit.log import ROWS, first_row
from hansa.audit.note import Note, parse, parse_lines
from hansa.audit.tree import Head, consistency, inclusion, root_at
from hansa.audit.witnessing import CONFLICT, GRANTED, INCONSISTENT, Asked
from hansa.charter import Charter
from hansa.crypto.bundles import HubKeys
from hansa.errors import ProtocolViolation
from hansa.hub import log as the_log
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, Member, WitnessRow
from hansa.mail.boxes import Desk
from hansa.mail.letters import MOST_ENTRIES, SINCE, Cosigned, Place, Shown, sentence, speaks

log = logging.getLogger("hansa.hub")
EVERY = 5.0  # seconds between two checkpoints, where nothing was released
PATIENCE = 15.0  # for the cosignatures of the last one; well below a site's merge delay
FIRST_AGAIN, LONGEST_AGAIN = 2.0, 60.0  # seconds until a site that does not answer is asked again
About = tuple[int, int, int]  # the newest checkpoint; what the site had cosigned, and of how many entries a receipt


class Question(NamedTuple):
    """What a site was asked, when, and how long to wait for an answer that leads further."""

    at: float
    wait: float
    about: About


class Checkpoints:
    """Of one process, the hub's: it alone asks. `desk` posts what is asked."""

    def __init__(self, engine: Engine, reading: Engine, desk: Desk) -> None:
        self._engine, self._reading, self._desk = engine, reading, desk
        self._asked: dict[str, Question] = {}  # by site
        self._began: float | None = None

    def tick(self, now: float) -> None:
        if not self._desk.charter.witnessed:
            return
        if self._began is None or now < self._began:
            self._began = now
        with Session(self._reading) as db:
            due = self._may_make(db, now) and _is_due(db, self._desk.charter, now)
        if due:
            with Session(self._engine) as db, db.begin():
                make(db, self._desk, now)
        with Session(self._reading) as db:
            for site, about in self._waiting(db, now):
                self._desk.put_note(site, "checkpoint", shown(db, self._desk.charter, site))
                before = self._asked.get(site)
                wait = FIRST_AGAIN if before is None else min(2 * before.wait, LONGEST_AGAIN)
                self._asked[site] = Question(now, wait, about)

    def _may_make(self, db: Session, now: float) -> bool:
        """A database that was restored from an older copy would sign a second text for sizes that members have seen:
        so after a start the witnesses are asked what they saw, and where one saw more there is no checkpoint."""
        rows = [row for row in db.scalars(select(WitnessRow)) if row.size]
        there = the_log.size(db, first_row(self._desk.charter))
        if any(row.size > there for row in rows):
            return False
        began = self._began or now
        return now >= began + PATIENCE or all(row.at >= began for row in rows)

    def _waiting(self, db: Session, now: float) -> list[tuple[str, About]]:
        newest = newest_row(db, self._desk.charter)
        if newest is None:
            return []
        first = first_row(self._desk.charter)
        last = newest.size - first
        known = {row.site: row for row in db.scalars(select(WitnessRow))}
        versions = {row.site: row.version for row in db.scalars(select(Member))}
        cosigned = who_cosigned(db, self._desk.charter, last)  # what a site says it did may have been lost on its way
        found = []
        for member in self._desk.charter.members:
            row, asked = known.get(member.id), self._asked.get(member.id)
            about = (last, row.size, row.receipted) if row is not None else (last, 0, 0)
            if asked and row is not None and asked.at <= row.at <= now and not row.refusal and asked.about != about:
                del self._asked[member.id]  # it has answered, and there is more to ask
                asked = None
            behind = (
                row is None
                or row.at < (self._began or now)
                or member.id not in cosigned
                or row.receipted < _written(db, member.id, last, first)
            )
            here = speaks(versions.get(member.id, "0.1.")) >= SINCE["checkpoint"]
            if here and behind and (asked is None or not now - asked.wait < asked.at <= now):
                found.append((member.id, about))
        return found


def _is_due(db: Session, charter: Charter, now: float) -> bool:
    last, first = newest_row(db, charter), first_row(charter)
    end = first + the_log.size(db, first)
    if last is None or not last.at <= now:
        return end > (first if last is None else last.size)
    if end == last.size or (now < last.at + PATIENCE and not is_final(db, charter, last.size - first)):
        return False
    released = select(EntryRow.number).where(EntryRow.number >= last.size, EntryRow.act == "released").limit(1)
    return now >= last.at + EVERY or db.scalar(released) is not None


def make(db: Session, desk: Desk, now: float) -> None:
    """Signs the tree as it stands; the note is kept before anybody sees it. Two processes make one text."""
    the_log.lock(db)
    first = first_row(desk.charter)
    head = the_log.head(db, first)
    if not head.size or db.get(CheckpointRow, first + head.size) is not None:
        return
    if not isinstance(desk.keys, HubKeys):
        raise TypeError("the hub alone signs checkpoints")
    note = roster.log_signer(desk.charter, desk.keys).sign(Checkpoint(desk.charter.origin, head).text)
    db.add(CheckpointRow(size=first + head.size, note=bytes(note), at=now))


def newest_row(db: Session, charter: Charter) -> CheckpointRow | None:
    """The last checkpoint that was made of this charter's log."""
    first = first_row(charter)
    of_log = CheckpointRow.size > first, CheckpointRow.size < first + ROWS
    return db.scalar(select(CheckpointRow).where(*of_log).order_by(CheckpointRow.size.desc()).limit(1))


def shown(db: Session, charter: Charter, site: str) -> Shown:
    """What a site is asked: the newest checkpoint, from the one that it cosigned last; with its receipts."""
    row, known, first = newest_row(db, charter), db.get(WitnessRow, site), first_row(charter)
    if row is None:
        raise LookupError("the log has no checkpoint that could be shown")
    size = row.size - first
    old, receipted = (known.size, known.receipted) if known is not None else (0, 0)
    read = the_log.reader(db, first)
    proof = consistency(old, size, read) if 0 < old <= size else ()
    own = select(EntryRow.number).where(EntryRow.by == site, EntryRow.sequence >= first + receipted)
    numbers = db.scalars(own.where(EntryRow.number < row.size).order_by(EntryRow.sequence).limit(MOST_ENTRIES)).all()
    places = tuple(Place(number - first, inclusion(number - first, size, read)) for number in numbers)
    final = newest_final(db, charter)
    body = bytes(Asked(min(old, size), proof, parse(row.note)))
    return Shown(body, receipted, places, b"" if final is None else bytes(note_of(db, final, first)))


def take(db: Session, desk: Desk, site: str, answer: Cosigned, now: float) -> None:
    """Keeps a site's cosignatures; ProtocolViolation where they are not over a checkpoint of ours."""
    if not desk.charter.witnessed:
        raise ProtocolViolation(f"'{site}' cosigns a log for which the charter names no witnesses")
    row = db.get(WitnessRow, site) or WitnessRow(site=site, size=0, receipted=0, refusal="", at=now)
    db.add(row)
    if answer.status == GRANTED:
        _keep(db, desk.charter, site, answer)
        row.size, row.refusal, row.seen = max(row.size, answer.size), "", None
    elif answer.status == CONFLICT and answer.body.strip().isdigit() and len(answer.body) < 20:
        _take_conflict(db, desk, row, answer)
    else:
        row.refusal = sentence(f"{answer.status}: {answer.body.decode('utf-8', 'replace')}")
        if answer.status == INCONSISTENT and seen_head(desk.charter, desk.former, answer.seen) is not None:
            row.seen = answer.seen
    if row.refusal:
        log.warning("'%s' does not cosign the log: %s", site, row.refusal)
    row.at, row.receipted, row.heard = now, answer.receipted, True


def _take_conflict(db: Session, desk: Desk, row: WitnessRow, answer: Cosigned) -> None:
    """A site has cosigned another size than the hub believed. One larger than the log is believed with the checkpoint
    itself alone: a member could say any number, and the log would get no checkpoint any more."""
    first, size = first_row(desk.charter), int(answer.body)
    head = seen_head(desk.charter, desk.former, answer.seen)
    there = the_log.size(db, first)
    if size <= there:
        row.size, row.refusal = size, ""
        other = head is not None and head.size == size and root_at(size, the_log.reader(db, first)) != head.root
        row.seen = answer.seen if other else None
    elif head is not None and head.size == size:
        row.size, row.seen = size, answer.seen
        row.refusal = f"it has cosigned {size} entries, and this log has {there}"
    else:
        row.refusal = (
            f"it says that it has cosigned {size} entries, this log has {there}, and it shows no such checkpoint"
        )


def seen_head(charter: Charter, former: Sequence[Charter], note: bytes) -> Head | None:
    """Of a checkpoint of this charter's log that the hub signed, with this version's key or an older one; of anything
    else None."""
    for version in (charter, *reversed(former)):
        try:
            if version.witnessed and version.origin == charter.origin:
                return checked(parse(note), roster.log_key(version)).head
        except ProtocolViolation:
            continue
    return None


def _keep(db: Session, charter: Charter, site: str, answer: Cosigned) -> None:
    size = first_row(charter) + answer.size
    kept = db.get(CheckpointRow, size)
    if kept is None:
        raise ProtocolViolation(f"'{site}' cosigns a checkpoint of {answer.size} entries, and there is none")
    if db.get(CosignatureRow, (size, site)) is not None:
        return
    keys = roster.witness_keys(charter, charter.member(site))
    note = parse(kept.note)
    signed = add_cosignatures(note, answer.body, keys)
    times = cosigned(signed, {site: keys})
    if site not in times:
        raise ProtocolViolation(f"'{site}' cosigns with one key and not with both")
    lines = "".join(map(str, signed.lines[len(note.lines) :])).encode()
    db.add(CosignatureRow(size=size, site=site, lines=lines, at=float(times[site])))


def is_final(db: Session, charter: Charter, size: int) -> bool:
    return len(who_cosigned(db, charter, size)) >= charter.quorum


def who_cosigned(db: Session, charter: Charter, size: int) -> list[str]:
    of_size = CosignatureRow.size == first_row(charter) + size
    found = db.scalars(select(CosignatureRow.site).where(of_size).order_by(CosignatureRow.site))
    members = {member.id for member in charter.members}
    return [site for site in found if site in members]


def newest_final(db: Session, charter: Charter) -> int | None:
    """The size of the newest checkpoint that a quorum cosigned."""
    row = db.scalar(_finals(charter).order_by(CosignatureRow.size.desc()).limit(1))
    return None if row is None else row - first_row(charter)


def covering(db: Session, charter: Charter, number: int) -> int | None:
    """The size of the oldest final checkpoint that has the entry `number` of this charter's log, if one has."""
    first = first_row(charter)
    query = _finals(charter).where(CosignatureRow.size > first + number)
    row = db.scalar(query.order_by(CosignatureRow.size).limit(1))
    return None if row is None else row - first


def finals(db: Session, charter: Charter) -> Sequence[int]:
    """The sizes of all that a quorum cosigned, smallest first."""
    return [row - first_row(charter) for row in db.scalars(_finals(charter).order_by(CosignatureRow.size))]


def _finals(charter: Charter) -> Select[int]:
    first, sites = first_row(charter), [member.id for member in charter.members]
    of_log = CosignatureRow.size > first, CosignatureRow.size < first + ROWS
    query = select(CosignatureRow.size).where(*of_log, CosignatureRow.site.in_(sites))
    return query.group_by(CosignatureRow.size).having(func.count() >= charter.quorum)


def note_of(db: Session, size: int, first: int = 0) -> Note:
    """The checkpoint of this size, with all its cosignatures."""
    note = parse(db.get_one(CheckpointRow, first + size).note)
    of_size = CosignatureRow.size == first + size
    rows = db.scalars(select(CosignatureRow).where(of_size).order_by(CosignatureRow.site))
    return Note(note.text, (*note.lines, *(line for row in rows for line in parse_lines(row.lines.decode()))))


def _written(db: Session, site: str, size: int, first: int) -> int:
    """How many of the first `size` entries are by `site`."""
    of_log = EntryRow.number < first + size, EntryRow.sequence >= first
    last = db.scalar(select(func.max(EntryRow.sequence)).where(EntryRow.by == site, *of_log))
    return 0 if last is None else last - first + 1
