"""Secure sum against its floor: CPU of all parties, of one site and of the hub; bytes a site; memory; exactness.

The floor is what no masking with these primitives can do without: for each site one self mask and one mask per
neighbour added with AES-256-CTR, Shamir shares of every secret sealed to the committee, and at the hub the sum, the
shares opened, the self masks and the dropped edges removed. No signatures, no tags, no hashes, no messages: everything
else is ours.

All parties are in one process and remember nothing of one another: what a party has verified, the next verifies anew.
"""

import math
import os
import tempfile
import time
import tracemalloc
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from benchmarks.machine import cpu
from hansa.crypto import keys, merkle, prg, shamir
from hansa.crypto.keys import SigningKey
from hansa.mail.blobs import Folder
from hansa.messages import decode, encode
from hansa.protocols import key_setup, masks, secure_sum
from hansa.protocols.base import Ask, Done, Own, RingBits, Vector
from hansa.protocols.key_setup import Invited, Paired, Session
from hansa.protocols.secure_sum import AwaitContributions, Contribute, Contributed, Opened, Waiting
from hansa.protocols.survivors import Receipt
from hansa.protocols.thresholds import Floors

SIZES: tuple[tuple[int, int, RingBits], ...] = (
    *((sites, 10**3, 64) for sites in (3, 10, 50, 100)),
    *((sites, 10**5, 64) for sites in (10, 50, 100)),
    *((sites, 10**6, 64) for sites in (3, 10, 50, 100)),
    (10, 10**6, 32),
    (3, 10**7, 64),
    (10, 10**7, 64),
    (10, 10**7, 32),
    (3, 10**8, 32),
)
RUN = "0" * 32


def corrupt(sites: int) -> int:
    """A third in a small consortium, a tenth in a large one: the rows of the design's table."""
    return (sites - 1) // 3 if sites <= 50 else sites // 10


def cut(vector: Vector) -> list[Vector]:
    size = prg.CHUNK_BYTES // vector.itemsize
    return [vector[at : at + size] for at in range(0, vector.size, size)]


def floor(sites: int, vectors: list[Vector], dropped: int) -> None:
    floors = Floors.of(sites, corrupt(sites), 3)
    total = np.zeros_like(vectors[0])
    secret = int.from_bytes(os.urandom(31)).to_bytes(32, "little")
    for vector in vectors[dropped:]:
        for part in cut(vector):
            prg.add_masks(part, [(os.urandom(32), False) for _ in range(floors.degree + 1)])
        chance = os.urandom(48 * (floors.threshold - 1) * (floors.degree + 1))
        shares = shamir.split_many(secret * (floors.degree + 1), floors.threshold, floors.committee, chance)
        for share in shares:
            keys.lock_box(os.urandom(32), share, b"")
    opened = (sites - dropped) * (1 + dropped)
    indices = list(range(1, floors.threshold + 1))
    shamir.open_many(indices, [secret * opened] * floors.threshold, floors.threshold)
    size = prg.CHUNK_BYTES // total.itemsize
    for number, part in enumerate(cut(total)):
        for vector in vectors[dropped:]:
            np.add(part, vector[number * size : (number + 1) * size], out=part)
        prg.add_masks(part, [(os.urandom(32), True) for _ in range(opened)])


class Taken(Struct):
    site: float  # CPU seconds, all sites together
    hub: float
    sent: int  # bytes of the last site


class Parties:
    """Setup done once; `total` is one whole secure sum, every message through its encoding, vectors beside them."""

    def __init__(self, sites: int, length: int, ring: RingBits) -> None:
        self.names, self.length, self.ring = [f"s{place:03d}" for place in range(sites)], length, ring
        self.keys = {name: SigningKey(os.urandom(32)) for name in self.names}
        public, few = {name: key.public for name, key in self.keys.items()}, corrupt(sites)
        invited = {name: Invited(name, bytes(32), 0, few, 3, public, os.urandom(32), ring) for name in self.names}
        self.states: dict[str, Any] = dict(invited)
        self.vectors = {name: np.ones(length, dtype=masks.element(ring)) for name in self.names}
        self.taken, self.chunks = Taken(0, 0, 0), dict[bytes, Any]()
        self.session: Session = self._rounds(key_setup.begin(bytes(32), 0, public, few, 3, ring), 0)
        self.start = dict(self.states)

    def _rounds(self, ask: Ask, dropped: int) -> Any:
        while True:
            leaving = self.names[:dropped] if isinstance(ask.state, AwaitContributions) else []
            replies: dict[str, Any] = {}
            for name, request in ask.requests.items():
                if name not in leaving:
                    replies[name] = decode(self._answer(name, encode(request)), ask.state.accepts)
            keys.holds.cache_clear()
            begin = time.process_time()
            for name, reply in replies.items():
                ask.state.check(name, reply)
                if isinstance(ask.state, AwaitContributions):  # as the hub's folder does when a chunk arrives
                    assert tuple(merkle.leaf(part) for part in self._parts(name)) == reply.chunks
            outcome = ask.state.close(replies)  # type: ignore[attr-defined]
            if isinstance(outcome, Done) and isinstance(outcome.output, Opened):
                summed = outcome.output.summed(self.chunks.__getitem__)
                self.taken.hub += time.process_time() - begin
                return summed
            self.taken.hub += time.process_time() - begin
            if isinstance(outcome, Done):
                return outcome.output
            ask = outcome

    def _answer(self, name: str, message: bytes) -> bytes:
        keys.holds.cache_clear()
        state, vector = self.states[name], self.vectors[name]
        begin = time.process_time()
        request = decode(message, state.accepts)
        following, reply = state.answer(request, Own(self.keys[name], vector))
        sent = encode(reply)
        self.taken.site += time.process_time() - begin
        self.states[name] = Waiting(following) if isinstance(following, Paired) else following
        if isinstance(reply, Contributed):
            self.chunks.update(zip(reply.chunks, self._parts(name), strict=True))
            self.taken.sent += vector.nbytes if name == self.names[-1] else 0
        self.taken.sent += len(sent) if name == self.names[-1] else 0
        return sent

    def _parts(self, name: str) -> list[memoryview]:
        return [masks.as_bytes(part) for part in cut(self.vectors[name])]

    def total(self, dropped: int = 0) -> Taken:
        """The first sum of a session, from the states that setup left; wrong totals end the benchmark."""
        self.states, self.taken = dict(self.start), Taken(0, 0, 0)
        self.chunks.clear()
        for place, name in enumerate(self.names):
            self.vectors[name].fill(3**place % 2**self.ring)
        ask = secure_sum.begin(self.session, 0, b"", self.session.roster, None, self.length)
        summed = self._rounds(ask, dropped)
        expected = sum(3**place for place in range(dropped, len(self.names))) % 2**self.ring
        if not (summed.vector() == expected).all():
            raise SystemExit("a total is wrong")
        return self.taken


def plain(vectors: Iterable[Vector]) -> None:
    total: Any = 0
    for vector in vectors:
        total = total + vector


def lines() -> Iterable[str]:
    for sites, length, ring in SIZES:
        parties, repeats = Parties(sites, length, ring), 3 if sites * length <= 10**8 else 1
        vectors = list(parties.vectors.values())
        summing = cpu(partial(plain, vectors), repeats)
        for dropped in sorted({0, sites // 10}):
            taken = sorted((parties.total(dropped) for _ in range(repeats)), key=lambda one: one.site + one.hub)
            best = taken[len(taken) // 2]
            least = cpu(partial(floor, sites, vectors, dropped), repeats)
            ours, one = best.site + best.hub, best.site / (sites - dropped)
            yield (
                f"| {sites} × {length:.0e}, Z_2^{ring} | {dropped} | {one * 1e3:.1f} ms | {best.hub * 1e3:.1f} ms "
                f"| {ours * 1e3:.0f} ms | {least * 1e3:.0f} ms | {ours / least:.2f} | {summing * 1e3:.1f} ms "
                f"| {best.sent / length:.2f} |"
            )


def peaks(sites: int = 10, length: int = 10**7) -> Iterable[str]:
    """Largest allocations: of a site beside its vector, and of the hub adding up from its folder, chunk by chunk."""
    parties = Parties(sites, length, 64)
    parties.total()
    state, name = parties.start[parties.names[0]], parties.names[0]
    request = decode(
        encode(secure_sum.begin(parties.session, 0, b"", parties.session.roster, None, length).requests[name]),
        Contribute,
    )
    own = Own(parties.keys[name], parties.vectors[name])
    tracemalloc.start()
    state.answer(request, own)
    site = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    yield f"| a site contributing, beside its vector of {length * 8 / 2**20:.0f} MiB | {site / 2**20:.1f} MiB |"
    with tempfile.TemporaryDirectory() as place:
        opened, folder = kept(Path(place), sites, 2 * 2**19)
        tracemalloc.start()
        add_up(opened, folder, range(2))
        hub = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    yield f"| the hub adding up the chunks of {sites} sites, however long they are | {hub / 2**20:.1f} MiB |"


def kept(place: Path, sites: int, length: int) -> tuple[Opened, Folder]:
    """What the hub has when the masks are open, with contributions in a folder as the sites sent them."""
    folder = Folder(place)
    names = [f"s{number:03d}" for number in range(sites)]
    parts = tuple(folder.put_all(RUN, memoryview(os.urandom(8 * length))) for _ in names)
    receipt = Receipt(bytes(32), tuple(names), bytes(32), {}, ())
    hides = tuple(masks.self_mask(os.urandom(32), bytes(32), name, remove=True) for name in names)
    return Opened(receipt, tuple(names), 64, length, parts, hides), folder


def add_up(opened: Opened, folder: Folder, numbers: Iterable[int]) -> None:
    for number in numbers:
        folder.put(RUN, opened.chunk(number, partial(folder.get, RUN)))


def workers(sites: int = 50, length: int = 2 * 2**19) -> Iterable[str]:
    """One worker of the hub and two, adding up the same total; wall seconds, because work is spread, not saved."""
    import multiprocessing

    with tempfile.TemporaryDirectory() as place:
        opened, folder = kept(Path(place), sites, length)
        several, numbers = multiprocessing.get_context("fork"), range(2)
        seconds = {}
        for hands in (1, 2):
            taken = []
            for _ in range(5):
                shares = [[number for number in numbers if number % hands == hand] for hand in range(hands)]
                work = [several.Process(target=add_up, args=(opened, folder, share)) for share in shares]
                begin = time.perf_counter()
                for process in work:
                    process.start()
                for process in work:
                    process.join()
                taken.append(time.perf_counter() - begin)
            seconds[hands] = min(taken)
    yield f"| 1 worker, {sites} × {length:.0e} | {seconds[1] * 1e3:.0f} ms | |"
    yield f"| 2 workers | {seconds[2] * 1e3:.0f} ms | {seconds[1] / seconds[2]:.2f} × as fast |"


def growth() -> Iterable[str]:
    """Exponents fitted to CPU: a site's against neighbours × numbers, the hub's against sites × numbers."""
    found = []
    for sites, length in ((5, 10**6), (10, 10**6), (20, 10**6), (40, 10**6), (10, 5 * 10**5), (10, 4 * 10**6)):
        parties = Parties(sites, length, 64)
        parties.total()
        taken = parties.total()
        found.append((sites * length, taken.site / sites, taken.hub))
    size = [math.log(row[0]) for row in found]
    for what, column in (("site, against neighbours × numbers", 1), ("hub, against sites × numbers", 2)):
        slope = np.polyfit(size, [math.log(row[column]) for row in found], 1)[0]
        yield f"| {what} | {slope:.2f} |"
