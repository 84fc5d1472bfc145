"""Recomputes every total of a job from its evidence, without any input being shown and without trusting the hub.

Whoever has the evidence and the charter runs it. Believed are the members' signing keys in the charter, and that no
more sites than the rules tolerate collude with the hub; everything else is checked against what the sites signed:

    charter ─► plan ─► consents ─► key setup ─► [ request ─ headers ─ locks ─ shares ─► total ] each step ─► answer ─►
    releases

A header binds its site to the sum's id (hence to session, step, public state, cohort and the total before), to its
masked vector, and to every mask that may be opened; so one masked vector, one share or one coordinate of a total that
is not what it was is found. After the opening each masked vector is still hidden by the edges between the surviving
sites: evidence shows what the hub saw, and no more.

Not found: a site that lied about its own rows. The first step is held to its well-formedness only (`check_step`),
because schemas are no part of the evidence. From `protocols` come definitions (ids, masks, how shares open); what they
check is checked here anew.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from hansa import charter as charters
from hansa.charter import Charter
from hansa.crypto import merkle
from hansa.crypto.keys import digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs.base import Job, Step, Total, check_step, size
from hansa.jobs.under_noise.noisy import read_total
from hansa.jobs.verification import check_follows, close
from hansa.messages import Digest, Signature, SiteId, decode, encode
from hansa.plan import SIGNED_BY_MEMBER, SIGNED_BY_PROPOSER, Plan, load
from hansa.protocols import masks
from hansa.protocols.key_setup import Manifest, Offers, Reveals, Session
from hansa.protocols.masks import Mask, edge_mask, edge_tag, open_all, self_commitment, self_mask
from hansa.protocols.release import check_agreed
from hansa.protocols.secure_sum import Contribute, Shares
from hansa.protocols.survivors import Receipt, SignedHeader, edges, headers_digest, lock_digest, members, opened_edges
from hansa.protocols.thresholds import Floors, tolerated_of

Chunks = Callable[[Digest], bytes]  # a chunk of the evidence by its digest; LookupError if it is not there
Pick = Callable[[int], Collection[int]]  # of so many chunks of a step, which to recompute


class Part(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is kept of a closed round. `repr` shows its kind only."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Setup(Part, frozen=True, tag="setup"):
    manifest: Manifest
    offers: Offers
    reveals: Reveals


class Contributions(Part, frozen=True, tag="contributions"):
    """Of the survivors, sorted by site. The sealed letters are not kept; their digest stands in the header."""

    request: Contribute
    headers: tuple[SignedHeader, ...]
    chunks: tuple[tuple[Digest, ...], ...]  # of each y
    beside: tuple[bytes | None, ...]  # y itself where it is small; else its chunks lie beside the evidence


class Locks(Part, frozen=True, tag="locks"):
    signatures: dict[SiteId, Signature]  # as many as the threshold


class Opening(Part, frozen=True, tag="opening"):
    shares: dict[SiteId, Shares]  # of each member that answered
    chunks: tuple[Digest, ...]  # of z as the hub had it
    total: bytes | None  # z itself where it is small


class Releases(Part, frozen=True, tag="releases"):
    signatures: dict[SiteId, Signature]  # over the plan and the answer, of members


class Sum(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    contributions: Contributions
    locks: Locks
    opening: Opening


class SecondEvidence(Part, frozen=True):
    """Of a plan of Hansa 0.1, of whose answer nobody was asked whether it may be released."""

    version: Literal[2, 3]
    charter: bytes  # SignedCharter
    plan: bytes
    proposal: Signature
    consents: tuple[Signature, ...]  # in roster order
    setup: Setup
    sums: tuple[Sum, ...]  # one a step
    answer: bytes  # the JSON that was released
    answer_digest: Digest  # its SHA-256, as the hub's log has it


class Evidence(SecondEvidence, frozen=True):
    """Its bytes are `encoded`, whatever its version."""

    releases: dict[SiteId, Signature] = {}  # of who agreed to it

    @property
    def encoded(self) -> bytes:
        names = SecondEvidence.__struct_fields__
        return encode(SecondEvidence(*(getattr(self, name) for name in names)) if self.version == 2 else self)


class ReplayedStep(Struct, frozen=True):
    name: str
    survivors: tuple[SiteId, ...]
    dropped: tuple[SiteId, ...]
    chunks: int  # of its total
    recomputed: int  # how many of them


class Replayed(Struct, frozen=True):
    """Every check held. `exact`: the answer is the released one to the byte, else within a relative 1e-6 of it."""

    plan: Plan
    steps: tuple[ReplayedStep, ...]
    exact: bool


class _Opened(Struct, frozen=True):
    """What is known after a step: what the next one must follow from."""

    step: Step
    total: Total
    receipt: Receipt
    survivors: tuple[SiteId, ...]
    active: tuple[SiteId, ...]  # who answered to the end
    recomputed: int


def nowhere(_digest: Digest) -> bytes:
    """For evidence in which every vector is small."""
    raise LookupError


def read(data: bytes) -> Evidence:
    if data[:1] == bytes([0x90 + len(SecondEvidence.__struct_fields__)]):  # of the array that MessagePack begins with
        second = decode(data, SecondEvidence)
        evidence = Evidence(*(getattr(second, name) for name in SecondEvidence.__struct_fields__))
    else:
        evidence = decode(data, Evidence)
    if (evidence.version == 2) != (data != encode(evidence)):
        raise ProtocolViolation("evidence of one version stands in the bytes of another")
    return evidence


def replay(evidence: Evidence, charter: Charter, chunks: Chunks = nowhere, pick: Pick = range) -> Replayed:
    """Recomputes the job under the reader's own `charter`; ProtocolViolation names the first thing that fails.

    `pick` may choose some chunks of each step: of the others the masked vectors aren't read. All else is checked.
    """
    try:
        if charters.load(evidence.charter).digest != charter.digest:
            raise ProtocolViolation("the evidence is of another charter")
        plan = load(evidence.plan, charter)
        session = _check_setup(evidence.setup, plan, charter)
        _check_consents(evidence, plan, charter, session.roster)
        job = plan.job()
    except (Refused, NotEnoughSites) as error:
        raise ProtocolViolation(str(error)) from error
    opened, steps = None, []
    for number, kept in enumerate(evidence.sums):
        try:
            opened = _replay_sum(kept, number, job, session, opened, chunks, pick)
        except (ProtocolViolation, Refused, NotEnoughSites) as error:
            raise ProtocolViolation(f"step {number + 1}: {error}") from error
        dropped = [site for site in kept.contributions.request.cohort if site not in opened.survivors]
        size_of_total = len(kept.opening.chunks)
        steps.append(ReplayedStep(opened.step.name, opened.survivors, tuple(dropped), size_of_total, opened.recomputed))
    if opened is None:
        raise ProtocolViolation("the evidence holds no step")
    exact = _check_answer(evidence, plan, opened)
    _check_releases(evidence, plan, charter, session, opened)
    return Replayed(plan, tuple(steps), exact)


def _check_signature(public: bytes, purpose: str, message: bytes, signature: bytes, whose: str) -> None:
    try:
        verify(public, purpose, message, signature)
    except ProtocolViolation as violation:
        raise ProtocolViolation(f"the signature of {whose} does not hold") from violation


# ---- who agreed to what ----


def _check_setup(setup: Setup, plan: Plan, charter: Charter) -> Session:
    """Every site of the roster offered its key for this plan, and signed that it saw everybody's."""
    manifest, roster = setup.manifest, setup.manifest.roster
    if manifest.plan != plan.digest:
        raise ProtocolViolation("the keys were agreed for another plan")
    if list(roster) != sorted(set(roster)) or not set(roster) <= set(plan.sites):
        raise ProtocolViolation("the roster is not a sorted part of the plan's sites")
    if manifest.ring != plan.job().ring:
        raise ProtocolViolation("the ring is not that of the plan's kind")
    corrupt = tolerated_of(len(plan.sites), charter.rules.corrupt)
    if manifest.floors != Floors.of(len(roster), corrupt, plan.minimum_sites):
        raise ProtocolViolation("threshold and floor are not those of the charter and the plan")
    offers, reveals, keys = setup.offers.offers, setup.reveals.reveals, charter.signing_keys(roster)
    if not len(roster) == len(offers) == len(reveals):
        raise ProtocolViolation("the offers and reveals are not one per site of the roster")
    if len({offer.public for offer in offers}) != len(offers):
        raise ProtocolViolation("two sites offer the same key")
    transcript = digest("setup/transcript", encode(manifest), encode(setup.offers))
    for site, offer, reveal in zip(roster, offers, reveals, strict=True):
        offered, seen = offer.signed(manifest.digest, site), reveal.signed(transcript, site)
        _check_signature(keys[site], "setup/offer", offered, offer.signature, f"'{site}' on its offer")
        _check_signature(keys[site], "setup/reveal", seen, reveal.signature, f"'{site}' on its reveal")
        if digest("setup/rho", reveal.rho) != offer.commitment:
            raise ProtocolViolation(f"'{site}' reveals other randomness than it committed to")
    beacon = digest("setup/beacon", manifest.plan, *(reveal.rho for reveal in reveals))
    identity = digest("setup/session", transcript, beacon)
    return Session(identity, beacon, roster, tuple(keys[site] for site in roster), manifest.floors, manifest.ring)


def _check_consents(evidence: Evidence, plan: Plan, charter: Charter, roster: Sequence[SiteId]) -> None:
    proposer = charter.member(plan.proposer)
    whose = f"'{plan.proposer}' on its proposal"
    _check_signature(proposer.consent, SIGNED_BY_PROPOSER, plan.digest, evidence.proposal, whose)
    if len(evidence.consents) != len(roster):
        raise ProtocolViolation("the consents are not one per site of the roster")
    for site, consent in zip(roster, evidence.consents, strict=True):
        public = charter.member(site).consent
        _check_signature(public, SIGNED_BY_MEMBER, plan.digest, consent, f"'{site}' on its consent")


# ---- a step ----


def _replay_sum(
    kept: Sum, number: int, job: Job, session: Session, before: _Opened | None, chunks: Chunks, pick: Pick
) -> _Opened:
    request, headers = kept.contributions.request, kept.contributions.headers
    step = _check_request(request, number, job, session, before)
    sid, survivors = request.sid(session), tuple(header.site for header in headers)
    length = sum(size(block) for block in step.blocks)
    _check_contributions(kept.contributions, session, sid, length)
    _check_tags(headers, session, request.cohort)
    signed = headers_digest(headers)
    receipt = Receipt(sid, survivors, signed, kept.locks.signatures, kept.opening.chunks)
    _check_locks(kept, session, survivors, lock_digest(sid, survivors, signed))
    read = _reader(kept, chunks)
    content = b"".join(read(chunk) for chunk in kept.opening.chunks)
    vector = receipt.total(content, length, session.ring)
    remove, picked = _open_masks(kept, session, sid), sorted(set(pick(len(receipt.chunks))))
    for place in picked:
        parts = (read(row[place]) for row in kept.contributions.chunks)
        part_size = masks.chunk_bytes(length, session.ring, place)
        if merkle.leaf(masks.total(parts, remove, place, part_size, session.ring)) != receipt.chunks[place]:
            raise ProtocolViolation("the total is not the sum of the contributions without their masks")
    quiet = set(session.committee) - set(kept.opening.shares)
    active = tuple(site for site in survivors if site not in quiet)
    total = read_total(job, number, step, vector, len(survivors), session.floors.honest)
    return _Opened(step, total, receipt, survivors, active, len(picked))


def _reader(kept: Sum, chunks: Chunks) -> Chunks:
    """Chunks by their digest, from inside the evidence or beside it; what a digest names is what it gives."""
    inside = [content for content in (*kept.contributions.beside, kept.opening.total) if content is not None]
    found = {merkle.leaf(content): content for content in inside}

    def read(digest: Digest) -> bytes:
        if digest in found:
            return found[digest]
        try:
            content = chunks(digest)
        except LookupError as error:
            raise ProtocolViolation("a chunk of the evidence is missing, or is not the one that was signed") from error
        if merkle.leaf(content) != digest:
            raise ProtocolViolation("a chunk of the evidence is not the one that was signed")
        return content

    return read


def _check_locks(kept: Sum, session: Session, survivors: Sequence[SiteId], locked: bytes) -> None:
    signatures = kept.locks.signatures
    if not set(signatures) <= set(members(session, survivors)) or len(signatures) < session.floors.threshold:
        raise ProtocolViolation("the survivor set is not locked by as many survivors as the threshold")
    for site, signature in signatures.items():
        _check_signature(session.key(site), "sum/lock", locked, signature, f"'{site}' on the survivor set")
    if not set(kept.opening.shares) <= set(members(session, survivors)):
        raise ProtocolViolation("a site that did not survive, or is no member, released shares")


def _check_request(request: Contribute, number: int, job: Job, session: Session, before: _Opened | None) -> Step:
    """The step that was asked, if it is the next one and follows from the total before."""
    if request.step != number:
        raise ProtocolViolation("a step is left out, or stands in another place")
    if request.receipt != (before and before.receipt):
        raise ProtocolViolation("the receipt is not of the total before")
    cohort = request.cohort
    if list(cohort) != sorted(set(cohort)) or not set(cohort) <= set(before.active if before else session.roster):
        raise ProtocolViolation("the cohort is not a sorted part of the sites that were left")
    step = decode(request.public, Step)
    check_step(step, len(cohort), session.ring)
    if before is not None:
        check_follows(job, before.step, before.total, step)
    return step


def _check_contributions(kept: Contributions, session: Session, sid: bytes, length: int) -> None:
    """Every survivor signed its masked vector for this sum, there are enough of them, and none is lonely."""
    names, cohort = [header.site for header in kept.headers], set(kept.request.cohort)
    left = set(names)
    if names != sorted(left) or not left <= cohort or not len(names) == len(kept.chunks) == len(kept.beside):
        raise ProtocolViolation("the survivors are not a sorted part of the cohort, with one vector each")
    if len(names) < session.floors.survivors:
        raise ProtocolViolation("the survivor set is below the floor")
    for header, chunks, content in zip(kept.headers, kept.chunks, kept.beside, strict=True):
        site = header.site
        if header.sid != sid or len(header.tags) != 16 * len(edges(session, cohort, site)):
            raise ProtocolViolation(f"the header of '{site}' is of another sum")
        if len(edges(session, left, site)) < session.floors.kept:
            raise ProtocolViolation(f"'{site}' is left with too few neighbours")
        whose = f"'{site}' on its contribution"
        _check_signature(session.key(site), "sum/header", header.signed(), header.signature, whose)
        fits = content is None or chunks == (merkle.leaf(content),)
        if len(chunks) != masks.chunks_of(length, session.ring) or merkle.root(chunks) != header.root or not fits:
            raise ProtocolViolation(f"the contribution of '{site}' is not the one it signed")


def _tags(header: SignedHeader, session: Session, cohort: Collection[SiteId]) -> Mapping[SiteId, bytes]:
    return dict(zip(edges(session, cohort, header.site), masks.cut(header.tags, 16), strict=True))


def _check_tags(headers: Sequence[SignedHeader], session: Session, cohort: Collection[SiteId]) -> None:
    """Both ends of every edge between survivors had one secret, so their masks cancel."""
    asked = set(cohort)
    ends = {(header.site, peer): tag for header in headers for peer, tag in _tags(header, session, asked).items()}
    for (site, peer), tag in ends.items():
        if ends.get((peer, site), tag) != tag:
            raise ProtocolViolation(f"the edge between '{site}' and '{peer}' has two tags")


def _open_masks(kept: Sum, session: Session, sid: bytes) -> list[Mask]:
    """The masks that are left in the sum, from the members' shares, each held to what its site signed."""
    headers, cohort = kept.contributions.headers, set(kept.contributions.request.cohort)
    survivors, found = {header.site for header in headers}, []
    open_ones = opened_edges(session, cohort, survivors)
    secrets = iter(_open_secrets(kept.opening, session, len(headers), len(open_ones)))
    for header in headers:
        own = next(secrets)
        if self_commitment(own, sid) != header.commitment:
            raise ProtocolViolation(f"the shares of the mask of '{header.site}' open another than it committed to")
        found.append(self_mask(own, sid, header.site, remove=True))
    tags = {header.site: _tags(header, session, cohort) for header in headers}
    for site, gone in open_ones:
        edge = next(secrets)
        if edge_tag(edge, sid) != tags[site][gone]:
            raise ProtocolViolation(f"the shares of the edge of '{site}' to '{gone}' open another secret")
        found.append(edge_mask(edge, sid, site, gone, remove=True))
    return found


def _open_secrets(opening: Opening, session: Session, survivors: int, open_edges: int) -> list[bytes]:
    """The own masks of the survivors, then the edges of the dropped sites to them."""
    if len(opening.shares) < session.floors.threshold:
        raise ProtocolViolation("fewer members than the threshold released shares")
    for site, shares in opening.shares.items():
        if (len(shares.own), len(shares.edges)) != (32 * survivors, 32 * open_edges):
            raise ProtocolViolation(f"'{site}' released another number of shares than was asked")
    indices = [session.committee[site] for site in sorted(opening.shares)]
    columns = [opening.shares[site].own + opening.shares[site].edges for site in sorted(opening.shares)]
    return open_all(indices, columns, session.floors.threshold)


# ---- the answer ----


def _check_releases(evidence: Evidence, plan: Plan, charter: Charter, session: Session, last: _Opened) -> None:
    """As many of the sites whose numbers are in the answer as a total needs have agreed to its release."""
    if (evidence.version == 2) != (plan.version == 1):
        raise ProtocolViolation("the evidence is of another version than its plan calls for")
    if plan.version > 1 and len(evidence.releases) < session.floors.threshold:
        raise ProtocolViolation("fewer sites agreed to the release than a total needs")
    for site, signature in evidence.releases.items():
        if site not in last.active:
            raise ProtocolViolation(f"'{site}' agreed to the release and is not in the last total")
        try:
            check_agreed(charter.member(site).consent, plan.digest, evidence.answer, signature)
        except ProtocolViolation as violation:
            raise ProtocolViolation(f"the signature of '{site}' on the release does not hold") from violation


def _check_answer(evidence: Evidence, plan: Plan, last: _Opened) -> bool:
    """Whether the released answer is, to the byte, what the last total gives under the plan's rules of disclosure;
    within a relative 1e-6 it must be."""
    try:
        due = plan.job().advance(last.step, last.total)
        due = due if isinstance(due, Step) else plan.release(due)
    except (Refused, NotEnoughSites, ValueError, ArithmeticError) as error:
        raise ProtocolViolation("the last total has no answer") from error
    if isinstance(due, Step):
        raise ProtocolViolation(f"the evidence ends before the step '{due.name}'")
    if sha256(evidence.answer).digest() != evidence.answer_digest:
        raise ProtocolViolation("the digest is of another answer")
    content = msgspec.json.encode(due)
    if content != evidence.answer and not close(_json(content), _json(evidence.answer)):
        raise ProtocolViolation("the released answer is not what the last total gives")
    return content == evidence.answer


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("the released answer is not JSON") from error
