"""A site's desk, from letter to answer.

    receive  believes a letter or sets it aside, and keeps it in the inbox; its ack is owed then
    work     works off one waiting letter: decides and computes first, then stores state, answer and reply together
    decide   works off what persons decided, and what nobody did in time

A crash before the commit leaves the letter waiting; a crash after it leaves the reply in the outbox.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

import hansa
from hansa.audit.log import first_row
from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Schema
from hansa.mail import boxes
from hansa.mail.acks import Counted
from hansa.mail.boxes import Desk, Inbox
from hansa.mail.carriage import Carriage
from hansa.mail.database import Engines
from hansa.mail.letters import TO_SITE, Hello, Payload, Refusal, Shown, Welcome, speaks
from hansa.messages import HUB, encode
from hansa.protocols.base import Spread
from hansa_site import budget, deciding, deeds, differing, leaving, tables, witness
from hansa_site.answering import Answering
from hansa_site.deciding import Deciding
from hansa_site.deeds import Deed
from hansa_site.journal import Act, Decided, HubSeen, Member, Noted, Run, Waiting, Withdrawn
from hansa_site.outcome import Asked, Outcome, refused
from hansa_site.policy_file import Held
from hansa_site.settings import Settings
from hansa_site.vectors import Missing, Vectors

log = logging.getLogger("hansa.site")
COUNT_SECONDS = 5.0
_BUDGETS = "budgets told"  # what is noted of them
TWICE = "the hub sent two letters under one number: equivocation"


class Site:
    """One member's site. `draw` gives bytes from the operating system's randomness, `spread` spreads over cores."""

    def __init__(
        self,
        engines: Engines,
        desk: Desk,
        settings: Settings,
        home: Path,
        draw: Callable[[int], bytes],
        carriage: Carriage,
        spread: Spread = map,
        worker: str = "alone",
    ) -> None:
        self._engine, self._reading, self._notes = engines
        self._desk, self._worker = desk, worker
        self._turn = threading.Lock()
        self._at: set[int] = set()  # letters that a thread of this process works on
        self._home, self._draw = home, draw
        self._held = Held(settings, home, engines.reading)
        self._counted, self._counted_at = desk.counted or Counted(), 0.0
        desk.counted = self._counted
        self._vectors = Vectors(engines, desk, carriage)
        self._answering = Answering(engines.reading, desk, settings, home, draw, self._vectors, spread)

    def schemas(self) -> tuple[Schema, ...]:
        """Of every table that can be read; one that can't is reported to the operator and left out. One that was
        withdrawn is not there for others."""
        with Session(self._reading) as db:
            withdrawn = set(db.scalars(select(Withdrawn.table_name)))
        found = []
        for source in self._held.settings.table:
            if source.name in withdrawn:
                continue
            try:
                found.append(tables.schema(source, self._home))
            except Refused as refusal:
                log.error("%s", refusal)
        return tuple(found)

    def hello(self, now: float) -> None:
        """Says that this site is up, and enters what changed in its settings since it last was."""
        payload, policy = Hello(hansa.__version__, self.schemas()), self._held.settings.policy
        with Session(self._engine) as db, db.begin():
            leaving.write(db, self._desk, self._desk.standing, "hello", payload, now)
            deeds.begin(db, self._desk, now, self._draw)
            self._held.begin(db)
            for deed in deeds.of_settings(db, self._desk.charter, policy, payload.tables):
                deeds.write(db, self._desk, deed, "", now, self._draw)

    def report(self, now: float) -> None:
        """Sends what this site did to the log, and raises an alarm where a receipt is overdue. Of several processes
        one does it."""
        first = first_row(self._desk.charter)
        with Session(self._reading) as db:
            unsent, late = deeds.unsent(db, first), bool(deeds.overdue(db, now, first)) or witness.alarmed(db)
        self.count_left(now)
        self._publish(now)
        self._enter_people(now)
        if unsent:
            with Session(self._engine) as db, db.begin():
                deeds.submit(db, self._desk, now)
        if late:
            with Session(self._engine) as db, db.begin():
                witness.watch(db, now, first)

    def count_left(self, now: float) -> None:
        """Notes the letters that nobody keeps, now and then: every process its own."""
        if 0 <= now - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = now
        if counted := self._counted.take():
            with Session(self._notes) as db, db.begin():
                leaving.speak(db, counted)

    def _enter_people(self, now: float) -> None:
        """Who may decide here: the log knows pseudonyms, roles and keys."""
        members = func.count(Member.name) + func.count(Member.removed_at)
        noted = select(func.count()).select_from(Noted).where(Noted.what.like("person %"))
        with Session(self._reading) as db:
            if not self._desk.charter.witnessed or db.scalar(select(members)) == db.scalar(noted):
                return
        with Session(self._engine) as db, db.begin():
            for deed in deeds.of_people(db, self._desk.charter):
                deeds.write(db, self._desk, deed, "", now, self._draw)

    def _publish(self, now: float) -> None:
        """Tells the hub how the privacy budgets stand, if that has changed: people see it before they ask."""
        policy = self._held.look().policy
        if not policy.budget:
            return
        with Session(self._reading) as db:
            shown = budget.shown(db, policy)
            known = db.get(Noted, _BUDGETS)
        made = digest("budgets", encode(shown))
        if known is not None and known.digest == made:
            return
        with Session(self._engine) as db, db.begin():
            row = db.get(Noted, _BUDGETS) or Noted(what=_BUDGETS)
            row.digest = made
            db.add(row)
            leaving.write(db, self._desk, self._desk.standing, "budgets", shown, now)

    def decide(self, now: float) -> bool:
        """Works off decisions in the order in which they were handed in; whether any was. One that counts for nothing
        stays with its reason. Of several processes one does it."""
        late = select(Waiting.run).where(Waiting.closed_at.is_(None), Waiting.until <= now).limit(1)
        with Session(self._reading) as db:
            due = select(Decided.digest).where(Decided.done_at.is_(None)).order_by(Decided.at)
            waiting, expired = list(db.scalars(due)), db.scalar(late) is not None
        for key in waiting:
            self._decide(key, now)
        if expired:
            with Session(self._engine) as db, db.begin():
                self._follow(db, deciding.expire(db, now), now)
        return bool(waiting) or expired

    def _decide(self, key: bytes, now: float) -> None:
        weighing = Deciding(self._desk, self._held.look(), self._home)
        with Session(self._engine) as db, db.begin():
            row = db.get_one(Decided, key, with_for_update=True)
            if row.done_at is not None:
                return
            row.done_at = now
            try:
                with db.begin_nested():
                    self._follow(db, weighing.weigh(db, row, now), now)
            except Refused as refusal:
                row.refusal = str(refusal)
                self._store(db, row.run, self._unheard(row, str(refusal)), now)
            withdrawn = row.what == "withdraw" and not row.refusal
        if withdrawn:
            self.hello(now)

    def _unheard(self, row: Decided, reason: str) -> Outcome:
        """A decision that counts for nothing: nobody outside needs to know whose it was said to be."""
        deed = Deed("decision refused", {"what": row.what}, reason.encode())
        return Outcome(act=f"a decision of '{row.person}' counts for nothing: {reason}", deeds=(deed,))

    def _follow(self, db: Session, found: Sequence[tuple[str, Outcome]], now: float) -> None:
        for run, outcome in found:
            self._store(db, run, outcome, now)
            if outcome.erase:
                self._answering.forget(run)

    def receive(self, data: bytes, now: float) -> None:
        """Keeps a letter; its ack is owed once that is committed."""
        try:
            header, envelope = self._desk.read(data, TO_SITE)
            if header.sender != HUB:
                raise ProtocolViolation("a letter comes from somebody else than the hub")
            if header.kind in ("wanted", "here"):
                self._vectors.receive(header.run, self._desk.open(header, envelope), now)
                return
            if header.kind == "checkpoint":
                self._witness(self._desk.open(header, envelope), now)
                return
            with Session(self._engine) as db, db.begin():
                if header.kind in ("ack", "acks"):
                    self._desk.acked(db, header, self._desk.open(header, envelope), now)
                    return
                if (taken := boxes.take(db, header, data, now)) == "other":
                    self._freeze(db, header.run, data, now)
            if taken != "other":
                self._desk.owe(header, data, now)
        except ProtocolViolation as violation:
            log.warning("a letter is set aside: %s", violation)
            with Session(self._engine) as db, db.begin():
                boxes.set_aside(db, HUB, str(violation), data, now)

    def _witness(self, shown: Payload, now: float) -> None:
        """What is said leaves only after what follows from it is stored."""
        if isinstance(shown, Shown):
            with Session(self._engine) as db, db.begin():
                answer = witness.look(db, self._desk, shown, now)
            self._desk.put_note(HUB, "cosigned", answer())

    def _freeze(self, db: Session, name: str, data: bytes, now: float) -> None:
        """The hub sent two letters under one number: both are kept as evidence, and the run ends here."""
        boxes.set_aside(db, HUB, TWICE, data, now, whole=True)
        run = db.get(Run, name)
        if run is not None and run.ended_at is None:
            refusal = ("refusal", Refusal(TWICE))
            self._store(db, name, Outcome((refusal,), f"refused: {TWICE}", erase=True, act=TWICE), now)

    def work(self, now: float) -> bool:
        """Works off the next letter; False if none waits."""
        number = self.claim(now)
        if number is not None:
            self.work_off(number, now)
        return number is not None

    def claim(self, now: float) -> int | None:
        """A letter of ours whose chunks may have come, else the next one that nobody has claimed; ours from now on."""
        with self._turn:
            number = self._vectors.due(now)
            if number is None:
                with Session(self._notes) as db, db.begin():
                    number = boxes.claim(db, self._worker)
            if number is not None:
                self._at.add(number)
            return number

    def work_off(self, number: int, now: float) -> None:
        """Works off a letter that was claimed. Any number of threads and processes may, each at a letter of its own;
        what one finds counts only if nobody was done with the letter, or with the job, meanwhile."""
        try:
            self._work_off(number, now)
        except Exception:
            with suppress(SQLAlchemyError), Session(self._notes) as db, db.begin():
                boxes.free(db, [number])  # what fails here is freed by `free_claims`
            raise
        finally:
            with self._turn:
                self._at.discard(number)

    def free_claims(self, dead: Callable[[list[str]], list[str]]) -> None:
        """Letters wait again whose worker is `dead`, and those that a thread of ours left in the middle."""
        with self._turn, Session(self._notes) as db, db.begin():
            claims = boxes.claims(db)
            gone = set(dead([worker for _, worker in claims]))
            ours = {number for number, worker in claims if worker == self._worker}
            if letters := ours - self._at - self._vectors.waiting() | {n for n, worker in claims if worker in gone}:
                boxes.free(db, letters)

    def _work_off(self, number: int, now: float) -> None:
        with Session(self._reading) as db:
            row = db.get_one(Inbox, number)
            run = db.get(Run, row.run)
            db.expunge_all()
        outcome = self._answering.under(self._held.look()).answer(row, row.data, run, row.attempts, now)
        if isinstance(outcome, Missing):
            self._vectors.wait(number, outcome, now)
            return
        if self._settle(row, run, outcome, now):
            self._vectors.erase(row.run)

    def _settle(self, row: Inbox, run: Run | None, outcome: Outcome | None, now: float) -> bool:
        """Stores what came of a letter; True if nothing of its run is kept any more."""
        with Session(self._engine) as db, db.begin():
            waiting = db.get_one(Inbox, row.id, with_for_update=True)
            if waiting.done_at is not None:
                return self._has_ended(db, row.run)
            if outcome is None:
                waiting.attempts, waiting.claimed_by = waiting.attempts + 1, None
                return False
            waiting.done_at = now
            if run is not None and run.ended_at is None and self._has_ended(db, run.run):
                return True  # while we were at it
            outcome = self._stored(db, waiting.run, outcome, now)
            if outcome.aside:
                boxes.set_aside(db, HUB, outcome.aside, row.data, now)
            if waiting.kind == "end":  # what else the hub has asked in this run is moot
                boxes.done_with(db, waiting.run, now)
                deciding.close(db, waiting.run, now)
            return outcome.erase

    def _stored(self, db: Session, run: str, outcome: Outcome, now: float) -> Outcome:
        """Stores an outcome, or the refusal that it turns into where another job was quicker to reserve."""
        try:
            with db.begin_nested():
                self._store(db, run, outcome, now)
        except Refused as refusal:
            outcome = refused(str(refusal))
            self._store(db, run, outcome, now)
        return outcome

    def _has_ended(self, db: Session, run: str) -> bool:
        row = db.get(Run, run)
        return row is not None and row.ended_at is not None

    def _welcomed(self, db: Session, welcome: Welcome, now: float) -> None:
        self._desk.hear(HUB, speaks(welcome.version))
        row = db.get(HubSeen, 1) or HubSeen(id=1)
        row.version, row.at = welcome.version, now
        db.add(row)
        boxes.hurry(db, HUB, now)

    def _costs(self, db: Session, name: str, outcome: Outcome, now: float) -> tuple[Deed, ...]:
        """What the outcome does to the privacy budget, and to what others can subtract; refuses one that they do not
        bear."""
        costs, policy = tuple[Deed, ...](), self._held.settings.policy
        if outcome.locked is not None:
            plan = self._desk.plan(db.get_one(Run, name).plan)
            differing.note_total(db, policy, plan, *outcome.locked)
        if outcome.agreed is not None:
            differing.note_release(db, outcome.agreed)
        if outcome.plan is not None:
            costs = budget.reserve(db, policy, self._desk.plan(outcome.plan), now)
        if outcome.contributed:
            costs += budget.spend(db, name)
        return costs + (budget.close(db, name, now) if outcome.erase else ())

    def _store(self, db: Session, name: str, outcome: Outcome, now: float) -> None:
        costs = self._costs(db, name, outcome, now)
        if outcome.plan is not None:
            db.add(Run(run=name, plan=outcome.plan, status="", attempt=0, steps=0, started_at=now, bytes_sent=0))
            db.flush()
        run = db.get(Run, name)
        if outcome.said is not None:
            outcome.said.run = name
            db.add(outcome.said)
        for kind, payload in outcome.letters:
            sent = leaving.write(db, self._desk, name, kind, payload, now)
            if run is not None:
                run.bytes_sent += sent
        if outcome.asked is not None:
            db.add(_waiting(name, outcome.asked, now))
        if outcome.welcome is not None:
            self._welcomed(db, outcome.welcome, now)
        if outcome.act:
            db.add(Act(at=now, run=name, text=outcome.act))
        for deed in (*outcome.deeds, *costs):
            deeds.write(db, self._desk, deed, name, now, self._draw)
        if run is None:
            return
        run.status = outcome.status or run.status
        run.attempt = run.attempt if outcome.attempt is None else outcome.attempt
        run.steps += outcome.contributed
        if outcome.state is not None:
            run.state = encode(outcome.state)
        if outcome.erase:
            run.state, run.ended_at = None, now


def _waiting(run: str, asked: Asked, now: float) -> Waiting:
    return Waiting(
        run=run,
        what=asked.what,
        digest=asked.digest,
        content=asked.content,
        asked_at=now,
        until=asked.until,
        closed_at=None,
    )
