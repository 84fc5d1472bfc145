"""Changes of what members agreed to, of what was computed, and of what came of it."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import delete, select

from hansa.audit import log
from hansa.audit.log import Payload, Signed
from hansa.hub import rounds
from hansa.hub.models import EvidenceRow, Participant, PayloadRow
from hansa.mail.letters import AskConsent, Open, Round
from hansa.messages import decode, encode
from hansa.plan import SIGNED_BY_MEMBER, Plan
from hansa.protocols.key_setup import Manifest
from hansa.protocols.secure_sum import Contribute, Lock, Unmask
from hansa.replay import Contributions, Locks, Opening, Releases, Setup
from tests.operator.hand import Operator
from tests.operator.play import manipulation

REQUESTS: Any = Contribute | Lock | Unmask
OTHER = "e" * 64


# ---- plans and consents ----


@manipulation("before", "verify", "the signature of 's3' does not hold")
def a_consent_is_forged_with_the_hubs_key(op: Operator) -> None:
    """Of a site that is away. The hub's own tables say the same."""
    world = op.world
    op.export_all()
    world.kill("s3")
    op.run = world.propose()
    world.run_until(lambda: sum(part.consent is not None for part in world.participants(op.run).values()) == 3)
    with op.db() as db:
        plan = decode(op.job(db).plan, Plan)
        part = db.get_one(Participant, (op.run, "s3"))
        part.consent, part.asked = op.keys.signing.sign(SIGNED_BY_MEMBER, plan.digest), False
    op.append(op.sign(op.made("s3", "consent given", op.run, plan=plan.digest.hex())))


@manipulation("cosigned", "verify", "the signature of 's3' does not hold")
def a_consent_is_moved_into_another_job(op: Operator) -> None:
    """With the signature that its member gave in the first one."""
    op.export_all()
    op.world.kill("s3")
    old, op.run = op.leaves()[op.where("consent given", "s3")], op.world.propose()
    op.world.run_until(lambda: op.world.job(op.run).status == "consenting")
    moved = encode(replace(op.made("s3", "consent given"), run=op.run, details=log.read(old).details))
    op.append(encode(Signed(moved, decode(old, Signed).signature)))


@manipulation("cosigned", "verify", "'s3' has a second entry of number")
def a_consent_is_used_again_as_it_is(op: Operator) -> None:
    op.append(op.leaves()[op.where("consent given", "s3")])


@manipulation("before", "site", "'s2' sets a letter aside: a signature for 'plan/proposal' does not hold")
def one_member_is_asked_for_its_consent_to_another_plan(op: Operator) -> None:
    def other(site: str, asked: AskConsent) -> AskConsent | None:
        plan = encode(replace(decode(asked.plan, Plan), minimum_sites=4))
        return AskConsent(plan, asked.proposal) if site == "s2" else None

    op.letters("ask-consent", other)


@manipulation("released", "replay", "the keys were agreed for another plan")
def a_plan_is_swapped_after_the_members_consented(op: Operator) -> None:
    """In the middle of the job it ends the job: the sites agree to no release under it (test_releasing.py)."""
    with op.db() as db:
        job = op.job(db)
        job.plan = encode(replace(decode(job.plan, Plan), minimum_sites=4))


@manipulation("released", "verify", "the plan is another one than was proposed")
def the_plan_of_a_proposal_is_swapped_in_the_log(op: Operator) -> None:
    with op.db() as db:
        other = Payload(bytes(32), encode(replace(decode(op.job(db).plan, Plan), minimum_sites=4)))
        db.add(PayloadRow(commitment=other.commitment, payload=encode(other), at=op.world.now))
    op.change(op.where("proposal asked"), payload=other.commitment)


@manipulation("released", "verify", "did 'consent given' for another plan than was proposed")
def a_proposal_and_its_plan_are_swapped_in_the_log(op: Operator) -> None:
    with op.db() as db:
        plan = replace(decode(op.job(db).plan, Plan), minimum_sites=4)
        other = Payload(bytes(32), encode(plan))
        db.add(PayloadRow(commitment=other.commitment, payload=encode(other), at=op.world.now))
    op.change(op.where("proposal asked"), payload=other.commitment, details={"plan": plan.digest.hex()})


@manipulation("cosigned", "verify", "the payload is not the one that the entry commits to")
def the_payload_of_a_proposal_is_changed(op: Operator) -> None:
    commitment = log.read(op.leaves()[op.where("proposal asked")]).payload
    with op.db() as db:
        row = db.get_one(PayloadRow, commitment)
        kept = decode(row.payload, Payload)
        row.payload = encode(Payload(kept.salt, encode(replace(decode(kept.content, Plan), table="everything"))))


@manipulation("released", "verify", "acts of a job that nobody proposed")
def a_proposal_is_taken_out_of_the_log(op: Operator) -> None:
    leaves = op.leaves()
    del leaves[op.where("proposal asked")]
    op.rewrite(leaves)


# ---- what is asked of sites ----


def manifests(op: Operator, change: Callable[[Manifest], Manifest]) -> None:
    def changed(_: str, asked: Open) -> Open:
        return replace(asked, message=encode(change(decode(asked.message, Manifest))))

    op.letters("open", changed)


@manipulation("before", "site", "the roster is not a sorted part of the participants")
def a_stranger_is_put_into_the_roster(op: Operator) -> None:
    manifests(op, lambda manifest: replace(manifest, roster=(*manifest.roster, "z9")))


@manipulation("before", "site", "threshold and floor are not those of the charter")
def two_members_are_to_be_enough_to_open_a_total(op: Operator) -> None:
    manifests(op, lambda manifest: replace(manifest, floors=replace(manifest.floors, survivors=2)))


def rounds_to(op: Operator, site: str, change: Callable[[Any], Any]) -> None:
    def changed(receiver: str, asked: Round) -> Round | None:
        if receiver != site:
            return None
        return replace(asked, message=encode(change(decode(asked.message, REQUESTS))))

    op.letters("round", changed)


@manipulation("middle", "site", "the sealed shares are not one per other survivor")
def one_member_is_to_lock_a_survivor_set_without_another(op: Operator) -> None:
    """So that its shares would open the sum of three, and those of the others the sum of four."""

    def fewer(asked: Any) -> Any:
        return replace(asked, headers=asked.headers[:-1]) if isinstance(asked, Lock) else asked

    rounds_to(op, "s1", fewer)


@manipulation("middle", "site", "the receipt is not of the survivor set that this site locked")
def one_member_is_shown_another_survivor_set_than_it_locked(op: Operator) -> None:
    def fewer(asked: Any) -> Any:
        if not isinstance(asked, Contribute) or asked.receipt is None:
            return asked
        return replace(asked, receipt=replace(asked.receipt, survivors=asked.receipt.survivors[:-1]))

    rounds_to(op, "s1", fewer)


# ---- totals and survivors, as the log tells them ----


@manipulation("released", "replay", "the total of step 0 is not the one in the log")
def a_total_is_changed_in_the_log(op: Operator) -> None:
    op.change(op.where("total opened"), details={"total": OTHER})


@manipulation("released", "verify", "locked another survivor set in step 1")
def a_total_is_claimed_of_a_survivor_set_that_nobody_locked(op: Operator) -> None:
    op.change(op.where("total opened", nth=1), details={"locked": OTHER})


@manipulation("released", "verify", "'s3' locked step 3 and did not survive it")
def a_survivor_is_dropped_in_the_log(op: Operator) -> None:
    last = op.where("survivors locked", nth=-1)
    op.change(last, details={"sites": "s0, s1, s2"})
    op.change(op.where("released"), details={"sites": "s0, s1, s2"})


@manipulation("released", "verify", "2 sites survive; at least 3 must")
def a_total_is_said_to_be_of_two_sites(op: Operator) -> None:
    op.change(op.where("survivors locked", nth=-1), details={"sites": "s0, s1"})


# ---- answers ----


@manipulation("released", "verify", "'s0' was shown another answer than the log releases: a fork")
def the_answer_is_changed_after_the_members_were_told(op: Operator) -> None:
    """In the hub's tables and in the log."""
    from hashlib import sha256

    with op.db() as db:
        job = op.job(db)
        job.answer = (job.answer or b"").replace(b"10.0", b"11.0")
        job.answer_digest = sha256(job.answer).digest()
        digest = job.answer_digest.hex()
    op.change(op.where("released"), details={"answer": digest})


@manipulation("middle", "replay", "the released answer is not what the last total gives")
def another_answer_than_the_totals_give_is_released_to_everybody(op: Operator) -> None:
    release = rounds._release

    def other(db: Any, desk: Any, job: Any, answer: Any, *more: Any) -> None:
        said = msgspec.json.decode(msgspec.json.encode(answer))
        said["columns"]["x"]["mean"] += 1
        release(db, desk, job, said, *more)

    op.replace(rounds, "_release", other)


def recorded(op: Operator, times: int) -> None:
    """So often does the hub write a release into the log."""
    record = rounds.record

    def written(db: Any, desk: Any, now: float, act: str, *more: Any) -> None:
        for _ in range(times if act == "released" else 1):
            record(db, desk, now, act, *more)

    op.replace(rounds, "record", written)


@manipulation("middle", "verify", "saw an answer that the log does not release")
def a_release_is_left_out_of_the_log(op: Operator) -> None:
    recorded(op, 0)


@manipulation("middle", "verify", "an answer is released a second time")
def an_answer_is_released_twice(op: Operator) -> None:
    recorded(op, 2)


@manipulation("released", "verify", "the answer is said to be of other sites than survived")
def an_answer_is_said_to_be_of_other_sites(op: Operator) -> None:
    op.change(op.where("released"), details={"sites": "s0, s1, s2"})


@manipulation("released", "verify", "an answer is released, and the job ends as 'cancelled'")
def a_job_whose_answer_was_released_is_said_to_be_cancelled(op: Operator) -> None:
    op.change(op.where("ended"), details={"status": "cancelled"})


# ---- evidence ----


PARTS: Any = Setup | Contributions | Locks | Opening | Releases


def parts(op: Operator, change: Callable[[Any], Any]) -> None:
    with op.db() as db:
        for row in db.scalars(select(EvidenceRow).where(EvidenceRow.run == op.run)):
            part: Any = decode(row.content, PARTS)
            row.content = encode(change(part))


@manipulation("cosigned", "replay", "the contribution of 's0' is not the one it signed")
def a_masked_vector_is_changed_in_the_evidence(op: Operator) -> None:
    def other(part: Any) -> Any:
        if not isinstance(part, Contributions):
            return part
        return replace(part, beside=(bytes(len(part.beside[0] or b"")), *part.beside[1:]))

    parts(op, other)


@manipulation("cosigned", "replay", "a chunk of the evidence is missing, or is not the one that was signed")
def a_total_is_changed_in_the_evidence(op: Operator) -> None:
    parts(op, lambda part: replace(part, total=bytes(len(part.total or b""))) if isinstance(part, Opening) else part)


@manipulation("cosigned", "replay", "the signature of 's0' on the survivor set does not hold")
def a_survivor_is_dropped_from_the_evidence(op: Operator) -> None:
    def fewer(part: Any) -> Any:
        if not isinstance(part, Contributions):
            return part
        return replace(part, headers=part.headers[:-1], chunks=part.chunks[:-1], beside=part.beside[:-1])

    parts(op, fewer)


@manipulation("cosigned", "replay", "1 of 1 releases have no evidence")
def evidence_is_deleted(op: Operator) -> None:
    with op.db() as db:
        db.execute(delete(EvidenceRow))
