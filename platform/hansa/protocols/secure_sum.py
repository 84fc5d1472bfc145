"""Secure sum: the hub learns the total of those who stayed, and no single number.

    hub → site   Contribute   step, public state, cohort U1, receipt (with the total) of the sum before
    site → hub   Contributed  y = x + PRG(b) ± Σ PRG(h_ij), a sealed letter of shares to each, tags, signature
    hub → site   Lock         survivors U3 ⊆ U1 with every survivor's signed header, the shares sealed to this site
    site → hub   Locked       signature over (sid, U3, headers)
    hub → site   Unmask       at least `threshold` such signatures over one set
    site → hub   Shares       shares of b_i for i in U3, of h_ij for i in U3 and j dropped: never both sorts of one site

    sid = H(session, step, attempt, public state, cohort, receipt before);  z = Σ y − Σ PRG(b) ∓ Σ PRG(h of the dropped)

Follows Bonawitz et al., *Practical Secure Aggregation* (CCS 2017) with a complete graph and everybody on the committee;
pair secrets come from one setup for many sums, as in Ma et al., *Flamingo* (S&P 2023); the public state is bound into
the masks, after Pasquini et al. (CCS 2022). Our own judgement, not reviewed outside: edge tags compared by the members,
and the receipt of each total entering the next sid.

Adversary: the hub, active, with up to `floors.corrupt` sites. It learns the total over one survivor set that meets the
floors, or nothing. Above the drop-out that the floors allow it learns nothing and the job ends. Liveness against the
hub is not promised. Secrets of a step are derived from seeds that are ratcheted forward and erased after it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from hansa.crypto import merkle, prg, shamir
from hansa.crypto.keys import derive, digest, label, lock_box, open_box, verify
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.messages import Digest, Signature, SiteId, decode, encode
from hansa.protocols.base import Ask, Done, HubState, Message, Own, SiteState, Vector
from hansa.protocols.key_setup import Paired, Session
from hansa.protocols.masks import (
    edge_secret,
    edge_tag,
    mask_edge,
    mask_self,
    open_all,
    others,
    seal_key,
    self_commitment,
    split_all,
)

CHUNK_BYTES = 2**23  # 2^20 elements: a leaf of the Merkle root in the header
_HEADER, _LOCK = "sum/header", "sum/lock"
Tag = Annotated[bytes, Meta(min_length=16, max_length=16)]
Share = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Receipt(Struct, frozen=True, array_like=True):
    """What became of a sum: its sid, the locked survivor set, and the total (little-endian uint64).

    The next sum's id holds it, so a hub that shows two sites different totals gets masks that don't cancel; and a
    site that sees the total can tell what step must follow from it.
    """

    sid: Digest
    locked: Digest
    total: bytes

    def vector(self) -> Vector:
        return np.frombuffer(self.total, dtype="<u8").astype(np.uint64)


class Before(Struct, frozen=True, array_like=True):
    """What a site remembers of the sum before: which it was, what was asked, and who is in it."""

    sid: Digest
    locked: Digest
    public: bytes
    survivors: int
    size: int  # of the total, in bytes


class Contribute(Message, frozen=True, tag="contribute"):
    step: Annotated[int, Meta(ge=0, le=10**6)]
    attempt: Annotated[int, Meta(ge=0, le=0)]  # a step is never tried twice: another cohort would show a difference
    public: bytes
    cohort: tuple[SiteId, ...]
    receipt: Receipt | None

    def sid(self, session: Session) -> bytes:
        place = self.step.to_bytes(8, "big") + self.attempt.to_bytes(8, "big")
        return digest("sum/sid", session.id, place, self.public, encode(self.cohort), encode(self.receipt))


class SignedHeader(Message, frozen=True, tag="header"):
    """What a site signs of its contribution; goes to every member of the committee."""

    site: SiteId
    sid: Digest
    root: Digest  # RFC 6962 root over the chunks of y
    commitment: Digest  # to b, so that false shares of it are found when it is opened
    sealed: Digest  # over the sealed letters in cohort order
    tags: tuple[Tag, ...]  # one per other site of the cohort, in cohort order
    signature: Signature

    def signed(self) -> bytes:
        return encode((self.site, self.sid, self.root, self.commitment, self.sealed, self.tags))


class Contributed(Message, frozen=True, tag="contributed"):
    header: SignedHeader
    masked: bytes  # y, little-endian uint64
    sealed: tuple[bytes, ...]  # one per other site of the cohort, in cohort order


class Lock(Message, frozen=True, tag="lock"):
    headers: tuple[SignedHeader, ...]  # of the survivors, sorted by site
    sealed: tuple[bytes, ...]  # to this site, from each other survivor in that order


class Locked(Message, frozen=True, tag="locked"):
    signature: Signature


class Unmask(Message, frozen=True, tag="unmask"):
    signatures: dict[SiteId, Signature]


class Shares(Message, frozen=True, tag="shares"):
    own: tuple[Share, ...]  # of b_i, survivors in order
    edges: tuple[tuple[Share, ...], ...]  # of h_ij: dropped j in order, within it survivors i in order


class Bundle(Message, frozen=True, tag="bundle"):
    """Inside a sealed letter: one member's shares of a site's secrets."""

    own: Share
    edges: tuple[Share, ...]  # per other site of the cohort, in order


def lock_digest(sid: bytes, headers: Sequence[SignedHeader]) -> bytes:
    return digest("sum/locked", sid, *(encode(header) for header in headers))


def _root(masked: bytes) -> bytes:
    view = memoryview(masked)
    return merkle.root(merkle.leaf(view[at : at + CHUNK_BYTES]) for at in range(0, len(view), CHUNK_BYTES))


def _check_header(header: SignedHeader, session: Session, sid: bytes, cohort: Sequence[SiteId]) -> None:
    if header.sid != sid or header.site not in cohort or len(header.tags) != len(cohort) - 1:
        raise ProtocolViolation(f"the header of '{header.site}' is of another sum")
    verify(session.key(header.site), _HEADER, header.signed(), header.signature)


def _check_survivors(headers: Sequence[SignedHeader], session: Session, sid: bytes, cohort: Sequence[SiteId]) -> None:
    names = [header.site for header in headers]
    if names != sorted(set(names)):
        raise ProtocolViolation("the survivors are not sorted, each once")
    for header in headers:
        _check_header(header, session, sid, cohort)
    if len(names) < session.floors.survivors:
        raise ProtocolViolation("the survivor set is below the floor")


# ---- at a site ----


class Waiting(SiteState, frozen=True, tag="sum-waiting"):
    """Between sums. `step` is the next that is acceptable."""

    accepts: ClassVar[type[Message]] = Contribute
    paired: Paired
    step: int = 0
    before: Before | None = None

    def answer(self, request: Contribute, own: Own) -> tuple["Masked", Contributed]:
        self.check(request)
        if own.vector is None:
            raise ValueError("a contribution needs the site's numbers")
        site, cohort = self.paired.site, request.cohort
        sid = request.sid(self.paired.session)
        peers = others(cohort, site)
        edges = {peer: edge_secret(self.paired.pairs[peer], sid, site, peer) for peer in peers}
        self_mask = self._field("self", sid)
        masked = own.vector.copy()
        mask_self(masked, self_mask, sid, site, remove=False)
        for peer, edge in edges.items():
            mask_edge(masked, edge, sid, site, peer, remove=False)
        bundles = self._share(sid, [self_mask, *edges.values()])
        roster = self.paired.session.roster
        sealed = tuple(self._seal(sid, peer, bundles[roster.index(peer)]) for peer in peers)
        content = masked.astype("<u8", copy=False).tobytes()
        tags = tuple(edge_tag(edge, sid) for edge in edges.values())
        commitment, letters = self_commitment(self_mask, sid), digest("sum/sealed", *sealed)
        header = SignedHeader(site, sid, _root(content), commitment, letters, tags, bytes(64))
        header = msgspec.structs.replace(header, signature=own.key.sign(_HEADER, header.signed()))
        kept = bundles[roster.index(site)]
        state = Masked(self.paired, request.step, sid, request.public, len(content), cohort, header, kept)
        return state, Contributed(header, content, sealed)

    def chance(self, request: Contribute) -> Callable[[int], bytes]:
        """This site's own secret bytes for encoding its numbers in this sum (`jobs.base.Flags`), never given twice."""
        calls = count()
        info = label("sum/chance") + request.sid(self.paired.session)
        return lambda size: prg.stream(self.paired.seed, info + next(calls).to_bytes(8, "big"), size)

    def check(self, request: Contribute) -> None:
        """What a site asks of a request before it computes anything for it."""
        cohort, session = request.cohort, self.paired.session
        shown, before = request.receipt, self.before
        if request.step != self.step:
            raise ProtocolViolation("a step goes back, or leaves one out")
        known = before and (before.sid, before.locked, before.size)
        if known != (shown and (shown.sid, shown.locked, len(shown.total))):
            raise ProtocolViolation("the receipt is not of the sum that this site locked")
        if list(cohort) != sorted(set(cohort)) or not set(cohort) <= set(session.roster):
            raise ProtocolViolation("the cohort is not a sorted part of the roster")
        if not set(others(cohort, self.paired.site)) <= set(self.paired.pairs):
            raise ProtocolViolation("the cohort brings back a site that has left")
        if self.paired.site not in cohort or len(cohort) < session.floors.survivors:
            raise ProtocolViolation("the cohort leaves out the site that is asked, or is below the floor")

    def _field(self, purpose: str, sid: bytes) -> bytes:
        uniform = derive(self.paired.seed, f"sum/{purpose}", sid, size=shamir.UNIFORM_BYTES)
        return shamir.encode(shamir.from_uniform(uniform))

    def _share(self, sid: bytes, secrets: Sequence[bytes]) -> list[Bundle]:
        """One bundle per member of the roster, at its Shamir index − 1."""
        session = self.paired.session
        info = label("sum/coefficients") + sid
        columns = split_all(secrets, session.floors.threshold, len(session.roster), self.paired.seed, info)
        return [Bundle(own, tuple(edges)) for own, *edges in columns]

    def _seal(self, sid: bytes, peer: SiteId, bundle: Bundle) -> bytes:
        key = seal_key(self.paired.pairs[peer], sid, self.paired.site, peer)
        return lock_box(key, encode(bundle), sid)


class Masked(SiteState, frozen=True, tag="sum-masked"):
    """Has contributed; will lock one survivor set for this sid, and no second."""

    accepts: ClassVar[type[Message]] = Lock
    paired: Paired
    step: int
    sid: Digest
    public: bytes
    size: int
    cohort: tuple[SiteId, ...]
    header: SignedHeader
    kept: Bundle  # this site's own shares of its own secrets

    def answer(self, request: Lock, own: Own) -> tuple["LockedSet", Locked]:
        site, session = self.paired.site, self.paired.session
        _check_survivors(request.headers, session, self.sid, self.cohort)
        survivors = [header.site for header in request.headers]
        if self.header not in request.headers:
            raise ProtocolViolation("the survivors leave out the site that is asked, or show another header of it")
        peers = others(survivors, site)
        if len(request.sealed) != len(peers):
            raise ProtocolViolation("the sealed shares are not one per other survivor")
        for header in request.headers:
            if header.site != site:
                self._check_tag(header)
        bundles = {site: self.kept}
        for peer, sealed in zip(peers, request.sealed, strict=True):
            key = seal_key(self.paired.pairs[peer], self.sid, peer, site)
            bundles[peer] = decode(open_box(key, sealed, self.sid), Bundle)
            if len(bundles[peer].edges) != len(self.cohort) - 1:
                raise ProtocolViolation(f"'{peer}' shared another number of secrets than the cohort has edges")
        locked = lock_digest(self.sid, request.headers)
        signature = own.key.sign(_LOCK, locked)
        before = Before(self.sid, locked, self.public, len(survivors), self.size)
        state = LockedSet(self.paired, self.step, before, self.cohort, tuple(survivors), bundles)
        return state, Locked(signature)

    def _check_tag(self, header: SignedHeader) -> None:
        """Both ends of an edge made the same tag, so both have the same pair secret and the same sid."""
        site = self.paired.site
        theirs = header.tags[others(self.cohort, header.site).index(site)]
        ours = self.header.tags[others(self.cohort, site).index(header.site)]
        if theirs != ours:
            raise ProtocolViolation(f"the edge to '{header.site}' has two tags: another key or another request")


class LockedSet(SiteState, frozen=True, tag="sum-locked"):
    accepts: ClassVar[type[Message]] = Unmask
    paired: Paired
    step: int
    locked: Before
    cohort: tuple[SiteId, ...]
    survivors: tuple[SiteId, ...]
    bundles: dict[SiteId, Bundle]

    def answer(self, request: Unmask, own: Own) -> tuple[Waiting, Shares]:
        del own
        session = self.paired.session
        if not set(request.signatures) <= set(self.survivors):
            raise ProtocolViolation("a signature for unmasking is of a site that did not survive")
        if len(request.signatures) < session.floors.threshold:
            raise ProtocolViolation("fewer signatures than the threshold lock this survivor set")
        for site, signature in request.signatures.items():
            verify(session.key(site), _LOCK, self.locked.locked, signature)
        dropped = [site for site in self.cohort if site not in self.survivors]
        edges = tuple(tuple(self._edge(site, gone) for site in self.survivors) for gone in dropped)
        shares = Shares(tuple(self.bundles[site].own for site in self.survivors), edges)
        return Waiting(self._ratcheted(), self.step + 1, self.locked), shares

    def _edge(self, site: SiteId, gone: SiteId) -> bytes:
        return self.bundles[site].edges[others(self.cohort, site).index(gone)]

    def _ratcheted(self) -> Paired:
        """Pair secrets of the survivors and the seed, one way forward; those of the dropped are gone."""
        old, sid = self.paired, self.locked.sid
        pairs = {peer: derive(old.pairs[peer], "sum/ratchet", sid) for peer in others(self.survivors, old.site)}
        return Paired(old.site, old.session, pairs, derive(old.seed, "sum/ratchet", sid))


# ---- at the hub ----


class Summed(Struct, frozen=True):
    """The total over the survivors, in the receipt that the next sum must carry."""

    survivors: tuple[SiteId, ...]
    active: tuple[SiteId, ...]  # the survivors that also answered the last round: the next cohort
    receipt: Receipt

    def vector(self) -> Vector:
        return self.receipt.vector()


def begin(
    session: Session, step: int, public: bytes, cohort: Sequence[SiteId], receipt: Receipt | None, length: int
) -> Ask:
    """Asks `cohort` for vectors of `length` elements for this step."""
    if len(cohort) < session.floors.survivors:
        raise NotEnoughSites(f"{len(cohort)} sites are left and {session.floors.survivors} are needed")
    request = Contribute(step, 0, public, tuple(sorted(cohort)), receipt)
    state = AwaitContributions(session, request, length)
    return Ask(state, dict.fromkeys(request.cohort, request), session.floors.survivors)


class AwaitContributions(HubState, frozen=True, tag="await-contributions"):
    accepts: ClassVar[type[Message]] = Contributed
    session: Session
    request: Contribute
    length: int

    def close(self, replies: Mapping[SiteId, Contributed]) -> Ask:
        sid, cohort = self.request.sid(self.session), self.request.cohort
        survivors = sorted(replies)
        for site in survivors:
            self.check(site, replies[site])
        headers = tuple(replies[site].header for site in survivors)
        _check_survivors(headers, self.session, sid, cohort)
        total = np.zeros(self.length, dtype=np.uint64)
        for site in survivors:
            total += np.frombuffer(replies[site].masked, dtype="<u8")
        requests = {}
        for site in survivors:
            peers = others(survivors, site)
            sealed = tuple(replies[peer].sealed[others(cohort, peer).index(site)] for peer in peers)
            requests[site] = Lock(headers, sealed)
        state = AwaitLocks(self.session, sid, cohort, headers, total.astype("<u8", copy=False).tobytes())
        return Ask(state, requests, self.session.floors.threshold)

    def check(self, site: SiteId, reply: Contributed) -> None:
        if reply.header.site != site or len(reply.masked) != 8 * self.length:
            raise ProtocolViolation(f"the contribution of '{site}' is of another site or size")
        if (
            len(reply.sealed) != len(self.request.cohort) - 1
            or digest("sum/sealed", *reply.sealed) != reply.header.sealed
        ):
            raise ProtocolViolation(f"the sealed shares of '{site}' are not those it signed")
        if _root(reply.masked) != reply.header.root:
            raise ProtocolViolation(f"the contribution of '{site}' is not the one it signed")
        _check_header(reply.header, self.session, self.request.sid(self.session), self.request.cohort)


class AwaitLocks(HubState, frozen=True, tag="await-locks"):
    accepts: ClassVar[type[Message]] = Locked
    session: Session
    sid: Digest
    cohort: tuple[SiteId, ...]
    headers: tuple[SignedHeader, ...]
    masked: bytes

    def close(self, replies: Mapping[SiteId, Locked]) -> Ask:
        for site, reply in replies.items():
            self.check(site, reply)
        locked = lock_digest(self.sid, self.headers)
        request = Unmask({site: replies[site].signature for site in sorted(replies)})
        state = AwaitShares(self.session, self.sid, self.cohort, self.headers, self.masked, locked)
        return Ask(state, dict.fromkeys(sorted(replies), request), self.session.floors.threshold)

    def check(self, site: SiteId, reply: Locked) -> None:
        verify(self.session.key(site), _LOCK, lock_digest(self.sid, self.headers), reply.signature)


class AwaitShares(HubState, frozen=True, tag="await-shares"):
    accepts: ClassVar[type[Message]] = Shares
    session: Session
    sid: Digest
    cohort: tuple[SiteId, ...]
    headers: tuple[SignedHeader, ...]
    masked: bytes
    locked: Digest

    def close(self, replies: Mapping[SiteId, Shares]) -> Done[Summed]:
        survivors = [header.site for header in self.headers]
        dropped = [site for site in self.cohort if site not in survivors]
        own, edges = self._open(replies, len(survivors), len(dropped))
        total = np.frombuffer(self.masked, dtype="<u8").astype(np.uint64)
        for header, secret in zip(self.headers, own, strict=True):
            if self_commitment(secret, self.sid) != header.commitment:
                raise ProtocolViolation(f"the shares of the mask of '{header.site}' open another than it committed to")
            mask_self(total, secret, self.sid, header.site, remove=True)
        for gone, row in zip(dropped, edges, strict=True):
            for header, secret in zip(self.headers, row, strict=True):
                expected = header.tags[others(self.cohort, header.site).index(gone)]
                if edge_tag(secret, self.sid) != expected:
                    raise ProtocolViolation("the shares of a dropped edge open another secret than its tag names")
                mask_edge(total, secret, self.sid, header.site, gone, remove=True)
        content = total.astype("<u8", copy=False).tobytes()
        receipt = Receipt(self.sid, self.locked, content)
        return Done(Summed(tuple(survivors), tuple(sorted(replies)), receipt))

    def _open(
        self, replies: Mapping[SiteId, Shares], survivors: int, dropped: int
    ) -> tuple[list[bytes], list[list[bytes]]]:
        """The secrets of the self masks, and of the edges of each dropped site."""
        rows: list[list[bytes]] = []
        for site, reply in replies.items():
            if len(reply.own) != survivors or [len(row) for row in reply.edges] != [survivors] * dropped:
                raise ProtocolViolation(f"'{site}' sends another number of shares than was asked")
            rows.append([*reply.own, *chain.from_iterable(reply.edges)])
        indices = [self.session.roster.index(site) + 1 for site in replies]
        opened = open_all(indices, rows, self.session.floors.threshold)
        rest = opened[survivors:]
        return opened[:survivors], [rest[at : at + survivors] for at in range(0, len(rest), survivors)]
