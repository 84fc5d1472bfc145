"""Secure sum: the hub learns the total of those who stayed, and no single number.

    hub → site   Contribute   step, public state, cohort U1, receipt of the sum before; its total z beside
    site → hub   Contributed  signed header, shares sealed to each committee member; y = x + PRG(b) ± Σ PRG(h_ij) beside
    hub → member Lock         survivors U3 ⊆ U1 with every survivor's signed header, the shares sealed to this member
    member → hub Locked       signature over (sid, U3, headers)
    hub → member Unmask       `threshold` such signatures over one set
    member → hub Shares       shares of b_i for i in U3, of h_ij for i in U3 and j dropped: never both sorts of one site

    sid = H(session, step, attempt, public state, cohort, receipt before);  z = Σ y − Σ PRG(b) ∓ Σ PRG(h of the dropped)

The edges i–j are the session's graph, the members its committee; up to 50 sites that is everybody. Who is not on it
contributes and waits for the next receipt, which shows it the members' signatures.

Follows Bonawitz et al., *Practical Secure Aggregation* (CCS 2017); sparse graph and committee after Bell et al. (CCS
2020); pair secrets come from one setup for many sums, as in Ma et al., *Flamingo* (S&P 2023); the public state is bound
into the masks, after Pasquini et al. (CCS 2022). Our own judgement, not reviewed outside: edge tags compared by the
members, survivors that must keep `floors.kept` neighbours, and the receipt of each total entering the next sid.

Adversary: the hub, active, with up to `floors.corrupt` sites. It learns the total over one survivor set that meets the
floors, or nothing. Above the drop-out that the floors allow it learns nothing and the job ends. Liveness against the
hub is not promised. Secrets of a step are derived from seeds that are ratcheted forward and erased after it.

Vectors travel beside the messages, cut into chunks; a message holds their digests.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from hansa.crypto import merkle, prg, shamir
from hansa.crypto.keys import derive, digest, label, lock_box, open_box, verify
from hansa.errors import ProtocolViolation
from hansa.messages import Digest, Signature, SiteId, encode
from hansa.protocols import masks
from hansa.protocols.base import Ask, Done, HubState, Message, Own, RingBits, SiteState, Spread, Vector
from hansa.protocols.key_setup import Paired, Session
from hansa.protocols.masks import Mask, edge_mask, edge_secret, edge_tag, seal_key, self_commitment, self_mask
from hansa.protocols.survivors import (
    HEADER,
    LOCK,
    TAG_BYTES,
    Receipt,
    SignedHeader,
    check_header,
    check_left,
    check_locks,
    check_survivors,
    check_tags,
    edges,
    headers_digest,
    lock_digest,
    members,
    opened_edges,
    with_neighbours,
)

_SHARE = shamir.ELEMENT_BYTES


class Before(Struct, frozen=True, array_like=True):
    """What a site remembers of the sum before: which it was, who was asked what, and what it locked as a member."""

    sid: Digest
    cohort: tuple[SiteId, ...]
    public: bytes
    length: int  # of the vectors, in elements
    locked: Digest | None = None


class Contribute(Message, frozen=True, tag="contribute"):
    step: Annotated[int, Meta(ge=0, le=10**6)]
    attempt: Annotated[int, Meta(ge=0, le=0)]  # a step is never tried twice: another cohort would show a difference
    public: bytes
    cohort: tuple[SiteId, ...]
    receipt: Receipt | None

    def sid(self, session: Session) -> bytes:
        place = self.step.to_bytes(8, "big") + self.attempt.to_bytes(8, "big")
        return digest("sum/sid", session.id, place, self.public, encode(self.cohort), encode(self.receipt))


class Contributed(Message, frozen=True, tag="contributed"):
    header: SignedHeader
    chunks: tuple[Digest, ...]  # of y, which travels beside
    sealed: tuple[bytes, ...]  # to each other member in the cohort, in roster order: shares of b, then of each edge


class Lock(Message, frozen=True, tag="lock"):
    headers: tuple[SignedHeader, ...]  # of the survivors, sorted by site
    sealed: tuple[bytes, ...]  # to this member, from each other survivor in that order


class Locked(Message, frozen=True, tag="locked"):
    signature: Signature


class Unmask(Message, frozen=True, tag="unmask"):
    signatures: dict[SiteId, Signature]


class Shares(Message, frozen=True, tag="shares"):
    own: bytes  # 32 each: of b_i, survivors in order
    edges: bytes  # of h_ij: dropped j in order, within it its surviving neighbours i in order


# ---- at a site ----


class Waiting(SiteState, frozen=True, tag="sum-waiting"):
    """Between sums. `step` is the next that is acceptable."""

    accepts: ClassVar[type[Message]] = Contribute
    paired: Paired
    step: int = 0
    before: Before | None = None

    def answer(self, request: Contribute, own: Own) -> "tuple[Masked | Waiting, Contributed]":
        self.check(request)
        session, site, cohort = self.paired.session, self.paired.site, set(request.cohort)
        if own.vector is None or own.vector.dtype != masks.element(session.ring):
            raise ValueError("a contribution needs the site's numbers as elements of the session's ring")
        sid = request.sid(session)
        secrets = {peer: edge_secret(self.paired.pairs[peer], sid, site, peer) for peer in edges(session, cohort, site)}
        secret = self._field("self", sid)
        hides = [edge_mask(edge, sid, site, peer, remove=False) for peer, edge in secrets.items()]
        chunks = masks.apply(own.vector, [self_mask(secret, sid, site, remove=False), *hides], own.spread)
        info, threshold = label("sum/coefficients") + sid, session.floors.threshold
        all_secrets = [secret, *secrets.values()]
        columns = masks.share_all(all_secrets, threshold, len(session.committee), self.paired.seed, info)
        column = {member: columns[index - 1] for member, index in session.committee.items()}
        sealed = tuple(self._seal(sid, member, column[member]) for member in members(session, cohort) if member != site)
        tags = b"".join(edge_tag(edge, sid) for edge in secrets.values())
        root, letters = merkle.root(chunks), digest("sum/sealed", *sealed)
        header = SignedHeader(site, sid, root, self_commitment(secret, sid), letters, tags, bytes(64))
        header = msgspec.structs.replace(header, signature=own.key.sign(HEADER, header.signed()))
        before = Before(sid, request.cohort, request.public, own.vector.size)
        reply = Contributed(header, chunks, sealed)
        if site in session.committee:
            return Masked(self.paired, request.step, before, header, column[site]), reply
        return Waiting(_ratcheted(self.paired, sid, request.cohort), request.step + 1, before), reply

    def chance(self, request: Contribute) -> Callable[[int], bytes]:
        """This site's own secret bytes for encoding its numbers in this sum (`jobs.base.Flags`), never given twice."""
        calls = count()
        info = label("sum/chance") + request.sid(self.paired.session)
        return lambda size: prg.stream(self.paired.seed, info + next(calls).to_bytes(8, "big"), size)

    def check(self, request: Contribute) -> None:
        """What a site asks of a request before it computes anything for it."""
        session, site, cohort = self.paired.session, self.paired.site, set(request.cohort)
        if request.step != self.step:
            raise ProtocolViolation("a step goes back, or leaves one out")
        self.check_receipt(request.receipt)
        left = request.receipt.survivors if request.receipt else session.roster
        if list(request.cohort) != sorted(cohort) or not cohort <= set(left):
            raise ProtocolViolation("the cohort is not a sorted part of the sites that are left")
        if site not in cohort or len(cohort) < session.floors.survivors:
            raise ProtocolViolation("the cohort leaves out the site that is asked, or is below the floor")
        if len(edges(session, cohort, site)) < session.floors.kept:
            raise ProtocolViolation("the cohort leaves this site too few neighbours")

    def total(self, receipt: Receipt | None, content: bytes) -> Vector:
        """What a receipt that was checked says of the sum before; `content` travelled beside it."""
        if receipt is None or self.before is None:
            raise ProtocolViolation("a total is shown before the first sum")
        return receipt.total(content, self.before.length, self.paired.session.ring)

    def check_receipt(self, shown: Receipt | None) -> None:
        """That it is of the sum which this site contributed to last, and locked if it is a member; none before that."""
        before, session = self.before, self.paired.session
        if before is None or shown is None:
            if before is not None or shown is not None:
                raise ProtocolViolation("the receipt is not of the sum before")
            return
        if shown.sid != before.sid or len(shown.chunks) != masks.chunks_of(before.length, session.ring):
            raise ProtocolViolation("the receipt is not of the sum that this site contributed to")
        if before.locked is not None:
            if shown.locked() != before.locked:
                raise ProtocolViolation("the receipt is not of the survivor set that this site locked")
            return
        check_survivors(shown.survivors, session, before.cohort)
        if self.paired.site not in shown.survivors:
            raise ProtocolViolation("the receipt shows a total that this site is not in")
        check_locks(shown.signatures, session, shown.survivors, shown.locked())

    def _field(self, purpose: str, sid: bytes) -> bytes:
        uniform = derive(self.paired.seed, f"sum/{purpose}", sid, size=shamir.UNIFORM_BYTES)
        return shamir.encode(shamir.from_uniform(uniform))

    def _seal(self, sid: bytes, member: SiteId, shares: bytes) -> bytes:
        key = seal_key(self.paired.pairs[member], sid, self.paired.site, member)
        return lock_box(key, shares, sid)


def _ratcheted(old: Paired, sid: bytes, left: Iterable[SiteId]) -> Paired:
    """The seed and the pair secrets with those of `left`, one way forward; those with others are gone. Who is not on
    the committee doesn't know yet who of the cohort dropped out, and loses these secrets a step later."""
    pairs = {peer: derive(old.pairs[peer], "sum/ratchet", sid) for peer in left if peer in old.pairs}
    return Paired(old.site, old.session, pairs, derive(old.seed, "sum/ratchet", sid))


class Masked(SiteState, frozen=True, tag="sum-masked"):
    """A member that has contributed; will lock one survivor set for this sid, and no second."""

    accepts: ClassVar[type[Message]] = Lock
    paired: Paired
    step: int
    before: Before
    header: SignedHeader
    kept: bytes  # this site's own shares of its own secrets

    def answer(self, request: Lock, own: Own) -> tuple["LockedSet", Locked]:
        site, session, sid, asked = self.paired.site, self.paired.session, self.before.sid, set(self.before.cohort)
        survivors = tuple(header.site for header in request.headers)
        check_survivors(survivors, session, asked)
        for header in request.headers:
            check_header(header, session, sid, asked)
        if self.header not in request.headers:
            raise ProtocolViolation("the survivors leave out the site that is asked, or show another header of it")
        check_tags(request.headers, session, asked)
        peers = [peer for peer in survivors if peer != site]
        if len(request.sealed) != len(peers):
            raise ProtocolViolation("the sealed shares are not one per other survivor")
        shares = {site: self.kept}
        for peer, sealed in zip(peers, request.sealed, strict=True):
            shares[peer] = open_box(seal_key(self.paired.pairs[peer], sid, peer, site), sealed, sid)
            if len(shares[peer]) != _SHARE * (1 + len(edges(session, asked, peer))):
                raise ProtocolViolation(f"'{peer}' shared another number of secrets than it has neighbours")
        locked = lock_digest(sid, survivors, headers_digest(request.headers))
        signature = own.key.sign(LOCK, locked)
        before = msgspec.structs.replace(self.before, locked=locked)
        return LockedSet(self.paired, self.step, before, survivors, shares), Locked(signature)


class LockedSet(SiteState, frozen=True, tag="sum-locked"):
    accepts: ClassVar[type[Message]] = Unmask
    paired: Paired
    step: int
    before: Before
    survivors: tuple[SiteId, ...]
    shares: dict[SiteId, bytes]

    def answer(self, request: Unmask, own: Own) -> tuple[Waiting, Shares]:
        del own
        session, asked = self.paired.session, set(self.before.cohort)
        if self.before.locked is None:
            raise ValueError("a locked survivor set has a digest")
        check_locks(request.signatures, session, self.survivors, self.before.locked)
        places = {site: edges(session, asked, site) for site in self.survivors}
        shares = Shares(
            b"".join(self.shares[site][:_SHARE] for site in self.survivors),
            b"".join(
                self._share(site, 1 + places[site].index(gone))
                for site, gone in opened_edges(session, asked, set(self.survivors))
            ),
        )
        ratcheted = _ratcheted(self.paired, self.before.sid, self.survivors)
        return Waiting(ratcheted, self.step + 1, self.before), shares

    def _share(self, site: SiteId, place: int) -> bytes:
        return self.shares[site][place * _SHARE : (place + 1) * _SHARE]


# ---- at the hub ----


class Summed(Struct, frozen=True):
    """The total over the survivors, and the receipt that the next sum must carry."""

    survivors: tuple[SiteId, ...]
    active: tuple[SiteId, ...]  # the next cohort: the survivors but the members that didn't answer to the end
    receipt: Receipt
    content: bytes
    length: int
    ring: RingBits

    def vector(self) -> Vector:
        return self.receipt.total(self.content, self.length, self.ring)


def begin(
    session: Session, step: int, public: bytes, cohort: Sequence[SiteId], receipt: Receipt | None, length: int
) -> Ask:
    """Asks those of `cohort` for vectors of `length` elements who have neighbours enough among them."""
    left = with_neighbours(session, cohort)
    check_left(session, left, len(cohort))
    request = Contribute(step, 0, public, tuple(left), receipt)
    state = AwaitContributions(session, request, length)
    return Ask(state, dict.fromkeys(request.cohort, request), session.floors.survivors)


class AwaitContributions(HubState, frozen=True, tag="await-contributions"):
    accepts: ClassVar[type[Message]] = Contributed
    session: Session
    request: Contribute
    length: int

    def close(self, replies: Mapping[SiteId, Contributed]) -> Ask:
        session, sid, cohort = self.session, self.request.sid(self.session), set(self.request.cohort)
        survivors = with_neighbours(session, replies)
        check_left(session, survivors, len(replies))
        for site in survivors:
            self.check(site, replies[site])
        headers = tuple(replies[site].header for site in survivors)
        sealed_to = {site: [m for m in members(session, cohort) if m != site] for site in survivors}
        requests = {}
        for member in members(session, survivors):
            givers = [site for site in survivors if site != member]
            sealed = tuple(replies[site].sealed[sealed_to[site].index(member)] for site in givers)
            requests[member] = Lock(headers, sealed)
        chunks = tuple(replies[site].chunks for site in survivors)
        state = AwaitLocks(session, sid, self.request.cohort, headers, self.length, chunks)
        return Ask(state, requests, session.floors.threshold)

    def check_sizes(self, site: SiteId, sizes: Sequence[int]) -> None:
        """Of the chunks that came beside the reply of `site`, in bytes."""
        ring, due = self.session.ring, range(masks.chunks_of(self.length, self.session.ring))
        if list(sizes) != [masks.chunk_bytes(self.length, ring, number) for number in due]:
            raise ProtocolViolation(f"the chunks of '{site}' are not of the sizes that its vector has")

    def check(self, site: SiteId, reply: Contributed) -> None:
        session, header, cohort = self.session, reply.header, set(self.request.cohort)
        if header.site != site or len(reply.chunks) != masks.chunks_of(self.length, session.ring):
            raise ProtocolViolation(f"the contribution of '{site}' is of another site or size")
        if merkle.root(reply.chunks) != header.root:
            raise ProtocolViolation(f"the contribution of '{site}' is not the one it signed")
        receivers = len(members(session, cohort)) - (site in session.committee)
        if len(reply.sealed) != receivers or digest("sum/sealed", *reply.sealed) != header.sealed:
            raise ProtocolViolation(f"the sealed shares of '{site}' are not those it signed")
        check_header(header, session, self.request.sid(session), cohort)


class AwaitLocks(HubState, frozen=True, tag="await-locks"):
    accepts: ClassVar[type[Message]] = Locked
    session: Session
    sid: Digest
    cohort: tuple[SiteId, ...]
    headers: tuple[SignedHeader, ...]
    length: int  # of the vectors, in elements
    chunks: tuple[tuple[Digest, ...], ...]  # of each survivor's y

    def close(self, replies: Mapping[SiteId, Locked]) -> Ask:
        for site, reply in replies.items():
            self.check(site, reply)
        request = Unmask({site: replies[site].signature for site in sorted(replies)[: self.session.floors.threshold]})
        fields = (self.session, self.sid, self.cohort, self.headers, self.length, self.chunks)
        state = AwaitShares(*fields, request.signatures)
        return Ask(state, dict.fromkeys(sorted(replies), request), self.session.floors.threshold)

    def check(self, site: SiteId, reply: Locked) -> None:
        verify(self.session.key(site), LOCK, self.locked, reply.signature)

    @property
    def locked(self) -> bytes:
        return lock_digest(self.sid, [header.site for header in self.headers], headers_digest(self.headers))


class AwaitShares(HubState, frozen=True, tag="await-shares"):
    accepts: ClassVar[type[Message]] = Shares
    session: Session
    sid: Digest
    cohort: tuple[SiteId, ...]
    headers: tuple[SignedHeader, ...]
    length: int
    chunks: tuple[tuple[Digest, ...], ...]
    signatures: dict[SiteId, Signature]

    def check(self, site: SiteId, reply: Shares) -> None:
        survivors = {header.site for header in self.headers}
        due = _SHARE * len(survivors), _SHARE * len(opened_edges(self.session, self.cohort, survivors))
        if (len(reply.own), len(reply.edges)) != due:
            raise ProtocolViolation(f"'{site}' sends another number of shares than was asked")

    def close(self, replies: Mapping[SiteId, Shares]) -> Done["Opened"]:
        for site, reply in replies.items():
            self.check(site, reply)
        session, survivors = self.session, tuple(header.site for header in self.headers)
        remove = open_masks(session, self.sid, self.cohort, self.headers, replies)
        quiet = set(session.committee) - set(replies)
        active = tuple(site for site in survivors if site not in quiet)
        headers = headers_digest(self.headers)
        receipt = Receipt(self.sid, survivors, headers, self.signatures, ())
        return Done(Opened(receipt, active, session.ring, self.length, self.chunks, tuple(remove)))


def open_masks(
    session: Session,
    sid: bytes,
    cohort: Collection[SiteId],
    headers: Sequence[SignedHeader],
    replies: Mapping[SiteId, Shares],
) -> list[Mask]:
    """What the members' shares open, held to what each survivor signed: the masks that are still in the sum."""
    senders, survivors = sorted(replies), {header.site for header in headers}
    indices = [session.committee[site] for site in senders]
    columns = [replies[site].own + replies[site].edges for site in senders]
    opened = iter(masks.open_all(indices, columns, session.floors.threshold))
    found, tags = [], {}
    for header in headers:
        secret = next(opened)
        if self_commitment(secret, sid) != header.commitment:
            raise ProtocolViolation(f"the shares of the mask of '{header.site}' open another than it committed to")
        found.append(self_mask(secret, sid, header.site, remove=True))
        tags[header.site] = dict(
            zip(edges(session, cohort, header.site), masks.cut(header.tags, TAG_BYTES), strict=True)
        )
    for site, gone in opened_edges(session, cohort, survivors):
        secret = next(opened)
        if edge_tag(secret, sid) != tags[site][gone]:
            raise ProtocolViolation("the shares of a dropped edge open another secret than its tag names")
        found.append(edge_mask(secret, sid, site, gone, remove=True))
    return found


class Opened(Struct, frozen=True, tag="opened"):
    """All that is needed for the total, chunk by chunk, in any order, anywhere."""

    before: Receipt  # its chunks are still to come
    active: tuple[SiteId, ...]
    ring: RingBits
    length: int
    parts: tuple[tuple[Digest, ...], ...]  # the chunks of each survivor's y
    masks: tuple[Mask, ...]

    def __repr__(self) -> str:
        return "Opened(…)"

    def chunk(self, number: int, read: Callable[[Digest], bytes]) -> bytes:
        """Chunk `number` of z; `read` gives the chunk of a contribution by its digest."""
        size = masks.chunk_bytes(self.length, self.ring, number)
        return masks.total((read(chunks[number]) for chunks in self.parts), self.masks, number, size, self.ring)

    def receipt(self, chunks: Iterable[Digest]) -> Receipt:
        return msgspec.structs.replace(self.before, chunks=tuple(chunks))

    def summed(self, read: Callable[[Digest], bytes], spread: Spread = map) -> Summed:
        """The whole total at once, in memory."""
        content = list(spread(lambda number: self.chunk(number, read), range(len(self.parts[0]))))
        receipt = self.receipt(merkle.leaf(chunk) for chunk in content)
        return self.total(receipt, b"".join(content))

    def total(self, receipt: Receipt, content: bytes) -> Summed:
        return Summed(receipt.survivors, self.active, receipt, content, self.length, self.ring)
