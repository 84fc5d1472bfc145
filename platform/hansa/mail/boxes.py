"""Outbox and inbox, the same tables at the hub and at a site.

The transaction that changes state writes the letter too (`write`). The poster sends what is due and sends again until
the receiver's ack closes it; the bytes never change. The receiver keeps a letter by its unique (sender, run,
sequence) (`take`): the same bytes again are only acked again, other bytes are equivocation. Letters of one sender and
run are worked off in the order of their sequence (`ready`).
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from hansa.charter import Charter
from hansa.crypto.keys import HybridKey, SigningKey
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.blobs import Chunks
from hansa.mail.letters import PAYLOADS, Ack, Payload
from hansa.messages import (
    SUITE,
    VERSION,
    Envelope,
    Header,
    check_sender,
    decode,
    encode,
    open_letter,
    read_envelope,
    seal_letter,
)

FIRST_RETRY, LONGEST_RETRY = 2.0, 60.0  # seconds


class Base(DeclarativeBase):
    """The tables of this file; each side's own tables stand in its own models."""


class Outbox(Base):
    """A letter that its receiver has not acked yet, or has."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("receiver", "run", "sequence"),
        Index("outbox_due", "acked_at", "next_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    receiver: Mapped[str] = mapped_column(String(32))
    run: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(24))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    attempts: Mapped[int]
    next_at: Mapped[float]
    acked_at: Mapped[float | None]


class Inbox(Base):
    """A letter received once; `done_at` is set in the transaction that holds its effect."""

    __tablename__ = "inbox"
    __table_args__ = (UniqueConstraint("sender", "run", "sequence"), Index("inbox_waiting", "done_at", "run"))
    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str] = mapped_column(String(32))
    run: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(24))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[float]
    attempts: Mapped[int]
    done_at: Mapped[float | None]


class SetAside(Base):
    """What was not believed, with the reason, for the operator. Bounded: the newest thousand."""

    __tablename__ = "set_aside"
    id: Mapped[int] = mapped_column(primary_key=True)
    came_by: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float]


class Desk:
    """One party's name, keys and charter over its boxes, and where its chunks lie."""

    def __init__(self, name: str, charter: Charter, signing: SigningKey, sealing: HybridKey, folder: Chunks) -> None:
        self.name, self.charter, self.signing, self.sealing, self.folder = name, charter, signing, sealing, folder

    def write(self, db: Session, receiver: str, run: str, kind: str, payload: Payload, now: float) -> int:
        """Puts a letter into the outbox, next in its run; gives its size in bytes. Call it inside the transaction."""
        last = db.scalar(select(func.max(Outbox.sequence)).where(Outbox.receiver == receiver, Outbox.run == run))
        sequence = 0 if last is None else last + 1
        data = self._seal(receiver, run, sequence, kind, payload)
        db.add(
            Outbox(
                receiver=receiver,
                run=run,
                sequence=sequence,
                kind=kind,
                data=data,
                attempts=0,
                next_at=now,
                acked_at=None,
            )
        )
        db.flush()
        return len(data)

    def _seal(self, receiver: str, run: str, sequence: int, kind: str, payload: Payload) -> bytes:
        if type(payload) is not PAYLOADS[kind]:
            raise TypeError(f"a letter of kind {kind} carries a {PAYLOADS[kind].__name__}")
        header = Header(VERSION, SUITE, self.name, receiver, self.charter.version, run, sequence, kind)
        return seal_letter(header, encode(payload), self.signing, self.charter.party(receiver).sealing)

    def note(self, receiver: str, run: str, kind: str, payload: Payload) -> bytes:
        """A letter that is neither kept nor acked: losing it or getting it twice does no harm."""
        return self._seal(receiver, run, 0, kind, payload)

    def ack(self, header: Header, data: bytes) -> bytes:
        """The ack of a letter received: sent at once, never stored; it is made again when the letter comes again."""
        payload = Ack(hashlib.sha256(data).digest())
        return self._seal(header.sender, header.run, header.sequence, "ack", payload)

    def read(self, data: bytes, kinds: frozenset[str]) -> tuple[Header, Envelope]:
        """Believes a letter's header: addressed to us, of our charter, of a kind due here, signed by its sender."""
        header, envelope = read_envelope(data)
        if header.receiver != self.name or header.charter != self.charter.version or header.kind not in kinds:
            raise ProtocolViolation("a letter is for somebody else, of another charter, or of a kind not due here")
        try:
            sender = self.charter.party(header.sender)
        except Refused as error:
            raise ProtocolViolation(str(error)) from error
        check_sender(envelope, sender.signing)
        return header, envelope

    def open(self, header: Header, envelope: Envelope) -> Payload:
        return decode(open_letter(envelope, self.sealing), PAYLOADS[header.kind])

    def acked(self, db: Session, header: Header, ack: Payload, now: float) -> None:
        """Closes the letter that `ack` names; an ack of other bytes than we sent is a violation."""
        row = db.scalar(
            select(Outbox).where(
                Outbox.receiver == header.sender, Outbox.run == header.run, Outbox.sequence == header.sequence
            )
        )
        if row is None or not isinstance(ack, Ack) or hashlib.sha256(row.data).digest() != ack.letter:
            raise ProtocolViolation("an ack names a letter that was not sent")
        if row.acked_at is None:
            row.acked_at = now


def take(db: Session, header: Header, data: bytes, now: float) -> bool:
    """Keeps a letter; False if it was here already. Other bytes in its place are equivocation."""
    row = db.scalar(
        select(Inbox).where(Inbox.sender == header.sender, Inbox.run == header.run, Inbox.sequence == header.sequence)
    )
    if row is not None:
        if row.data != data:
            raise ProtocolViolation(f"'{header.sender}' sent two letters under one number: equivocation")
        return False
    db.add(
        Inbox(
            sender=header.sender,
            run=header.run,
            sequence=header.sequence,
            kind=header.kind,
            data=data,
            received_at=now,
            attempts=0,
            done_at=None,
        )
    )
    db.flush()
    return True


_done = aliased(Inbox)
_EARLIER = (
    select(func.count())
    .where(_done.sender == Inbox.sender, _done.run == Inbox.run, _done.done_at.is_not(None))
    .correlate(Inbox)
    .scalar_subquery()
)
_READY = select(Inbox).where(Inbox.done_at.is_(None), Inbox.sequence == _EARLIER).order_by(Inbox.id).limit(1)
_READY_OF_RUN = _READY.where(Inbox.run == bindparam("of_run"))
_READY_BUT = _READY.where(Inbox.id.not_in(bindparam("but", expanding=True)))
_DUE = (
    select(Outbox.id, Outbox.receiver, Outbox.data, Outbox.attempts)
    # What waits longer than any letter ever does was written before the clock was set back.
    .where(Outbox.acked_at.is_(None), or_(Outbox.next_at <= bindparam("now"), Outbox.next_at > bindparam("never")))
    .order_by(Outbox.id)
    .limit(100)
)


def ready(db: Session, run: str | None = None, but: Collection[int] = ()) -> Inbox | None:
    """The oldest letter not worked off whose predecessors (same sender and run) all are; none of the ids in `but`."""
    if run is not None:
        return db.scalar(_READY_OF_RUN, {"of_run": run})
    return db.scalar(_READY_BUT, {"but": list(but)}) if but else db.scalar(_READY)


class Due(NamedTuple):
    """A letter to send now."""

    id: int
    receiver: str
    data: bytes
    attempts: int


def due(db: Session, now: float) -> list[Due]:
    """At most a hundred, oldest first."""
    return [Due(*row) for row in db.execute(_DUE, {"now": now, "never": now + 2 * LONGEST_RETRY})]


def posted(db: Session, letters: Sequence[Due], now: float, chance: float) -> None:
    """After sending: the next attempt of each, later every time. `chance` in [0, 1) is the jitter."""
    for attempts in {letter.attempts for letter in letters}:
        delay = min(FIRST_RETRY * 2 ** min(attempts, 10), LONGEST_RETRY) * (0.75 + 0.5 * chance)
        ids = [letter.id for letter in letters if letter.attempts == attempts]
        db.execute(update(Outbox).where(Outbox.id.in_(ids)).values(attempts=attempts + 1, next_at=now + delay))


def set_aside(db: Session, came_by: str, reason: str, data: bytes, now: float) -> None:
    db.add(SetAside(came_by=came_by[:32], reason=reason[:500], data=data[:65_536], at=now))
    db.flush()
    newest = db.scalar(select(func.max(SetAside.id))) or 0
    db.execute(delete(SetAside).where(SetAside.id <= newest - 1000))
