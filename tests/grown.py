"""A log in memory whose nodes the test keeps, its keys, and three witnesses with two keys each."""

from collections.abc import Iterable, Sequence

from hansa.audit import tree
from hansa.audit.checkpoint import Checkpoint, Ed25519Cosigner, MLDSA44Cosigner
from hansa.audit.note import Note, Signer
from hansa.audit.policy import Policy, for_members
from hansa.audit.tree import Head
from hansa.crypto import merkle

ORIGIN = "hub.example/log"
LOG = Signer(ORIGIN, bytes([1]) * 32)
MEMBERS = ("north", "south", "west")
ED25519 = {name: Ed25519Cosigner(f"{name}.example", bytes([10 + at]) * 32) for at, name in enumerate(MEMBERS)}
MLDSA44 = {name: MLDSA44Cosigner(f"{name}.example", bytes([20 + at]) * 32) for at, name in enumerate(MEMBERS)}
WITNESSES = {name: (ED25519[name].key, MLDSA44[name].key) for name in MEMBERS}
TIME = 1_790_000_000


class Grown:
    """A tree over `entries`, grown in one batch; `append` adds another."""

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.entries: list[bytes] = []
        self.append(entries)

    def append(self, entries: Iterable[bytes]) -> None:
        batch = list(entries)
        for level, place, digest in tree.new_nodes(len(self.entries), [merkle.leaf(one) for one in batch], self.read):
            assert self.nodes.setdefault((level, place), digest) == digest
        self.entries += batch

    def read(self, level: int, place: int) -> bytes:
        return self.nodes[level, place]

    def head(self, size: int | None = None) -> Head:
        size = len(self.entries) if size is None else size
        return Head(size, tree.root_at(size, self.read))

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        return tree.inclusion(index, len(self.entries) if size is None else size, self.read)

    def consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        return tree.consistency(old, len(self.entries) if new is None else new, self.read)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(start, start + count)]


def signed(head: Head, origin: Signer = LOG) -> Note:
    return origin.sign(Checkpoint(origin.key.name, head).text)


def cosigned_by(head: Head, members: Sequence[str] = MEMBERS, time: int = TIME) -> Note:
    """The log's checkpoint with both cosignatures of each of these members."""
    note, checkpoint = signed(head), Checkpoint(ORIGIN, head)
    lines = [key[name].cosign(checkpoint, time) for name in members for key in (ED25519, MLDSA44)]
    return Note(note.text, (*note.lines, *lines))


def all_of_them(least: int = len(MEMBERS)) -> Policy:
    return for_members(LOG.key, WITNESSES, least)
