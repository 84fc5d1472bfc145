"""The hashes and audit paths of a Merkle tree as certificate transparency has them (RFC 6962, 2.1), with SHA-256.

A leaf and an inner node are hashed with different first bytes, so neither passes for the other. A tree of n
entries splits at the largest power of two below n, and nothing is ever filled up with copies.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from hansa.errors import ProtocolViolation

DIGEST_BYTES: Final = 32
EMPTY: Final = sha256(b"").digest()

LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"


def leaf(entry: bytes | memoryview) -> bytes:
    """The digest of an entry: SHA-256(0x00 ‖ entry). A large entry is read where it lies."""
    state = sha256(LEAF_PREFIX)
    state.update(entry)
    return state.digest()


def node(left: bytes, right: bytes) -> bytes:
    """The digest of two subtrees, in this order: SHA-256(0x01 ‖ left ‖ right)."""
    if len(left) != DIGEST_BYTES or len(right) != DIGEST_BYTES:
        raise ValueError("a node joins two digests of 32 bytes")
    return sha256(NODE_PREFIX + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over `leaves`, which are digests as `leaf` makes them; `EMPTY` where there is none.

    Reads the leaves once and keeps at most one digest a level, so a tree may be larger than memory.
    """
    peaks: list[bytes] = []  # the full subtrees of what was read, largest first: the binary digits of `count`
    for count, digest in enumerate(leaves, start=1):
        if len(digest) != DIGEST_BYTES:
            raise ValueError("a leaf is a digest of 32 bytes")
        peaks.append(digest)
        for _ in range(_trailing_zeros(count)):
            right = peaks.pop()
            peaks.append(node(peaks.pop(), right))
    if not peaks:
        return EMPTY
    tree = peaks.pop()
    while peaks:
        tree = node(peaks.pop(), tree)
    return tree


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` (RFC 6962, section 2.1.1): the sibling of each node on its way up, lowest first.

    `leaves` are digests as `leaf` makes them. Hashes every other leaf's subtree once.
    """
    if not 0 <= index < len(leaves):
        raise ValueError("a path is that of a leaf of the tree")
    siblings: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            siblings.append(root(leaves[middle:end]))
            end = middle
        else:
            siblings.append(root(leaves[start:middle]))
            start = middle
    return tuple(reversed(siblings))


def root_from_path(leaf_digest: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root to which `path` leads from leaf `index` of `count` (RFC 9162, section 2.1.3.2).

    Whoever verifies compares it with a root it trusts, and takes `count` from where that root came from: a
    peer that may choose `count` may also choose where in the tree the leaf lies. ProtocolViolation for an index
    outside the tree, a path of another length than that leaf's and a sibling that is not a digest.
    """
    if not 0 <= index < count:
        raise ProtocolViolation("a path is that of no leaf of the tree")
    if any(len(sibling) != DIGEST_BYTES for sibling in path):
        raise ProtocolViolation("a path holds something other than digests of 32 bytes")
    if len(leaf_digest) != DIGEST_BYTES:
        raise ValueError("a leaf is a digest of 32 bytes")
    tree, last = leaf_digest, count - 1
    for sibling in path:
        if last == 0:
            raise ProtocolViolation("a path is longer than the tree is high")
        if index & 1 or index == last:
            tree = node(sibling, tree)
            skipped = _trailing_zeros(index)  # levels at which this node is the last one and has no sibling
            index, last = index >> skipped, last >> skipped
        else:
            tree = node(tree, sibling)
        index, last = index >> 1, last >> 1
    if last != 0:
        raise ProtocolViolation("a path ends below the root")
    return tree


def _trailing_zeros(count: int) -> int:
    return (count & -count).bit_length() - 1


def paths(leaves: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """The audit path of every leaf, as `path` gives them one by one."""
    return _paths(leaves)[1]


def _paths(leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """The root, and each leaf's path to it."""
    if len(leaves) <= 1:
        return (leaves[0] if leaves else EMPTY), [()] * len(leaves)
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, above_left = _paths(leaves[:split])
    right, above_right = _paths(leaves[split:])
    return node(left, right), [(*one, right) for one in above_left] + [(*one, left) for one in above_right]
