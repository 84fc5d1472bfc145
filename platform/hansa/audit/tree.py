"""A growing Merkle tree (RFC 6962, section 2.1) of which the caller keeps the nodes.

What is kept are the roots of *complete* subtrees: the node (level, place) covers the 2^level leaves from place ·
2^level on, and never changes once its last leaf is there. `read(level, place)` gives one back. Root and proofs for
every size, past ones too, follow from these.

An inclusion proof does not authenticate the size of the tree: the same path leads to the same root from some other
sizes. Whoever verifies takes size and root from one signed checkpoint, so they come as one `Head` here.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeAlias

from msgspec import Struct

from hansa.crypto.merkle import DIGEST_BYTES, EMPTY, NODE_PREFIX, node, root_from_path
from hansa.errors import ProtocolViolation

Read: TypeAlias = Callable[[int, int], bytes]
Node: TypeAlias = tuple[int, int, bytes]  # level, place, digest


class Head(Struct, frozen=True):
    """Size and root of a tree, from one checkpoint."""

    size: int
    root: bytes


EMPTY_HEAD = Head(0, EMPTY)


def peaks(size: int) -> list[tuple[int, int]]:
    """(level, place) of the complete subtrees of which a tree of `size` consists, largest first: all that `new_nodes`
    and `root_at` read."""
    return _subtrees(0, size)


def _subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees that cover [start, end), largest first; `start` is a multiple of the largest one."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def new_nodes(size: int, leaf_hashes: Sequence[bytes], read: Read) -> list[Node]:
    """The complete subtrees, leaves among them, that a tree of `size` gains with these leaves; two a leaf on average.

    Goes level by level over the whole batch. Reads at most one earlier node a level, a peak of the old tree.
    """
    if any(len(one) != DIGEST_BYTES for one in leaf_hashes):
        raise ValueError("a leaf is a digest of 32 bytes")
    made: list[Node] = []
    level, first, row = 0, size, list(leaf_hashes)
    while row:
        made += [(level, place, digest) for place, digest in enumerate(row, first)]
        if len(row) + first % 2 < 2:
            break
        if first % 2:
            row.insert(0, read(level, first - 1))
        pairs = zip(row[::2], row[1::2], strict=False)  # a last one without a sibling waits for it
        row = [sha256(NODE_PREFIX + left + right).digest() for left, right in pairs]
        level, first = level + 1, first // 2
    return made


def root_at(size: int, read: Read) -> bytes:
    """The root of the first `size` leaves; that of the empty tree is SHA-256 of nothing."""
    return _root(0, size, read) if size else EMPTY


def _root(start: int, end: int, read: Read) -> bytes:
    """The Merkle tree hash of leaves [start, end), as it occurs inside a tree."""
    digests = [read(level, place) for level, place in _subtrees(start, end)]
    root = digests.pop()
    while digests:
        root = node(digests.pop(), root)
    return root


def _middle(start: int, end: int) -> int:
    """Where RFC 6962 splits: the largest power of two below the number of leaves."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of `size` (section 2.1.1), lowest sibling first."""
    if not 0 <= index < size:
        raise ValueError("a path is that of a leaf of the tree")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            path.append(_root(middle, end, read))
            end = middle
        else:
            path.append(_root(start, middle, read))
            start = middle
    return tuple(reversed(path))


def consistency(old: int, new: int, read: Read) -> tuple[bytes, ...]:
    """That the tree of `new` begins with that of `old` (section 2.1.2); nothing where they are one size."""
    if not 0 < old <= new:
        raise ValueError("consistency is proved from a tree that is not empty to one at least as large")
    proof: list[bytes] = []
    start, end = 0, new
    while old < end:
        middle = _middle(start, end)
        if old <= middle:
            proof.append(_root(middle, end, read))
            end = middle
        else:
            proof.append(_root(start, middle, read))
            start = middle
    if start:  # else what is left is the old tree, whose root the verifier has
        proof.append(_root(start, end, read))
    return tuple(reversed(proof))


def check_inclusion(leaf: bytes, index: int, head: Head, path: Sequence[bytes]) -> None:
    """ProtocolViolation unless `path` leads from `leaf`, the leaf's hash, at `index` to the root of `head`."""
    if root_from_path(leaf, index, head.size, path) != head.root:
        raise ProtocolViolation("a path does not lead from its leaf to the root of the checkpoint")


def check_consistency(old: Head, new: Head, proof: Sequence[bytes]) -> None:
    """ProtocolViolation unless `proof` shows that `new` begins with `old` (RFC 9162, section 2.1.4.2).

    Nothing can be proved from the empty tree, with which every tree is consistent: that is a violation too.
    """
    if not 0 < old.size <= new.size:
        raise ProtocolViolation("consistency is proved from a tree that is not empty to one at least as large")
    if old.size == new.size:
        if proof or old.root != new.root:
            raise ProtocolViolation("two trees of one size have two roots, or a proof between them")
        return
    if any(len(one) != DIGEST_BYTES for one in (old.root, *proof)):
        raise ProtocolViolation("a proof of consistency holds something other than digests of 32 bytes")
    if _roots_from_proof(old, new.size, proof) != (old.root, new.root):
        raise ProtocolViolation("a proof of consistency does not lead to both roots")


def _roots_from_proof(old: Head, new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The old and the new root to which a proof leads."""
    place, last = old.size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    steps = list(proof) if place else [old.root, *proof]  # a complete old tree is itself where the proof begins
    if not steps:
        raise ProtocolViolation("a proof of consistency is too short")
    old_root = new_root = steps[0]
    for step in steps[1:]:
        if not last:
            raise ProtocolViolation("a proof of consistency is too long")
        if place & 1 or place == last:
            old_root, new_root = node(step, old_root), node(step, new_root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new_root = node(new_root, step)
        place, last = place >> 1, last >> 1
    if last:
        raise ProtocolViolation("a proof of consistency is too short")
    return old_root, new_root
