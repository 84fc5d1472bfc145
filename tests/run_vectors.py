"""Makes tests/vectors/secure_sum: whole runs of key setup and secure sum, from seeds. `python -m tests.run_vectors`.

The format is in tests/vectors/README.md. All follows from a seed per run, but for what ML-KEM encapsulation draws in
its library. That is taken from the files that are there, and drawn anew where it is missing (or everywhere: `--anew`).
"""

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np

from hansa.crypto import prg, shamir
from hansa.crypto.keys import HybridKey, derive, digest, encapsulate, label
from hansa.messages import encode
from hansa.protocols import graph, key_setup, masks
from hansa.protocols.base import Ask, Message, RingBits
from hansa.protocols.key_setup import Session
from hansa.protocols.secure_sum import Contribute, Summed
from hansa.protocols.survivors import edges, headers_digest, lock_digest
from hansa.protocols.thresholds import Floors
from tests.protocol_runs import UNTOUCHED, Hooks, Parties, names
from tests.real_rows import Chance
from tests.vectors_refused import refused

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
