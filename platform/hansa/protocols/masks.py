"""What hides a site's numbers in one sum, and how each secret of it is derived.

`sid` names the sum; every derivation holds it, the role, and both ends of an edge, so that nothing made for one sum,
direction or purpose is worth anything in another. Edges are between neighbours that are both in the cohort; the later
site in the roster's order subtracts what the earlier adds.

A vector is worked off in chunks of 4 MiB (`prg.CHUNK_BYTES`), each with keys of its own: chunks may be done in any
order, on any core, by any process, and no mask is ever held.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from hansa.crypto import merkle, prg, shamir
from hansa.crypto.keys import derive, digest, label, tag
from hansa.errors import ProtocolViolation
from hansa.messages import Digest, SiteId
from hansa.protocols.base import RingBits, Spread, Vector

Mask = tuple[bytes, bytes, bool]  # secret, info, whether it is subtracted


def element(ring: RingBits) -> np.dtype[np.uint64] | np.dtype[np.uint32]:
    return np.dtype(np.uint32) if ring == 32 else np.dtype(np.uint64)


def chunks_of(length: int, ring: RingBits) -> int:
    """How many chunks a vector of `length` elements has."""
    return -(-length * ring // 8 // prg.CHUNK_BYTES)


def chunk_bytes(length: int, ring: RingBits, number: int) -> int:
    """The size of chunk `number`: all are whole but the last."""
    return min(prg.CHUNK_BYTES, length * ring // 8 - number * prg.CHUNK_BYTES)


def edge_secret(pair: bytes, sid: bytes, site: SiteId, other: SiteId) -> bytes:
    """h_ij, the same at both ends: a uniform field element, as 32 bytes."""
    low, high = sorted((site, other))
    uniform = derive(pair, "sum/edge", sid, low.encode(), high.encode(), size=shamir.UNIFORM_BYTES)
    return shamir.encode(shamir.from_uniform(uniform))


def edge_tag(edge: bytes, sid: bytes) -> bytes:
    return tag(edge, "sum/tag", sid)


def self_commitment(own: bytes, sid: bytes) -> bytes:
    """Hides b, a uniform field element, and binds the site to it."""
    return digest("sum/self commitment", sid, own)


def edge_mask(edge: bytes, sid: bytes, site: SiteId, other: SiteId, *, remove: bool) -> Mask:
    """What `site` puts in for its edge to `other` (+ towards later sites, − towards earlier), or its removal."""
    low, high = sorted((site, other))
    return edge, _info("edge", sid, low, high), (other < site) != remove


def self_mask(own: bytes, sid: bytes, site: SiteId, *, remove: bool) -> Mask:
    return own, _info("self", sid, site, site), remove


def _info(role: str, sid: bytes, sender: SiteId, receiver: SiteId) -> bytes:
    return label(f"sum/{role}") + sid + sender.encode() + b"\0" + receiver.encode() + b"\0"


def apply(vector: Vector, masks: Sequence[Mask], spread: Spread) -> tuple[Digest, ...]:
    """Masks `vector` in place. Gives the digest of each chunk, a leaf of the root that its site signs."""
    size = prg.CHUNK_BYTES // vector.itemsize

    def one(number: int) -> Digest:
        part = vector[number * size : (number + 1) * size]
        prg.add_masks(part, _keys(masks, number))
        return merkle.leaf(as_bytes(part))

    return tuple(spread(one, range(-(-vector.size // size))))


def total(parts: Iterable[bytes], masks: Sequence[Mask], number: int, size: int, ring: RingBits) -> bytes:
    """Chunk `number` of a total, of `size` bytes: that chunk of every contribution, added, and `masks`. Holds one part
    at a time."""
    little = element(ring).newbyteorder("<")
    acc: Vector = np.zeros(size * 8 // ring, dtype=element(ring))
    for part in parts:
        if len(part) != size:  # numpy would spread a single element over all
            raise ProtocolViolation("a chunk of a contribution has another size than its place demands")
        acc += np.frombuffer(part, dtype=little)
    prg.add_masks(acc, _keys(masks, number))
    return as_bytes(acc).tobytes()


def _keys(masks: Sequence[Mask], number: int) -> list[tuple[bytes, bool]]:
    return [(prg.chunk_key(secret, info, number), subtract) for secret, info, subtract in masks]


def as_bytes(vector: Vector) -> memoryview:
    """Little-endian, without a copy where the machine is."""
    return vector.astype(vector.dtype.newbyteorder("<"), copy=False).data.cast("B")


def seal_key(pair: bytes, sid: bytes, sender: SiteId, receiver: SiteId) -> bytes:
    """Of one sealed letter: fresh per pair, sid and direction, so AES-GCM's zero nonce is used once per key."""
    return derive(pair, "sum/seal", sid, sender.encode(), receiver.encode())


def share_all(secrets: Sequence[bytes], threshold: int, members: int, seed: bytes, info: bytes) -> list[bytes]:
    """Shares of all `secrets`, in their order, for each of the members, in the order of their Shamir indices.

    The polynomials' coefficients are uniform field elements from the stream of `seed` under `info`, which must be
    used for this one call.
    """
    chance = prg.stream(seed, info, shamir.UNIFORM_BYTES * (threshold - 1) * len(secrets))
    return shamir.split_many(b"".join(secrets), threshold, members, chance)


def open_all(indices: Sequence[int], columns: Sequence[bytes], threshold: int) -> list[bytes]:
    """The secrets behind `columns`, one a member with its Shamir index.

    Where there are more members than the threshold, the first and the last of them must open the same secrets: one
    member that sends false shares is then found, and no total is made from them.
    """
    first = shamir.open_many(indices[:threshold], columns[:threshold], threshold)
    if first != shamir.open_many(indices[-threshold:], columns[-threshold:], threshold):
        raise ProtocolViolation("the shares of different members open different secrets")
    return cut(first, shamir.ELEMENT_BYTES)


def cut(joined: bytes, size: int) -> list[bytes]:
    return [joined[at : at + size] for at in range(0, len(joined), size)]
