"""A hub and a site around the real protocol states, with the smallest store that the product's rules need.

The hub follows `hub/rounds.py` and `hub/coordinator.py`, the site `hansa_site/site.py`; a name here is the name there.
What travels beside a letter lies in the letter: it arrives with it or not at all.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle, prg
from hansa.crypto.keys import SigningKey, digest
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.messages import HUB, decode, encode
from hansa.protocols import key_setup, masks, secure_sum
from hansa.protocols.base import Ask, Done, Own, Vector
from hansa.protocols.key_setup import AwaitOffers, Encapsulating, Invited, Manifest, Offered, Paired, Revealed, Session
from hansa.protocols.secure_sum import (
    AwaitContributions,
    AwaitLocks,
    Contribute,
    Contributed,
    LockedSet,
    Masked,
    Opened,
    Waiting,
)
from hansa.protocols.thresholds import tolerated_of
from tests.schedules.boxes import (
    Answered,
    Applied,
    Chunks,
    Closed,
    Declined,
    Ended,
    HubStore,
    Letter,
    Party,
    Repeated,
    Said,
    SetAside,
    SiteStore,
    Totalled,
    ready,
    worked_off,
    write,
)

PLAN = bytes(range(32))
ROUND_SECONDS = 20.0
MAX_SETUPS = 5
LENGTH = 4
DONE, NOT_ENOUGH, REFUSED, FAILED = "done", "not enough sites", "refused", "failed"
STATES: Any = Invited | Offered | Revealed | Encapsulating | Waiting | Masked | LockedSet
HUB_STATES: Any = (
    key_setup.AwaitOffers
    | key_setup.AwaitReveals
    | key_setup.AwaitEncapsulated
    | key_setup.AwaitReady
    | secure_sum.AwaitContributions
    | secure_sum.AwaitLocks
    | secure_sum.AwaitShares
)
SETUP = (key_setup.AwaitOffers, key_setup.AwaitReveals, key_setup.AwaitEncapsulated, key_setup.AwaitReady)


def cut(vector: Vector) -> Chunks:
    return tuple(masks.cut(bytes(masks.as_bytes(vector)), prg.CHUNK_BYTES))


class SiteParty(Party):
    """`lying`: what it sends instead of its reply, and instead of what lies `beside` it."""

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
        self.beside: Chunks = ()
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
            notes = [Repeated(self.name, letter.round, digest("request", letter.body), said.reply, said.beside)]
            return write(store, self.name, HUB, "reply", letter.round, said.reply, said.beside), notes
        if self.refusing:
            raise Refused("a rule of the site's own says no")
        if letter.kind == "open":
            state: Any = Invited(self.name, PLAN, store.attempt, -1, 3, self.public, self.draw(32))
        else:
            state = decode(store.state, STATES)
        request = decode(letter.body, state.accepts)
        vector = self._vector(state, request, letter.beside) if isinstance(request, Contribute) else None
        following, reply = state.answer(request, Own(self.key, vector))
        self.beside = () if vector is None else cut(vector)
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
            said={**store.said, letter.round: Said(digest("request", letter.body), content, self.beside)},
        )
        for body in (content, *again):
            store = write(store, self.name, HUB, "reply", letter.round, body, self.beside)
        note = Answered(self.name, letter.round, request, reply, content, state, following, letter.beside, self.beside)
        return store, [note]

    def _vector(self, state: Waiting, request: Contribute, beside: Chunks) -> Vector:
        """The site's numbers, given after it looked at the total that it is shown."""
        state.check(request)
        if request.receipt is not None:
            state.total(request.receipt, b"".join(beside))
        return self.vectors(self.name, request.step)


def said_before(store: SiteStore, letter: Letter) -> Said | None:
    """The same bytes to the same request under a number, nothing to another."""
    said = store.said.get(letter.round)
    if said is None:
        return None
    if said.request != digest("request", letter.body):
        raise ProtocolViolation("a round that was answered is asked again with another request")
    return said


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
        self.opening = self.store  # as it will be, while a liar thinks of what to tell

    def state(self, store: HubStore) -> Any:
        return hub_state(store.state) if store.state is not None else None

    def stage(self) -> str:
        return type(self.state(self.store)).__name__

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
            if not arrived(self.state(store), letter):
                notes.append(SetAside(HUB, "what lies beside a reply is not what it names"))
                return store
            chunks = {merkle.leaf(chunk): chunk for chunk in letter.beside}
            replies = {**store.replies, letter.sender: letter.body}
            return replace(store, replies=replies, chunks={**store.chunks, **chunks})
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
        corrupt = tolerated_of(len(self.public), -1)
        ask = key_setup.begin(PLAN, store.attempt, {site: self.public[site] for site in sites}, corrupt, 3)
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
        self.opening = store
        if lie is not None and lie.due(requests, store.step):
            told = lie.tell(self, requests)
            if told:  # where there is nothing yet to lie about it waits
                self.lied, self.lie = True, self.lie if self.lie is not lie else None
            store = self._say(store, told, kind, number) if not lie.after else store
        self.past.append((number, requests))
        for site, request in requests.items():
            store = write(store, HUB, site, kind, number, encode(request), beside(store, request))
        return self._say(store, told, kind, number) if told and lie.after else store

    def _say(self, store: HubStore, told: Mapping[str, Any], kind: str, number: int) -> HubStore:
        for site, lies in told.items():
            for lie in lies:
                shown = beside(store, lie.message) if lie.beside is None else lie.beside
                if lie.sort == "raw":  # a second letter under the number that the next one will have
                    place = len(store.outbox.get(site, ()))
                    letter = Letter(HUB, site, place, kind, number, encode(lie.message), shown)
                    self.raw.append((site, encode(letter)))
                else:
                    sort, at = lie.sort or kind, lie.round or number
                    store = write(store, HUB, site, sort, at, encode(lie.message), shown)
        return store

    def _closed(self, store: HubStore, now: float, missing: Any) -> Closed:
        state = self.state(store)
        stage = "" if state is None else type(state).__name__
        late = 0.0 if self.store.deadline is None else now - self.store.deadline
        return Closed(store.round, stage, tuple(sorted(missing)), late, store.replies, state)

    def _close(self, store: HubStore, now: float, missing: tuple[str, ...] = ()) -> tuple[HubStore, list[Any]]:
        state = self.state(store)
        notes: list[Any] = [self._closed(store, now, missing)]
        replies = {}
        for site in sorted(store.asked & set(store.replies)):
            try:
                reply = decode(store.replies[site], state.accepts)
                state.check(site, reply)
                replies[site] = reply
            except ProtocolViolation:
                store = replace(store, active=store.active - {site})
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
        assert isinstance(outcome.output, Opened)
        summed = outcome.output.summed(store.chunks.__getitem__)
        notes.append(Totalled(store.step, state, replies, summed, store.chunks))
        store = replace(store, receipt=summed.receipt, total=summed.content, active=frozenset(summed.active), chunks={})
        if store.step + 1 == self.steps:
            return self._ended(store, DONE, ""), [*notes, Ended(DONE, "")]
        store = replace(store, step=store.step + 1)
        assert store.session is not None
        return self._ask_for_step(store, decode(store.session, Session), summed.active, now), notes

    def _ask_for_step(self, store: HubStore, session: Session, cohort: Any, now: float) -> HubStore:
        public = b"step %d" % store.step
        ask = secure_sum.begin(session, store.step, public, cohort, store.receipt, LENGTH)
        return self._open(store, ask, now)


@lru_cache(maxsize=4)
def hub_state(data: bytes) -> Any:
    return decode(data, HUB_STATES)


def refusal_counts(store: HubStore, site: str) -> bool:
    """Of a site that is still part of the job."""
    return site in store.active


def mended(deadline: float | None, now: float) -> float | None:
    """A deadline further off than a round lasts was written before the clock was set back."""
    return now + ROUND_SECONDS if deadline is not None and deadline > now + ROUND_SECONDS + 1 else deadline


def timer_counts(store: HubStore, number: int, now: float) -> bool:
    return number == store.round and store.deadline is not None and store.deadline <= now


def beside(store: HubStore, request: Any) -> Chunks:
    """The total that a receipt names, wherever a request bears one."""
    if not isinstance(request, Contribute) or request.receipt is None:
        return ()
    return tuple(masks.cut(store.total, prg.CHUNK_BYTES))


def arrived(state: Any, letter: Letter) -> bool:
    """What the mailbox sees to: a chunk that has not its digest or not its size did not arrive, nor did its letter."""
    if not isinstance(state, AwaitContributions):
        return True
    try:
        named = decode(letter.body, Contributed).chunks
    except ProtocolViolation:
        return True
    return fit(state, letter.beside) and tuple(map(merkle.leaf, letter.beside)) == named


def fit(state: AwaitContributions, chunks: Chunks) -> bool:
    """As large as the chunks of a vector are; another number of them the state itself refuses."""
    ring = state.session.ring
    due = [masks.chunk_bytes(state.length, ring, number) for number in range(masks.chunks_of(state.length, ring))]
    return len(chunks) != len(due) or [len(chunk) for chunk in chunks] == due
