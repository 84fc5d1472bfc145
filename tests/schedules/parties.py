"""A hub and a site around the real protocol states, with the smallest store that the product's rules need.

What a party keeps is one frozen value, and every change to it one assignment (`Party.persist`). A crash happens at such
an assignment, before or after it, and loses all the rest. The hub follows `hub/rounds.py` and `hub/coordinator.py`,
the site `hansa_site/site.py`, both of them `mail/boxes.py`; a name here is the name there.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hansa.crypto.keys import SigningKey, digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.messages import HUB, decode, encode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Own, Vector
from hansa.protocols.key_setup import AwaitOffers, Invited, Manifest, Offered, Paired, Revealed, Session
from hansa.protocols.secure_sum import AwaitContributions, AwaitLocks, Contribute, LockedSet, Masked, Receipt, Waiting

PLAN = bytes(range(32))
ROUND_SECONDS = 20.0
FIRST_RETRY, LONGEST_RETRY = 2.0, 60.0
MAX_SETUPS = 5
LENGTH = 4
DONE, NOT_ENOUGH, REFUSED, FAILED = "done", "not enough sites", "refused", "failed"
STATES: Any = Invited | Offered | Revealed | Waiting | Masked | LockedSet
HUB_STATES: Any = (
    key_setup.AwaitOffers
    | key_setup.AwaitReveals
    | key_setup.AwaitReady
    | secure_sum.AwaitContributions
    | secure_sum.AwaitLocks
    | secure_sum.AwaitShares
)
SETUP = (key_setup.AwaitOffers, key_setup.AwaitReveals, key_setup.AwaitReady)


class Crashed(Exception):
    """The party is down."""


class Letter(Struct, frozen=True, array_like=True):
    """`number`: its place among the letters of this sender to this receiver. An ack bears that of what it acks."""

    sender: str
    receiver: str
    number: int
    kind: str
    round: int
    body: bytes


class Said(Struct, frozen=True, array_like=True):
    request: bytes  # digest
    reply: bytes


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


# ---- what the judge is told, when it is stored ----


class Answered(Struct, frozen=True):
    site: str
    round: int
    request: Any
    reply: Any
    content: bytes
    before: Any
    after: Any


class Repeated(Struct, frozen=True):
    site: str
    round: int
    request: bytes
    content: bytes


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


class Opened(Struct, frozen=True):
    step: int
    state: Any
    replies: Mapping[str, Any]
    summed: Any


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


def write(store: Any, sender: str, receiver: str, kind: str, number: int, body: bytes) -> Any:
    sent = store.outbox.get(receiver, ())
    data = encode(Letter(sender, receiver, len(sent), kind, number, body))
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
        self.tries = {}

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
        letters: list[tuple[str, bytes]] = []
        for receiver, sent in self.store.outbox.items():
            for number, data in enumerate(sent):
                key = (receiver, number)
                if key in self.store.acked or key in self.given_up:
                    continue
                tries, at = self.tries.get(key, (0, now))
                if is_due(at, now):
                    letters.append((receiver, data))
                    self.tries[key] = (tries + 1, now + min(FIRST_RETRY * 2 ** min(tries, 10), LONGEST_RETRY))
        return letters

    def next_due(self, now: float) -> float | None:
        """When something is to be sent again."""
        times = [
            now if is_due(at, now) else at
            for key, (_tries, at) in self.tries.items()
            if key not in self.store.acked | self.given_up
        ]
        return min(times, default=None)

    @abstractmethod
    def work(self, now: float) -> None:
        """Works off what waits."""


class SiteParty(Party):
    """`lying`: what it sends instead of its reply; (its type of request, step, how)."""

    def __init__(
        self,
        name: str,
        notes: list[Any],
        key: SigningKey,
        public: dict[str, bytes],
        vectors: Callable[[str, int], Vector],
        draw: Callable[[int], bytes],
    ) -> None:
        super().__init__(name, notes)
        self.store = SiteStore()
        self.key, self.public, self.vectors, self.draw = key, public, vectors, draw
        self.lying: Any = None
        self.refusing = False

    def work(self, now: float) -> None:
        while (letter := ready(self.store)) is not None:
            applied = Applied(self.name, letter.sender, letter.number)
            try:
                store, notes = self.outcome(letter)
            except ProtocolViolation as violation:
                store = write(self.store, self.name, HUB, "refusal", letter.round, str(violation).encode())
                notes = [SetAside(self.name, str(violation))]
            except Refused as refusal:
                store = write(self.store, self.name, HUB, "refusal", letter.round, str(refusal).encode())
                store, notes = replace(store, state=None, ended=True), [Declined(self.name)]
            self.persist(worked_off(store, letter), applied, *notes)

    def outcome(self, letter: Letter) -> tuple[Any, list[Any]]:
        store = self.store
        if letter.kind == "end":
            return replace(store, state=None, ended=True), []
        if store.ended:
            return store, []
        if letter.kind == "open" and store.steps:
            raise ProtocolViolation("setup is asked for again after a contribution")
        if letter.kind == "round" and store.state is None:
            raise ProtocolViolation("a round was asked before setup")
        said = said_before(store, letter)
        if said is not None:
            notes = [Repeated(self.name, letter.round, digest("request", letter.body), said)]
            return write(store, self.name, HUB, "reply", letter.round, said), notes
        if self.refusing:
            raise Refused("a rule of the site's own says no")
        if letter.kind == "open":
            state: Any = Invited(self.name, PLAN, store.attempt, -1, 3, self.public, self.draw(32))
        else:
            state = decode(store.state, STATES)
        request = decode(letter.body, state.accepts)
        vector = self.vectors(self.name, request.step) if isinstance(request, Contribute) else None
        following, reply = state.answer(request, Own(self.key, vector))
        if isinstance(following, Paired):
            following = Waiting(following)
        again: list[bytes] = []
        if self.lying is not None and self.lying.due(request, state):
            reply, following, again = self.lying.tell(self, reply, following)
            self.lying = None
        content = reply if isinstance(reply, bytes) else encode(reply)
        if isinstance(request, Manifest):
            store = replace(store, attempt=request.attempt + 1)
        store = replace(
            store,
            state=encode(following),
            steps=store.steps + isinstance(request, Contribute),
            said={**store.said, letter.round: Said(digest("request", letter.body), content)},
        )
        for body in (content, *again):
            store = write(store, self.name, HUB, "reply", letter.round, body)
        return store, [Answered(self.name, letter.round, request, reply, content, state, following)]


def said_before(store: SiteStore, letter: Letter) -> bytes | None:
    """The same bytes to the same request under a number, nothing to another."""
    said = store.said.get(letter.round)
    if said is None:
        return None
    if said.request != digest("request", letter.body):
        raise ProtocolViolation("a round that was answered is asked again with another request")
    return said.reply


class HubParty(Party):
    """`lie`: what it sends besides the truth, once. Having lied, it doesn't stop at what an honest hub stops at."""

    def __init__(self, notes: list[Any], public: dict[str, bytes], steps: int) -> None:
        super().__init__(HUB, notes)
        self.public, self.steps = public, steps
        self.store = HubStore(active=frozenset(public))
        self.lie: Any = None
        self.lied = False
        self.past: list[tuple[int, dict[str, Any]]] = []  # a liar remembers: requests by round
        self.raw: list[tuple[str, bytes]] = []  # letters that are in no outbox
        self.colluders: dict[str, SigningKey] = {}

    def stage(self) -> str:
        return type(decode(self.store.state, HUB_STATES)).__name__

    def begin(self, now: float) -> None:
        self._guarded(now, lambda store: self._open_setup(store, sorted(store.active), now))

    def restart(self, now: float) -> None:
        """As `Coordinator.adopt`: a round that ran out while no hub ran gets its time again."""
        super().restart(now)
        again = now + ROUND_SECONDS
        if self.store.deadline is not None and self.store.deadline < again:
            self.persist(replace(self.store, deadline=again))

    def work(self, now: float) -> None:
        """`turn`, and `tick`."""
        store, notes = self.store, []
        while (letter := ready(store)) is not None:
            notes.append(Applied(HUB, letter.sender, letter.number))
            store = self._applied(worked_off(store, letter), letter, now, notes)
        if notes:
            self.persist(store, *notes)
            self._close_if_complete(now)
        deadline = mended(self.store.deadline, now)
        if deadline != self.store.deadline:
            self.persist(replace(self.store, deadline=deadline))
        if self.store.deadline is not None and self.store.deadline <= now:
            self.deadline(self.store.round, now)

    def _applied(self, store: HubStore, letter: Letter, now: float, notes: list[Any]) -> HubStore:
        if store.status not in ("setup", "running"):
            return store
        if letter.kind == "refusal":
            if self.lied or not refusal_counts(store, letter.sender):
                return store
            notes.append(Ended(REFUSED, letter.body.decode()))
            return self._ended(store, REFUSED, letter.body.decode())
        expected = letter.round == store.round and letter.sender in store.asked
        if expected and letter.sender not in store.replies:
            return replace(store, replies={**store.replies, letter.sender: letter.body})
        return store

    def _close_if_complete(self, now: float) -> None:
        if self.store.state is not None and self.store.asked <= set(self.store.replies):
            self._guarded(now, lambda store: self._close(store, now))

    def deadline(self, number: int, now: float) -> None:
        """The timer of round `number` goes off; a later round is not its business."""
        store = self.store
        if store.state is None or not timer_counts(store, number, now):
            return
        gone = store.asked - set(store.replies)
        store = replace(store, active=store.active - gone, asked=store.asked - gone)
        self._guarded(now, lambda store: self._close(store, now, tuple(sorted(gone))), store)

    def _guarded(self, now: float, act: Callable[[HubStore], tuple[HubStore, list[Any]]], start: Any = None) -> None:
        try:
            store, notes = act(self.store if start is None else start)
        except (ProtocolViolation, Refused, NotEnoughSites) as error:
            status = NOT_ENOUGH if isinstance(error, NotEnoughSites) else FAILED
            status = REFUSED if isinstance(error, Refused) else status
            closed = self._closed(self.store, now, () if start is None else self.store.asked - start.asked)
            store, notes = self._ended(self.store, status, str(error)), [closed, Ended(status, str(error))]
        self.persist(store, *notes)

    def _ended(self, store: HubStore, status: str, reason: str) -> HubStore:
        store = replace(store, status=status, reason=reason, state=None, deadline=None, asked=frozenset(), replies={})
        for site in sorted(self.public):
            store = write(store, HUB, site, "end", 0, status.encode())
        return store

    def _open_setup(self, store: HubStore, sites: Any, now: float) -> tuple[HubStore, list[Any]]:
        if not sites:
            raise NotEnoughSites("no site answered in time")
        if store.attempt >= MAX_SETUPS:
            raise NotEnoughSites("the sites did not agree on keys")
        ask = key_setup.begin(PLAN, store.attempt, {site: self.public[site] for site in sites}, -1, 3)
        store = replace(store, attempt=store.attempt + 1, status="setup", active=frozenset(sites))
        return self._open(store, ask, now), []

    def _open(self, store: HubStore, ask: Ask, now: float) -> HubStore:
        number = store.round + 1
        store = replace(
            store,
            round=number,
            quorum=ask.quorum,
            state=encode(ask.state),
            deadline=now + ROUND_SECONDS,
            asked=frozenset(ask.requests),
            replies={},
        )
        kind = "open" if isinstance(ask.state, AwaitOffers) else "round"
        requests = dict(ask.requests)
        lie, told = self.lie, {}
        if lie is not None and lie.due(requests, store.step):
            self.lied, self.lie = True, None
            told = lie.tell(self, requests)
            store = self._say(store, told, kind, number) if not lie.after else store
        self.past.append((number, requests))
        for site, request in requests.items():
            store = write(store, HUB, site, kind, number, encode(request))
        return self._say(store, told, kind, number) if told and lie.after else store

    def _say(self, store: HubStore, told: Mapping[str, Any], kind: str, number: int) -> HubStore:
        for site, lies in told.items():
            for lie in lies:
                if lie.sort == "raw":  # a second letter under the number that the next one will have
                    place = len(store.outbox.get(site, ()))
                    letter = Letter(HUB, site, place, kind, number, encode(lie.message))
                    self.raw.append((site, encode(letter)))
                else:
                    store = write(store, HUB, site, lie.sort or kind, lie.round or number, encode(lie.message))
        return store

    def _closed(self, store: HubStore, now: float, missing: Any) -> Closed:
        stage = "" if store.state is None else self.stage()
        late = 0.0 if self.store.deadline is None else now - self.store.deadline
        return Closed(store.round, stage, tuple(sorted(missing)), late, store.replies)

    def _close(self, store: HubStore, now: float, missing: tuple[str, ...] = ()) -> tuple[HubStore, list[Any]]:
        state = decode(store.state, HUB_STATES)
        notes: list[Any] = [self._closed(store, now, missing)]
        replies = {}
        for site in sorted(store.asked & set(store.replies)):
            try:
                replies[site] = decode(store.replies[site], state.accepts)
            except ProtocolViolation:
                store = replace(store, active=store.active - {site})
        if self.lied:
            replies = shameless(state, replies)
        if len(replies) < store.quorum and not (self.lied and isinstance(state, AwaitLocks)):
            if isinstance(state, SETUP):
                store, more = self._open_setup(store, sorted(replies), now)
                return store, notes + more
            raise NotEnoughSites(f"{len(replies)} sites answered and {store.quorum} are needed")
        outcome = state.close(replies)
        if isinstance(outcome, Ask):
            return self._open(store, outcome, now), notes
        assert isinstance(outcome, Done)
        if isinstance(outcome.output, Session):
            store = replace(store, session=encode(outcome.output), status="running", step=0)
            return self._ask_for_step(store, outcome.output, outcome.output.roster, now), notes
        summed = outcome.output
        notes.append(Opened(store.step, state, replies, summed))
        store = replace(store, receipt=summed.receipt, active=frozenset(summed.active))
        if store.step + 1 == self.steps:
            return self._ended(store, DONE, ""), [*notes, Ended(DONE, "")]
        store = replace(store, step=store.step + 1)
        return self._ask_for_step(store, decode(store.session, Session), summed.active, now), notes

    def _ask_for_step(self, store: HubStore, session: Session, cohort: Any, now: float) -> HubStore:
        public = b"step %d" % store.step
        ask = secure_sum.begin(session, store.step, public, cohort, store.receipt, LENGTH)
        return self._open(store, ask, now)


def refusal_counts(store: HubStore, site: str) -> bool:
    """Of a site that is still part of the job."""
    return site in store.active


def mended(deadline: float | None, now: float) -> float | None:
    """A deadline further off than a round lasts was written before the clock was set back."""
    return now + ROUND_SECONDS if deadline is not None and deadline > now + ROUND_SECONDS + 1 else deadline


def timer_counts(store: HubStore, number: int, now: float) -> bool:
    return number == store.round and store.deadline is not None and store.deadline <= now


def shameless(state: Any, replies: dict[str, Any]) -> dict[str, Any]:
    """A hub that lied leaves out the replies that its own checks would stop at, and goes on."""
    if isinstance(state, AwaitContributions):
        sid = state.request.sid(state.session)
        return {site: reply for site, reply in replies.items() if reply.header.sid == sid}
    if isinstance(state, AwaitLocks):
        locked = secure_sum.lock_digest(state.sid, state.headers)
        return {site: reply for site, reply in replies.items() if holds(state.session.key(site), locked, reply)}
    return replies


def holds(key: bytes, locked: bytes, reply: Any) -> bool:
    try:
        verify(key, "sum/lock", locked, reply.signature)
    except ProtocolViolation:
        return False
    return True
