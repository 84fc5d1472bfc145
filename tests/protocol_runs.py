"""All parties of key setup and secure sum in one process, with the hub and the network in the test's hands.

Every message and every state goes through its encoding, as between two processes; what the hub sees is kept in
`Parties.seen`. An attack is a function over requests (the hub lies) or over replies (a member lies, or the hub alters).
Everything follows from the names and the seed, but for what HPKE and ML-KEM draw.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import replace

from hansa.crypto import merkle, prg
from hansa.crypto.keys import SigningKey
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.messages import decode, encode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Message, Own, RingBits, SiteState, Spread, Vector
from hansa.protocols.key_setup import Delivered, Invited, Manifest, Offers, Paired, Reveals, Session
from hansa.protocols.masks import as_bytes, element
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Opened, Summed, Unmask, Waiting
from hansa.protocols.survivors import Receipt, SignedHeader, members
from hansa.protocols.thresholds import Floors, tolerated_of
from tests.real_rows import Chance

PLAN = bytes(range(32))
SETUP = (Manifest, Offers, Reveals, Delivered)
SUM = (Contribute, Lock, Unmask)

Drop = Callable[[type[Message], str], bool]
Tamper = Callable[[str, Any], Message]


def nobody(_round: type[Message], _site: str) -> bool:
    return False


def honest(_site: str, message: Message) -> Message:
    return message


def silent(round_: type[Message], *sites: str) -> Drop:
    """`sites` vanish in the round that begins with this request."""
    return lambda asked, site: asked is round_ and site in sites


class Hooks(Struct, frozen=True):
    """`drop`: who vanishes, for good, on which request. `request`: what the hub sends. `reply`: what arrives."""

    drop: Drop = nobody
    request: Tamper = honest
    reply: Tamper = honest


UNTOUCHED = Hooks()


def names(count: int) -> tuple[str, ...]:
    """Single letters as far as they go."""
    return tuple("abcdefghijklmnopqrstuvwxyz"[:count] if count <= 26 else [f"s{place:03}" for place in range(count)])


def others(sites: Sequence[str], *gone: str) -> tuple[str, ...]:
    return tuple(site for site in sites if site not in gone)


def powers(sites: Sequence[str], ring: RingBits = 64) -> dict[str, Vector]:
    """3^i for the i-th site, mod the ring: a total in which any of them is missing, doubled or subtracted shows."""
    rows = [[pow(3, place, 2**ring), 2 * 3**place % 2**ring, 0] for place in range(len(sites))]
    return {site: np.array(row, dtype=element(ring)) for site, row in zip(sites, rows, strict=True)}


def plain(vectors: Mapping[str, Vector], sites: Sequence[str]) -> list[int]:
    """The total over `sites`, in Python's integers."""
    ring = 8 * next(iter(vectors.values())).itemsize
    columns = zip(*(vectors[site].tolist() for site in sites), strict=True)
    return [sum(column) % 2**ring for column in columns]


class Parties:
    """The sites by name, what they are in now, and what the hub has seen."""

    def __init__(
        self, sites: Sequence[str], seed: str = "runs", corrupt: int = -1, minimum: int = 3, ring: RingBits = 64
    ) -> None:
        chance = Chance(seed)
        self.sites, self.corrupt, self.minimum, self.ring = tuple(sites), corrupt, minimum, ring
        self.keys = {site: SigningKey(chance(32)) for site in sites}
        self.public = {site: key.public for site, key in self.keys.items()}
        self.seeds = {site: chance(32) for site in sites}
        self.states: dict[str, SiteState] = {}
        self.vectors: dict[str, Vector] = powers(sites, ring)
        self.spread: Spread = map
        self.gone: set[str] = set()
        self.seen: dict[bytes, None] = {}  # in order, each once
        self.chunks: dict[bytes, bytes] = {}  # what lies at the hub beside the messages, by digest
        self.invite(0)

    def copy(self) -> "Parties":
        twin = object.__new__(Parties)
        twin.__dict__.update(self.__dict__)
        twin.states, twin.vectors = dict(self.states), dict(self.vectors)
        twin.gone, twin.seen, twin.chunks = set(self.gone), dict(self.seen), dict(self.chunks)
        return twin

    def invite(self, attempt: int) -> None:
        for site in self.sites:
            charter = self.corrupt, self.minimum, dict(self.public)
            self.states[site] = Invited(site, PLAN, attempt, *charter, self.seeds[site], self.ring)

    def deliver(self, site: str, request: Message) -> Any:
        """One request to one site: the reply, and the site's next state. A violation leaves the state as it was."""
        message = encode(request)
        state: Any = decode(encode(self.states[site]), type(self.states[site]))
        vector = self.vectors[site].copy()
        following, reply = state.answer(decode(message, state.accepts), Own(self.keys[site], vector, self.spread))
        self.states[site] = Waiting(following) if isinstance(following, Paired) else following
        sent = encode(reply)
        self.note(message, sent)
        if isinstance(request, Contribute):
            self.put(vector)
        return decode(sent, type(reply))

    def note(self, *data: bytes) -> None:
        self.seen.update(dict.fromkeys(data))

    def put(self, vector: Vector) -> tuple[bytes, ...]:
        """Lays a vector beside the messages: its chunks' digests."""
        content = bytes(as_bytes(vector))
        parts = [content[at : at + prg.CHUNK_BYTES] for at in range(0, len(content), prg.CHUNK_BYTES)]
        self.chunks.update({merkle.leaf(part): part for part in parts})
        self.note(*parts)
        return tuple(map(merkle.leaf, parts))

    def masked(self, reply: Contributed) -> Vector:
        """y of a contribution."""
        return np.frombuffer(b"".join(map(self.chunks.__getitem__, reply.chunks)), dtype=element(self.ring))

    def ask(self, ask: Ask, hooks: Hooks = UNTOUCHED) -> dict[str, Any]:
        """One round: the replies that arrive."""
        self.note(encode(ask.state))
        replies = {}
        for site, request in ask.requests.items():
            if site in self.gone or hooks.drop(type(request), site):
                self.gone.add(site)
                continue
            reply = self.deliver(site, hooks.request(site, request))
            replies[site] = decode(encode(hooks.reply(site, reply)), ask.state.accepts)
        return replies

    def run(self, ask: Ask, hooks: Hooks = UNTOUCHED) -> Any:
        """Rounds to the end, as the hub's coordinator closes them."""
        while True:
            outcome = close(ask, self.ask(ask, hooks))
            if isinstance(outcome, Done) and isinstance(outcome.output, Opened):
                summed = outcome.output.summed(self.chunks.__getitem__)
                self.note(encode(outcome.output), encode(summed.receipt), summed.content)
                return summed
            if isinstance(outcome, Done):
                return outcome.output
            ask = outcome

    def setup(self, hooks: Hooks = UNTOUCHED) -> Session:
        """Key setup, again without those who fall silent."""
        for attempt in range(len(self.sites)):
            self.invite(attempt)
            present = {site: key for site, key in self.public.items() if site not in self.gone}
            before = len(self.gone)
            try:
                corrupt = tolerated_of(len(self.sites), self.corrupt)
                ask = key_setup.begin(PLAN, attempt, present, corrupt, self.minimum, self.ring)
                session: Session = self.run(ask, hooks)
                return session
            except NotEnoughSites:
                if len(self.gone) == before:
                    raise
        raise NotEnoughSites("nobody is left")

    def begin(
        self,
        session: Session,
        step: int = 0,
        receipt: Receipt | None = None,
        cohort: Sequence[str] | None = None,
        public: bytes = b"state",
    ) -> Ask:
        length = len(next(iter(self.vectors.values())))
        return secure_sum.begin(session, step, public, cohort or session.roster, receipt, length)

    def total(
        self,
        session: Session,
        step: int = 0,
        before: Summed | None = None,
        hooks: Hooks = UNTOUCHED,
        public: bytes = b"state",
    ) -> Summed:
        """One sum over everybody, or over who is left after the sum `before`."""
        receipt, cohort = (before.receipt, before.active) if before else (None, None)
        summed: Summed = self.run(self.begin(session, step, receipt, cohort, public), hooks)
        return summed

    def contributed(self, session: Session, hooks: Hooks = UNTOUCHED) -> tuple[Ask, dict[str, Any]]:
        """The first round of a sum: the hub's question, and what the sites contributed."""
        ask = self.begin(session)
        return ask, self.ask(ask, hooks)

    def at_lock(self, session: Session, *gone: str) -> Ask:
        """A sum up to the request to lock, `gone` having vanished before."""
        ask: Ask = self.next(self.begin(session), Hooks(silent(Contribute, *gone)))
        return ask

    def at_unmask(self, session: Session, *gone: str) -> Ask:
        ask: Ask = self.next(self.at_lock(session, *gone))
        return ask

    def next(self, ask: Ask, hooks: Hooks = UNTOUCHED) -> Any:
        """One round, closed: the next question, or what is done."""
        return close(ask, self.ask(ask, hooks))

    def signed(self, header: SignedHeader, **changes: Any) -> SignedHeader:
        """A header as its site, corrupt, would sign it with other contents."""
        changed = replace(header, **changes)
        return replace(changed, signature=self.keys[header.site].sign("sum/header", changed.signed()))


def close(ask: Ask, replies: Mapping[str, Any]) -> Any:
    """What the coordinator does at the end of a round: below the quorum nothing is closed."""
    if len(replies) < ask.quorum:
        raise NotEnoughSites(f"{len(replies)} sites answered and {ask.quorum} are needed")
    state: Any = decode(encode(ask.state), type(ask.state))
    return state.close(replies)


def refuses(parties: Parties, site: str, request: Message, words: str) -> None:
    """`site` refuses, says so in these words, and is as it was."""
    before = encode(parties.states[site])
    with pytest.raises(ProtocolViolation, match=words):
        parties.deliver(site, request)
    assert encode(parties.states[site]) == before


def lock_requests(
    session: Session, cohort: Sequence[str], replies: Mapping[str, Contributed], survivors: Sequence[str]
) -> dict[str, Lock]:
    """What a hub would send to lock `survivors`, whoever they are."""
    headers, at_work = tuple(replies[site].header for site in survivors), members(session, set(cohort))
    return {
        member: Lock(
            headers,
            tuple(replies[peer].sealed[others(at_work, peer).index(member)] for peer in others(survivors, member)),
        )
        for member in members(session, set(survivors))
    }


@lru_cache(maxsize=32)
def _agreed(count: int, corrupt: int, seed: str, ring: RingBits) -> tuple[Parties, Session]:
    parties = Parties(names(count), seed, corrupt, ring=ring)
    return parties, parties.setup()


def agreed(count: int, corrupt: int = -1, seed: str = "runs", ring: RingBits = 64) -> tuple[Parties, Session]:
    """`count` sites after setup; each caller gets parties of its own."""
    parties, session = _agreed(count, corrupt, seed, ring)
    return parties.copy(), session


def floors(count: int, corrupt: int = -1, minimum: int = 3) -> Floors:
    return Floors.of(count, corrupt, minimum)
