"""The Merkle tree of RFC 6962 (section 2.1) with SHA-256, kept as tlog-tiles keeps it: a row for each eighth level."""

from collections.abc import Sequence
from hashlib import sha256

from hansa.errors import ProtocolViolation

DIGEST_BYTES = 32
WIDTH = 256  # of a tile
EMPTY = sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def perfect(row: Sequence[bytes]) -> bytes:
    """The root over a power of two of digests."""
    level = list(row)
    while len(level) > 1:
        level = [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level), 2)]
    return level[0]


class Tree:
    """`rows[k]` holds the digests of the full subtrees of 256^k entries, one after the other."""

    def __init__(self) -> None:
        self.size = 0
        self.rows: list[bytearray] = [bytearray()]

    def append(self, leaves: Sequence[bytes]) -> None:
        """At most as many as fill the last tile."""
        self.size += len(leaves)
        self._push(0, b"".join(leaves))

    def _push(self, level: int, digests: bytes) -> None:
        if level == len(self.rows):
            self.rows.append(bytearray())
        row = self.rows[level]
        row += digests
        count = len(row) // DIGEST_BYTES
        if count and count % WIDTH == 0:
            self._push(level + 1, perfect(self.digests(level, count - WIDTH, count)))

    def digests(self, level: int, start: int, end: int) -> list[bytes]:
        row = self.rows[level]
        return [bytes(row[at : at + DIGEST_BYTES]) for at in range(start * DIGEST_BYTES, end * DIGEST_BYTES, 32)]

    def root(self, size: int) -> bytes:
        """Of the first `size` entries."""
        return self.span(0, size)

    def span(self, start: int, end: int) -> bytes:
        """The root over entries `start` to `end`, where `start` is a multiple of a power of two that is not smaller
        than their number."""
        peaks, at = [], start
        while at < end:
            part = 1 << (end - at).bit_length() - 1
            level = min((part.bit_length() - 1) // 8, len(self.rows) - 1)
            unit = WIDTH**level
            peaks.append(perfect(self.digests(level, at // unit, (at + part) // unit)))
            at += part
        if not peaks:
            return EMPTY
        tree = peaks.pop()
        while peaks:
            tree = node(peaks.pop(), tree)
        return tree

    def consistency(self, size: int) -> list[bytes]:
        """The proof that the first `size` entries are the beginning of this tree (RFC 6962, section 2.1.2)."""
        if not 0 < size <= self.size:
            raise ValueError("a consistency proof is between two trees with entries")
        proof: list[bytes] = []
        start, end, whole = 0, self.size, True
        while size != end:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            if size <= middle:
                proof.append(self.span(middle, end))
                end = middle
            else:
                proof.append(self.span(start, middle))
                start, whole = middle, False
        return [*([] if whole else [self.span(start, end)]), *reversed(proof)]


def root_of_prefix(size: int, root: bytes, whole: int, whole_root: bytes, proof: Sequence[bytes]) -> None:
    """ProtocolViolation unless `proof` shows that the tree of `size` and `root` is the beginning of the other one
    (RFC 9162, section 2.1.4.2)."""
    if not 0 < size <= whole or any(len(part) != DIGEST_BYTES for part in proof):
        raise ProtocolViolation("a consistency proof is between two trees with entries, the smaller first")
    path = list(proof)
    if size & (size - 1) == 0:
        path.insert(0, root)
    place, last = size - 1, whole - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not path:
        raise ProtocolViolation("a consistency proof is empty")
    first = second = path[0]
    for part in path[1:]:
        if last == 0:
            raise ProtocolViolation("a consistency proof is longer than the tree is high")
        if place & 1 or place == last:
            first, second = node(part, first), node(part, second)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            second = node(second, part)
        place, last = place >> 1, last >> 1
    if last or first != root or second != whole_root:
        raise ProtocolViolation("a consistency proof does not join the two roots")
