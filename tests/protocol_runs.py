"""All parties of key setup and secure sum in one process, with the hub and the network in the test's hands.

Every message and every state goes through its encoding, as between two processes; what the hub sees is kept in
`Parties.seen`. An attack is a function over requests (the hub lies) or over replies (a member lies, or the hub alters).
Everything follows from the names and the seed, but for what HPKE and ML-KEM draw.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from hansa.crypto.keys import SigningKey
from hansa.errors import NotEnoughSites
from hansa.messages import decode, encode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Message, Own, SiteState, Vector
from hansa.protocols.key_setup import Floors, Invited, Manifest, Offers, Paired, Reveals, Session
from hansa.protocols.secure_sum import Contribute, Lock, Receipt, SignedHeader, Summed, Unmask, Waiting
from tests.real_rows import Chance

PLAN = bytes(range(32))
SETUP = (Manifest, Offers, Reveals)
SUM = (Contribute, Lock, Unmask)

Drop = Callable[[type[Message], str], bool]
Tamper = Callable[[str, Any], Message]


def nobody(_round: type[Message], _site: str) -> bool:
    return False


def honest(_site: str, message: Any) -> Message:
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
    return tuple("abcdefghijklmnopqrstuvwxyz"[:count])


def powers(sites: Sequence[str]) -> dict[str, Vector]:
    """3^i for the i-th site: a total in which any of them is missing, doubled or subtracted shows."""
    return {site: np.array([3**place, 2 * 3**place, 0], dtype=np.uint64) for place, site in enumerate(sites)}


def plain(vectors: Mapping[str, Vector], sites: Sequence[str]) -> list[int]:
    """The total over `sites`, in Python's integers."""
    columns = zip(*(vectors[site].tolist() for site in sites), strict=True)
    return [sum(column) % 2**64 for column in columns]


class Parties:
    """The sites by name, what they are in now, and what the hub has seen."""

    def __init__(self, sites: Sequence[str], seed: str = "runs", corrupt: int = -1, minimum: int = 3) -> None:
        chance = Chance(seed)
        self.sites, self.corrupt, self.minimum = tuple(sites), corrupt, minimum
        self.keys = {site: SigningKey(chance(32)) for site in sites}
        self.public = {site: key.public for site, key in self.keys.items()}
        self.seeds = {site: chance(32) for site in sites}
        self.states: dict[str, SiteState] = {}
        self.vectors: dict[str, Vector] = powers(sites)
        self.gone: set[str] = set()
        self.seen: list[bytes] = []
        self.invite(0)

    def copy(self) -> "Parties":
        twin = object.__new__(Parties)
        twin.__dict__.update(self.__dict__)
        twin.states, twin.vectors = dict(self.states), dict(self.vectors)
        twin.gone, twin.seen = set(self.gone), list(self.seen)
        return twin

    def invite(self, attempt: int) -> None:
        for site in self.sites:
            seed = self.seeds[site]
            self.states[site] = Invited(site, PLAN, attempt, self.corrupt, self.minimum, dict(self.public), seed)

    def deliver(self, site: str, request: Message) -> Any:
        """One request to one site: the reply, and the site's next state. A violation leaves the state as it was."""
        message = encode(request)
        state: Any = decode(encode(self.states[site]), type(self.states[site]))
        following, reply = state.answer(decode(message, state.accepts), Own(self.keys[site], self.vectors[site]))
        self.states[site] = Waiting(following) if isinstance(following, Paired) else following
        sent = encode(reply)
        self.seen += [message, sent]
        return decode(sent, type(reply))

    def ask(self, ask: Ask, hooks: Hooks = UNTOUCHED) -> dict[str, Any]:
        """One round: the replies that arrive."""
        self.seen.append(encode(ask.state))
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
            if isinstance(outcome, Done):
                self.seen.append(encode(outcome.output))
                return outcome.output
            ask = outcome

    def setup(self, hooks: Hooks = UNTOUCHED) -> Session:
        """Key setup, again without those who fall silent."""
        for attempt in range(len(self.sites)):
            self.invite(attempt)
            present = {site: key for site, key in self.public.items() if site not in self.gone}
            before = len(self.gone)
            try:
                session: Session = self.run(key_setup.begin(PLAN, attempt, present, self.corrupt, self.minimum), hooks)
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


@lru_cache(maxsize=32)
def _agreed(count: int, corrupt: int, seed: str) -> tuple[Parties, Session]:
    parties = Parties(names(count), seed, corrupt)
    return parties, parties.setup()


def agreed(count: int, corrupt: int = -1, seed: str = "runs") -> tuple[Parties, Session]:
    """`count` sites after setup; each caller gets parties of its own."""
    parties, session = _agreed(count, corrupt, seed)
    return parties.copy(), session


def floors(count: int, corrupt: int = -1, minimum: int = 3) -> Floors:
    return Floors.of(count, corrupt, minimum)
