"""Any job in one process: the protocols, the kinds and the arithmetic of a real run, without letters and brokers.

The same states answer the same messages; what is missing is time, crashes, signatures over letters, consent and the
log. Whoever is named `silent` in a round doesn't answer it, nor any later one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from hansa.crypto.keys import SigningKey, digest
from hansa.crypto.prg import CHUNK_BYTES
from hansa.errors import NotEnoughSites
from hansa.jobs.base import Answer, Job, Step, Table, check_step, size, to_ring
from hansa.jobs.under_noise.noisy import Noisy, read_total, to_noisy_ring
from hansa.messages import SiteId, decode, encode
from hansa.privacy.noise import Noise
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Message, Own, RingBits, SiteState, Vector
from hansa.protocols.key_setup import Invited, Paired, Session
from hansa.protocols.masks import as_bytes
from hansa.protocols.secure_sum import Contribute, Contributed, Opened, Summed, Waiting
from hansa.protocols.survivors import Receipt
from hansa.protocols.thresholds import tolerated_of

Silence = Callable[[int, SiteId], bool]  # (round, site): whether the site doesn't answer it

Encode = Callable[[SiteId, Contribute, Waiting], Vector]


class Exchange(Struct, frozen=True):
    """A request to one site and its reply, in bytes. `shown`: of the total that the request's receipt names; `vector`:
    of the masked numbers beside the reply. `step` counts from 1 and is 0 in setup."""

    site: SiteId
    step: int
    request: int
    reply: int
    shown: int = 0
    vector: int = 0


class Simulated(Struct, frozen=True):
    """`receipt`: the bytes of the last one, which a release shows again; `total`: those of the total under it."""

    answer: Answer
    participants: tuple[SiteId, ...]
    steps: int
    bytes_per_site: Mapping[SiteId, int]
    exchanges: tuple[Exchange, ...]
    receipt: int
    total: int


def _nothing(_site: SiteId, _request: Contribute, _state: Waiting) -> Vector:
    raise ValueError("setup asks for no numbers")


class Simulation:
    """Sites with their rows, and the rounds they have been through. `draw` gives random bytes."""

    def __init__(self, tables: Mapping[SiteId, Table], draw: Callable[[int], bytes], silent: Silence) -> None:
        self._tables, self._silent = dict(tables), silent
        self._keys = {site: SigningKey(draw(32)) for site in tables}
        self._public = {site: key.public for site, key in self._keys.items()}
        self._seeds = {site: draw(32) for site in tables}
        self._states: dict[SiteId, SiteState] = {}
        self._paired: dict[SiteId, Paired] = {}
        self._gone: set[SiteId] = set()
        self._beside: dict[bytes, bytes] = {}
        self._round = self._step = self._shown = 0
        self.exchanges: list[Exchange] = []

    def answer(self, job: Job, corrupt: int = -1, minimum: int = 3, noise: Noise | None = None) -> Simulated:
        if noise is not None:
            job = job.under_noise(noise)
        for table in self._tables.values():
            job.check(table.schema)
        session = self._setup(digest("plan", encode(tuple(sorted(self._tables)))), corrupt, minimum, job.ring)
        schemas = [self._tables[site].schema for site in session.roster]
        step: Step | Answer = job.begin(schemas, len(session.roster))
        cohort, receipt, number, survivors = session.roster, None, 0, session.roster
        while isinstance(step, Step):
            summed = self._total(job, session, number, step, cohort, receipt)
            honest = session.floors.honest
            total = read_total(job, number, step, summed.vector(), len(summed.survivors), honest)
            survivors, cohort, receipt, number = summed.survivors, summed.active, summed.receipt, number + 1
            self._shown = len(summed.content)
            step = job.advance(step, total)
        moved = dict.fromkeys(self._tables, 0)
        for one in self.exchanges:
            moved[one.site] += one.request + one.reply + one.vector
        last = len(encode(receipt))
        return Simulated(step, survivors, number, moved, tuple(self.exchanges), last, self._shown)

    def _setup(self, plan: bytes, corrupt: int, minimum: int, ring: RingBits) -> Session:
        corrupt = tolerated_of(len(self._public), corrupt)
        for attempt in range(5):
            present = {site: key for site, key in self._public.items() if site not in self._gone}
            for site in present:
                seed = self._seeds[site]
                self._states[site] = Invited(site, plan, attempt, corrupt, minimum, self._public, seed, ring)
            try:
                ask = key_setup.begin(plan, attempt, present, corrupt, minimum, ring)
                session: Session = self._rounds(ask, _nothing)
            except NotEnoughSites:
                if len(self._gone) == len(self._tables):
                    raise
                continue
            for site in session.roster:
                self._states[site] = Waiting(self._paired[site])
            return session
        raise NotEnoughSites("the sites did not agree on keys in 5 attempts")

    def _total(
        self, job: Job, session: Session, number: int, step: Step, cohort: tuple[SiteId, ...], receipt: Receipt | None
    ) -> Summed:
        check_step(step, len(cohort), job.ring)
        length = sum(size(block) for block in step.blocks)
        ask = secure_sum.begin(session, number, encode(step), cohort, receipt, length)
        self._step = number + 1

        def vector(site: SiteId, request: Contribute, state: Waiting) -> Vector:
            asked = decode(request.public, Step)
            contribution, chance = job.encode(self._tables[site], asked), state.chance(request)
            if isinstance(job, Noisy):
                honest, sites = session.floors.honest, len(request.cohort)
                return to_noisy_ring(job, request.step, asked, contribution, chance, honest, sites)
            return to_ring(asked, contribution, chance, session.ring)

        opened: Opened = self._rounds(ask, vector)
        summed = opened.summed(self._beside.__getitem__)
        self._beside.clear()
        return summed

    def _rounds(self, ask: Ask, encode_rows: Encode) -> Any:
        """Every message goes through its encoding, as between two processes; one that goes to many, once."""
        while True:
            self._round += 1
            replies = {}
            read: dict[int, tuple[int, Message]] = {}  # by the request's identity: its size, and as it arrives
            for site, request in ask.requests.items():
                if site in self._gone or self._silent(self._round, site):
                    self._gone.add(site)
                    continue
                if id(request) not in read:
                    content = encode(request)
                    read[id(request)] = len(content), decode(content, self._states[site].accepts)
                size, arrived = read[id(request)]
                reply, vector = self._answer(site, arrived, encode_rows)
                replies[site] = decode(reply, ask.state.accepts)
                shown = self._shown if isinstance(arrived, Contribute) else 0
                self.exchanges.append(Exchange(site, self._step, size, len(reply), shown, vector))
            if len(replies) < ask.quorum:
                raise NotEnoughSites(f"{len(replies)} sites answered and {ask.quorum} are needed")
            outcome = ask.state.close(replies)  # type: ignore[attr-defined]  # each closes with its own type of reply
            if isinstance(outcome, Done):
                return outcome.output
            ask = outcome

    def _answer(self, site: SiteId, request: Message, encode_rows: Encode) -> tuple[bytes, int]:
        """The reply, and the bytes of the vector beside it."""
        state, vector = self._states[site], None
        if isinstance(state, Waiting) and isinstance(request, Contribute):
            vector = encode_rows(site, request, state)
        following, reply = state.answer(request, Own(self._keys[site], vector))  # type: ignore[attr-defined]
        if isinstance(following, Paired):
            self._paired[site] = following
        else:
            self._states[site] = following
        if isinstance(reply, Contributed) and vector is not None:
            self._keep(reply.chunks, as_bytes(vector))
        return encode(reply), 0 if vector is None else vector.nbytes

    def _keep(self, chunks: Sequence[bytes], content: memoryview) -> None:
        """What travels beside a reply, by the digests of its chunks."""
        for number, chunk in enumerate(chunks):
            self._beside[chunk] = bytes(content[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES])


def simulate(
    job: Job,
    tables: Mapping[SiteId, Table],
    draw: Callable[[int], bytes],
    silent: Silence = lambda _round, _site: False,
    corrupt: int = -1,
    minimum: int = 3,
    noise: Noise | None = None,
) -> Simulated:
    """Runs `job` over `tables` with secure sums, as a consortium would; raises what the run would end with."""
    return Simulation(tables, draw, silent).answer(job, corrupt, minimum, noise)
