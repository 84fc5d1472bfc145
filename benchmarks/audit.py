"""The log's tree, proofs and signatures, without a database. A floor is the bare primitive on the same bytes."""

from collections.abc import Iterable
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from benchmarks.machine import cpu
from hansa.audit import checkpoint, tree
from hansa.audit.checkpoint import Checkpoint, Ed25519Cosigner, MLDSA44Cosigner
from hansa.audit.note import Line
from hansa.audit.tree import Head
from hansa.crypto import merkle
from hansa.crypto.keys import holds

ENTRIES = 100_000
BATCH = 500
PROOFS = 1_000
SIGNATURES = 300


def lines() -> Iterable[str]:
    entries = [b"%0200d" % number for number in range(ENTRIES)]
    leaves = [merkle.leaf(entry) for entry in entries]
    nodes: dict[tuple[int, int], bytes] = {}

    def read(level: int, place: int) -> bytes:
        return nodes[level, place]

    def append() -> None:
        for size in range(0, ENTRIES, BATCH):
            made = tree.new_nodes(size, leaves[size : size + BATCH], read)
            nodes.update(((level, place), digest) for level, place, digest in made)

    floor = cpu(lambda: [sha256(b"\x01" + leaf + leaf).digest() for leaf in leaves])
    taken = cpu(append)
    ours, bare = f"{ENTRIES / taken:,.0f} leaves/s", f"{ENTRIES / floor:,.0f} nodes/s"
    yield _row(f"append, batches of {BATCH}", ours, bare, taken / floor)
    head = Head(ENTRIES, tree.root_at(ENTRIES, read))
    floor += cpu(lambda: [sha256(b"\0" + entry).digest() for entry in entries])
    taken = cpu(lambda: merkle.root(map(merkle.leaf, entries)))
    yield _row(f"root of {ENTRIES:,} entries of 200 bytes", f"{taken:.2f} s", f"{floor:.2f} s", taken / floor)
    yield from _proofs(leaves, head, read)
    yield from _signatures(Checkpoint("hub.example/log", head))


def _proofs(leaves: list[bytes], head: Head, read: tree.Read) -> Iterable[str]:
    places = range(0, ENTRIES, ENTRIES // PROOFS)
    paths = [tree.inclusion(place, ENTRIES, read) for place in places]
    floor = cpu(lambda: [sha256(b"\x01" + one + one).digest() for path in paths for one in path])
    made = cpu(lambda: [tree.inclusion(place, ENTRIES, read) for place in places])
    yield _row("a path made", f"{made / PROOFS * 1e6:.0f} µs", f"{floor / PROOFS * 1e6:.0f} µs", made / floor)

    def check() -> None:
        for place, path in zip(places, paths, strict=True):
            tree.check_inclusion(leaves[place], place, head, path)

    taken = cpu(check)
    yield _row("a path checked", f"{taken / PROOFS * 1e6:.0f} µs", f"{floor / PROOFS * 1e6:.0f} µs", taken / floor)


def _signatures(said: Checkpoint) -> Iterable[str]:
    classical = Ed25519Cosigner("w.example", bytes(32))
    signed = [classical.cosign(said, time) for time in range(1, SIGNATURES + 1)]
    public = ed25519.Ed25519PublicKey.from_public_bytes(classical.key.public)
    message = b"cosignature/v1\ntime 1\n" + said.text.encode()
    floor = cpu(lambda: [public.verify(signed[0].signature[8:], message) for _ in signed])
    yield _checks("Ed25519", classical, said, signed, floor)
    quantum = MLDSA44Cosigner("w.example", bytes(32))
    signed = [quantum.cosign(said, time) for time in range(1, SIGNATURES + 1)]
    seed = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    signature, other = seed.sign(message), seed.public_key()
    floor = cpu(lambda: [other.verify(signature, message) for _ in signed])
    yield _checks("ML-DSA-44", quantum, said, signed, floor)


def _checks(
    name: str, cosigner: Ed25519Cosigner | MLDSA44Cosigner, said: Checkpoint, signed: list[Line], floor: float
) -> str:
    def check() -> None:
        holds.cache_clear()
        for line in signed:
            checkpoint.check_cosignature(cosigner.key, said.text, line.signature)

    taken = cpu(check)
    rate, bare = f"{SIGNATURES / taken:,.0f} /s", f"{SIGNATURES / floor:,.0f} /s"
    return _row(f"cosignatures checked, {name}", rate, bare, taken / floor)


def _row(what: str, ours: str, floor: str, ratio: float) -> str:
    return f"| {what} | {ours} | {floor} | {ratio:.1f} |"
