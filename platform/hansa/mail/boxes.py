"""Outbox and inbox, the same tables at the hub and at a site.

The transaction that changes state writes the letter too (`write`). The poster sends what is due and sends again until
the receiver's ack closes it; the bytes never change. The receiver keeps a letter by its unique (sender, run,
sequence) (`take`): the same bytes again are only acked again, other bytes are equivocation. Letters of one sender and
run are worked off in the order of their sequence (`ready`), but for `end`, which goes before all that it makes moot.

Several workers may share an inbox: each claims a letter before it works on it (`claim`). A claim is worth no more than
the process that holds it (`mail/workers.py`), and the transaction that stores the effect looks at `done_at` again.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

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
from hansa.crypto.bundles import HubKeys, Keys, MemberKeys
from hansa.crypto.keys import HybridKey, SigningKey
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.acks import Counted, Notes, Owed
from hansa.mail.blobs import Chunks
from hansa.mail.letters import PAYLOADS, SINCE, STANDING, Ack, Acked, Acks, Payload
from hansa.messages import (
    SUITE,
    Envelope,
    Header,
    check_sender,
    decode,
    encode,
    open_letter,
    read_envelope,
    seal_letter,
)
from hansa.plan import Plan, load

Held = HubKeys | MemberKeys | Sequence[HubKeys] | Sequence[MemberKeys]
FIRST_RETRY, LONGEST_RETRY = 2.0, 15.0  # seconds between two attempts at a letter whose receiver may be about to come
SILENT_ATTEMPTS, SILENT_RETRY = 20, 300.0  # after so many, some five minutes, it is away for longer
_EARLIEST = 0.75  # of a delay: the jitter begins there
AHEAD = "letters come of the charter's version "
WAIT_SECONDS = 1.0  # for a mailbox that could not be reached, or is full


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
    claimed_by: Mapped[str | None] = mapped_column(String(32))  # the worker that is at it


class SetAside(Base):
    """What was not believed, with the reason, for the operator. Bounded: the newest thousand."""

    __tablename__ = "set_aside"
    id: Mapped[int] = mapped_column(primary_key=True)
    came_by: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float]


def standing(charter: Charter) -> str:
    """That of the first log is STANDING."""
    return f"{charter.log_began - 1:032x}"


class Desk:
    """One party's name, keys and charter over its boxes, and where its chunks lie. `keys` may be what opens them: that
    takes long, and many commands need none.

    `former`: the charters before this one, the oldest first. Letters of the last of them are still believed, of whoever
    is a member still, and opened with the key that it names; older ones are not. What is written is of `charter`.
    """

    def __init__(
        self,
        name: str,
        charter: Charter,
        keys: Held | Callable[[], Held],
        folder: Chunks,
        former: Sequence[Charter] = (),
    ) -> None:
        self.name, self.charter, self.folder, self.former = name, charter, folder, former
        self._held = keys
        self.owed, self._notes = Owed(), Notes()
        self.counted: Counted | None = None  # of a party whose people see all that left
        self._heard: dict[str, int] = {}  # by peer, the newest version of letters that it was heard to speak

    @property
    def held(self) -> Sequence[HubKeys] | Sequence[MemberKeys]:
        """Every bundle; the one that `charter` names is the first."""
        if callable(self._held):
            self._held = self._held()
        return (self._held,) if isinstance(self._held, Keys) else self._held  # type: ignore[return-value]

    @property
    def keys(self) -> HubKeys | MemberKeys:
        return self.held[0]

    @property
    def standing(self) -> str:
        """The run of letters that belong to no job. Each log has one of its own: a hub that was restored has lost such
        letters, and can't count on from where its sites are."""
        return standing(self.charter)

    @property
    def signing(self) -> SigningKey:
        return self.keys.signing

    @property
    def sealing(self) -> HybridKey:
        return self.keys.sealing

    def write(self, db: Session, receiver: str, run: str, kind: str, payload: Payload, now: float) -> bytes:
        """Puts a letter into the outbox, next in its run; gives its sealed bytes. Call it inside the transaction."""
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
        return data

    def _seal(self, receiver: str, run: str, sequence: int, kind: str, payload: Payload) -> bytes:
        if type(payload) is not PAYLOADS[kind]:
            raise TypeError(f"a letter of kind {kind} carries a {PAYLOADS[kind].__name__}")
        header = Header(SINCE[kind], SUITE, self.name, receiver, self.charter.version, run, sequence, kind)
        return seal_letter(header, encode(payload), self.signing, self.charter.party(receiver).sealing)

    def note(self, receiver: str, run: str, kind: str, payload: Payload) -> bytes:
        """A letter that is neither kept nor acked: losing it or getting it twice does no harm."""
        return self._count(run, kind, self._seal(receiver, run, 0, kind, payload))

    def _count(self, run: str, kind: str, letter: bytes) -> bytes:
        if self.counted is not None:
            self.counted.add(run, kind, len(letter))
        return letter

    def owe(self, header: Header, data: bytes, now: float) -> None:
        """The letter is in the inbox: its ack goes out with the next ones, and is owed again when it comes again."""
        self.owed.note(header.sender, Acked(header.run, header.sequence, hashlib.sha256(data).digest()), now)

    def put_note(self, receiver: str, kind: str, payload: Payload) -> None:
        """A note goes with the next post, in the place of an older one of its kind."""
        self._notes.put(receiver, kind, self.note(receiver, STANDING, kind, payload))

    def acks(self, now: float, busy: Collection[str] = ()) -> dict[str, list[bytes]]:
        """The letters, by peer, that pay what is owed, and the notes; not for the `busy`, and never stored."""
        found = self._notes.take(busy)
        for peer, acked in self.owed.take(now, busy).items():
            found.setdefault(peer, []).extend(self._acks(peer, acked))
        return found

    def _acks(self, peer: str, acked: Sequence[Acked]) -> list[bytes]:
        if self._heard.get(peer, 1) >= SINCE["acks"]:
            return [self.note(peer, STANDING, "acks", Acks(tuple(acked)))]
        letters = [(ack.run, self._seal(peer, ack.run, ack.sequence, "ack", Ack(ack.letter))) for ack in acked]
        return [self._count(run, "ack", letter) for run, letter in letters]

    def read(self, data: bytes, kinds: frozenset[str]) -> tuple[Header, Envelope]:
        """Believes a letter's header: addressed to us, of our charter, of a kind due here, signed by its sender."""
        header, envelope = read_envelope(data)
        if header.receiver != self.name or header.kind not in kinds:
            raise ProtocolViolation("a letter is for somebody else, or of a kind not due here")
        if header.version != SINCE[header.kind]:
            raise ProtocolViolation("a letter is not of the version that its kind came with")
        try:
            self.charter.party(header.sender)  # who was removed is believed no more, under no version
            sender = self._charter(header).party(header.sender)
        except Refused as error:
            raise ProtocolViolation(str(error)) from error
        check_sender(envelope, sender.signing)
        self.hear(header.sender, header.version)
        return header, envelope

    def _charter(self, header: Header) -> Charter:
        """The one that a letter is of."""
        for charter in (self.charter, *self.former[-1:]):
            if header.charter == charter.version:
                return charter
        if header.charter == self.charter.version + 1:
            raise ProtocolViolation(f"{AHEAD}{header.charter}: `hansa charter accept` takes it, and they come again")
        raise ProtocolViolation(f"a letter is of version {header.charter} of the charter, which does not hold here")

    def hear(self, peer: str, version: int) -> None:
        """That `peer` speaks letters of this version; forgotten when the process ends, and heard again soon."""
        self._heard[peer] = max(version, self._heard.get(peer, 1))

    def open(self, header: Header, envelope: Envelope) -> Payload:
        named = self._charter(header).party(self.name).sealing
        sealing = next((keys.sealing for keys in self.held if keys.sealing.public == named), self.sealing)
        return decode(open_letter(envelope, sealing), PAYLOADS[header.kind])

    def plan(self, data: bytes) -> Plan:
        """A plan under the charter that it names: jobs outlive theirs."""
        return load(data, self.charter, self.former)

    def acked(self, db: Session, header: Header, payload: Payload, now: float) -> None:
        """Closes the letters that `payload` names; an ack of other bytes than we sent is a violation, and closes
        none."""
        acks = payload.letters if isinstance(payload, Acks) else ()
        if isinstance(payload, Ack):
            acks = (Acked(header.run, header.sequence, payload.letter),)
        rows = [self._sent(db, header.sender, ack) for ack in acks]
        for row in rows:
            if row.acked_at is None:
                row.acked_at = now

    def _sent(self, db: Session, receiver: str, ack: Acked) -> Outbox:
        row = db.scalar(
            select(Outbox).where(Outbox.receiver == receiver, Outbox.run == ack.run, Outbox.sequence == ack.sequence)
        )
        if row is None or hashlib.sha256(row.data).digest() != ack.letter:
            raise ProtocolViolation("an ack names a letter that was not sent")
        return row


Taken = Literal["new", "again", "other"]


def take(db: Session, header: Header, data: bytes, now: float) -> Taken:
    """Keeps a letter that is new. "again": it is here already. "other": another one is here under its number."""
    row = db.scalar(
        select(Inbox).where(Inbox.sender == header.sender, Inbox.run == header.run, Inbox.sequence == header.sequence)
    )
    if row is not None:
        return "again" if row.data == data else "other"
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
            claimed_by=None,
        )
    )
    db.flush()
    return "new"


_done = aliased(Inbox)
_EARLIER = (
    select(func.count())
    .where(
        _done.sender == Inbox.sender,
        _done.run == Inbox.run,
        _done.sequence < Inbox.sequence,
        _done.done_at.is_not(None),
    )
    .correlate(Inbox)
    .scalar_subquery()
)
_READY = (
    select(Inbox)
    .where(Inbox.done_at.is_(None), or_(Inbox.sequence == _EARLIER, Inbox.kind == "end"))
    .order_by(Inbox.kind != "end", Inbox.id)
    .limit(1)
    # Of two workers on PostgreSQL each takes another letter; SQLite has one writer, and knows no such clause.
    .with_for_update(skip_locked=True)
)
_READY_OF_RUN = _READY.where(Inbox.run == bindparam("of_run"))
_UNCLAIMED = _READY.where(Inbox.claimed_by.is_(None))
_DUE = (
    select(Outbox.id, Outbox.receiver, Outbox.data, Outbox.attempts)
    # What waits longer than any letter ever does was written before the clock was set back.
    .where(Outbox.acked_at.is_(None), or_(Outbox.next_at <= bindparam("now"), Outbox.next_at > bindparam("never")))
    .where(Outbox.receiver.not_in(bindparam("busy", expanding=True)))
    .order_by(Outbox.id)
    .limit(100)
)


def ready(db: Session, run: str) -> Inbox | None:
    """The oldest letter of `run` not worked off whose predecessors (same sender and run) all are."""
    return db.scalar(_READY_OF_RUN, {"of_run": run})


def claim(db: Session, worker: str) -> int | None:
    """The id of the oldest letter that is ready and that nobody works on; from now on it is `worker`'s."""
    row = db.scalar(_UNCLAIMED)
    if row is None:
        return None
    row.claimed_by = worker
    return row.id


def claims(db: Session) -> list[tuple[int, str]]:
    """(letter, worker) of each claim on a letter that is not worked off."""
    query = select(Inbox.id, Inbox.claimed_by).where(Inbox.done_at.is_(None), Inbox.claimed_by.is_not(None))
    return [(number, worker) for number, worker in db.execute(query) if worker is not None]


def free(db: Session, letters: Collection[int]) -> None:
    """Nobody is at these any more: they wait again."""
    db.execute(update(Inbox).where(Inbox.done_at.is_(None), Inbox.id.in_(letters)).values(claimed_by=None))


def holds(db: Session, run: str, kind: str) -> bool:
    """Whether a letter of this kind has come in `run`."""
    return db.scalar(select(Inbox.id).where(Inbox.run == run, Inbox.kind == kind).limit(1)) is not None


def done_with(db: Session, run: str, now: float) -> None:
    """No letter of `run` that waits is worked off any more, but for what the answer is: nothing makes that moot."""
    moot = Inbox.run == run, Inbox.done_at.is_(None), Inbox.kind != "released"
    db.execute(update(Inbox).where(*moot).values(done_at=now))


class Due(NamedTuple):
    """A letter to send now."""

    id: int
    receiver: str
    data: bytes
    attempts: int


def due(db: Session, now: float, busy: Collection[str] = ()) -> list[Due]:
    """At most a hundred, oldest first; none to the `busy`."""
    never = now + 2 * SILENT_RETRY
    return [Due(*row) for row in db.execute(_DUE, {"now": now, "never": never, "busy": list(busy)})]


def delay(attempts: int) -> float:
    """Seconds, but for the jitter, until a letter is sent again that was sent so often before."""
    return min(FIRST_RETRY * 2 ** min(attempts, 10), LONGEST_RETRY) if attempts < SILENT_ATTEMPTS else SILENT_RETRY


def waited(attempts: int) -> float:
    """The least time, in seconds, for which a letter has waited that was sent so often."""
    return sum(_EARLIEST * delay(number) for number in range(attempts - 1))


def posted(db: Session, letters: Sequence[Due], now: float, chance: float) -> None:
    """After sending: the next attempt of each, later every time. `chance` in [0, 1) is the jitter."""
    for attempts in {letter.attempts for letter in letters}:
        ids = [letter.id for letter in letters if letter.attempts == attempts]
        next_at = now + delay(attempts) * (_EARLIEST + 0.5 * chance)
        db.execute(update(Outbox).where(Outbox.id.in_(ids)).values(attempts=attempts + 1, next_at=next_at))


def put_off(db: Session, letters: Sequence[Due], now: float) -> None:
    """Could not be sent: that is no attempt. Tried again soon."""
    ids = [letter.id for letter in letters]
    db.execute(update(Outbox).where(Outbox.id.in_(ids)).values(next_at=now + WAIT_SECONDS))


def hurry(db: Session, receiver: str, now: float) -> None:
    """`receiver` has shown that it is up: what waits for its ack is sent again now."""
    waits = Outbox.receiver == receiver, Outbox.acked_at.is_(None), Outbox.attempts > 0
    db.execute(update(Outbox).where(*waits).values(attempts=0, next_at=now))


def set_aside(db: Session, came_by: str, reason: str, data: bytes, now: float, whole: bool = False) -> None:
    """`whole`: of a letter that is evidence everything is kept, not its beginning only. Letters of the charter that is
    to be accepted next come until it is: the first is kept."""
    if reason.startswith(AHEAD) and db.scalar(
        select(SetAside.id).where(SetAside.came_by == came_by, SetAside.reason == reason).limit(1)
    ):
        return
    db.add(SetAside(came_by=came_by[:32], reason=reason[:500], data=data if whole else data[:65_536], at=now))
    db.flush()
    newest = db.scalar(select(func.max(SetAside.id))) or 0
    db.execute(delete(SetAside).where(SetAside.id <= newest - 1000))
