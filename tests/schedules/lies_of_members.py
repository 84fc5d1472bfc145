"""What a member may say."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from hansa.crypto import merkle, shamir
from hansa.crypto.keys import HybridKey, digest, encapsulate
from hansa.messages import encode
from hansa.protocols import key_setup
from hansa.protocols.key_setup import Delivered, Encapsulated, Offers, Ready, Reveal, Reveals, _transcript
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, Locked, Masked, Shares, Unmask
from hansa.protocols.thresholds import Floors
from tests.schedules.telling import Absent, MemberLie, in_place

SHARE, TAG = 32, 16


def other_rho(site: Any, reply: Reveal, following: Any, _pick: int) -> Any:
    other = replace(reply, rho=bytes(32))
    signed = other.signed(_transcript(following.manifest, following.offers), site.name)
    other = replace(other, signature=site.key.sign("setup/reveal", signed))
    return other, replace(following, reveal=other), []


def ciphertexts(change: Callable[[list[bytes], int], list[bytes]]) -> Callable[..., Any]:
    """Others than were due, rightly signed."""

    def tell(site: Any, reply: Encapsulated, following: Any, pick: int) -> Any:
        row = tuple(change(list(reply.ciphertexts), pick))
        root = merkle.root(merkle.leaf(ciphertext) for ciphertext in row)
        signed = key_setup._signed_root(following.session, site.name, root)
        return Encapsulated(row, site.key.sign("setup/encapsulated", signed)), following, []

    return tell


def too_few(row: list[bytes], _pick: int) -> list[bytes]:
    return row[:-1] if row else [bytes(1088)]


def garbage(row: list[bytes], pick: int) -> list[bytes]:
    return list(in_place(row, pick % max(len(row), 1), bytes([pick % 256]) * 1088))


def to_the_wrong_peer(row: list[bytes], pick: int) -> list[bytes]:
    """Two that are swapped; where there is one only, one to a key of nobody's."""
    if len(row) < 2:
        return [encapsulate(NOBODY.public)[1] for _ in row]
    one, other = pick % len(row), (pick + 1) % len(row)
    row[one], row[other] = row[other], row[one]
    return row


NOBODY = HybridKey(bytes(range(2, 98)))


def unsigned(_site: Any, reply: Encapsulated, following: Any, _pick: int) -> Any:
    return replace(reply, signature=bytes(64)), following, []


# ---- contributions ----


def resigned(site: Any, reply: Contributed, following: Any, **changes: Any) -> tuple[Any, Any, list[bytes]]:
    """The contribution with another header, rightly signed, which the liar takes for its own from then on."""
    header = replace(reply.header, **changes)
    header = replace(header, signature=site.key.sign("sum/header", header.signed()))
    following = replace(following, header=header) if isinstance(following, Masked) else following
    return replace(reply, header=header), following, []


def wrong_tag(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    tags = [reply.header.tags[at : at + TAG] for at in range(0, len(reply.header.tags), TAG)]
    return resigned(site, reply, following, tags=b"".join(in_place(tags, pick % len(tags), bytes(TAG))))


def missing_tag(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    return resigned(site, reply, following, tags=reply.header.tags[: -TAG if pick % 2 else -1])


def junk_letter(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
    sealed = list(reply.sealed)
    sealed[pick % len(sealed)] = bytes(len(sealed[0]))
    reply = replace(reply, sealed=tuple(sealed))
    return resigned(site, reply, following, sealed=digest("sum/sealed", *sealed))


def beside(change: Callable[[tuple[bytes, ...], int], tuple[bytes, ...]], signed: bool = True) -> Callable[..., Any]:
    """Other chunks beside the reply: with their digests in it, rightly signed, or without."""

    def tell(site: Any, reply: Contributed, following: Any, pick: int) -> Any:
        site.beside = change(site.beside, pick)
        if not signed:
            return reply, following, []
        names = tuple(map(merkle.leaf, site.beside))
        return resigned(site, replace(reply, chunks=names), following, root=merkle.root(names))

    return tell


def other_size(chunks: tuple[bytes, ...], pick: int) -> tuple[bytes, ...]:
    """Longer, shorter, or one element only, which numpy would add to every other."""
    *first, last = chunks
    return (*first, (last + bytes(8), last[:-8], last[:8], last[:-3])[pick % 4])


def other_number(chunks: tuple[bytes, ...], pick: int) -> tuple[bytes, ...]:
    return chunks[:-1] if pick % 2 and len(chunks) > 1 else (*chunks, chunks[0])


def other_numbers(chunks: tuple[bytes, ...], _pick: int) -> tuple[bytes, ...]:
    return tuple(bytes(len(chunk)) for chunk in chunks)


def other_digests(site: Any, reply: Contributed, following: Any, _pick: int) -> Any:
    """The chunks have the digests that the reply lists, and the root that was signed is of others."""
    site.beside = other_numbers(site.beside, 0)
    return replace(reply, chunks=tuple(map(merkle.leaf, site.beside))), following, []


# ---- shares ----


def in_shares(change: Callable[[bytes], bytes], edges: bool = False) -> Callable[..., Any]:
    def tell(_site: Any, reply: Shares, following: Any, pick: int) -> Any:
        sort = "edges" if edges and reply.edges else "own"
        joined = getattr(reply, sort)
        shares = [joined[at : at + SHARE] for at in range(0, len(joined), SHARE)]
        place = pick % len(shares)
        return replace(reply, **{sort: b"".join(in_place(shares, place, change(shares[place])))}), following, []

    return tell


def false_share(share: bytes) -> bytes:
    return shamir.encode((shamir.decode(share) + 1) % shamir.PRIME)


def out_of_range(_share: bytes) -> bytes:
    return shamir.PRIME.to_bytes(32, "little")


def other_bytes_again(_site: Any, reply: Shares, following: Any, _pick: int) -> Any:
    other = replace(reply, own=false_share(reply.own[:SHARE]) + reply.own[SHARE:])
    return reply, following, [encode(other)]


def junk_reply(_site: Any, _reply: Any, following: Any, _pick: int) -> Any:
    return b"\xc1 nothing", following, []


DROPPED_NOW: tuple[Absent, ...] = (("AwaitContributions", 0, lambda sites: 1),)
AT_THRESHOLD: tuple[Absent, ...] = (("AwaitShares", 0, lambda sites: sites - Floors.of(sites, -1, 3).threshold),)

MEMBER_LIES: dict[str, MemberLie] = {
    "other randomness than committed": MemberLie(Offers, other_rho),
    "too few ciphertexts": MemberLie(Reveals, ciphertexts(too_few), sites=4),
    "garbage ciphertext": MemberLie(Reveals, ciphertexts(garbage)),
    "ciphertext to the wrong peer": MemberLie(Reveals, ciphertexts(to_the_wrong_peer)),
    "ciphertexts that are not signed": MemberLie(Reveals, unsigned, sites=4),
    "another session": MemberLie(Delivered, lambda _s, _r, following, _p: (Ready(bytes(32)), following, [])),
    "wrong tag": MemberLie(Contribute, wrong_tag),
    "junk letter": MemberLie(Contribute, junk_letter),
    "header of another sum": MemberLie(Contribute, lambda s, r, f, _p: resigned(s, r, f, sid=bytes(32))),
    "missing tag": MemberLie(Contribute, missing_tag),
    "vector of another size": MemberLie(Contribute, beside(other_size)),
    "vector of another number of chunks": MemberLie(Contribute, beside(other_number)),
    "another vector than named": MemberLie(Contribute, beside(other_numbers, signed=False)),
    "another vector than signed": MemberLie(Contribute, other_digests),
    "false commitment": MemberLie(Contribute, lambda s, r, f, _p: resigned(s, r, f, commitment=bytes(32))),
    "junk contribution": MemberLie(Contribute, junk_reply),
    "false lock signature": MemberLie(Lock, lambda _s, _r, following, _p: (Locked(bytes(64)), following, [])),
    "junk instead of a lock": MemberLie(Lock, junk_reply, sites=4),
    "share out of range": MemberLie(Unmask, in_shares(out_of_range)),
    "share too short": MemberLie(Unmask, in_shares(lambda share: share[:-1])),
    "false share": MemberLie(Unmask, in_shares(false_share)),
    "false share at the threshold": MemberLie(Unmask, in_shares(false_share), absent=AT_THRESHOLD, large=False),
    "false share of an edge": MemberLie(Unmask, in_shares(false_share, edges=True), 4, 1, DROPPED_NOW),
    "one share missing": MemberLie(
        Unmask, lambda _s, reply, following, _p: (replace(reply, own=reply.own[:-SHARE]), following, [])
    ),
    "other bytes for an answered round": MemberLie(Unmask, other_bytes_again),
}
