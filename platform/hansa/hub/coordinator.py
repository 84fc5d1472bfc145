"""Carries jobs from letter to letter. One public method, one transaction; posting happens after the commit.

    turn   works off the letters of one run that wait in the inbox, then closes its round if nobody is missing
    admit  asks for the consents to jobs whose turn has come (`line.py`)
    tick   closes the rounds whose deadline has passed
    add_up makes some chunks of a large total; any number of workers may
    adopt  opens the log (`new_log.py`) and notes the charter in it, once a version

What a letter does is in the methods named after its kind. What a closed round leads to is in `rounds.py`.
Time is an argument; keys are the desk's. Chance is drawn by HPKE alone.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Engine, and_, exists, or_, select, update
from sqlalchemy.orm import Session

import hansa
from hansa.audit.log import first_row
from hansa.audit.log import read as read_entry
from hansa.crypto.keys import verify
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import line, models, new_log, overlap, rounds
from hansa.hub.checkpoints import Checkpoints
from hansa.hub.log import record, take_entries
from hansa.hub.models import EntryRow, Job, Member, Participant, TotalChunk
from hansa.hub.records import tell
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Inbox
from hansa.mail.database import passes
from hansa.mail.letters import (
    SINCE,
    AskConsent,
    Budgets,
    Entries,
    Hello,
    Payload,
    Refusal,
    Reply,
    Signed,
    Waits,
    Welcome,
    apart,
    speaks,
)
from hansa.messages import RunId, decode, encode, read_envelope
from hansa.plan import SIGNED_BY_MEMBER, SIGNED_BY_PROPOSER, Plan, load
from hansa.protocols.secure_sum import Opened

log = logging.getLogger("hansa.hub")
MAX_ATTEMPTS = 3  # at one letter, before it is set aside
LATE_SECONDS = 60.0  # a ticker that runs closes a round sooner than this after its deadline
_ADDING_UP = exists().where(TotalChunk.run == Job.run, TotalChunk.round == Job.round, TotalChunk.digest.is_(None))
_UNANSWERED = exists().where(
    Participant.run == Job.run,
    Participant.asked,
    or_(Participant.reply.is_(None), Participant.chunks.is_not(None)),
)
# Whoever made the round complete was killed before it could ring, or its ring was lost.
_COMPLETE = select(Job.run).where(
    or_(Job.status == "consenting", and_(Job.status.in_(models.OPEN), Job.state.is_not(None))),
    ~_UNANSWERED,
    ~_ADDING_UP,
)


class Coordinator:
    def __init__(self, engine: Engine, reading: Engine, desk: Desk) -> None:
        self._engine, self._reading, self._desk = engine, reading, desk
        self._checkpoints = Checkpoints(engine, reading, desk)
        self._over = {boxes.standing(one) for one in new_log.logs(desk.charter, desk.former)}

    def adopt(self, now: float) -> None:
        """At the start of a process. Rounds that ran out while no hub ran get their time again: their replies may
        wait in the mailboxes, and their requests in the outbox. Totals that were being added up are given out again:
        who had them may have been killed too."""
        with Session(self._engine) as db, db.begin():
            new_log.open_log(db, self._desk, now)
            self._adopt_charter(db, now)
            overlap.settle(db, self._desk, now)
            for member in db.scalars(select(Member).order_by(Member.site)):
                self._welcome(db, member, now)
            self._again(db, now)
            db.execute(update(Job).where(Job.status.in_(models.OPEN), _ADDING_UP).values(deadline=now))

    def resume(self, now: float) -> None:
        """After this process was stopped for a while, and goes on."""
        with Session(self._engine) as db, db.begin():
            self._again(db, now)

    def _again(self, db: Session, now: float) -> None:
        """Open rounds get their time again."""
        again = now + self._desk.charter.rules.round_seconds
        late = update(Job).where(Job.status.in_(models.OPEN), Job.deadline < again)
        db.execute(late.values(deadline=again, opened_at=now))

    def _adopt_charter(self, db: Session, now: float) -> None:
        charter = self._desk.charter
        adopted = {"version": str(charter.version), "charter": charter.digest.hex()}
        adoptions = select(EntryRow).where(EntryRow.act == "charter adopted", EntryRow.number >= first_row(charter))
        last = db.scalar(adoptions.order_by(EntryRow.number.desc()).limit(1))
        if last is None or read_entry(last.data).details != adopted:
            record(db, self._desk, now, "charter adopted", details=adopted)

    def turn(self, run: RunId, now: float) -> None:
        """Rung for a letter, for a vector that is whole, for a total that is added up: any of them may have been the
        last that a round waited for. A crash between the two transactions is made up for at the next turn."""
        self._work_off(run, now)
        self._guarded(run, now, lambda db, job: rounds.close_if_complete(db, self._desk, job, now))
        with Session(self._reading) as db:
            job = db.get(Job, run)
            table = job.table_name if job is not None and (job.status == "waiting" or job.ended_at is not None) else ""
        if table:
            self.admit(now, table)

    def admit(self, now: float, table: str = "") -> None:
        """All jobs whose turn has come, or those over `table`; each in a transaction of its own."""
        with Session(self._reading) as db:
            if db.scalar(select(Job.run).where(Job.status == "waiting").limit(1)) is None:
                return
            runs = line.admitted(line.in_line(db, table), now)
        for run in runs:
            self._guarded(run, now, lambda db, job: self._ask_consents(db, job, now))

    def fetching(self) -> list[tuple[RunId, str]]:
        """The (run, site) of each reply whose vector is not all here yet."""
        query = select(Participant.run, Participant.site).where(Participant.chunks.is_not(None))
        with Session(self._reading) as db:
            return [(run, site) for run, site in db.execute(query)]

    def given_out(self, run: RunId, now: float) -> list[int]:
        """The chunks of a total that the workers are to add up, if a turn or a tick at `now` has said so."""
        with Session(self._reading) as db:
            job = db.get(Job, run)
            if job is None or not rounds.gives_out(job, now):
                return []
            return [row.number for row in rounds.total_chunks(db, job) if row.digest is None]

    def add_up(self, run: RunId, numbers: Sequence[int], now: float) -> bool:
        """Makes these chunks; True if the total is whole now. Holds one chunk of one site at a time, and may be done
        twice, by two workers at once: it gives the same bytes. A chunk that the disk lost ends the job."""
        try:
            return self._add_up(run, numbers)
        except LookupError:
            log.exception("run %s: a chunk of a contribution is gone", run)
            reason = "the hub lost a part of a contribution; its log says more"
            self._guarded(run, now, lambda db, job: rounds.end(db, self._desk, job, models.FAILED, reason, now))
            return False

    def _add_up(self, run: RunId, numbers: Sequence[int]) -> bool:
        folder = self._desk.folder
        with Session(self._reading) as db:
            job = db.get(Job, run)
            if job is None or job.state is None or job.status not in models.OPEN:
                return False
            state, number_of_round = decode(job.state, rounds.STATES), job.round
            left = {row.number for row in rounds.total_chunks(db, job) if row.digest is None}
        if not isinstance(state, Opened):
            return False
        for number in sorted(left & set(numbers)):
            digest = folder.put(run, state.chunk(number, lambda chunk: folder.get(run, chunk)))
            with Session(self._engine) as db, db.begin():
                db.get_one(TotalChunk, (run, number_of_round, number)).digest = digest
        whole = select(TotalChunk).where(TotalChunk.run == run, TotalChunk.digest.is_(None)).limit(1)
        with Session(self._reading) as db:
            return db.scalar(whole) is None

    def tick(self, now: float) -> tuple[list[RunId], list[RunId]]:
        """Closes what is due. Gives the runs whose letters wait or whose round is complete, in case the doorbell was
        lost; and those closed."""
        self._mend_deadlines(now)
        with Session(self._reading) as db:
            late = db.scalars(select(Job.run).where(Job.status.in_(models.OPEN), Job.deadline <= now)).all()
            # A letter from the future was received before the clock was set back.
            rested = or_(Inbox.received_at < now - 1, Inbox.received_at > now + 1)
            waiting = {*db.scalars(select(Inbox.run).where(Inbox.done_at.is_(None), rested).distinct())}
            waiting.update(db.scalars(_COMPLETE))
        for run in late:
            self._guarded(run, now, lambda db, job: rounds.close_at_deadline(db, self._desk, job, now))
        self.admit(now)
        self._checkpoints.tick(now)
        return sorted(waiting), list(late)

    def _mend_deadlines(self, now: float) -> None:
        """A deadline further off than a round lasts, or long past, was written by another clock: before this one was
        set, or by a further worker of the hub whose clock is wrong. The round gets its time again."""
        lasts = self._desk.charter.rules.round_seconds
        strange = or_(Job.deadline > now + lasts + 1, Job.deadline < now - LATE_SECONDS)
        of_job = Job.status.in_(models.OPEN), strange
        with Session(self._reading) as db:
            if db.scalar(select(Job.run).where(*of_job).limit(1)) is None:
                return
        with Session(self._engine) as db, db.begin():
            db.execute(update(Job).where(*of_job).values(deadline=now + lasts))

    def _guarded(self, run: RunId, now: float, act: Callable[[Session, Job], None]) -> None:
        """Runs `act` on an open job; one of our three errors ends the job with its sentence, in the same spirit
        as any other act: in a transaction of its own. A bug of ours ends it too, and is logged whole. What passes is
        the caller's: a database that was away for a moment must not end a job."""
        try:
            with Session(self._engine) as db, db.begin():
                job = db.get(Job, run, with_for_update=True)
                if job is not None and job.status in models.OPEN:
                    act(db, job)
            return
        except (Refused, NotEnoughSites, ProtocolViolation) as error:
            status, reason = _status(error), str(error)
        except ArithmeticError:
            log.exception("run %s: the numbers have no answer", run)
            status, reason = models.REFUSED, "the numbers of this job have no finite answer"
        except OSError as error:
            log.warning("run %s: the disk or the store of chunks is away, tried again later: %s", run, error)
            return
        except Exception as error:
            if passes(error):
                raise
            log.exception("run %s: an error of the hub's own", run)
            status, reason = models.FAILED, "an error of the hub's own; its log says more"
        with Session(self._engine) as db, db.begin():
            job = db.get(Job, run, with_for_update=True)
            if job is not None and job.status in models.OPEN:
                rounds.end(db, self._desk, job, status, reason, now)

    def _work_off(self, run: RunId, now: float) -> None:
        """Every letter of the run that waits; none of a site that still writes under a log that is over."""
        with Session(self._engine) as db, db.begin():
            if run in self._over:
                boxes.done_with(db, run, now)
            db.get(Job, run, with_for_update=True)
            while (row := boxes.ready(db, run)) is not None and self._work_off_one(db, row, now):
                pass

    def _work_off_one(self, db: Session, row: Inbox, now: float) -> bool:
        """Applies a letter, or sets it aside with the reason; False if it is left for another try."""
        try:
            with db.begin_nested():
                self._apply(db, row, now)
        except ProtocolViolation as violation:
            self._set_aside(db, row, str(violation), now)
        except OSError as error:  # the disk, or the store of chunks: no fault of the letter's
            log.warning("run %s: a letter of '%s' waits: %s", row.run, row.sender, error)
            return False
        except Exception as error:
            if passes(error):
                raise
            log.exception("run %s: an error of the hub's own at a letter of '%s'", row.run, row.sender)
            row.attempts += 1
            if row.attempts < MAX_ATTEMPTS:
                return False
            self._set_aside(db, row, "an error of the hub's own; its log says more", now)
        row.done_at = now
        db.flush()
        return True

    def _set_aside(self, db: Session, row: Inbox, reason: str, now: float) -> None:
        boxes.set_aside(db, row.sender, reason, row.data, now)
        record(db, self._desk, now, "letter set aside", row.run, {"site": row.sender, "kind": row.kind})

    def _apply(self, db: Session, row: Inbox, now: float) -> None:
        header, envelope = read_envelope(row.data)
        payload = self._desk.open(header, envelope)
        if isinstance(payload, Hello):
            self._hello(db, row.sender, payload, now)
            return
        if isinstance(payload, Budgets):
            member = db.get(Member, row.sender)
            if member is not None:
                member.budgets = encode(payload)
            return
        if isinstance(payload, Entries):
            take_entries(db, self._desk, row.sender, payload.entries, now)
            return
        job = db.get(Job, row.run)
        if job is None:
            raise ProtocolViolation("a letter belongs to no job")
        part = db.get(Participant, (row.run, row.sender))
        if part is not None:
            part.bytes_sent += len(row.data)
            part.changed_at = now
        if job.status in models.OPEN:
            self._of_job(db, job, part, row.sender, row.kind, payload, now)

    def _of_job(
        self, db: Session, job: Job, part: Participant | None, sender: str, kind: str, payload: Payload, now: float
    ) -> None:
        plan = load(job.plan, self._desk.charter)
        if kind == "plan-signed" and isinstance(payload, Signed):
            self._plan_signed(db, job, plan, sender, payload, now)
        elif isinstance(payload, Waits) and job.status == "proposed" and sender == plan.proposer:
            job.waits_until = rounds.patience(plan, payload, now)
            tell(db, now, job.run, "a person decides whether to sign the plan", sender)
        elif isinstance(payload, Refusal) and job.status == "proposed" and sender == plan.proposer:
            rounds.end(db, self._desk, job, models.REFUSED, f"{sender}: {payload.reason}", now)
        elif part is None:
            raise ProtocolViolation("a letter comes from a site that takes no part in the job")
        elif isinstance(payload, Signed):
            self._consent(db, job, plan, part, payload, now)
        elif isinstance(payload, Waits) and part.asked and job.status in ("consenting", "releasing"):
            part.waits_until, part.stage = rounds.patience(plan, payload, now), "a person decides"
            tell(db, now, job.run, "a person decides", part.site)
        elif isinstance(payload, Refusal):
            self._refusal(db, job, part, payload, now)
        elif isinstance(payload, Reply) and payload.number == job.round and part.asked and part.reply is None:
            rounds.take_reply(desk=self._desk, job=job, part=part, reply=payload)
        elif isinstance(payload, Reply):
            tell(db, now, job.run, "answered a round that had closed", part.site)

    def _hello(self, db: Session, site: str, hello: Hello, now: float) -> None:
        row = db.get(Member, site)
        tables = encode(hello.tables)
        if row is None:
            row = Member(site=site, version=hello.version, tables=tables, seen_at=now)
            db.add(row)
        row.version, row.tables, row.seen_at = hello.version, tables, now
        seen = {"site": site, "version": hello.version, "tables": str(len(hello.tables))}
        record(db, self._desk, now, "site seen", details=seen)
        boxes.hurry(db, site, now)
        self._welcome(db, row, now)

    def _welcome(self, db: Session, member: Member, now: float) -> None:
        """Tells a site that the hub is up, and of what version, if it knows such a letter."""
        if speaks(member.version) >= SINCE["welcome"] and member.site in {one.id for one in self._desk.charter.members}:
            self._desk.hear(member.site, speaks(member.version))
            reason = apart(hansa.__version__, member.version)
            self._desk.write(db, member.site, self._desk.standing, "welcome", Welcome(hansa.__version__, reason), now)

    def _plan_signed(self, db: Session, job: Job, plan: Plan, sender: str, payload: Signed, now: float) -> None:
        if job.status != "proposed" or sender != plan.proposer or payload.plan != plan.digest:
            raise ProtocolViolation("a signature for a proposal was not due")
        verify(self._desk.charter.member(sender).consent, SIGNED_BY_PROPOSER, plan.digest, payload.signature)
        job.proposal, job.status, job.deadline = payload.signature, "waiting", None
        job.table_name = plan.table  # one that Hansa 0.1 proposed has none yet, and would stand in no line
        self._heard(db, job, sender, "proposal signed", plan, now)
        tell(db, now, job.run, "signed the plan", sender)

    def _ask_consents(self, db: Session, job: Job, now: float) -> None:
        """Its turn has come."""
        if job.status != "waiting" or job.proposal is None:
            return
        plan = load(job.plan, self._desk.charter)
        job.status, job.turn_at = "consenting", now
        job.deadline = now + self._desk.charter.rules.round_seconds
        for part in rounds.participants(db, job):
            part.asked, part.stage = True, "asked for consent"
            rounds.send(db, self._desk, part, "ask-consent", AskConsent(job.plan, job.proposal), now)
        record(db, self._desk, now, "consent asked", job.run, {"sites": ", ".join(plan.sites)})
        tell(db, now, job.run, f"consent was asked of {len(plan.sites)} sites")

    def _consent(self, db: Session, job: Job, plan: Plan, part: Participant, payload: Signed, now: float) -> None:
        if payload.plan != plan.digest or part.consent is not None:
            raise ProtocolViolation("a consent was not due")
        if job.status != "consenting":
            tell(db, now, job.run, "consents, after the job had begun without it", part.site)
            return
        verify(self._desk.charter.member(part.site).consent, SIGNED_BY_MEMBER, plan.digest, payload.signature)
        part.consent, part.asked, part.stage, part.waits_until = payload.signature, False, "consented", None
        self._heard(db, job, part.site, "consent given", plan, now)
        tell(db, now, job.run, "consents", part.site)

    def _heard(self, db: Session, job: Job, site: str, what: str, plan: Plan, now: float) -> None:
        """Members sign what they do themselves; under a charter of Hansa 0.1 the hub writes it for them."""
        if not self._desk.charter.witnessed:
            said = {"site": site, "what": what, "plan": plan.digest.hex()}
            record(db, self._desk, now, "heard", job.run, said)

    def _refusal(self, db: Session, job: Job, part: Participant, payload: Refusal, now: float) -> None:
        """No, or no further. Of a site that the job goes on without, it is a note in the margin."""
        if not part.active:
            tell(db, now, job.run, f"refuses, after it was left out: {payload.reason}", part.site)
            return
        part.asked = part.active = False
        part.stage, part.reason, part.waits_until = "refused", payload.reason, None
        self._heard(db, job, part.site, "refused", load(job.plan, self._desk.charter), now)
        tell(db, now, job.run, f"refuses: {payload.reason}", part.site)
        if job.status != "consenting":
            rounds.end(db, self._desk, job, models.REFUSED, f"{part.site}: {payload.reason}", now)


def _status(error: Exception) -> str:
    if isinstance(error, Refused):
        return models.REFUSED
    return models.NOT_ENOUGH if isinstance(error, NotEnoughSites) else models.FAILED
