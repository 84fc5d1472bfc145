"""Secure sum against its floor: CPU of all parties, of one site and of the hub; bytes a site; exactness.

The floor is what no masking with these primitives can do without: for each site one self mask and one mask per other
site added with AES-256-CTR, Shamir shares of every secret, and at the hub the sum, the shares combined, the self masks
and the dropped edges removed. No signatures, no tags, no hashes, no encoding, no messages: everything else is ours.
"""

import os
import time
import tracemalloc
from functools import partial

import numpy as np

from benchmarks.machine import cpu
from hansa.crypto import prg, shamir
from hansa.crypto.keys import SigningKey
from hansa.messages import decode, encode
from hansa.protocols import key_setup, secure_sum
from hansa.protocols.base import Ask, Done, Own
from hansa.protocols.key_setup import Invited, Paired
from hansa.protocols.secure_sum import AwaitContributions, Waiting

SIZES = ((3, 1_000), (3, 1_000_000), (10, 1_000), (10, 100_000), (10, 1_000_000), (50, 10_000))


def floor(sites: int, length: int, dropped: int) -> None:
    threshold = (sites + (sites - 1) // 3) // 2 + 1
    total = np.zeros(length, dtype=np.uint64)
    secret = int.from_bytes(os.urandom(31))
    for _ in range(sites - dropped):
        vector = np.ones(length, dtype=np.uint64)
        for _ in range(sites):
            prg.add_mask(vector, os.urandom(32), subtract=False)
        for _ in range(sites):
            coefficients = [shamir.from_uniform(os.urandom(48)) for _ in range(threshold - 1)]
            shamir.split(secret, threshold, sites, coefficients)
        total += vector
    opened = (sites - dropped) * (1 + dropped)
    shamir.combine_many(list(range(1, threshold + 1)), [[secret] * threshold] * opened)
    for _ in range(opened):
        prg.add_mask(total, os.urandom(32), subtract=True)


class Parties:
    """Setup done once; `total` is one whole secure sum, every message and reply through its encoding."""

    def __init__(self, sites: int, length: int) -> None:
        self.names = [f"s{place:02d}" for place in range(sites)]
        self.keys = {name: SigningKey(os.urandom(32)) for name in self.names}
        public = {name: key.public for name, key in self.keys.items()}
        self.states = {name: Invited(name, bytes(32), 0, -1, 3, public, os.urandom(32)) for name in self.names}
        self.vectors = {name: np.full(length, np.uint64(3**place % 2**64)) for place, name in enumerate(self.names)}
        self.at_hub, self.bytes_of_a_site, self.length = 0.0, 0, length
        self.session = self._rounds(key_setup.begin(bytes(32), 0, public, -1, 3), 0)
        self.start = dict(self.states)

    def _rounds(self, ask: Ask, dropped: int):  # type: ignore[no-untyped-def]  # the output's type is the protocol's
        while True:
            replies = {}
            leaving = self.names[:dropped] if isinstance(ask.state, AwaitContributions) else []
            for name, request in ask.requests.items():
                if name in leaving:
                    continue
                state, own = self.states[name], Own(self.keys[name], self.vectors[name])
                following, reply = state.answer(decode(encode(request), state.accepts), own)
                self.states[name] = Waiting(following) if isinstance(following, Paired) else following
                sent = encode(reply)
                self.bytes_of_a_site += len(sent) if name == self.names[-1] else 0
                replies[name] = decode(sent, ask.state.accepts)
            begin = time.process_time()
            outcome = ask.state.close(replies)
            self.at_hub += time.process_time() - begin
            if isinstance(outcome, Done):
                return outcome.output
            ask = outcome

    def total(self, dropped: int = 0) -> None:
        """The first sum of a session, from the states that setup left; wrong totals end the benchmark."""
        self.states, self.at_hub, self.bytes_of_a_site = dict(self.start), 0.0, 0
        ask = secure_sum.begin(self.session, 0, b"", self.session.roster, None, self.length)
        summed = self._rounds(ask, dropped)
        expected = sum(3**place for place in range(dropped, len(self.names))) % 2**64
        if not (summed.vector() == expected).all():
            raise SystemExit("a total is wrong")


def lines() -> list[str]:
    rows = []
    for sites, length in SIZES:
        parties = Parties(sites, length)
        for dropped in sorted({0, sites // 10}):
            ours = cpu(partial(parties.total, dropped), 3)
            hub, sent = parties.at_hub, parties.bytes_of_a_site / length
            least = cpu(partial(floor, sites, length, dropped), 3)
            site = (ours - hub) / (sites - dropped)
            rows.append(
                f"| {sites} × {length:.0e}, {dropped} dropped | {site * 1e3:.1f} ms | {hub * 1e3:.0f} ms "
                f"| {ours * 1e3:.0f} ms | {least * 1e3:.0f} ms | {ours / least:.1f} | {sent:.2f} |"
            )
    return rows


def peak(sites: int = 10, length: int = 1_000_000) -> str:
    """Largest allocations of one site and of the hub at once in this process, in vectors."""
    parties = Parties(sites, length)
    tracemalloc.start()
    parties.total()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"| {sites} × {length:.0e}, every party in one process | {most / (8 * length):.1f} vectors |"
