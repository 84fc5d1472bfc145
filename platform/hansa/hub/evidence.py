"""What is kept of a job so that its totals can be recomputed (`hansa.replay`): a row a closed round.

A row is written in the transaction that closes the round, and never changed. Nothing in it is plain: masked vectors,
signatures, and the shares of those masks that were opened. It grows with sites × numbers × steps and stays until the
operator deletes it.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from hansa.errors import Refused
from hansa.hub.models import EvidenceRow, Job, Participant
from hansa.messages import SiteId, decode, encode
from hansa.protocols.base import Done, HubState
from hansa.protocols.key_setup import AwaitReveals, Reveals
from hansa.protocols.secure_sum import AwaitContributions, AwaitLocks, AwaitShares, Summed
from hansa.replay import Contributions, Evidence, Locks, Opening, Part, Setup, Sum

_PARTS: Any = Setup | Contributions | Locks | Opening


def keep(db: Db, job: Job, state: HubState, replies: Mapping[SiteId, Any], outcome: object) -> None:
    """Keeps what a round showed that has just closed with `outcome`."""
    part = _part(state, replies, outcome)
    if part is not None:
        db.add(EvidenceRow(run=job.run, round=job.round, content=encode(part)))


def _part(state: HubState, replies: Mapping[SiteId, Any], outcome: object) -> Part | None:
    sites = sorted(replies)
    if isinstance(state, AwaitReveals):
        return Setup(state.manifest, state.offers, Reveals(tuple(replies[site] for site in sites)))
    if isinstance(state, AwaitContributions):
        headers = tuple(replies[site].header for site in sites)
        return Contributions(state.request, headers, tuple(replies[site].masked for site in sites))
    if isinstance(state, AwaitLocks):
        return Locks({site: replies[site].signature for site in sites})
    if isinstance(state, AwaitShares) and isinstance(outcome, Done) and isinstance(outcome.output, Summed):
        return Opening({site: replies[site] for site in sites}, outcome.output.receipt.total)
    return None


def assemble(db: Db, run: str, charter: bytes) -> Evidence:
    """The evidence of a job that has its answer; `charter` is the signed charter as the members signed it."""
    job = db.get(Job, run)
    if job is None:
        raise Refused(f"there is no job {run}")
    if job.answer is None or job.answer_digest is None or job.proposal is None:
        raise Refused(f"the job has no answer to replay: it is {job.status}")
    setup, sums = _parts(db, run)
    consents = []
    for site in setup.manifest.roster:
        part = db.get(Participant, (run, site))
        if part is None or part.consent is None:
            raise Refused(f"the consent of '{site}' is not there")
        consents.append(part.consent)
    return Evidence(1, charter, job.plan, job.proposal, tuple(consents), setup, sums, job.answer, job.answer_digest)


def _parts(db: Db, run: str) -> tuple[Setup, tuple[Sum, ...]]:
    """The last setup (those before it came to nothing), and what followed, three rounds a step."""
    query = select(EvidenceRow.content).where(EvidenceRow.run == run).order_by(EvidenceRow.round)
    setup: Setup | None = None
    rounds: list[Any] = []
    for content in db.scalars(query):
        part = decode(content, _PARTS)
        if isinstance(part, Setup):
            setup, rounds = part, []
        else:
            rounds.append(part)
    if setup is None or [type(part) for part in rounds] != [Contributions, Locks, Opening] * (len(rounds) // 3):
        raise Refused("the evidence of this job is not whole: it ran before any was kept, or some was deleted")
    return setup, tuple(Sum(*rounds[at : at + 3]) for at in range(0, len(rounds), 3))
