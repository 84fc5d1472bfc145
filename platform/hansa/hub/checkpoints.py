"""Checkpoints of the log: made by the hub, cosigned by the members' sites, and receipts for what these wrote.

    make    one text a size, stored before it leaves. The next is made when enough members cosigned the last, or at
            the latest after `PATIENCE`: a member that is down holds up finality, never the log
    ask     every site that has not cosigned the newest one, or waits for receipts; again until it answers
    take    a site's answer: its cosignatures are checked and kept, or its refusal noted

A checkpoint is final when a quorum of the charter's members has cosigned it.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from hansa.audit import roster
from hansa.audit.checkpoint import Checkpoint, add_cosignatures, cosigned
from hansa.audit.note import Note, parse, parse_lines
from hansa.audit.tree import consistency, inclusion
from hansa.audit.witnessing import CONFLICT, GRANTED, Asked
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
        if any(row.size > the_log.size(db) for row in rows):
            return False
        began = self._began or now
        return now >= began + PATIENCE or all(row.at >= began for row in rows)

    def _waiting(self, db: Session, now: float) -> list[tuple[str, About]]:
        last = db.scalar(select(func.max(CheckpointRow.size)))
        if last is None:
            return []
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
                or row.receipted < _written(db, member.id, last)
            )
            here = speaks(versions.get(member.id, "0.1.")) >= SINCE["checkpoint"]
            if here and behind and (asked is None or not now - asked.wait < asked.at <= now):
                found.append((member.id, about))
        return found


def _is_due(db: Session, charter: Charter, now: float) -> bool:
    last = db.scalar(select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1))
    there = the_log.size(db)
    if last is None or not last.at <= now:
        return there > (0 if last is None else last.size)
    if there == last.size or (now < last.at + PATIENCE and not is_final(db, charter, last.size)):
        return False
    released = select(EntryRow.number).where(EntryRow.number >= last.size, EntryRow.act == "released").limit(1)
    return now >= last.at + EVERY or db.scalar(released) is not None


def make(db: Session, desk: Desk, now: float) -> None:
    """Signs the tree as it stands; the note is kept before anybody sees it. Two processes make one text."""
    the_log.lock(db)
    head = the_log.head(db)
    if not head.size or db.get(CheckpointRow, head.size) is not None:
        return
    if not isinstance(desk.keys, HubKeys):
        raise TypeError("the hub alone signs checkpoints")
    note = roster.log_signer(desk.charter, desk.keys).sign(Checkpoint(desk.charter.origin, head).text)
    db.add(CheckpointRow(size=head.size, note=bytes(note), at=now))


def shown(db: Session, charter: Charter, site: str) -> Shown:
    """What a site is asked: the newest checkpoint, from the one that it cosigned last; with its receipts."""
    row = db.scalars(select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1)).one()
    known = db.get(WitnessRow, site)
    old, receipted = (known.size, known.receipted) if known is not None else (0, 0)
    read = the_log.reader(db)
    proof = consistency(old, row.size, read) if 0 < old <= row.size else ()
    own = select(EntryRow.number).where(EntryRow.by == site, EntryRow.sequence >= receipted)
    numbers = db.scalars(own.where(EntryRow.number < row.size).order_by(EntryRow.sequence).limit(MOST_ENTRIES)).all()
    places = tuple(Place(number, inclusion(number, row.size, read)) for number in numbers)
    final = newest_final(db, charter)
    body = bytes(Asked(min(old, row.size), proof, parse(row.note)))
    return Shown(body, receipted, places, b"" if final is None else bytes(note_of(db, final)))


def take(db: Session, desk: Desk, site: str, answer: Cosigned, now: float) -> None:
    """Keeps a site's cosignatures; ProtocolViolation where they are not over a checkpoint of ours."""
    if not desk.charter.witnessed:
        raise ProtocolViolation(f"'{site}' cosigns a log for which the charter names no witnesses")
    row = db.get(WitnessRow, site) or WitnessRow(site=site, size=0, receipted=0, refusal="", at=now)
    db.add(row)
    if answer.status == GRANTED:
        _keep(db, desk.charter, site, answer)
        row.size, row.refusal = max(row.size, answer.size), ""
    elif answer.status == CONFLICT and answer.body.strip().isdigit() and len(answer.body) < 20:
        row.size, there = int(answer.body), the_log.size(db)
        row.refusal = "" if row.size <= there else f"it has cosigned {row.size} entries, and this log has {there}"
    else:
        row.refusal = sentence(f"{answer.status}: {answer.body.decode('utf-8', 'replace')}")
    if row.refusal:
        log.warning("'%s' does not cosign the log: %s", site, row.refusal)
    row.at, row.receipted = now, answer.receipted


def _keep(db: Session, charter: Charter, site: str, answer: Cosigned) -> None:
    kept = db.get(CheckpointRow, answer.size)
    if kept is None:
        raise ProtocolViolation(f"'{site}' cosigns a checkpoint of {answer.size} entries, and there is none")
    if db.get(CosignatureRow, (answer.size, site)) is not None:
        return
    keys = roster.witness_keys(charter, charter.member(site))
    note = parse(kept.note)
    signed = add_cosignatures(note, answer.body, keys)
    times = cosigned(signed, {site: keys})
    if site not in times:
        raise ProtocolViolation(f"'{site}' cosigns with one key and not with both")
    lines = "".join(map(str, signed.lines[len(note.lines) :])).encode()
    db.add(CosignatureRow(size=answer.size, site=site, lines=lines, at=float(times[site])))


def is_final(db: Session, charter: Charter, size: int) -> bool:
    return len(who_cosigned(db, charter, size)) >= charter.quorum


def who_cosigned(db: Session, charter: Charter, size: int) -> list[str]:
    found = db.scalars(select(CosignatureRow.site).where(CosignatureRow.size == size).order_by(CosignatureRow.site))
    members = {member.id for member in charter.members}
    return [site for site in found if site in members]


def newest_final(db: Session, charter: Charter) -> int | None:
    """The size of the newest checkpoint that a quorum cosigned."""
    return db.scalar(_finals(charter).order_by(CosignatureRow.size.desc()).limit(1))


def finals(db: Session, charter: Charter) -> Sequence[int]:
    """The sizes of all that a quorum cosigned, smallest first."""
    return db.scalars(_finals(charter).order_by(CosignatureRow.size)).all()


def _finals(charter: Charter) -> Select[int]:
    sites = CosignatureRow.site.in_([member.id for member in charter.members])
    query = select(CosignatureRow.size).where(sites).group_by(CosignatureRow.size)
    return query.having(func.count() >= charter.quorum)


def note_of(db: Session, size: int) -> Note:
    """The checkpoint of this size, with all its cosignatures."""
    note = parse(db.get_one(CheckpointRow, size).note)
    rows = db.scalars(select(CosignatureRow).where(CosignatureRow.size == size).order_by(CosignatureRow.site))
    return Note(note.text, (*note.lines, *(line for row in rows for line in parse_lines(row.lines.decode()))))


def _written(db: Session, site: str, size: int) -> int:
    """How many of the first `size` entries are by `site`."""
    last = db.scalar(select(func.max(EntryRow.sequence)).where(EntryRow.by == site, EntryRow.number < size))
    return 0 if last is None else last + 1
