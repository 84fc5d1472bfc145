"""The last look at an answer before its recipients have it: at the site whose rows are in it.

The site computes the answer from the total that it helped to open, under the plan's rules of disclosure, and holds the
hub's to it. Then its policy agrees, or a person here who has seen it.
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation
from hansa.jobs.base import Step
from hansa.jobs.under_noise.noisy import read_total
from hansa.jobs.verification import close
from hansa.mail.boxes import Desk
from hansa.mail.letters import Reply
from hansa.messages import Digest, decode, encode
from hansa.plan import Plan, read
from hansa.protocols import release
from hansa.protocols.release import Releasing
from hansa.protocols.secure_sum import Waiting
from hansa_site.deeds import Deed
from hansa_site.journal import Agreed, Said
from hansa_site.outcome import Outcome


class Candidate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An answer that waits for this site's word. `request` is the digest of what the hub asked in round `number`."""

    number: int
    request: Digest
    plan: bytes
    sites: tuple[str, ...]
    answer: bytes  # JSON, as it would be released
    exact: bytes  # JSON, before the rules of disclosure

    @property
    def digest(self) -> bytes:
        """What a person's decision about it names: the plan and the answer."""
        return release.released(read(self.plan).digest, self.answer)

    def row(self, now: float) -> Agreed:
        plan = read(self.plan)
        return Agreed(
            run=plan.run,
            table_name=plan.table,
            plan=self.plan,
            sites=encode(self.sites),
            answer=self.answer,
            exact=self.exact,
            at=now,
        )


def look(plan: Plan, state: Waiting, number: int, request: bytes, content: bytes) -> Candidate:
    """The candidate, if it is what the total gives; `content` is the total that the request's receipt names."""
    asked = decode(request, Releasing)
    state.check_receipt(asked.receipt)
    if state.before is None:
        raise ProtocolViolation("an answer is to be released before the first total")
    session, job, last = state.paired.session, plan.job(), decode(state.before.public, Step)
    vector = state.total(asked.receipt, content)
    total = read_total(job, state.step - 1, last, vector, len(asked.receipt.survivors), session.floors.honest)
    exact = job.advance(last, total)
    if isinstance(exact, Step):
        raise ProtocolViolation(f"an answer is to be released before the step '{exact.name}'")
    due = msgspec.json.encode(plan.release(exact))
    if due != asked.answer and not close(_plain(due), _plain(asked.answer)):
        raise ProtocolViolation("the answer to be released is not what the total gives under the plan's rules")
    sites = asked.receipt.survivors
    return Candidate(number, digest("request", request), plan.encoded, sites, asked.answer, msgspec.json.encode(exact))


def _plain(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("the answer to be released is not JSON") from error


def agreed(desk: Desk, candidate: Candidate, now: float, by: Mapping[str, str] = {}) -> Outcome:
    """This site agrees; `by` whom it was decided, if by people."""
    plan = read(candidate.plan)
    reply = encode(release.agree(desk.keys.consent, plan.digest, candidate.answer))
    details = {"plan": plan.digest.hex(), "answer": sha256(candidate.answer).hexdigest(), **by}
    return Outcome(
        (("reply", Reply(candidate.number, reply)),),
        "running",
        said=Said(number=candidate.number, request=candidate.request, reply=reply, beside=None),
        agreed=candidate.row(now),
        act=f"agrees to the release of {details['answer'][:16]}…",
        deeds=(Deed("release agreed", details),),
    )
