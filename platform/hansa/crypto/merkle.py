"""The hashes of a Merkle tree as certificate transparency has them (RFC 6962, section 2.1), with SHA-256.

A leaf and an inner node are hashed with different first bytes, so neither passes for the other. A tree of n
entries splits at the largest power of two below n, and nothing is ever filled up with copies.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

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


def _trailing_zeros(count: int) -> int:
    return (count & -count).bit_length() - 1
