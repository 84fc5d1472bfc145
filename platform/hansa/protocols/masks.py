"""What hides a site's numbers in one sum, and how each secret of it is derived.

`sid` names the sum; every derivation holds it, the role, and both ends of an edge, so that nothing made for one sum,
direction or purpose is worth anything in another. Edges are between two sites of the cohort; the later site in the
cohort's order subtracts what the earlier adds.
"""

from collections.abc import Sequence

from hansa.crypto import prg, shamir
from hansa.crypto.keys import derive, digest, label, tag
from hansa.errors import ProtocolViolation
from hansa.messages import SiteId
from hansa.protocols.base import Vector


def others(cohort: Sequence[SiteId], site: SiteId) -> list[SiteId]:
    return [other for other in cohort if other != site]


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


def _mask_info(role: str, sid: bytes, sender: SiteId, receiver: SiteId) -> bytes:
    return label(f"sum/{role}") + sid + sender.encode() + b"\0" + receiver.encode() + b"\0"


def mask_edge(vector: Vector, edge: bytes, sid: bytes, site: SiteId, other: SiteId, *, remove: bool) -> None:
    """Adds what `site` puts in for its edge to `other` (+ towards later sites, − towards earlier), or removes it."""
    low, high = sorted((site, other))
    prg.add_stream(vector, edge, _mask_info("edge", sid, low, high), subtract=(other < site) != remove)


def mask_self(vector: Vector, own: bytes, sid: bytes, site: SiteId, *, remove: bool) -> None:
    prg.add_stream(vector, own, _mask_info("self", sid, site, site), subtract=remove)


def seal_key(pair: bytes, sid: bytes, sender: SiteId, receiver: SiteId) -> bytes:
    """Of one sealed letter: fresh per pair, sid and direction, so AES-GCM's zero nonce is used once per key."""
    return derive(pair, "sum/seal", sid, sender.encode(), receiver.encode())


def split_all(secrets: Sequence[bytes], threshold: int, members: int, seed: bytes, info: bytes) -> list[list[bytes]]:
    """Shares of all `secrets` for each of the members, in the order of their Shamir indices 1 … `members`.

    The polynomials' coefficients are uniform field elements from the stream of `seed` under `info`, which must be
    used for this one call.
    """
    degree, size = threshold - 1, shamir.UNIFORM_BYTES
    chance = prg.stream(seed, info, size * degree * len(secrets))
    drawn = [shamir.from_uniform(chance[at : at + size]) for at in range(0, len(chance), size)]
    rows = [
        shamir.split(shamir.decode(secret), threshold, members, drawn[at * degree : (at + 1) * degree])
        for at, secret in enumerate(secrets)
    ]
    return [[shamir.encode(share) for share in column] for column in zip(*rows, strict=True)]


def open_all(indices: Sequence[int], rows: Sequence[Sequence[bytes]], threshold: int) -> list[bytes]:
    """The secrets behind `rows`, one row a member with its Shamir index.

    Where there are more members than the threshold, the first and the last of them must open the same secrets: one
    member that sends false shares is then found, and no total is made from them.
    """
    values = [[shamir.decode(share) for share in column] for column in zip(*rows, strict=True)]
    first = shamir.combine_many(indices[:threshold], [column[:threshold] for column in values])
    last = shamir.combine_many(indices[-threshold:], [column[-threshold:] for column in values])
    if first != last:
        raise ProtocolViolation("the shares of different members open different secrets")
    return [shamir.encode(secret) for secret in first]
