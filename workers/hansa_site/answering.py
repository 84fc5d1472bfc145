"""What a site answers: from a letter and the site's rows to an outcome. Nothing is stored here.

Our three errors are answers too. Chance is drawn here, from the operating system, and nowhere below.
"""

import logging
from collections.abc import Callable
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Engine
from sqlalchemy.orm import Session

import hansa
from hansa.crypto.keys import digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs.base import Column, Job, Step, Table, check_step, size, to_ring
from hansa.jobs.under_noise.noisy import Noisy, read_total, to_noisy_ring
from hansa.jobs.verification import check_follows
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Inbox
from hansa.mail.database import passes
from hansa.mail.letters import (
    AskConsent,
    End,
    Open,
    Payload,
    Refusal,
    Released,
    Reply,
    Round,
    SignPlan,
    Waits,
    Welcome,
    apart,
    sentence,
)
from hansa.messages import decode, encode, read_envelope
from hansa.plan import SIGNED_BY_PROPOSER, Plan, load
from hansa.privacy.disclosure import refuse_site
from hansa.protocols.base import Own, SiteState, Spread, Vector
from hansa.protocols.key_setup import Encapsulating, Invited, Manifest, Offered, Paired, Revealed
from hansa.protocols.release import Releasing
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, LockedSet, Masked, Waiting
from hansa_site import budget, consent, differing, releasing, tables
from hansa_site.deciding import consented, refuse_withdrawn, signed_proposal
from hansa_site.deeds import Deed
from hansa_site.journal import HubSeen, Run, Said
from hansa_site.journal import Waiting as WaitingRow
from hansa_site.outcome import Asked, Outcome, refused
from hansa_site.settings import Settings
from hansa_site.vectors import Missing, Vectors

log = logging.getLogger("hansa.site")
STATES: Any = Invited | Offered | Revealed | Encapsulating | Waiting | Masked | LockedSet
MAX_ATTEMPTS = 3  # at one letter, before an error of our own ends the job
LOADED = 8  # jobs whose rows stay in memory; those of others are read again
OWN_ERROR = "an error of the site's own; its log says more"


class Answering:
    """`draw` gives bytes from the operating system's randomness, `spread` spreads over cores."""

    def __init__(
        self,
        reading: Engine,
        desk: Desk,
        settings: Settings,
        home: Path,
        draw: Callable[[int], bytes],
        vectors: Vectors,
        spread: Spread,
    ) -> None:
        self._reading, self._desk, self._settings, self._home = reading, desk, settings, home
        self._draw, self._vectors, self._spread = draw, vectors, spread
        self._loaded: dict[str, Table] = {}  # rows of running jobs; a restart reads them again

    def under(self, settings: Settings) -> "Answering":
        """The same, by other settings: each letter is answered by those of one moment."""
        other = copy(self)
        other._settings = settings
        return other

    def forget(self, run: str) -> None:
        """The rows of a job that has ended."""
        self._loaded.pop(run, None)

    def answer(self, row: Inbox, data: bytes, run: Run | None, attempts: int, now: float) -> Outcome | Missing | None:
        """Our three errors are answers; a bug of ours is logged whole, tried again, and ends the job the third time.
        What passes is the caller's: a disk that was full for a moment must not end a job."""
        try:
            return self._outcome(row, data, run, now)
        except ProtocolViolation as violation:
            reason = sentence(str(violation))
            return Outcome((("refusal", Refusal(reason)),), aside=reason, act=f"sets a letter aside: {reason}")
        except (Refused, NotEnoughSites) as error:
            reason = sentence(str(error))
            return refused(reason)
        except Exception as error:
            if passes(error):
                raise
            log.exception("run %s: an error of this site's own", row.run)
            if attempts + 1 < MAX_ATTEMPTS:
                return None
            return Outcome((("refusal", Refusal(OWN_ERROR)),), f"refused: {OWN_ERROR}", erase=True, act=OWN_ERROR)

    def _outcome(self, row: Inbox, data: bytes, run: Run | None, now: float) -> Outcome | Missing:
        header, envelope = read_envelope(data)
        payload = self._desk.open(header, envelope)
        if isinstance(payload, End):
            self.forget(row.run)
            return Outcome(status=f"ended: {payload.status}", erase=True, act=f"ended: {payload.status}")
        if isinstance(payload, Welcome):
            return Outcome(welcome=payload, act=payload.apart)
        if isinstance(payload, Released):
            return self._released(payload, run)
        return self._asked(row, payload, run, now)

    def _asked(self, row: Inbox, payload: Payload, run: Run | None, now: float) -> Outcome | Missing:
        if isinstance(payload, SignPlan):
            return self._sign(row.run, payload, now)
        if isinstance(payload, AskConsent):
            return self._consent(row.run, payload, run, now)
        if run is None or run.ended_at is not None:
            return Outcome(act="a request for a job that this site takes no part in any more")
        if isinstance(payload, Open):
            return self._open(run, payload)
        if isinstance(payload, Round):
            return self._release(run, payload, now) if row.kind == "ask-release" else self._round(run, payload)
        raise ProtocolViolation("a letter of a kind that a site never gets")

    def _released(self, payload: Released, run: Run | None) -> Outcome:
        """What the hub says the answer is: this member's own word on what it was told, so that no two are told two."""
        if run is None:
            raise ProtocolViolation("an answer is released in a job that this site takes no part in")
        answer = payload.answer.hex()
        return Outcome(act=f"told of the answer {answer[:16]}…", deeds=(Deed("release seen", {"answer": answer}),))

    def _plan(self, run: str, data: bytes) -> Plan:
        plan = load(data, self._desk.charter)
        if plan.run != run:
            raise ProtocolViolation("the plan is of another run than its letter")
        return plan

    def _sign(self, run: str, payload: SignPlan, now: float) -> Outcome:
        plan = self._plan(run, payload.plan)
        consent.may_propose(self._settings.policy, plan, self._desk.name)
        self._refuse_twice(run, "proposal")
        if self._settings.policy.proposals == "policy":
            return signed_proposal(self._desk, plan)
        return self._ask_person("proposal", plan.digest, payload.plan, self._until(plan, now))

    def _consent(self, name: str, payload: AskConsent, run: Run | None, now: float) -> Outcome:
        plan = self._plan(name, payload.plan)
        if run is not None:
            raise ProtocolViolation("consent was asked twice for one run")
        self._refuse_twice(name, "consent")
        if self._knows_end(name):
            return Outcome(act="a question that had ended before it came")
        self._check_version()
        proposer = self._desk.charter.member(plan.proposer)
        verify(proposer.consent, SIGNED_BY_PROPOSER, plan.digest, payload.proposal)
        schema = tables.schema(self._settings.source(plan.table), self._home)
        with Session(self._reading) as db:
            refuse_withdrawn(db, plan.table)
        consent.may_take_part(self._settings.policy, plan, self._desk.name, schema, now)
        with Session(self._reading) as db:
            budget.refuse_unaffordable(db, self._settings.policy, plan)
        self._rows(name, plan, plan.job())  # what is wrong with them is said before anybody counts on this site
        if not self._settings.policy.persons:
            return consented(self._desk, plan)
        return self._ask_person("consent", plan.digest, payload.plan, self._until(plan, now))

    def _until(self, plan: Plan, now: float) -> float:
        """How long a person has: the plan's own end comes before the policy's."""
        return min(now + 3600 * self._settings.policy.decide_hours, float(plan.expires))

    def _ask_person(self, what: str, about: bytes, content: bytes, until: float) -> Outcome:
        """A person decides; the hub is told how long that may take."""
        asked = Asked(what, about, content, until)
        letters = (("waits", Waits(int(until))),)
        return Outcome(letters, act=f"waits for a person to decide about the {what}", asked=asked)

    def _refuse_twice(self, run: str, what: str) -> None:
        with Session(self._reading) as db:
            if db.get(WaitingRow, (run, what)) is not None:
                raise ProtocolViolation(f"a {what} was asked twice for one run")

    def _knows_end(self, run: str) -> bool:
        with Session(self._reading) as db:
            return boxes.holds(db, run, "end")

    def _check_version(self) -> None:
        with Session(self._reading) as db:
            seen = db.get(HubSeen, 1)
        if seen is not None and (reason := apart(hansa.__version__, seen.version)):
            raise Refused(reason)

    def _open(self, run: Run, payload: Open) -> Outcome:
        if run.steps:
            raise ProtocolViolation("setup is asked for again after a contribution")
        plan, charter = self._plan(run.run, run.plan), self._desk.charter
        if (said := self._said(run.run, payload.number, payload.message)) is not None:
            return said
        manifest = decode(payload.message, Manifest)
        invited = Invited(
            self._desk.name,
            plan.digest,
            run.attempt,
            charter.rules.corrupt,
            plan.minimum_sites,
            charter.signing_keys(plan.sites),
            self._draw(32),
            plan.job().ring,
        )
        state, offer = invited.answer(manifest, Own(self._desk.signing))
        return self._reply(payload.number, payload.message, state, offer, attempt=manifest.attempt + 1)

    def _round(self, run: Run, payload: Round) -> Outcome | Missing:
        if run.state is None:
            raise ProtocolViolation("a round was asked before setup")
        if (said := self._said(run.run, payload.number, payload.message)) is not None:
            return said
        state: SiteState = decode(run.state, STATES)
        request = decode(payload.message, state.accepts)
        vector = None
        if isinstance(request, Contribute) and isinstance(state, Waiting):
            state.check(request)  # before anything is fetched for it: the receipt names no more chunks than are due
            total = self._vectors.total(run.run, request.receipt, payload.beside)
            if isinstance(total, Missing):
                return total
            vector = self._vector(run, state, request, total)
        if isinstance(request, Lock):
            survivors = tuple(header.site for header in request.headers)
            consent.survivors_allowed(self._settings.policy, self._desk.name, survivors)
        own = Own(self._desk.signing, vector, self._spread)
        following, reply = state.answer(request, own)  # type: ignore[attr-defined]  # each with its own request
        if isinstance(following, Paired):
            following = Waiting(following)
        beside = None
        if isinstance(reply, Contributed) and vector is not None:
            beside = self._vectors.keep(run.run, reply, vector)
        outcome = self._reply(
            payload.number, payload.message, following, reply, beside=beside, contributed=vector is not None
        )
        locked = (following.step, following.survivors) if isinstance(following, LockedSet) else None
        return replace(outcome, deeds=_deeds(following), locked=locked)

    def _release(self, run: Run, payload: Round, now: float) -> Outcome | Missing:
        """The policy agrees to a release, or a person is asked, once the answer is the one that this site computes."""
        if run.state is None:
            raise ProtocolViolation("a release is asked before setup")
        if (said := self._said(run.run, payload.number, payload.message)) is not None:
            return said
        self._refuse_twice(run.run, "release")
        state: SiteState = decode(run.state, STATES)
        if not isinstance(state, Waiting):
            raise ProtocolViolation("a release is asked in the middle of a total")
        asked = decode(payload.message, Releasing)
        state.check_receipt(asked.receipt)  # before anything is fetched for it
        total = self._vectors.total(run.run, asked.receipt, payload.beside)
        if isinstance(total, Missing):
            return total
        candidate = releasing.look(self._plan(run.run, run.plan), state, payload.number, payload.message, total)
        with Session(self._reading) as db:
            differing.refuse_release(db, candidate.row(now))
        if not self._settings.policy.releasers:
            return releasing.agreed(self._desk, candidate, now)
        until = now + 3600 * self._settings.policy.decide_hours
        return self._ask_person("release", candidate.digest, encode(candidate), until)

    def _said(self, run: str, number: int, request: bytes) -> Outcome | None:
        """The answer that this round has had already: the same bytes to the same request, nothing to another."""
        with Session(self._reading) as db:
            row = db.get(Said, (run, number))
            if row is None:
                return None
            if row.request != digest("request", request):
                raise ProtocolViolation("a round that was answered is asked again with another request")
            return Outcome((("reply", Reply(number, row.reply, row.beside or b"")),))

    def _vector(self, run: Run, state: Waiting, request: Contribute, shown: bytes) -> Vector:
        """This site's own numbers for the step, from its rows alone."""
        plan, step = self._plan(run.run, run.plan), decode(request.public, Step)
        policy = self._settings.policy
        if run.steps >= policy.most_totals:
            raise Refused(f"the policy gives no more than {policy.most_totals} totals to a job")
        if sum(size(block) for block in step.blocks) > policy.most_numbers:
            raise Refused(f"the policy gives totals of at most {policy.most_numbers} numbers")
        job, ring = plan.job(), state.paired.session.ring
        check_step(step, len(request.cohort), ring)
        if state.before is not None and request.receipt is not None:
            last, receipt = decode(state.before.public, Step), request.receipt
            vector, honest = state.total(request.receipt, shown), state.paired.session.floors.honest
            total = read_total(job, request.step - 1, last, vector, len(receipt.survivors), honest)
            check_follows(job, last, total, step)
        contribution, chance = job.encode(self._rows(run.run, plan, job), step), state.chance(request)
        if isinstance(job, Noisy):
            honest, sites = state.paired.session.floors.honest, len(request.cohort)
            return to_noisy_ring(job, request.step, step, contribution, chance, honest, sites)
        return to_ring(step, contribution, chance, ring)

    def _rows(self, run: str, plan: Plan, job: Job) -> Table:
        rows = self._loaded.get(run)
        if rows is None:
            rows = tables.load(self._settings.source(plan.table), self._home, job.columns(), job.lenient)
            if plan.disclosure is not None and plan.noise is None:  # under noise a refusal would tell of rows
                names = [column.name for column in rows.schema.columns if _numeric(rows, column)]
                refuse_site(rows.rows, {name: rows.numbers(name) for name in names}, plan.disclosure)
            for other in list(self._loaded)[: 1 - LOADED]:
                self._loaded.pop(other, None)
            self._loaded[run] = rows
        return rows

    def _reply(
        self,
        number: int,
        request: bytes,
        state: SiteState,
        message: object,
        attempt: int | None = None,
        beside: bytes | None = None,
        contributed: bool = False,
    ) -> Outcome:
        content = encode(message)
        return Outcome(
            (("reply", Reply(number, content, beside or b"")),),
            "running",
            state,
            attempt=attempt,
            contributed=contributed,
            said=Said(number=number, request=digest("request", request), reply=content, beside=beside),
            act=f"contributes to step {number}" if contributed else "",
        )


def _numeric(rows: Table, column: Column) -> bool:
    return column.type == "number" and column.name in rows.columns


def _deeds(state: SiteState) -> tuple[Deed, ...]:
    """What this site has bound itself to with an answer that leads to `state`."""
    if isinstance(state, Masked):
        return (Deed("contributed", {"step": str(state.step), "header": sha256(encode(state.header)).hexdigest()}),)
    if isinstance(state, LockedSet) and state.before.locked is not None:
        return (Deed("locked", {"step": str(state.step), "survivors": state.before.locked.hex()}),)
    return ()
