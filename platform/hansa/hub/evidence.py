"""What is kept of a job so that its totals can be recomputed (`hansa.replay`): a row a closed round.

A row is written in the transaction that closes the round, and never changed. Nothing in it is plain: masked vectors,
signatures, and the shares of those masks that were opened. It grows with sites × numbers × steps and stays until the
operator deletes it.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from hansa.crypto import merkle
from hansa.errors import Refused
from hansa.hub.models import EvidenceRow, Job, Participant
from hansa.messages import SiteId, decode, encode
from hansa.protocols.base import Ask, Done, HubState
from hansa.protocols.key_setup import AwaitReveals, Reveals
from hansa.protocols.release import AwaitReleases
from hansa.protocols.secure_sum import AwaitContributions, AwaitShares, Shares
from hansa.protocols.survivors import Receipt, with_neighbours
from hansa.replay import Contributions, Evidence, Locks, Opening, Part, Releases, Setup, Sum

_PARTS: Any = Setup | Contributions | Locks | Opening | Releases


def keep(
    db: Db,
    job: Job,
    state: HubState,
    replies: Mapping[SiteId, Any],
    beside: Mapping[SiteId, bytes | None],
    outcome: Ask | Done[Any],
) -> None:
    """Keeps what a round showed that has just closed. `beside`: the vectors that came with the replies."""
    part = _part(state, replies, beside, outcome)
    if part is not None:
        db.add(EvidenceRow(run=job.run, round=job.round, content=encode(part)))


def keep_opening(db: Db, job: Job, shares: Mapping[SiteId, Shares], receipt: Receipt, total: bytes | None) -> None:
    """Keeps what opened a total, once it is added up. `total`: itself, if it is small."""
    part = Opening(dict(shares), receipt.chunks, total)
    db.add(EvidenceRow(run=job.run, round=job.round, content=encode(part)))


def _part(
    state: HubState,
    replies: Mapping[SiteId, Any],
    beside: Mapping[SiteId, bytes | None],
    outcome: Ask | Done[Any],
) -> Part | None:
    sites = sorted(replies)
    if isinstance(state, AwaitReveals):
        return Setup(state.manifest, state.offers, Reveals(tuple(replies[site] for site in sites)))
    if isinstance(state, AwaitContributions):
        survivors = with_neighbours(state.session, replies)
        headers = tuple(replies[site].header for site in survivors)
        chunks = tuple(replies[site].chunks for site in survivors)
        return Contributions(state.request, headers, chunks, tuple(beside[site] for site in survivors))
    if isinstance(outcome, Ask) and isinstance(outcome.state, AwaitShares):
        return Locks(outcome.state.signatures)
    if isinstance(state, AwaitReleases):
        return Releases({site: replies[site].signature for site in sites})
    return None


def beside(db: Db, job: Job) -> dict[bytes, bytes]:
    """The small vectors of the sum that the open round ends, by their digests."""
    row = db.get(EvidenceRow, (job.run, job.round - 2))
    part = decode(row.content, _PARTS) if row is not None else None
    if not isinstance(part, Contributions):
        raise ValueError("the contributions of this sum were not kept")
    return {merkle.leaf(content): content for content in part.beside if content is not None}


def assemble(db: Db, run: str, charter: bytes) -> Evidence:
    """The evidence of a job that has its answer; `charter` is the signed charter as the members signed it."""
    job = db.get(Job, run)
    if job is None:
        raise Refused(f"there is no job {run}")
    if job.answer is None or job.answer_digest is None or job.proposal is None:
        raise Refused(f"the job has no answer to replay: it is {job.status}")
    setup, sums, releases = _parts(db, run)
    consents = []
    for site in setup.manifest.roster:
        part = db.get(Participant, (run, site))
        if part is None or part.consent is None:
            raise Refused(f"the consent of '{site}' is not there")
        consents.append(part.consent)
    known = job.plan, job.proposal, tuple(consents), setup, sums, job.answer, job.answer_digest
    return Evidence(2 if releases is None else 3, charter, *known, {} if releases is None else releases.signatures)


def large(evidence: Evidence) -> tuple[bytes, ...]:
    """The digests of the chunks that lie in the folder, not in the evidence itself."""
    found: list[bytes] = []
    for kept in evidence.sums:
        for chunks, content in zip(kept.contributions.chunks, kept.contributions.beside, strict=True):
            found += chunks if content is None else ()
        found += kept.opening.chunks if kept.opening.total is None else ()
    return tuple(dict.fromkeys(found))


def _parts(db: Db, run: str) -> tuple[Setup, tuple[Sum, ...], Releases | None]:
    """The last setup (those before it came to nothing), what followed, three rounds a step, and who agreed to the
    release: nobody was asked of a plan of Hansa 0.1."""
    query = select(EvidenceRow.content).where(EvidenceRow.run == run).order_by(EvidenceRow.round)
    setup: Setup | None = None
    releases: Releases | None = None
    rounds: list[Any] = []
    for content in db.scalars(query):
        part = decode(content, _PARTS)
        if isinstance(part, Setup):
            setup, rounds = part, []
        elif isinstance(part, Releases):
            releases = part
        else:
            rounds.append(part)
    if setup is None or [type(part) for part in rounds] != [Contributions, Locks, Opening] * (len(rounds) // 3):
        raise Refused("the evidence of this job is not whole: it ran before any was kept, or some was deleted")
    return setup, tuple(Sum(*rounds[at : at + 3]) for at in range(0, len(rounds), 3)), releases
