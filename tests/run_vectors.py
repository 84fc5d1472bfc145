"""Makes tests/vectors/secure_sum: whole runs of key setup and secure sum, from seeds. `python -m tests.run_vectors`.

The format is in tests/vectors/README.md. All follows from a seed per run, but for what ML-KEM encapsulation draws in
its library. That is taken from the files that are there, and drawn anew where it is missing (or everywhere: `--anew`).
"""

import gzip
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np
from msgspec.structs import replace

from hansa.crypto import merkle, prg, shamir
from hansa.crypto.keys import HybridKey, derive, digest, encapsulate, label, lock_box
from hansa.messages import encode
from hansa.protocols import graph, key_setup, masks
from hansa.protocols.base import Ask, Message, Own, RingBits
from hansa.protocols.key_setup import Delivered, Encapsulated, Manifest, Offer, Offers, Reveals, Session
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Locked, Shares, Summed, Unmask
from hansa.protocols.survivors import SignedHeader, edges, headers_digest, lock_digest
from hansa.protocols.thresholds import Floors
from tests.protocol_runs import UNTOUCHED, Hooks, Parties, names
from tests.real_rows import Chance

FOLDER = Path(__file__).parent / "vectors" / "secure_sum"
LARGEST_PLAIN = 200_000  # a file above is compressed
LENGTH = 5  # of a vector, in elements


class Run(NamedTuple):
    """`silent`: who vanishes in which (step, round, site). `view`: whose letters are kept, if not everybody's."""

    sites: int
    ring: RingBits
    corrupt: int
    steps: int
    silent: frozenset[tuple[int, str, str]] = frozenset()
    view: str | None = None


RUNS = {
    "nobody_drops": Run(4, 64, -1, 2),
    "two_drop": Run(5, 32, 0, 3, frozenset({(1, "contribute", "e"), (1, "unmask", "d")})),
    "off_the_committee": Run(51, 64, 3, 1, frozenset({(0, "contribute", "s050"), (0, "lock", "s003")}), "s025"),
}
COMMITTEES = ((4, 4), (51, 14), (100, 31), (1000, 69))  # sites, size
GRAPHS = ((7, 6), (12, 5), (300, 50), (500, 50), (1000, 54))  # sites, degree
ROSTERS = {3: (-1, 0), 4: (-1,), 7: (-1,), 50: (-1,), 51: (3, 5), 100: (10,), 200: (20,), 201: (20,), 240: (24,),
           500: (50,), 1000: (100, 200), 2000: (200,)}  # fmt: skip


class Point(NamedTuple):
    """A party, and what it accepts as it is then: a request, or the replies by site."""

    state: Any
    accepted: Any
    vector: bytes = b""
    beside: bytes = b""


def tag(message: type[Message]) -> str:
    return str(message.__struct_config__.tag)


class Recorded(Parties):
    """Parties that keep every letter, and each state together with what it accepted."""

    def __init__(self, name: str, recorded: Sequence[Mapping[str, str]] = ()) -> None:
        self.name, self.what = name, RUNS[name]
        super().__init__(names(self.what.sites), f"hansa {name}", self.what.corrupt, ring=self.what.ring)
        self.step, self.asked, self.before = -1, "", b""
        self.letters: list[dict[str, Any]] = []
        self.points: dict[tuple[str, str, int], Point] = {}
        attempts = {site: derive(seed, "setup/attempt", bytes(4)) for site, seed in self.seeds.items()}
        self.hybrids = {site: HybridKey(derive(seed, "setup/hybrid", size=96)) for site, seed in attempts.items()}
        chance = Chance(f"hansa {name}")
        self.signing = {site: chance(32) for site in self.sites}
        self.encapsulations = {
            (one["from"], one["to"]): (bytes.fromhex(one["secret"]), bytes.fromhex(one["ciphertext"]))
            for one in recorded
        }

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        to = next(site for site, key in self.hybrids.items() if key.public == public)
        if (self.asked, to) in self.encapsulations:
            return self.encapsulations[self.asked, to]
        if self.what.view:  # too many to record; to a ciphertext that no encapsulation made there is a secret as well
            ciphertext = shake_256(f"hansa {self.name} {self.asked} {to}".encode()).digest(1088)
            drawn = self.hybrids[to].decapsulate(ciphertext), ciphertext
        else:
            drawn = encapsulate(public)
        self.encapsulations[self.asked, to] = drawn
        return drawn

    def deliver(self, site: str, request: Message) -> Any:
        self.asked, kind = site, tag(type(request))
        vector, beside = b"", b""
        if isinstance(request, Contribute):
            vector, beside = bytes(masks.as_bytes(self.vectors[site])), self.before
        self.points[site, kind, self.step] = Point(self.states[site], request, vector, beside)
        reply = super().deliver(site, request)
        if self.what.view in (None, site):
            for sender, to, letter in (("hub", site, request), (site, "hub", reply)):
                whole = {"kind": tag(type(letter)), "message": encode(letter)}
                self.letters.append({"step": self.step, "from": sender, "to": to, **whole})
        return reply

    def ask(self, ask: Ask, hooks: Hooks = UNTOUCHED) -> dict[str, Any]:
        replies = super().ask(ask, hooks)
        self.points["hub", tag(ask.state.accepts), self.step] = Point(ask.state, replies)
        return replies

    def play(self) -> dict[str, Any]:
        with patch.object(key_setup, "encapsulate", self.encapsulate):
            session = self.setup()
        sums, summed = [], None
        for step in range(self.what.steps):
            self.step, self.vectors = step, {site: self.numbers(step, site) for site in self.sites}
            drop = Hooks(lambda asked, site: (self.step, tag(asked), site) in self.what.silent)
            summed = self.total(session, step, summed, drop, f"state {step}".encode())
            sums.append(self.layers(session, summed))
            self.before = summed.content
        if summed and self.what.view:  # what it answers to the receipt
            self.step += 1
            self.deliver(self.what.view, self.begin(session, self.step, summed.receipt, summed.active).requests["s025"])
        return {**self.given(), "setup": self.agreed(session), "sums": sums, "letters": self.letters}

    def numbers(self, step: int, site: str) -> Any:
        size = masks.element(self.ring)
        content = shake_256(f"hansa {self.name} {step} {site}".encode()).digest(LENGTH * size.itemsize)
        return np.frombuffer(content, dtype=size.newbyteorder("<")).astype(size)

    def given(self) -> dict[str, Any]:
        sites = {
            site: {"signing_seed": self.signing[site], "signing_public": self.public[site], "seed": self.seeds[site]}
            for site in self.sites
        }
        drawn = [
            {"from": one, "to": other, "secret": secret, "ciphertext": ciphertext}
            for (one, other), (secret, ciphertext) in self.encapsulations.items()
            if self.what.view in (None, one, other)
        ]
        settings = {"corrupt": self.corrupt, "minimum": self.minimum, "ring": self.ring, "view": self.what.view}
        return {"name": self.name, **settings, "sites": sites, "encapsulations": drawn}

    def agreed(self, session: Session) -> dict[str, Any]:
        """What follows from the messages of setup, and what each site derives."""
        manifest, offers = (self.points[self.sites[0], kind, -1].accepted for kind in ("manifest", "offers"))
        after = {site: self.points[site, "contribute", 0].state.paired for site in self.kept(session.roster)}
        pairs = [
            {
                "low": low,
                "high": high,
                "x25519": self.hybrids[low].agree(self.hybrids[high].public),
                "mlkem": self.encapsulations[low, high][0],
                "pair": after.get(low, after.get(high)).pairs[high if low in after else low],  # type: ignore[union-attr]
            }
            for low, high in self.encapsulations
            if self.what.view in (None, low, high)
        ]
        return {
            "manifest": manifest.digest,
            "transcript": digest("setup/transcript", encode(manifest), encode(offers)),
            "beacon": session.beacon,
            "session": session.id,
            "floors": msgspec.structs.asdict(session.floors),
            "committee": session.committee,
            "neighbours": {site: session.neighbours(site) for site in self.kept(session.roster)},
            "peers": {site: session.peers(site) for site in self.kept(session.roster)},
            "pairs": pairs,
            "seeds": {site: paired.seed for site, paired in after.items()},
        }

    def kept(self, sites: Sequence[str]) -> list[str]:
        return [site for site in sites if self.what.view in (None, site)]

    def layers(self, session: Session, summed: Summed) -> dict[str, Any]:
        """Every secret of one sum, and what is made of it."""
        asked = {site: self.points[site, "contribute", self.step] for site in session.roster
                 if (site, "contribute", self.step) in self.points}  # fmt: skip
        request, sid = next(iter(asked.values())).accepted, summed.receipt.sid
        replies = self.points["hub", "contributed", self.step].accepted
        at_edges, sites = {}, {}
        for site in self.kept(tuple(asked)):
            paired = asked[site].state.paired
            uniform = derive(paired.seed, "sum/self", sid, size=shamir.UNIFORM_BYTES)
            own, secrets = shamir.encode(shamir.from_uniform(uniform)), []
            for peer in edges(session, request.cohort, site):
                low, high = sorted((site, peer))
                edge = masks.edge_secret(paired.pairs[peer], sid, site, peer)
                info = masks.edge_mask(edge, sid, low, high, remove=False)[1]
                made = {"low": low, "high": high, "pair": paired.pairs[peer], "secret": edge}
                at_edges[low, high] = {**made, "tag": masks.edge_tag(edge, sid), **mask(edge, info)}
                secrets.append(edge)
            info = label("sum/coefficients") + sid
            size, threshold = len(session.committee), session.floors.threshold
            columns = masks.share_all([own, *secrets], threshold, size, paired.seed, info)
            sites[site] = {
                "x": asked[site].vector,
                "y": bytes(masks.as_bytes(self.masked(replies[site]))),
                "root": replies[site].header.root,
                "seed": paired.seed,
                "self": {"secret": own, **mask(own, masks.self_mask(own, sid, site, remove=False)[1])},
                "commitment": masks.self_commitment(own, sid),
                "shares": {member: columns[index - 1] for member, index in session.committee.items()},
                "seal_keys": {
                    member: masks.seal_key(paired.pairs[member], sid, site, member)
                    for member in session.committee
                    if member in request.cohort and member != site
                },
            }
        headers = self.points["hub", "locked", self.step].state.headers
        return {
            "step": self.step,
            "public": request.public,
            "cohort": request.cohort,
            "sid": sid,
            "sites": sites,
            "edges": list(at_edges.values()),
            "survivors": summed.survivors,
            "headers": headers_digest(headers),
            "locked": lock_digest(sid, summed.survivors, headers_digest(headers)),
            "receipt": encode(summed.receipt),
            "total": summed.content,
            "active": summed.active,
        }


def mask(secret: bytes, info: bytes) -> dict[str, Any]:
    keys = [prg.chunk_key(secret, info, number) for number in range(2)]
    return {"info": info, "chunk_keys": keys, "mask": prg.stream(secret, info, 32)}


def drawn_by_beacon() -> dict[str, Any]:
    """Committees, graphs and floors, without a run."""
    beacons = [sha256(f"hansa beacon {number}".encode()).digest() for number in range(2)]
    chosen = [
        {"beacon": beacon, "sites": sites, "size": size, "committee": graph.committee(beacon, sites, size)}
        for sites, size in COMMITTEES
        for beacon in beacons
    ]
    drawn = []
    for sites, degree in GRAPHS:
        for beacon in beacons:
            rows = graph.neighbours(beacon, sites, degree)
            some = {"first": rows[0], "last": rows[-1], "digest": sha256(encode(rows)).digest()}
            drawn.append({"beacon": beacon, "sites": sites, "degree": degree, **some})
    floors = [
        {"sites": sites, "corrupt": corrupt, "floors": msgspec.structs.asdict(Floors.of(sites, corrupt, 3))}
        for sites, some in ROSTERS.items()
        for corrupt in some
    ]
    return {"committees": chosen, "graphs": drawn, "floors": floors}


# What must be refused: why, a part of what Hansa says to it, and the message or its bytes. `m` is what was accepted.
Lies = Iterator[tuple[str, str, Any]]
ZERO, ELSEWHERE = bytes(32), (merkle.leaf(bytes(40)),)


def put(row: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    return (*row[:place], value, *row[place + 1 :])


def swapped(row: Sequence[Any]) -> tuple[Any, ...]:
    return (row[1], row[0], *row[2:])


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def at_manifest(_run: Recorded, m: Manifest) -> Lies:
    data = encode(m)
    yield "other floors than the charter's", "threshold and floor", replace(m, floors=replace(m.floors, threshold=2))
    yield "another plan", "another plan", replace(m, plan=ZERO)
    yield "another ring", "ring", replace(m, ring=32)
    yield "the roster is not sorted", "sorted part", replace(m, roster=swapped(m.roster))
    yield "a site on the roster that the charter lacks", "sorted part", replace(m, roster=(*m.roster, "z"))
    yield "the roster leaves out the site", "leaves out", replace(m, roster=m.roster[1:])
    yield "a length in three bytes where one does", "one encoding", b"\xdc\x00" + bytes([data[0] & 15]) + data[1:]
    yield "a byte too many", "not a Manifest", data + b"\0"
    yield "a byte too few", "not a Manifest", data[:-1]


def offered(run: Recorded, site: str, public: bytes) -> Any:
    """An offer of another key, well signed."""
    true = replace(run.points["hub", "offer", -1].accepted[site], public=public)
    manifest = run.points[site, "manifest", -1].accepted.digest
    return replace(true, signature=run.keys[site].sign("setup/offer", true.signed(manifest, site)))


def at_offers(run: Recorded, m: Offers) -> Lies:
    a, _, c, _ = m.offers
    swap, another = replace(a, public=c.public[:1184] + a.public[1184:]), HybridKey(bytes(96)).public
    yield "half of a's key is swapped, its signature kept", "signature", Offers(put(m.offers, 0, swap))
    yield "c offers a's key", "same key", Offers(put(m.offers, 2, offered(run, "c", a.public)))
    yield "two offers in each other's place", "signature", Offers(swapped(m.offers))
    yield "an offer is missing", "one per site", Offers(m.offers[:-1])
    yield "b's own, another, well signed", "another offer of ours", Offers(put(m.offers, 1, offered(run, "b", another)))


def at_offer(run: Recorded, m: Offer) -> Lies:
    yield "an X25519 key of low order, well signed", "low order", offered(run, "a", m.public[:1184] + ZERO)


def at_reveals(run: Recorded, m: Reveals) -> Lies:
    manifest, offers = (encode(run.points["a", kind, -1].accepted) for kind in ("manifest", "offers"))
    for why, error, rho, transcript in (
        ("a reveals another ρ, well signed", "other randomness", ZERO, digest("setup/transcript", manifest, offers)),
        ("a signed another transcript", "signature", m.reveals[0].rho, ZERO),
    ):
        changed = replace(m.reveals[0], rho=rho)
        signature = run.keys["a"].sign("setup/reveal", changed.signed(transcript, "a"))
        yield why, error, Reveals(put(m.reveals, 0, replace(changed, signature=signature)))


def at_encapsulated(_run: Recorded, m: Encapsulated) -> Lies:
    yield "ciphertexts in another order than signed", "signature", replace(m, ciphertexts=m.ciphertexts[::-1])
    yield "a ciphertext is missing", "later peer", replace(m, ciphertexts=m.ciphertexts[1:])


def at_delivered(_run: Recorded, m: Delivered) -> Lies:
    first = m.sent[0]
    altered, longer = replace(first, ciphertext=flipped(first.ciphertext)), replace(first, path=(*first.path, ZERO))
    yield "a ciphertext is altered", "signature", Delivered(put(m.sent, 0, altered))
    yield "a path is longer than its tree is high", "longer", Delivered(put(m.sent, 0, longer))
    yield "two ciphertexts in each other's place", "signature", Delivered(swapped(m.sent))
    yield "a ciphertext is missing", "one from each", Delivered(m.sent[1:])


def receipt(m: Contribute, **changes: Any) -> Contribute:
    return replace(m, receipt=replace(m.receipt, **changes))  # type: ignore[type-var]


def at_contribute(run: Recorded, m: Contribute) -> Lies:
    yield "the step before", "step goes back", run.points["a", "contribute", 0].accepted
    yield "a step is left out", "leaves one out", replace(m, step=2)
    yield "a second attempt", "not a Contribute", replace(m, attempt=1)
    yield "no receipt", "receipt", replace(m, receipt=None)
    yield "the receipt of another sum", "receipt", receipt(m, sid=ZERO)
    yield "the receipt of a set that a did not lock", "locked", receipt(m, survivors=m.cohort[:3])
    yield "the receipt of another total than the one beside", "receipt names", receipt(m, chunks=ELSEWHERE)
    yield "the cohort is below the floor", "below the floor", replace(m, cohort=m.cohort[:2])
    yield "the cohort is not sorted", "sorted part", replace(m, cohort=swapped(m.cohort))


def at_receipt(run: Recorded, m: Contribute) -> Lies:
    """Off the committee."""
    site, true = "s025", m.receipt
    assert true
    few, locked = dict(list(true.signatures.items())[:8]), true.locked()
    own = {**few, site: run.keys[site].sign("sum/lock", locked)}
    renamed = dict(zip(true.signatures, swapped(list(true.signatures.values())), strict=True))
    without = tuple(one for one in true.survivors if one != site)
    yield "fewer signatures than the threshold", "fewer signatures", receipt(m, signatures=few)
    yield "filled up with who is not on the committee", "is no member", receipt(m, signatures=own)
    yield "two signatures under each other's name", "signature", receipt(m, signatures=renamed)
    yield "a receipt of another set", "signature", receipt(m, survivors=(*true.survivors, "s050"))
    yield "a receipt of a total that the site is not in", "not in", receipt(m, survivors=without)
    yield "a cohort with a site that dropped out", "left", replace(m, cohort=(*m.cohort, "s050"))


def fooled(run: Recorded, site: str, **changes: Any) -> Contributed:
    """The contribution of a site that was asked something else."""
    state, request, content, _ = run.points[site, "contribute", 1]
    vector = np.frombuffer(content, dtype="<u8").astype(np.uint64)
    reply: Contributed = state.answer(replace(request, **changes), Own(run.keys[site], vector))[1]
    return reply


def at_contributed(run: Recorded, m: Contributed) -> Lies:
    other = receipt(run.points["c", "contribute", 1].accepted, chunks=ELSEWHERE).receipt
    yield "c was shown the receipt of another total", "another sum", fooled(run, "c", receipt=other)
    yield "c was shown another public state", "another sum", fooled(run, "c", public=b"else")
    yield "a chunk of y is not the signed one", "not the one it signed", replace(m, chunks=ELSEWHERE)
    yield "sealed letters in another order", "not those it signed", replace(m, sealed=swapped(m.sealed))
    yield "a header of b's", "another site", replace(m, header=run.points["hub", "contributed", 1].accepted["b"].header)


def at_lock(run: Recorded, m: Lock) -> Lies:
    a, b, c, d = m.headers

    def signed(header: SignedHeader, **changes: Any) -> Lock:
        return replace(m, headers=put(m.headers, m.headers.index(header), run.signed(header, **changes)))

    key = masks.seal_key(run.points["b", "contribute", 0].state.paired.pairs["a"], b.sid, "b", "a")
    short = lock_box(key, bytes(96), b.sid)
    more = [[*msgspec.structs.astuple(header), 0] for header in m.headers]
    yield "a survivor twice", "each once", replace(m, headers=(a, b, c, d, d))
    yield "survivors not sorted", "sorted part", replace(m, headers=(a, c, b, d))
    yield "fewer survivors than the floor", "below the floor", Lock((a, b), m.sealed[:1])
    yield "the survivors leave out a", "leave out", Lock((b, c, d), m.sealed)
    yield "a's own header, another, well signed", "another header of it", signed(a, root=ZERO)
    yield "b's signature does not hold", "signature", replace(m, headers=(a, replace(b, root=ZERO), c, d))
    yield "b's header is of another sid, well signed", "another sum", signed(b, sid=ZERO)
    yield "b's tag is not that of the other end, well signed", "two tags", signed(b, tags=flipped(b.tags))
    yield "b's header lacks a tag, well signed", "one tag per", signed(b, tags=b.tags[16:])
    yield "sealed letters in each other's place", "does not open", replace(m, sealed=swapped(m.sealed))
    yield "a sealed letter is missing", "one per other", replace(m, sealed=m.sealed[1:])
    yield "b's letter holds a share too few", "another number of secrets", replace(m, sealed=put(m.sealed, 0, short))
    yield "headers with a field too many", "not a Lock", encode(("lock", more, m.sealed))


def smaller(run: Recorded) -> Unmask:
    """a, b and c sign the set without d."""
    headers = run.points["a", "lock", 0].accepted.headers[:3]
    locked = lock_digest(headers[0].sid, tuple("abc"), headers_digest(headers))
    return Unmask({site: run.keys[site].sign("sum/lock", locked) for site in "abc"})


def at_locked(run: Recorded, _m: Locked) -> Lies:
    yield "b locks a set without d", "signature", Locked(smaller(run).signatures["b"])


def at_unmask(run: Recorded, m: Unmask) -> Lies:
    true, lock = m.signatures, run.points["a", "lock", 0].accepted
    reverse = msgspec.msgpack.encode(("unmask", dict(reversed(true.items()))))
    yield "signatures over a set in which d, a survivor, is dropped", "signature", smaller(run)
    yield "a second set to lock, in which d is dropped", "not a Unmask", Lock(lock.headers[:3], lock.sealed[:2])
    yield "fewer signatures than the threshold", "fewer signatures", Unmask({site: true[site] for site in "ab"})
    yield "a signature under another's name", "signature", Unmask({**true, "b": true["c"]})
    yield "a map that is not sorted", "one encoding", reverse


def at_unmask_of_four(run: Recorded, m: Unmask) -> Lies:
    signature = run.keys["e"].sign("sum/lock", run.points["a", "unmask", 1].state.before.locked)
    yield "a member signs that dropped out", "did not survive", Unmask({**m.signatures, "e": signature})


def at_shares(run: Recorded, m: Shares) -> Lies:
    """Of four members, where three are enough."""
    above = (int.from_bytes(m.own[:32], "little") + shamir.PRIME).to_bytes(32, "little")
    yield "a false share", "different secrets", replace(m, own=flipped(m.own))
    yield "the shares of another index", "different secrets", run.points["hub", "shares", 0].accepted["b"]
    yield "a share with the prime added: not canonical", "canonical", replace(m, own=above + m.own[32:])
    yield "a share too few", "another number", replace(m, own=m.own[32:])
    yield "a share of an edge of survivors as well", "another number", replace(m, edges=ZERO)


def at_shares_of_three(_run: Recorded, m: Shares) -> Lies:
    yield "a false share of b_i", "committed to", replace(m, own=flipped(m.own))
    yield "a false share of a dropped edge", "tag names", replace(m, edges=flipped(m.edges))


LIES: dict[tuple[str, str, str, int], tuple[Callable[[Recorded, Any], Lies], str | None]] = {
    ("nobody_drops", "a", "manifest", -1): (at_manifest, None),
    ("nobody_drops", "hub", "offer", -1): (at_offer, "a"),
    ("nobody_drops", "b", "offers", -1): (at_offers, None),
    ("nobody_drops", "c", "reveals", -1): (at_reveals, None),
    ("nobody_drops", "hub", "encapsulated", -1): (at_encapsulated, "a"),
    ("nobody_drops", "d", "delivered", -1): (at_delivered, None),
    ("nobody_drops", "a", "contribute", 1): (at_contribute, None),
    ("off_the_committee", "s025", "contribute", 1): (at_receipt, None),
    ("nobody_drops", "hub", "contributed", 1): (at_contributed, "c"),
    ("nobody_drops", "a", "lock", 0): (at_lock, None),
    ("nobody_drops", "hub", "locked", 0): (at_locked, "b"),
    ("nobody_drops", "a", "unmask", 0): (at_unmask, None),
    ("two_drop", "a", "unmask", 1): (at_unmask_of_four, None),
    ("nobody_drops", "hub", "shares", 0): (at_shares, "c"),
    ("two_drop", "hub", "shares", 1): (at_shares_of_three, "c"),
}


def refused(runs: Mapping[str, Recorded]) -> list[dict[str, Any]]:
    """Each party of LIES with what it accepts, and what it must refuse."""
    points = []
    for (name, party, kind, step), (lies, site) in LIES.items():
        run, point = runs[name], runs[name].points[party, kind, step]
        made = [
            {"why": why, "error": error, "message": lie if isinstance(lie, bytes) else encode(lie)}
            for why, error, lie in lies(run, point.accepted[site] if site else point.accepted)
        ]
        where = {"run": name, "step": step, "party": party, "state": encode(point.state)}
        if site:
            own = {"from": site, "accepted": {one: encode(reply) for one, reply in point.accepted.items()}}
        else:
            lent = {"signing_seed": run.signing[party], "vector": point.vector, "beside": point.beside}
            own = {**lent, "accepted": encode(point.accepted)}
        points.append({**where, **own, "refused": made})
    return points


def remade(anew: bool = False) -> dict[str, str]:
    """Each file's name and contents."""
    runs, made = {}, {}
    for name in RUNS:
        there = {} if anew else read(name)
        runs[name] = Recorded(name, there.get("encapsulations", ()))
        made[name] = runs[name].play()
    made = {**made, "drawn_by_beacon": drawn_by_beacon(), "refused": {"points": refused(runs)}}
    return {name: json.dumps(value, default=bytes.hex, indent=1) + "\n" for name, value in made.items()}


def read(name: str) -> Any:
    return json.loads(text(name) or "{}")


def text(name: str) -> str:
    """What the file holds; nothing where there is none."""
    for path in FOLDER.glob(f"{name}.json*"):
        return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    return ""


def main() -> None:
    for name, contents in remade("--anew" in sys.argv[1:]).items():
        if contents != text(name):
            for path in FOLDER.glob(f"{name}.json*"):
                path.unlink()
            data, large = contents.encode(), len(contents) > LARGEST_PLAIN
            path = FOLDER / f"{name}.json{'.gz' * large}"
            path.write_bytes(gzip.compress(data, mtime=0) if large else data)
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
