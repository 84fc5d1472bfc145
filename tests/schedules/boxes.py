"""What a party keeps, the letters it takes and writes, and what the judge is told when something is kept.

What a party keeps is one frozen value, and every change to it one assignment (`Party.persist`). A crash happens at such
an assignment, before or after it, and loses all the rest. A name here is the name in `mail/boxes.py`.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hansa.errors import ProtocolViolation
from hansa.messages import decode, encode
from hansa.protocols.survivors import Receipt

FIRST_RETRY, LONGEST_RETRY = 2.0, 60.0
Chunks = tuple[bytes, ...]


class Crashed(Exception):
    """The party is down."""


class Letter(Struct, frozen=True, array_like=True):
    """`number`: its place among the letters of this sender to this receiver. An ack bears that of what it acks.

    `beside`: the chunks that travel by their own way, together with what names them.
    """

    sender: str
    receiver: str
    number: int
    kind: str
    round: int
    body: bytes
    beside: Chunks = ()


class Said(Struct, frozen=True, array_like=True):
    request: bytes  # digest
    reply: bytes
    beside: Chunks


class Store(Struct, frozen=True, kw_only=True):
    """What outlives a crash. `outbox` by receiver, in order of number; `done`: how many letters are worked off."""

    outbox: Mapping[str, tuple[bytes, ...]] = {}
    acked: frozenset[tuple[str, int]] = frozenset()
    inbox: Mapping[str, Mapping[int, bytes]] = {}
    done: Mapping[str, int] = {}


class SiteStore(Store, frozen=True, kw_only=True):
    state: bytes | None = None
    attempt: int = 0
    steps: int = 0
    said: Mapping[int, Said] = {}
    ended: bool = False


class HubStore(Store, frozen=True, kw_only=True):
    """`chunks`: what lies beside the contributions of the open sum, by digest; `total`: beside the receipt."""

    status: str = "setup"
    reason: str = ""
    attempt: int = 0
    round: int = 0
    quorum: int = 0
    state: bytes | None = None
    deadline: float | None = None
    asked: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    replies: Mapping[str, bytes] = {}
    session: bytes | None = None
    step: int = 0
    receipt: Receipt | None = None
    chunks: Mapping[bytes, bytes] = {}
    total: bytes = b""


# ---- what the judge is told, when it is stored ----


class Answered(Struct, frozen=True):
    """`shown`: what lay beside the request; `beside`: what the site sent beside its reply."""

    site: str
    round: int
    request: Any
    reply: Any
    content: bytes
    before: Any
    after: Any
    shown: Chunks
    beside: Chunks


class Repeated(Struct, frozen=True):
    site: str
    round: int
    request: bytes
    content: bytes
    beside: Chunks


class Applied(Struct, frozen=True):
    party: str
    sender: str
    number: int


class SetAside(Struct, frozen=True):
    party: str
    reason: str


class Declined(Struct, frozen=True):
    """By a rule of the site's own."""

    site: str


class Closed(Struct, frozen=True):
    """A round, with whoever was missing, and the replies as they came. `late`: seconds after its deadline."""

    round: int
    stage: str
    missing: tuple[str, ...]
    late: float
    replies: Mapping[str, bytes]
    state: Any


class Totalled(Struct, frozen=True):
    """A total was opened: from this state, with these replies and these chunks."""

    step: int
    state: Any
    replies: Mapping[str, Any]
    summed: Any
    chunks: Mapping[bytes, bytes]


class Ended(Struct, frozen=True):
    status: str
    reason: str


# ---- boxes ----


def take(store: Any, letter: Letter, data: bytes) -> Any:
    """Keeps a letter; the same bytes again change nothing, other bytes in its place are equivocation."""
    kept = store.inbox.get(letter.sender, {})
    if letter.number in kept:
        if kept[letter.number] != data:
            raise ProtocolViolation("a party sent two letters under one number: equivocation")
        return store
    return replace(store, inbox={**store.inbox, letter.sender: {**kept, letter.number: data}})


def write(store: Any, sender: str, receiver: str, kind: str, number: int, body: bytes, beside: Chunks = ()) -> Any:
    sent = store.outbox.get(receiver, ())
    data = encode(Letter(sender, receiver, len(sent), kind, number, body, beside))
    return replace(store, outbox={**store.outbox, receiver: (*sent, data)})


def acked(store: Any, letter: Letter) -> Any:
    sent = store.outbox.get(letter.sender, ())
    if letter.number >= len(sent) or hashlib.sha256(sent[letter.number]).digest() != letter.body:
        raise ProtocolViolation("an ack names a letter that was not sent")
    return replace(store, acked=store.acked | {(letter.sender, letter.number)})


def worked_off(store: Any, letter: Letter) -> Any:
    return replace(store, done={**store.done, letter.sender: letter.number + 1})


def ready(store: Any) -> Letter | None:
    """The first letter whose predecessors of the same sender are worked off."""
    for sender, kept in store.inbox.items():
        data = kept.get(store.done.get(sender, 0))
        if data is not None:
            return decode(data, Letter)
    return None


def is_due(at: float, now: float) -> bool:
    """What waits longer than any letter ever does was written before the clock was set back."""
    return at <= now or at > now + 2 * LONGEST_RETRY


class Party:
    """`armed`: what happens at the next assignment after `skip` others, "before" or "after" it, or nothing."""

    store: Any

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.name, self.notes, self.up, self.armed, self.skip = name, notes, True, "", 0
        self.tries: dict[tuple[str, int], tuple[int, float]] = {}
        self._idle, self._since, self._until = None, 0.0, 0.0  # between these times nothing is due of this store
        self._pending: tuple[Any, list[tuple[tuple[str, int], bytes]]] = (None, [])
        self.given_up: set[tuple[str, int]] = set()  # a liar's letters whose places other letters of its took

    def persist(self, store: Any, *notes: Any) -> None:
        if self.armed and self.skip:
            self.skip -= 1
            armed = ""
        else:
            armed, self.armed = self.armed, ""
        if armed == "before":
            raise Crashed
        self.store = store
        self.notes.extend(notes)
        if armed == "after":
            raise Crashed

    def crash(self) -> None:
        self.up, self.armed = False, ""

    def restart(self, now: float) -> None:
        self.tries, self._idle = {}, None

    def receive(self, data: bytes, now: float) -> bytes | None:
        """Keeps a letter and gives its ack, or takes note of an ack."""
        letter = decode(data, Letter)
        try:
            if letter.kind == "ack":
                store = acked(self.store, letter)
                if store.acked != self.store.acked:
                    self.persist(store)
                return None
            store = take(self.store, letter, data)
        except ProtocolViolation as violation:
            self.notes.append(SetAside(self.name, str(violation)))
            return None
        if store is not self.store:
            self.persist(store)
        body = hashlib.sha256(data).digest()
        return encode(Letter(self.name, letter.sender, letter.number, "ack", 0, body))

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """What is to be sent now, for the first time or again."""
        if self._idle is self.store and self._since <= now < self._until:
            return []
        letters: list[tuple[str, bytes]] = []
        for key, data in self.pending():
            tries, at = self.tries.get(key, (0, now))
            if key not in self.given_up and is_due(at, now):
                letters.append((key[0], data))
                self.tries[key] = (tries + 1, now + min(FIRST_RETRY * 2 ** min(tries, 10), LONGEST_RETRY))
        times = [self.tries[key][1] for key, _data in self.pending() if key in self.tries]
        self._idle, self._since, self._until = self.store, now, min(times, default=now)
        return letters

    def pending(self) -> list[tuple[tuple[str, int], bytes]]:
        """What is not acknowledged; found again when the store has changed."""
        if self._pending[0] is not self.store:
            acked, outbox = self.store.acked, self.store.outbox
            keys = [((receiver, number), data) for receiver, sent in outbox.items() for number, data in enumerate(sent)]
            self._pending = (self.store, [row for row in keys if row[0] not in acked])
        return self._pending[1]

    def next_due(self, now: float) -> float | None:
        """When something is to be sent again."""
        times = []
        for key, _data in self.pending():
            if key in self.tries and key not in self.given_up:
                at = self.tries[key][1]
                times.append(now if is_due(at, now) else at)
        return min(times, default=None)

    @abstractmethod
    def work(self, now: float) -> None:
        """Works off what waits."""
