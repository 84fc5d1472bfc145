"""What follows from a person's decision, or from nobody's.

    waiting ──enough people say yes──► as if the policy had said yes ──► the hub hears of it
       └─────a no, or `until`────────► refused

A decision is worked off once, by the site's process, in the transaction that holds what follows from it. The policy is
asked again then: a person can say no to more than it does, and yes to no more.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.boxes import Desk
from hansa.mail.letters import Signed
from hansa.messages import decode, encode
from hansa.plan import SIGNED_BY_MEMBER, SIGNED_BY_PROPOSER, Plan, read
from hansa_site import budget, consent, deeds, people, policy_file, releasing, reviewing, tables
from hansa_site.deeds import Deed
from hansa_site.journal import Decided, Member, Run, Waiting, Withdrawn
from hansa_site.outcome import Outcome, refused
from hansa_site.people import Decision
from hansa_site.policy_file import NewPolicy
from hansa_site.releasing import Candidate
from hansa_site.reviewing import Review
from hansa_site.settings import Settings

EXPIRED = "nobody decided in time"
Found = tuple[str, Outcome]  # the run, and what follows for it
T = TypeVar("T")


def table_digest(table: str) -> bytes:
    """What a decision about a table names."""
    return digest("site/table", table.encode())


class Deciding:
    def __init__(self, desk: Desk, settings: Settings, home: Path) -> None:
        self._desk, self._settings, self._home = desk, settings, home

    def weigh(self, db: Session, row: Decided, now: float) -> list[Found]:
        """What follows from a decision, by run; refuses one that counts for nothing, and says why."""
        decision, person = people.check(db, row, self._desk.name, now)
        act: Callable[[Session, Decision, Member, float], list[Found]] = {
            "sign proposal": self._sign,
            "consent": self._consent,
            "release": self._release,
            "see figures": self._see_figures,
            "refuse": self._refuse,
            "stop": self._stop,
            "withdraw": self._withdraw,
            "review": self._review,
            "set policy": self._set_policy,
        }[decision.what]
        return act(db, decision, person, now)

    def _sign(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        waiting = _waiting(db, decision, "proposal", now)
        plan = self._desk.plan(waiting.content)
        consent.may_propose(self._settings.policy, plan, self._desk.name)
        waiting.closed_at = now
        return [(plan.run, signed_proposal(self._desk, plan, _by(db, plan.run, "sign proposal", person)))]

    def _consent(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        waiting = _waiting(db, decision, "consent", now)
        plan, policy = self._desk.plan(waiting.content), self._settings.policy
        if self._proposed(db, plan) == person.name:
            raise Refused(f"'{person.name}' signed this proposal, and so can't consent to it too")
        yes = {person.name, *(said.person for said in _said(db, plan.run, "consent"))}
        if len(yes) < policy.persons:
            act = f"{person.name} consents; {policy.persons - len(yes)} more must"
            return [(plan.run, Outcome(act=act))]
        schema = tables.schema(self._settings.source(plan.table), self._home)
        refuse_withdrawn(db, plan.table)
        consent.may_take_part(policy, plan, self._desk.name, schema, now)
        budget.refuse_unaffordable(db, policy, plan)
        waiting.closed_at = now
        return [(plan.run, consented(self._desk, plan, _by(db, plan.run, "consent", person)))]

    def _release(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        waiting = _waiting(db, decision, "release", now)
        candidate = decode(waiting.content, Candidate)
        plan, due = read(candidate.plan), self._settings.policy.releasers
        if self._proposed(db, plan) == person.name:
            raise Refused(f"'{person.name}' signed this proposal, and so can't agree to its release too")
        yes = {person.name, *(said.person for said in _said(db, plan.run, "release"))}
        if len(yes) < due:
            return [(plan.run, Outcome(act=f"{person.name} agrees to the release; {due - len(yes)} more must"))]
        waiting.closed_at = now
        return [(plan.run, releasing.agreed(self._desk, candidate, now, _by(db, plan.run, "release", person)))]

    def _proposed(self, db: Session, plan: Plan) -> str:
        """Who of our people signed the proposal, if anybody did."""
        return next((said.person for said in _said(db, plan.run, "sign proposal")), "")

    def _see_figures(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        """Enters who will have seen them; `figures.py` shows them then."""
        _waiting(db, decision, "release", now)
        deed = Deed("figures seen", _alone(decision, person))
        return [(decision.run, Outcome(act=f"{person.name} sees the exact figures", deeds=(deed,)))]

    def _refuse(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        open_ = select(Waiting).where(Waiting.run == decision.run, Waiting.closed_at.is_(None))
        waiting = next((one for one in db.scalars(open_) if one.digest == decision.about), None)
        if waiting is None:
            raise Refused("nothing of this job waits for a decision about what was signed")
        waiting.closed_at = now
        by = {"person": person.pseudonym}
        return [(decision.run, refused(decision.reason or "a person of this institution says no", by))]

    def _stop(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        del now
        run = db.get(Run, decision.run)
        if run is None or run.ended_at is not None:
            raise Refused("this site takes no part in such a job")
        if self._desk.plan(run.plan).digest != decision.about:
            raise Refused("the decision is about another plan than that of the job")
        return [(run.run, refused(decision.reason or "stopped by this institution", {"person": person.pseudonym}))]

    def _withdraw(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        """Nothing is answered over the table from now on; what runs over it stops. What was released can't be
        recalled."""
        named = [source.name for source in self._settings.table if table_digest(source.name) == decision.about]
        if not named:
            raise Refused("this site has no table of the name that was signed")
        if db.get(Withdrawn, named[0]) is None:
            db.add(Withdrawn(table_name=named[0], at=now))
        reason = decision.reason or f"the table '{named[0]}' was withdrawn"
        by = {"person": person.pseudonym}
        deed = Deed("table closed", {"table": named[0]} | by, reason.encode())
        found = [("", Outcome(act=f"withdraws the table {named[0]}", deeds=(deed,)))]
        for run in db.scalars(select(Run).where(Run.ended_at.is_(None))):
            if self._desk.plan(run.plan).table == named[0]:
                found.append((run.run, refused(reason, by)))
        for waiting in db.scalars(select(Waiting).where(Waiting.closed_at.is_(None), Waiting.what == "consent")):
            if self._desk.plan(waiting.content).table == named[0]:
                waiting.closed_at = now
                found.append((waiting.run, refused(reason, by)))
        return found

    def _review(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        del now
        review = _content(db, decision, Review)
        if review.digest != decision.about:
            raise Refused("the person signed another review than the one that was handed in")
        deed = reviewing.deed(db, self._desk.charter.origin, review, _alone(decision, person))
        return [("", Outcome(act=f"{person.name} signs off the log up to entry {review.size}", deeds=(deed,)))]

    def _set_policy(self, db: Session, decision: Decision, person: Member, now: float) -> list[Found]:
        """The file is written here, before the commit: worked off again after a crash, it says this already."""
        del now
        new = _content(db, decision, NewPolicy)
        if new.digest != decision.about:
            raise Refused("the person signed another policy than the one that was handed in")
        try:
            policy = policy_file.put(self._home, new, frozenset(source.name for source in self._settings.table))
        except OSError as error:
            raise Refused(f"the policy can't be written ({error.strerror})") from error
        policy_file.note(db, policy)
        made = deeds.of_policy(db, self._desk.charter, policy, _alone(decision, person))
        return [("", Outcome(act=f"{person.name} sets the policy", deeds=tuple(made)))]


def expire(db: Session, now: float) -> list[Found]:
    """What nobody decided in time."""
    late = select(Waiting).where(Waiting.closed_at.is_(None), Waiting.until <= now)
    found = []
    for waiting in db.scalars(late):
        waiting.closed_at = now
        found.append((waiting.run, refused(EXPIRED)))
    return found


def refuse_withdrawn(db: Session, table: str) -> None:
    if db.get(Withdrawn, table) is not None:
        raise Refused(f"the table '{table}' was withdrawn by its institution")


def signed_proposal(desk: Desk, plan: Plan, by: Mapping[str, str] = {}) -> Outcome:
    """This member puts its name to the question; `by` whom it was decided, if by people."""
    signature = desk.keys.consent.sign(SIGNED_BY_PROPOSER, plan.digest)
    deed = Deed("proposal signed", {"plan": plan.digest.hex(), **by})
    return Outcome((("plan-signed", Signed(plan.digest, signature)),), act="signs the proposal", deeds=(deed,))


def consented(desk: Desk, plan: Plan, by: Mapping[str, str] = {}) -> Outcome:
    """This member takes part; `by` whom it was decided, if by people."""
    signature = desk.keys.consent.sign(SIGNED_BY_MEMBER, plan.digest)
    letters = (("consent", Signed(plan.digest, signature)),)
    deed = Deed("consent given", {"plan": plan.digest.hex(), **by})
    return Outcome(letters, "consented", plan=plan.encoded, act="consents", deeds=(deed,))


def _waiting(db: Session, decision: Decision, what: str, now: float) -> Waiting:
    """What the decision is about, if that is open, and the very thing that the person signed."""
    row = db.get(Waiting, (decision.run, what))
    if row is None or row.closed_at is not None or not now < row.until:
        raise Refused(f"no {what} of this job waits for a decision")
    if row.digest != decision.about:
        raise Refused(f"the person signed another {what} than the one that waits")
    return row


def _said(db: Session, run: str, what: str) -> list[Decided]:
    """The decisions that count, of people who are still here."""
    query = select(Decided).join(Member, Member.name == Decided.person)
    counts = Decided.run == run, Decided.what == what, Decided.done_at.is_not(None), Decided.refusal == ""
    return list(db.scalars(query.where(*counts, Member.removed_at.is_(None)).order_by(Decided.at)))


def _by(db: Session, run: str, what: str, person: Member) -> dict[str, str]:
    """For the log: pseudonyms of who decided, and the digests of what they signed, which this site keeps."""
    said = _said(db, run, what)
    names = {db.get_one(Member, one.person).pseudonym for one in said} | {person.pseudonym}
    return {"person": ", ".join(sorted(names)), "decision": ", ".join(one.digest.hex() for one in said)}


def _alone(decision: Decision, person: Member) -> dict[str, str]:
    """The same, of a decision that is one person's alone."""
    return {"person": person.pseudonym, "decision": people.key_of(encode(decision)).hex()}


def _content(db: Session, decision: Decision, due: type[T]) -> T:
    """What came with the decision, which the person signed the digest of."""
    try:
        return decode(db.get_one(Decided, people.key_of(encode(decision))).content or b"", due)
    except ProtocolViolation as violation:
        raise Refused("what came with the decision is not what is due") from violation


def close(db: Session, run: str, now: float) -> None:
    """The job has ended: there is nothing to decide any more."""
    for waiting in db.scalars(select(Waiting).where(Waiting.run == run, Waiting.closed_at.is_(None))):
        waiting.closed_at = now
