"""Recomputes every total of a job from its evidence, without any input being shown and without trusting the hub.

Whoever has the evidence and the charter runs it. Believed are the members' signing keys in the charter, and that no
more sites than the rules tolerate collude with the hub; everything else is checked against what the sites signed:

    charter ─► plan ─► consents ─► key setup ─► [ request ─ headers ─ locks ─ shares ─► total ] each step ─► answer

A header binds its site to the sum's id (hence to session, step, public state, cohort and the total before), to its
masked vector, and to every mask that may be opened; so one masked vector, one share or one coordinate of a total that
is not what it was is found. After the opening each masked vector is still hidden by the edges between the surviving
sites: evidence shows what the hub saw, and no more.

Not found: a site that lied about its own rows. The first step is held to its well-formedness only (`check_step`),
because schemas are no part of the evidence. From `protocols` come definitions (ids, masks, how shares open); what they
check is checked here anew.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from hansa import charter as charters
from hansa.charter import Charter
from hansa.crypto import merkle
from hansa.crypto.keys import digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs.base import Job, Step, Total, check_step, from_ring, size
from hansa.jobs.verification import check_follows, close
from hansa.messages import Digest, Signature, SiteId, decode, encode
from hansa.plan import SIGNED_BY_MEMBER, SIGNED_BY_PROPOSER, Plan, load
from hansa.protocols.base import Vector
from hansa.protocols.key_setup import Floors, Manifest, Offers, Reveals, Session
from hansa.protocols.masks import edge_tag, mask_edge, mask_self, open_all, others, self_commitment
from hansa.protocols.secure_sum import CHUNK_BYTES, Contribute, Receipt, Shares, SignedHeader, lock_digest


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
    masked: tuple[bytes, ...]  # y, little-endian uint64


class Locks(Part, frozen=True, tag="locks"):
    signatures: dict[SiteId, Signature]


class Opening(Part, frozen=True, tag="opening"):
    shares: dict[SiteId, Shares]  # of each member that answered
    total: bytes  # z as the hub had it


class Sum(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    contributions: Contributions
    locks: Locks
    opening: Opening


class Evidence(Part, frozen=True):
    version: Literal[1]
    charter: bytes  # SignedCharter
    plan: bytes
    proposal: Signature
    consents: tuple[Signature, ...]  # in roster order
    setup: Setup
    sums: tuple[Sum, ...]  # one a step
    answer: bytes  # the JSON that was released
    answer_digest: Digest  # its SHA-256, as the hub's log has it


class ReplayedStep(Struct, frozen=True):
    name: str
    survivors: tuple[SiteId, ...]
    dropped: tuple[SiteId, ...]


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
    active: tuple[SiteId, ...]  # who also answered the last round


def read(data: bytes) -> Evidence:
    return decode(data, Evidence)


def replay(evidence: Evidence, charter: Charter) -> Replayed:
    """Recomputes the job under the reader's own `charter`; ProtocolViolation names the first thing that fails."""
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
            opened = _replay_sum(kept, number, job, session, opened)
        except (ProtocolViolation, Refused, NotEnoughSites) as error:
            raise ProtocolViolation(f"step {number + 1}: {error}") from error
        dropped = [site for site in kept.contributions.request.cohort if site not in opened.survivors]
        steps.append(ReplayedStep(opened.step.name, opened.survivors, tuple(dropped)))
    if opened is None:
        raise ProtocolViolation("the evidence holds no step")
    return Replayed(plan, tuple(steps), _check_answer(evidence, job, opened))


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
    if manifest.floors != Floors.of(len(roster), charter.rules.corrupt, plan.minimum_sites):
        raise ProtocolViolation("threshold and floor are not those of the charter and the plan")
    offers, reveals, keys = setup.offers.offers, setup.reveals.reveals, charter.signing_keys(roster)
    if not len(roster) == len(offers) == len(reveals):
        raise ProtocolViolation("the offers and reveals are not one per site of the roster")
    if len({offer.public for offer in offers}) != len(offers):
        raise ProtocolViolation("two sites offer the same key")
    transcript = digest("setup/transcript", encode(manifest), encode(setup.offers))
    for place, (site, offer, reveal) in enumerate(zip(roster, offers, reveals, strict=True)):
        offered, seen = offer.signed(manifest.digest, site), reveal.signed(transcript, site)
        _check_signature(keys[site], "setup/offer", offered, offer.signature, f"'{site}' on its offer")
        _check_signature(keys[site], "setup/reveal", seen, reveal.signature, f"'{site}' on its reveal")
        if digest("setup/rho", reveal.rho) != offer.commitment:
            raise ProtocolViolation(f"'{site}' reveals other randomness than it committed to")
        if len(reveal.ciphertexts) != len(roster) - 1 - place:
            raise ProtocolViolation(f"'{site}' does not reach every later site exactly once")
    identity = digest("setup/session", transcript, encode(setup.reveals))
    return Session(identity, roster, tuple(keys[site] for site in roster), manifest.floors)


def _check_consents(evidence: Evidence, plan: Plan, charter: Charter, roster: Sequence[SiteId]) -> None:
    proposer = charter.member(plan.proposer)
    whose = f"'{plan.proposer}' on its proposal"
    _check_signature(proposer.signing, SIGNED_BY_PROPOSER, plan.digest, evidence.proposal, whose)
    if len(evidence.consents) != len(roster):
        raise ProtocolViolation("the consents are not one per site of the roster")
    for site, consent in zip(roster, evidence.consents, strict=True):
        public = charter.member(site).signing
        _check_signature(public, SIGNED_BY_MEMBER, plan.digest, consent, f"'{site}' on its consent")


# ---- a step ----


def _replay_sum(kept: Sum, number: int, job: Job, session: Session, before: _Opened | None) -> _Opened:
    request, headers = kept.contributions.request, kept.contributions.headers
    step = _check_request(request, number, job, session, before)
    sid, survivors = request.sid(session), tuple(header.site for header in headers)
    _check_contributions(kept.contributions, session, sid, 8 * sum(size(block) for block in step.blocks))
    _check_tags(headers, request.cohort)
    locked = lock_digest(sid, headers)
    signatures = kept.locks.signatures
    if not set(signatures) <= set(survivors) or len(signatures) < session.floors.threshold:
        raise ProtocolViolation("the survivor set is not locked by as many survivors as the threshold")
    for site, signature in signatures.items():
        _check_signature(session.key(site), "sum/lock", locked, signature, f"'{site}' on the survivor set")
    if not set(kept.opening.shares) <= set(signatures):
        raise ProtocolViolation("a site that did not lock the survivor set released shares")
    total = _recompute(kept, session, sid)
    if total.astype("<u8").tobytes() != kept.opening.total:
        raise ProtocolViolation("the total is not the sum of the contributions without their masks")
    receipt = Receipt(sid, locked, kept.opening.total)
    active = tuple(sorted(kept.opening.shares))
    return _Opened(step, from_ring(step, total, len(survivors)), receipt, survivors, active)


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
    check_step(step, len(cohort))
    if before is not None:
        check_follows(job, before.step, before.total, step)
    return step


def _check_contributions(kept: Contributions, session: Session, sid: bytes, length: int) -> None:
    """Every survivor signed its masked vector for this sum, and there are enough of them."""
    names, cohort = [header.site for header in kept.headers], kept.request.cohort
    if names != sorted(set(names)) or not set(names) <= set(cohort) or len(names) != len(kept.masked):
        raise ProtocolViolation("the survivors are not a sorted part of the cohort, with one vector each")
    if len(names) < session.floors.survivors:
        raise ProtocolViolation("the survivor set is below the floor")
    for header, masked in zip(kept.headers, kept.masked, strict=True):
        if header.sid != sid or len(header.tags) != len(cohort) - 1:
            raise ProtocolViolation(f"the header of '{header.site}' is of another sum")
        whose = f"'{header.site}' on its contribution"
        _check_signature(session.key(header.site), "sum/header", header.signed(), header.signature, whose)
        chunks = (masked[at : at + CHUNK_BYTES] for at in range(0, len(masked), CHUNK_BYTES))
        if len(masked) != length or merkle.root(map(merkle.leaf, chunks)) != header.root:
            raise ProtocolViolation(f"the contribution of '{header.site}' is not the one it signed")


def _check_tags(headers: Sequence[SignedHeader], cohort: Sequence[SiteId]) -> None:
    """Both ends of every edge between survivors had one secret, so their masks cancel."""
    ends = {
        (header.site, peer): tag
        for header in headers
        for peer, tag in zip(others(cohort, header.site), header.tags, strict=True)
    }
    for (site, peer), tag in ends.items():
        if ends.get((peer, site), tag) != tag:
            raise ProtocolViolation(f"the edge between '{site}' and '{peer}' has two tags")


def _recompute(kept: Sum, session: Session, sid: bytes) -> Vector:
    """z: the masked vectors without the masks that the members' shares open, each held to what its site signed."""
    headers, cohort = kept.contributions.headers, kept.contributions.request.cohort
    survivors = [header.site for header in headers]
    dropped = [site for site in cohort if site not in survivors]
    secrets = iter(_open_secrets(kept.opening, session, len(survivors), len(dropped)))
    total = np.zeros(len(kept.contributions.masked[0]) // 8, dtype=np.uint64)
    for header, masked in zip(headers, kept.contributions.masked, strict=True):
        total += np.frombuffer(masked, dtype="<u8")
        own = next(secrets)
        if self_commitment(own, sid) != header.commitment:
            raise ProtocolViolation(f"the shares of the mask of '{header.site}' open another than it committed to")
        mask_self(total, own, sid, header.site, remove=True)
    for gone in dropped:
        for header in headers:
            edge = next(secrets)
            if edge_tag(edge, sid) != header.tags[others(cohort, header.site).index(gone)]:
                raise ProtocolViolation(f"the shares of the edge of '{header.site}' to '{gone}' open another secret")
            mask_edge(total, edge, sid, header.site, gone, remove=True)
    return total


def _open_secrets(opening: Opening, session: Session, survivors: int, dropped: int) -> list[bytes]:
    """The own masks of the survivors, then the edges of each dropped site to them."""
    if len(opening.shares) < session.floors.threshold:
        raise ProtocolViolation("fewer members than the threshold released shares")
    rows = []
    for site in sorted(opening.shares):
        shares = opening.shares[site]
        if len(shares.own) != survivors or [len(row) for row in shares.edges] != [survivors] * dropped:
            raise ProtocolViolation(f"'{site}' released another number of shares than was asked")
        rows.append([*shares.own, *(share for row in shares.edges for share in row)])
    indices = [session.roster.index(site) + 1 for site in sorted(opening.shares)]
    return open_all(indices, rows, session.floors.threshold)


# ---- the answer ----


def _check_answer(evidence: Evidence, job: Job, last: _Opened) -> bool:
    """Whether the released answer is, to the byte, what the last total gives; within a relative 1e-6 it must be."""
    try:
        due = job.advance(last.step, last.total)
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
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolViolation("the released answer is not JSON") from error
