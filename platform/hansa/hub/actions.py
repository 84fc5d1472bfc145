"""What a person may do at the hub. Every door (page, command) comes through here, and each act is one transaction."""

import secrets
import time
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

import hansa
from hansa.access import Thing, authorise
from hansa.audit.log import read as read_entry
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.hub import models, people, retention, rounds
from hansa.hub import settings as hub_settings
from hansa.hub.log import record
from hansa.hub.models import Concerned, EntryRow, Job, Member, Participant, Person
from hansa.hub.people import pseudonym
from hansa.hub.records import tell
from hansa.jobs.base import Schema
from hansa.mail.boxes import Desk
from hansa.mail.database import open_engine
from hansa.mail.letters import SignPlan, apart, speaks
from hansa.messages import decode
from hansa.plan import Plan, Question, make
from hansa.plan import read as read_plan

MOST_OPEN = 1_000  # of one member: its people must not fill the line for all


class Hub:
    """A hub's home, opened by a page or a command: its charter, its keys, its database."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.desk: Desk = hub_settings.open_desk(home)
        url = hub_settings.read_settings(home).database
        self.engine: Engine = open_engine(url)
        self.reading: Engine = open_engine(url, reading=True)


def propose(hub: Hub, person: str, question: Question) -> str:
    """Puts a question as a person of a member; gives the run, or that of the job which has answered it under noise
    before. The member's own site must sign it before anybody is asked. Refuses, in one sentence, what the participants'
    tables can't answer."""
    now, run = time.time(), secrets.token_hex(16)
    with Session(hub.engine) as db, db.begin():
        row = db.get(Person, person)
        if row is None:
            raise Refused(f"no person '{person}' is known at this hub")
        if question.proposer not in ("", row.member):
            raise Refused(f"'{person}' asks in the name of '{row.member}', not of '{question.proposer}'")
        theirs = select(func.count()).select_from(Job).join(Person, Person.name == Job.person)
        if (db.scalar(theirs.where(Job.status.in_(models.OPEN), Person.member == row.member)) or 0) >= MOST_OPEN:
            raise Refused(f"{MOST_OPEN} jobs of '{row.member}' are open: ask again when some have ended")
        authorise(people.access_of(row), "propose", Thing(member=question.proposer or row.member))
        plan = _plan(db, hub.desk.charter, question, run, row.member, now)
        if plan.noise is not None and (before := _answered(db, plan)) is not None:
            authorise(people.access_of(row), "see answer", thing_of(hub.desk, before))
            return before.run
        store_proposal(db, hub.desk, plan, person, now)
    return run


def _answered(db: Session, plan: Plan) -> Job | None:
    """The job that answered this very question under noise: its answer is given again, without new noise."""
    done = select(Job).where(Job.status == models.DONE, Job.table_name == plan.table, Job.answer.is_not(None))
    for job in db.scalars(done.order_by(Job.place.desc())):
        if read_plan(job.plan).question == plan.question:
            return job
    return None


def _plan(db: Session, charter: Charter, question: Question, run: str, proposer: str, now: float) -> Plan:
    """Says of a site that it is of a version too far from ours, if that may be why the question can't be asked."""
    rows = db.scalars(select(Member).order_by(Member.site)).all()
    having = [row for row in rows if question.table in {one.table for one in decode(row.tables, tuple[Schema, ...])}]
    far = [(row.site, reason) for row in having if (reason := apart(hansa.__version__, row.version))]
    for site, reason in far:
        if site in question.sites:
            raise Refused(f"nothing is asked of '{site}': {reason}")
    expires = int(now) + 3600 * question.valid_hours
    try:
        schemas = _schemas(db, question.table)
        asked = {proposer, *(question.sites or schemas)}
        new = all(speaks(row.version) > 1 for row in rows if row.site in asked)
        return make(question, charter, run, proposer, schemas, expires=expires, version=2 if new else 1)
    except Refused as refusal:
        if not far:
            raise
        raise Refused(f"{refusal} (nothing is asked of '{far[0][0]}': {far[0][1]})") from refusal


def _schemas(db: Session, table: str) -> dict[str, Schema]:
    """Of every member that has the table, as its site last declared it, and whose site is of a version like ours."""
    rows = db.scalars(select(Member)).all()
    together = [row for row in rows if not apart(hansa.__version__, row.version)]
    declared = {row.site: decode(row.tables, tuple[Schema, ...]) for row in together}
    return {site: schema for site, found in declared.items() for schema in found if schema.table == table}


def store_proposal(db: Session, desk: Desk, plan: Plan, person: str, now: float) -> None:
    """The job, its participants, and the letter that asks the proposer's site to sign: one transaction."""
    content = plan.encoded
    asked = {"plan": plan.digest.hex(), "kind": plan.kind, "table": plan.table, "member": plan.proposer}
    record(db, desk, now, "proposal asked", plan.run, asked | {"person": pseudonym(db, person)}, content)
    last = db.scalar(select(func.max(Job.place)))  # nobody else is here: the log has one writer at a time
    job = Job(
        run=plan.run,
        plan=content,
        person=person,
        status="proposed",
        reason="",
        created_at=now,
        place=0 if last is None else last + 1,
        table_name=plan.table,
        kind=plan.kind,
        proposer=plan.proposer,
        attempt=0,
        agreed=0,
        step=0,
        round=0,
        quorum=0,
        deadline=now + desk.charter.rules.round_seconds,
    )
    db.add(job)
    db.flush()
    for member in concerned(plan):
        db.add(Concerned(run=plan.run, member=member, place=job.place))
    for site in plan.sites:
        db.add(
            Participant(
                run=plan.run,
                site=site,
                asked=False,
                active=True,
                steps=0,
                stage="not asked yet",
                reason="",
                bytes_sent=0,
                bytes_received=0,
                changed_at=now,
            )
        )
    db.flush()
    desk.write(db, plan.proposer, plan.run, "sign-plan", SignPlan(job.plan), now)
    tell(db, now, plan.run, f"proposed; {plan.proposer} is asked to sign it")


def cancel(hub: Hub, person: str, run: str) -> None:
    """Ends an open job. The person must be of the member that proposed it."""
    now = time.time()
    with Session(hub.engine) as db, db.begin():
        job, row = db.get(Job, run), db.get(Person, person)
        if job is None or row is None:
            raise Refused("only a person of the member that proposed a job may cancel it")
        authorise(people.access_of(row), "cancel", thing_of(hub.desk, job))
        if job.status not in models.OPEN:
            raise Refused(f"the job has ended already: {job.status}")
        record(db, hub.desk, now, "cancelled", run, {"person": row.pseudonym, "member": row.member})
        rounds.end(db, hub.desk, job, models.CANCELLED, "", now)


def concerned(plan: Plan) -> list[str]:
    """The members that a job concerns, as `access` will say of it; lists are read by them."""
    return sorted({plan.proposer, *plan.sites, *plan.recipients}) if plan.recipients else [models.EVERYBODY]


def thing_of(desk: Desk, job: Job) -> Thing:
    """A job, as `access.authorise` asks about it."""
    return thing_in(desk, desk.plan(job.plan))


def thing_in(desk: Desk, plan: Plan) -> Thing:
    """A plan of Hansa 0.1 says nobody who receives the answer, and so everybody does."""
    everybody = tuple(member.id for member in desk.charter.members)
    return Thing(proposer=plan.proposer, sites=plan.sites, recipients=plan.recipients or everybody)


def add_person(hub: Hub, name: str, member: str, password: str, roles: str = people.ROLES) -> None:
    if member:
        hub.desk.charter.member(member)
    with Session(hub.engine) as db, db.begin():
        people.add_person(db, name, member, password, roles)


def set_person(hub: Hub, name: str, member: str, password: str) -> None:
    """Adds the person, or gives one that is there this password; for a consortium on one machine."""
    hub.desk.charter.member(member)
    with Session(hub.engine) as db, db.begin():
        people.remove_person(db, name)
        people.add_person(db, name, member, password)


def sign_out(hub: Hub, token: bytes) -> None:
    with Session(hub.engine) as db, db.begin():
        people.sign_out(db, token)


def who(hub: Hub, token: bytes) -> tuple[str, str] | None:
    """(name, member) if the session is still good; asked on every run of a page."""
    with Session(hub.engine) as db, db.begin():
        person = people.who(db, token, time.time())
        return None if person is None else (person.name, person.member)


def erase(hub: Hub, run: str) -> None:
    """Everything of a job that has ended but for its entries in the log."""
    with Session(hub.engine) as db, db.begin():
        retention.erase(db, run)
    hub.desk.folder.erase(run)


def note_reading(hub: Hub, person: str, run: str) -> None:
    """Enters who was shown an answer, once a person and job; refuses who may not see it."""
    with Session(hub.engine) as db, db.begin():
        row, job = db.get(Person, person), db.get(Job, run)
        if row is None or job is None:
            return
        authorise(people.access_of(row), "see answer", thing_of(hub.desk, job))
        who_reads = row.pseudonym
        rows = db.scalars(select(EntryRow.data).where(EntryRow.run == run, EntryRow.act == "answer read"))
        if who_reads not in {read_entry(data).details.get("person") for data in rows}:
            record(db, hub.desk, time.time(), "answer read", run, {"person": who_reads})
