"""A site, from letter to answer.

    receive  believes a letter or sets it aside, keeps it in the inbox, gives the ack
    work     works off one waiting letter: decides and computes first, then stores state, answer and reply together

A crash before the commit leaves the letter waiting; a crash after it leaves the reply in the outbox. Chance is drawn
here, from the operating system, and nowhere below.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.orm import Session

import hansa
from hansa.crypto.keys import digest, verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.jobs.base import Schema, Step, Table, check_step, from_ring, to_ring
from hansa.jobs.verification import check_follows
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Inbox
from hansa.mail.carriage import Carriage
from hansa.mail.database import passes
from hansa.mail.letters import (
    BESIDE_BYTES,
    STANDING,
    TO_SITE,
    AskConsent,
    End,
    Hello,
    Here,
    Open,
    Payload,
    Refusal,
    Reply,
    Round,
    Signed,
    SignPlan,
    Wanted,
    sentence,
)
from hansa.messages import HUB, decode, encode, read_envelope
from hansa.plan import SIGNED_BY_MEMBER, SIGNED_BY_PROPOSER, Plan, load
from hansa.protocols.base import Own, SiteState, Spread, Vector
from hansa.protocols.key_setup import Encapsulating, Invited, Manifest, Offered, Paired, Revealed
from hansa.protocols.masks import as_bytes
from hansa.protocols.secure_sum import Contribute, Contributed, Lock, LockedSet, Masked, Waiting
from hansa_site import consent, tables
from hansa_site.journal import Act, Run, Said
from hansa_site.settings import Settings

log = logging.getLogger("hansa.site")
STATES: Any = Invited | Offered | Revealed | Encapsulating | Waiting | Masked | LockedSet
MAX_STEPS = 200
FETCH_SECONDS = 2.0  # after which chunks that did not come are wanted again
MAX_ATTEMPTS = 3  # at one letter, before an error of our own ends the job
OWN_ERROR = "an error of the site's own; its log says more"


class Outcome(Struct, frozen=True):
    """What working off a letter leads to; stored in one transaction. A violation (`aside`) changes nothing else."""

    letters: tuple[tuple[str, Payload], ...] = ()
    status: str | None = None  # of the run from now on
    state: SiteState | None = None
    erase: bool = False
    aside: str = ""
    plan: bytes | None = None  # of a run that begins here
    attempt: int | None = None
    contributed: bool = False
    said: Said | None = None
    act: str = ""


class Missing(Struct, frozen=True):
    """Why a letter can't be worked off yet: chunks that it names are still to be fetched."""

    run: str
    digests: tuple[bytes, ...]


class Site:
    """One member's site. `draw` gives bytes from the operating system's randomness, `spread` spreads over cores."""

    def __init__(
        self,
        engine: Engine,
        reading: Engine,
        desk: Desk,
        settings: Settings,
        home: Path,
        draw: Callable[[int], bytes],
        carriage: Carriage,
        spread: Spread = map,
    ) -> None:
        self._engine, self._reading, self._desk = engine, reading, desk
        self._settings, self._home, self._draw = settings, home, draw
        self._carriage, self._spread = carriage, spread
        self._later: dict[int, float] = {}  # letters that wait for chunks: when to ask for these again
        self._wanted: dict[str, set[bytes]] = {}  # by run: nothing else is taken from the mailbox
        self._loaded: dict[str, Table] = {}  # rows of running jobs; a restart reads them again

    def schemas(self) -> tuple[Schema, ...]:
        """Of every table that can be read; one that can't is reported to the operator and left out."""
        found = []
        for source in self._settings.table:
            try:
                found.append(tables.schema(source, self._home))
            except Refused as refusal:
                log.error("%s", refusal)
        return tuple(found)

    def hello(self, now: float) -> None:
        payload = Hello(hansa.__version__, self.schemas())
        with Session(self._engine) as db, db.begin():
            self._desk.write(db, HUB, STANDING, "hello", payload, now)

    def receive(self, data: bytes, now: float) -> bytes | None:
        try:
            header, envelope = self._desk.read(data, TO_SITE)
            if header.sender != HUB:
                raise ProtocolViolation("a letter comes from somebody else than the hub")
            if header.kind in ("wanted", "here"):
                self._chunks(header.run, self._desk.open(header, envelope))
                return None
            with Session(self._engine) as db, db.begin():
                if header.kind == "ack":
                    self._desk.acked(db, header, self._desk.open(header, envelope), now)
                    return None
                boxes.take(db, header, data, now)
            return self._desk.ack(header, data)
        except ProtocolViolation as violation:
            log.warning("a letter is set aside: %s", violation)
            with Session(self._engine) as db, db.begin():
                boxes.set_aside(db, HUB, str(violation), data, now)
            return None

    def _chunks(self, run: str, payload: Payload) -> None:
        """The hub wants chunks of ours, or those that we wanted are there."""
        if not self._takes_part(run):
            return
        if isinstance(payload, Wanted):
            self._carriage.offer(run, payload.digests)
        elif isinstance(payload, Here) and self._carriage.take(run, payload, self._wanted.get(run, set())):
            self._later = {}  # another dict, never this one cleared: `work` reads it in a thread of its own

    def _takes_part(self, run: str) -> bool:
        with Session(self._reading) as db:
            row = db.get(Run, run)
            return row is not None and row.ended_at is None

    def work(self, now: float) -> bool:
        """Works off the next letter; False if none waits."""
        self._later = {number: at for number, at in self._later.items() if now < at <= now + FETCH_SECONDS}
        with Session(self._reading) as db:
            row = boxes.ready(db, but=self._later)
            if row is None:
                return False
            number, data, attempts = row.id, row.data, row.attempts
            run = db.get(Run, row.run)
            if run is not None:
                db.expunge(run)
            db.expunge(row)
        outcome = self._guarded(row, data, run, attempts)
        if isinstance(outcome, Missing):
            self._later[number] = now + FETCH_SECONDS
            self._wanted[outcome.run] = set(outcome.digests)
            self._carriage.want(outcome.run, outcome.digests)
            return True
        with Session(self._engine) as db, db.begin():
            waiting = db.get_one(Inbox, number)
            if outcome is None:
                waiting.attempts += 1
            else:
                self._store(db, waiting.run, outcome, now)
                if outcome.aside:
                    boxes.set_aside(db, HUB, outcome.aside, data, now)
                waiting.done_at = now
        return True

    def _guarded(self, row: Inbox, data: bytes, run: Run | None, attempts: int) -> Outcome | Missing | None:
        """Our three errors are answers; a bug of ours is logged whole, tried again, and ends the job the third time.
        What passes is the caller's: a disk that was full for a moment must not end a job."""
        try:
            return self._outcome(row, data, run)
        except ProtocolViolation as violation:
            reason = sentence(str(violation))
            return Outcome((("refusal", Refusal(reason)),), aside=reason, act=f"sets a letter aside: {reason}")
        except (Refused, NotEnoughSites) as error:
            reason = sentence(str(error))
            return Outcome(
                (("refusal", Refusal(reason)),), f"refused: {reason}"[:500], erase=True, act=f"refuses: {reason}"
            )
        except Exception as error:
            if passes(error):
                raise
            log.exception("run %s: an error of this site's own", row.run)
            if attempts + 1 < MAX_ATTEMPTS:
                return None
            return Outcome((("refusal", Refusal(OWN_ERROR)),), f"refused: {OWN_ERROR}", erase=True, act=OWN_ERROR)

    def _outcome(self, row: Inbox, data: bytes, run: Run | None) -> Outcome | Missing:
        header, envelope = read_envelope(data)
        payload = self._desk.open(header, envelope)
        if isinstance(payload, End):
            self._loaded.pop(row.run, None)
            self._wanted.pop(row.run, None)
            self._desk.folder.erase(row.run)
            return Outcome(status=f"ended: {payload.status}", erase=True, act=f"ended: {payload.status}")
        if isinstance(payload, SignPlan):
            return self._sign(row.run, payload)
        if isinstance(payload, AskConsent):
            return self._consent(row.run, payload, run)
        if run is None or run.ended_at is not None:
            return Outcome(act="a request for a job that this site takes no part in any more")
        if isinstance(payload, Open):
            return self._open(run, payload)
        if isinstance(payload, Round):
            return self._round(run, payload)
        raise ProtocolViolation("a letter of a kind that a site never gets")

    def _plan(self, run: str, data: bytes) -> Plan:
        plan = load(data, self._desk.charter)
        if plan.run != run:
            raise ProtocolViolation("the plan is of another run than its letter")
        return plan

    def _sign(self, run: str, payload: SignPlan) -> Outcome:
        plan = self._plan(run, payload.plan)
        consent.may_propose(self._settings.policy, plan, self._desk.name)
        signature = self._desk.signing.sign(SIGNED_BY_PROPOSER, plan.digest)
        return Outcome((("plan-signed", Signed(plan.digest, signature)),), act="signs the proposal")

    def _consent(self, name: str, payload: AskConsent, run: Run | None) -> Outcome:
        plan = self._plan(name, payload.plan)
        if run is not None:
            raise ProtocolViolation("consent was asked twice for one run")
        proposer = self._desk.charter.member(plan.proposer)
        verify(proposer.signing, SIGNED_BY_PROPOSER, plan.digest, payload.proposal)
        schema = tables.schema(self._settings.source(plan.table), self._home)
        consent.may_take_part(self._settings.policy, plan, self._desk.name, schema)
        signature = self._desk.signing.sign(SIGNED_BY_MEMBER, plan.digest)
        letters = (("consent", Signed(plan.digest, signature)),)
        return Outcome(letters, "consented", plan=payload.plan, act="consents")

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
            total = self._total(run.run, request, payload.beside)
            if isinstance(total, Missing):
                return total
            vector = self._vector(run, state, request, total)
        if isinstance(request, Lock):
            survivors = [header.site for header in request.headers]
            consent.survivors_allowed(self._settings.policy, self._desk.name, survivors)
        own = Own(self._desk.signing, vector, self._spread)
        following, reply = state.answer(request, own)  # type: ignore[attr-defined]  # each with its own request
        if isinstance(following, Paired):
            following = Waiting(following)
        beside = None
        if isinstance(reply, Contributed) and vector is not None:
            beside = self._keep(run.run, reply, vector)
        return self._reply(
            payload.number, payload.message, following, reply, beside=beside, contributed=vector is not None
        )

    def _keep(self, run: str, reply: Contributed, vector: Vector) -> bytes | None:
        """The masked vector if it is small enough for the letter; a large one lies in the folder before it is told."""
        content = as_bytes(vector)
        if content.nbytes <= BESIDE_BYTES:
            return bytes(content)
        self._desk.folder.put_all(run, content, reply.chunks)
        return None

    def _total(self, run: str, request: Contribute, beside: bytes) -> bytes | Missing:
        """The total that the request's receipt names, from beside the letter or from the folder."""
        if request.receipt is None or beside:
            return beside
        folder, chunks = self._desk.folder, request.receipt.chunks
        if missing := folder.missing(run, chunks):
            return Missing(run, tuple(missing))
        try:
            return b"".join(folder.get(run, chunk) for chunk in chunks)
        except LookupError:
            return Missing(run, tuple(folder.missing(run, chunks)))

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
        if run.steps >= MAX_STEPS:
            raise Refused(f"the job asks for more than {MAX_STEPS} totals")
        job, ring = plan.job(), state.paired.session.ring
        check_step(step, len(request.cohort), ring)
        if state.before is not None and request.receipt is not None:
            last, receipt = decode(state.before.public, Step), request.receipt
            total = from_ring(last, state.total(request, shown), len(receipt.survivors))
            check_follows(job, last, total, step)
        if run.run not in self._loaded:
            source = self._settings.source(plan.table)
            self._loaded[run.run] = tables.load(source, self._home, job.columns())
        return to_ring(step, job.encode(self._loaded[run.run], step), state.chance(request), ring)

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

    def _store(self, db: Session, name: str, outcome: Outcome, now: float) -> None:
        if outcome.plan is not None:
            db.add(Run(run=name, plan=outcome.plan, status="", attempt=0, steps=0, started_at=now, bytes_sent=0))
            db.flush()
        run = db.get(Run, name)
        if outcome.said is not None:
            outcome.said.run = name
            db.add(outcome.said)
        for kind, payload in outcome.letters:
            sent = self._desk.write(db, HUB, name, kind, payload, now)
            if run is not None:
                run.bytes_sent += sent
        if outcome.act:
            db.add(Act(at=now, run=name, text=outcome.act))
        if run is None:
            return
        run.status = outcome.status or run.status
        run.attempt = run.attempt if outcome.attempt is None else outcome.attempt
        run.steps += outcome.contributed
        if outcome.state is not None:
            run.state = encode(outcome.state)
        if outcome.erase:
            run.state, run.ended_at = None, now
