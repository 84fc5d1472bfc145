"""What a question would cost, before anybody is asked: letters, bytes, seconds, and how loud its noise is.

The question is run in this process by the protocols and kinds themselves (`hansa.simulator`), over rows that are
invented from the schemas, and every message is put into a letter of the size it would have. Letters are padded to
powers of two, so the bytes are those of the real run as long as it takes as many steps.

How many steps a regression takes depends on rows that nobody here sees. Where the same question was answered over the
table before, its steps are taken; else those of the invented rows. `open_ended` says so.

Seconds are `ROUND_SECONDS` a round, `LETTER_SECONDS` a letter and the bytes at `BYTES_A_SECOND`, as measured on one
machine, times what the last jobs of this hub took more or less than that: `measured` says on how many jobs this rests.
Time that a person takes to decide, or that a job stands in line, is not in it.
"""

import os
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec
import numpy as np
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa import simulator
from hansa.errors import NotEnoughSites, Refused
from hansa.hub import models
from hansa.hub.actions import Hub
from hansa.hub.models import Event, Job, Member, Participant
from hansa.jobs import base
from hansa.jobs.base import Schema, Table
from hansa.mail.letters import BESIDE_BYTES, SINCE
from hansa.messages import HUB, SUITE, Header, decode, letter_size
from hansa.plan import Plan, Question, make
from hansa.plan import read as read_plan
from hansa.simulator import Exchange, Simulated

ROUND_SECONDS, LETTER_SECONDS, BYTES_A_SECOND = 0.055, 0.004, 40e6
LOOKED_BACK = 30  # jobs
_ROWS = 200  # of each invented table
_RUN = "0" * 32


class Estimate(Struct, frozen=True):
    """`site_bytes`: both ways, of the site that moves most; `all_bytes`: of all together. `deviations`: by what each
    step's blocks are, the standard deviation of the noise in a number of it."""

    steps: int
    open_ended: bool
    rounds: int
    letters: int
    site_bytes: int
    all_bytes: int
    seconds: float
    measured: int
    deviations: Mapping[str, float]


def estimate(hub: Hub, question: Question) -> Estimate | None:
    """None where rows that one could invent would not do, as a model that can't be fitted to them; refuses what
    `actions.propose` would refuse."""
    charter = hub.desk.charter
    with Session(hub.reading) as db:
        rows = db.scalars(select(Member)).all()
        found = {row.site: decode(row.tables, tuple[Schema, ...]) for row in rows}
        schemas = {site: one for site, tables in found.items() for one in tables if one.table == question.table}
        proposer = question.proposer or charter.members[0].id
        plan = make(question, charter, _RUN, proposer, schemas, expires=2**31)
        seen, pace, measured = _steps_before(db, plan), *_pace(db)
    run = _simulated(plan, schemas, charter.rules.corrupt)
    if run is None:
        return None
    steps = seen or run.steps
    moved = _bytes(plan, run, steps, charter.version)
    rounds = 3 + 4 + 3 * steps
    count = len(moved) * 2 * rounds
    seconds = (ROUND_SECONDS * rounds + LETTER_SECONDS * count + sum(moved.values()) / BYTES_A_SECOND) * pace
    noise = run.answer.noise
    deviations = {} if isinstance(noise, msgspec.UnsetType) else noise.deviations
    open_ended = plan.job().open_ended and not seen
    largest, every = max(moved.values()), sum(moved.values())
    return Estimate(steps, open_ended, rounds, count, largest, every, seconds, measured, deviations)


def _simulated(plan: Plan, schemas: Mapping[str, Schema], corrupt: int) -> Simulated | None:
    job = plan.job()
    levels = msgspec.json.decode(plan.parameters).get("levels") or {}
    tables = {site: _invented(schemas[site], job, levels) for site in plan.sites}
    try:
        return simulator.simulate(job, tables, os.urandom, corrupt=corrupt, minimum=plan.minimum_sites)
    except (Refused, NotEnoughSites):
        return None


def _there(job: base.Job, schema: Schema) -> tuple[str, ...]:
    """The columns that a site loads."""
    held = [column.name for column in schema.columns]
    return tuple(name for name in job.columns() if name in held or not job.lenient)


def _invented(schema: Schema, job: base.Job, levels: Mapping[str, Sequence[str]]) -> Table:
    """Categories that are equally frequent, and noughts and ones, which every kind takes as an outcome. A column says
    the same of a row as the others in about 75 of 100 rows, so a regression finds something and takes its steps. What
    can't be so (`plausible`) is spread evenly."""
    chance = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))
    shared, made = chance.random(_ROWS) < 0.5, {}
    for column in (schema.column(name) for name in _there(job, schema)):
        low, high = job.plausible(column.name)
        among = list(levels.get(column.name) or column.categories)
        if among or column.type == "text":
            drawn = chance.choice(among or ["a", "b"], _ROWS)
            made[column.name] = drawn.astype(np.float64 if column.type == "number" else np.object_)
        elif (low, high) != (0.0, 1.0):
            made[column.name] = chance.uniform(low, high, _ROWS)
        else:
            made[column.name] = (shared ^ (chance.random(_ROWS) < 0.15)).astype(np.float64)
    return Table(schema, _ROWS, made)


def _bytes(plan: Plan, run: Simulated, steps: int, charter: int) -> dict[str, int]:
    """By site, both ways. A step beyond those that were played moves what the last one did."""
    moved = {site: _around(plan, site, run, charter) for site in plan.sites}
    if plan.proposer in moved:
        moved[plan.proposer] += _letter(charter, HUB, "plan-signed", 32 + 64 + 5)
    for one in run.exchanges:
        times = 1 if one.step < run.steps else max(steps - run.steps + 1, 0)
        moved[one.site] += times * _exchanged(one, charter)
    return moved


def _around(plan: Plan, site: str, run: Simulated, charter: int) -> int:
    """What every job moves beside the rounds of setup and steps."""
    answer = len(msgspec.json.encode(plan.release(run.answer)))
    beside = run.total if run.total <= BESIDE_BYTES else 0
    to_site = {
        "ask-consent": len(plan.encoded) + 64 + 8,
        "ask-release": run.receipt + answer + beside + 40,
        "released": 34,
        "end": 6,
    }
    sent = {"consent": 32 + 64 + 5, "reply": 64 + 30}
    here = sum(_letter(charter, site, kind, size) for kind, size in to_site.items())
    return here + sum(_letter(charter, HUB, kind, size) for kind, size in sent.items()) + (run.total - beside)


def _exchanged(one: Exchange, charter: int) -> int:
    """A round's request and reply with what goes beside them, in the letters or in chunks."""
    shown, vector = (size if size <= BESIDE_BYTES else 0 for size in (one.shown, one.vector))
    kind = "open" if one.step == 0 else "round"
    asked = _letter(charter, one.site, kind, one.request + shown + 16)
    said = _letter(charter, HUB, "reply", one.reply + vector + 16)
    return asked + said + (one.shown - shown) + (one.vector - vector)


def _letter(charter: int, receiver: str, kind: str, payload: int) -> int:
    sender = HUB if receiver != HUB else "a" * 8
    return letter_size(Header(SINCE[kind], SUITE, sender, receiver, charter, _RUN, 20, kind), payload)


def _steps_before(db: Session, plan: Plan) -> int:
    """Of the newest job that asked this over these sites; 0 if there was none."""
    done = select(Job).where(Job.status == models.DONE, Job.table_name == plan.table).order_by(Job.place.desc())
    for job in db.scalars(done.limit(200)):
        if read_plan(job.plan).question == plan.question:
            return job.step + 1
    return 0


def _pace(db: Session) -> tuple[float, int]:
    """(how much longer or shorter the last jobs took than the constants say, on how many jobs that rests)."""
    person = select(Event.id).where(Event.run == Job.run, Event.text.like("a person decides%")).exists()
    done = select(Job).where(Job.status == models.DONE, ~person).order_by(Job.place.desc()).limit(LOOKED_BACK)
    found = []
    for job in db.scalars(done):
        sums = select(func.count(), func.sum(Participant.bytes_sent + Participant.bytes_received))
        sites, moved = db.execute(sums.where(Participant.run == job.run)).one()
        rounds = job.round + 3
        expected = ROUND_SECONDS * rounds + LETTER_SECONDS * 2 * rounds * sites + (moved or 0) / BYTES_A_SECOND
        if job.ended_at is not None:
            found.append((job.ended_at - (job.turn_at or job.created_at)) / expected)
    return (median(found), len(found)) if found else (1.0, 0)
