"""This site as a witness of the hub's log (C2SP tlog-witness, the question and the answer in letters).

It cosigns a checkpoint only if the tree of the last one that it cosigned is proved to be the beginning of this one's,
and stores the new size and root before its signature leaves. So the hub can show no two histories to members who then
both cosign; one that tries leaves a note that its own key signed, which is kept as evidence.

With the checkpoint come places of this site's own entries in it: these are checked, and kept as receipts.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit import roster, witnessing
from hansa.audit.checkpoint import Checkpoint, parse_text
from hansa.audit.log import first_row
from hansa.audit.note import Note
from hansa.audit.note import parse as parse_note
from hansa.audit.policy import accepted
from hansa.audit.proof import Receipt
from hansa.audit.tree import Head, check_inclusion
from hansa.audit.witnessing import GRANTED, INCONSISTENT, Answer
from hansa.crypto.bundles import MemberKeys
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.mail.boxes import Desk
from hansa.mail.letters import Cosigned, Shown
from hansa_site import deeds
from hansa_site.journal import Alarm, OwnEntry, Witnessed

log = logging.getLogger("hansa.site")


def look(db: Session, desk: Desk, shown: Shown, now: float) -> Callable[[], Cosigned]:
    """Judges a checkpoint, and stores what follows. What it gives signs the answer: call it after the commit."""
    charter = desk.charter
    if not charter.witnessed:
        raise ProtocolViolation("the charter names no key for a log, and the hub asks to cosign one")
    row = db.scalar(select(Witnessed).where(Witnessed.origin == charter.origin).with_for_update())
    last = None if row is None else Head(row.size, row.root)
    judged = witnessing.judge(last, shown.body, roster.log_key(charter))
    if isinstance(judged, Answer):
        if judged.status == INCONSISTENT:
            _fork(db, row, shown.body, now)
        size = _size(shown.body)
        seen, first = b"" if row is None else row.note, first_row(charter)
        answer = Cosigned(size, judged.status, judged.body, deeds.receipted(db, first), seen)
        return lambda: answer
    checkpoint, note = judged.checkpoint, witnessing.parse(shown.body).note
    row = row or Witnessed(origin=charter.origin, final=b"")
    row.size, row.root, row.note, row.at = checkpoint.head.size, checkpoint.head.root, bytes(note), now
    row.final = _final(desk, shown.final) or row.final
    db.add(row)
    _keep_receipts(db, first_row(charter), note, shown, now)
    db.flush()
    receipted = deeds.receipted(db, first_row(charter))
    return lambda: _cosign(desk, checkpoint, receipted, now)


def _cosign(desk: Desk, checkpoint: Checkpoint, receipted: int, now: float) -> Cosigned:
    if not isinstance(desk.keys, MemberKeys):
        raise TypeError("a member's site cosigns, and nobody else")
    lines = [key.cosign(checkpoint, int(now)) for key in roster.cosigners(desk.charter, desk.name, desk.keys)]
    answer = witnessing.answer(lines)
    return Cosigned(checkpoint.head.size, GRANTED, answer.body, receipted)


def _size(body: bytes) -> int:
    """Of the checkpoint that an answer is about, if it can be read."""
    try:
        return parse_text(witnessing.parse(body).note.text).head.size
    except ProtocolViolation:
        return 0


def _final(desk: Desk, data: bytes) -> bytes:
    """A checkpoint that a quorum cosigned; anything else that is shown as one is passed over."""
    try:
        accepted(roster.policy(desk.charter), parse_note(data))
    except ProtocolViolation:
        return b""
    return data


def _keep_receipts(db: Session, first: int, note: Note, shown: Shown, now: float) -> None:
    """Of entries whose place is proved; the first that is not raises an alarm, and no later one counts."""
    head = parse_text(note.text).head
    for sequence, place in enumerate(shown.places, shown.first):
        row = db.get(OwnEntry, first + sequence)
        if row is None or row.number is not None:
            continue
        try:
            check_inclusion(leaf(row.data), place.index, head, place.path)
        except ProtocolViolation as violation:
            raise_alarm(db, "receipt", f"the hub's receipt for our entry {sequence} is none: {violation}", now)
            return
        row.number, row.receipt = place.index, bytes(Receipt(row.data, place.index, place.path, note))
    close_alarms(db, "receipt", now)


def _fork(db: Session, row: Witnessed | None, body: bytes, now: float) -> None:
    """The hub's key signed a tree that does not continue the one it signed before: both notes are evidence."""
    before = b"" if row is None else row.note
    size = 0 if row is None else row.size
    text = f"the hub shows a log that does not continue the one of {size} entries which this site cosigned"
    raise_alarm(db, "fork", text, now, before + b"\n" + bytes(witnessing.parse(body).note))


def raise_alarm(db: Session, sort: str, text: str, now: float, evidence: bytes = b"") -> None:
    """Once, as long as it is open."""
    if db.scalar(select(Alarm.id).where(Alarm.sort == sort, Alarm.closed_at.is_(None)).limit(1)) is None:
        log.error("ALARM: %s", text)
        db.add(Alarm(sort=sort, at=now, text=text, evidence=evidence, closed_at=None))


def close_alarms(db: Session, sort: str, now: float) -> None:
    for alarm in db.scalars(select(Alarm).where(Alarm.sort == sort, Alarm.closed_at.is_(None))):
        alarm.closed_at = now


def alarmed(db: Session) -> bool:
    return db.scalar(select(Alarm.id).where(Alarm.sort == "omission", Alarm.closed_at.is_(None)).limit(1)) is not None


def watch(db: Session, now: float, first: int = 0) -> None:
    """Raises or closes the alarm about entries that the hub has given no receipt for, of the log whose rows begin at
    `first`."""
    late: Sequence[OwnEntry] = deeds.overdue(db, now, first)
    if not late:
        close_alarms(db, "omission", now)
        return
    oldest = late[0]
    text = (
        f"the hub has given no receipt for our entry {oldest.sequence - first} within {deeds.MERGE_DELAY:.0f} seconds: "
        "it is away, or leaves entries out of the log"
    )
    raise_alarm(db, "omission", text, now, oldest.data)
