"""Who is in a sum: what a site signs, what the members check before they lock, what the others are shown afterwards.

Everything here is public and is looked at by several parties: the hub before it closes a round, each member of the
committee before it signs, each site before it goes on, and whoever replays.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from hansa.crypto import merkle, prg
from hansa.crypto.keys import digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.messages import Digest, Signature, SiteId, encode
from hansa.protocols import masks
from hansa.protocols.base import Message, RingBits, Vector
from hansa.protocols.key_setup import Session

HEADER, LOCK = "sum/header", "sum/lock"  # what is signed
TAG_BYTES = 16


class SignedHeader(Message, frozen=True, tag="header"):
    """What a site signs of its contribution; goes to every member of the committee."""

    site: SiteId
    sid: Digest
    root: Digest  # RFC 6962 root over the chunks of y
    commitment: Digest  # to b, so that false shares of it are found when it is opened
    sealed: Digest  # over the sealed letters in the members' order
    tags: bytes  # 16 for each neighbour in the cohort, in roster order
    signature: Signature

    def signed(self) -> bytes:
        return encode((self.site, self.sid, self.root, self.commitment, self.sealed, self.tags))


class Receipt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What became of a sum: who is in it, who locked that, and the total, by the digests of its chunks.

    The next sum's id holds it, so a hub that shows two sites different totals gets masks that don't cancel; and a
    site that sees the total can tell what step must follow from it.
    """

    sid: Digest
    survivors: tuple[SiteId, ...]
    headers: Digest
    signatures: dict[SiteId, Signature]  # the members' that locked
    chunks: tuple[Digest, ...]

    def locked(self) -> bytes:
        return lock_digest(self.sid, self.survivors, self.headers)

    def total(self, content: bytes | memoryview, length: int, ring: RingBits) -> Vector:
        """`content` as `length` ring elements, if it is the total that this receipt names."""
        size, view = masks.element(ring), memoryview(content)
        parts = (view[at : at + prg.CHUNK_BYTES] for at in range(0, len(view), prg.CHUNK_BYTES))
        if len(view) != length * size.itemsize or tuple(map(merkle.leaf, parts)) != self.chunks:
            raise ProtocolViolation("the total is not the one that its receipt names")
        return np.frombuffer(view, dtype=size.newbyteorder("<")).astype(size, copy=False)


def edges(session: Session, cohort: Collection[SiteId], site: SiteId) -> Sequence[SiteId]:
    """The neighbours of `site` in `cohort`, in roster order."""
    found = session.neighbours(site)
    return found if len(cohort) == len(session.roster) else [other for other in found if other in cohort]


def members(session: Session, cohort: Collection[SiteId]) -> list[SiteId]:
    """The committee's members in `cohort`, in roster order."""
    return [member for member in session.committee if member in cohort]


def opened_edges(
    session: Session, cohort: Collection[SiteId], survivors: Collection[SiteId]
) -> list[tuple[SiteId, SiteId]]:
    """(survivor, dropped) of each edge whose mask a total still holds: in the order in which its shares are sent."""
    dropped = sorted(set(cohort) - set(survivors))
    return [(site, gone) for gone in dropped for site in edges(session, survivors, gone)]


def lock_digest(sid: bytes, survivors: Sequence[SiteId], headers: bytes) -> bytes:
    return digest("sum/locked", sid, encode(tuple(survivors)), headers)


def headers_digest(headers: Sequence[SignedHeader]) -> bytes:
    return digest("sum/headers", *(encode(header) for header in headers))


def check_header(header: SignedHeader, session: Session, sid: bytes, cohort: Collection[SiteId]) -> None:
    if header.sid != sid or header.site not in cohort:
        raise ProtocolViolation(f"the header of '{header.site}' is of another sum")
    if len(header.tags) != TAG_BYTES * len(edges(session, cohort, header.site)):
        raise ProtocolViolation(f"the header of '{header.site}' has not one tag per neighbour")
    verify(session.key(header.site), HEADER, header.signed(), header.signature)


def check_survivors(names: Sequence[SiteId], session: Session, cohort: Collection[SiteId]) -> None:
    """Sorted, asked, not too few, none of them lonely."""
    survivors = set(names)
    if list(names) != sorted(survivors) or not survivors <= set(cohort):
        raise ProtocolViolation("the survivors are not a sorted part of the cohort, each once")
    if len(names) < session.floors.survivors:
        raise ProtocolViolation("the survivor set is below the floor")
    if any(len(edges(session, survivors, site)) < session.floors.kept for site in names):
        raise ProtocolViolation("a survivor is left with too few neighbours")


def check_tags(headers: Sequence[SignedHeader], session: Session, cohort: Collection[SiteId]) -> None:
    """Both ends of each edge made the same tag, so both have the same pair secret and the same sid."""
    ends: dict[tuple[SiteId, SiteId], bytes] = {}
    for header in headers:
        site, tags = header.site, header.tags
        for place, peer in enumerate(edges(session, cohort, site)):
            tag = tags[place * TAG_BYTES : (place + 1) * TAG_BYTES]
            if ends.setdefault((peer, site), tag) != tag:
                raise ProtocolViolation(f"the edge of '{peer}' and '{site}' has two tags: other keys or other requests")
            ends[site, peer] = tag


def check_locks(
    signatures: Mapping[SiteId, bytes], session: Session, survivors: Collection[SiteId], locked: bytes
) -> None:
    """As many members as the threshold, survivors themselves, signed one survivor set."""
    if not set(signatures) <= set(members(session, survivors)):
        raise ProtocolViolation("a signature for unmasking is of a site that did not survive, or is no member")
    if len(signatures) < session.floors.threshold:
        raise ProtocolViolation("fewer signatures than the threshold lock this survivor set")
    for member, signature in signatures.items():
        verify(session.key(member), LOCK, locked, signature)


def with_neighbours(session: Session, sites: Iterable[SiteId]) -> list[SiteId]:
    """`sites`, sorted, without those who are left with too few neighbours, until nobody is."""
    left = set(sites)
    while lonely := {site for site in left if len(edges(session, left, site)) < session.floors.kept}:
        left -= lonely
    return sorted(left)


def check_left(session: Session, left: Collection[SiteId], sites: int) -> None:
    """`left` of `sites` can make a total that meets the floors."""
    floors, at_work = session.floors, len(members(session, left))
    if len(left) < floors.survivors:
        raise NotEnoughSites(f"{sites} sites are left and {floors.survivors} are needed")
    if at_work < floors.threshold:
        raise NotEnoughSites(f"{at_work} sites are left that could open a total and {floors.threshold} are needed")
