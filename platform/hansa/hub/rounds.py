"""Rounds of a job, at the hub: open, close, and what the outcome leads to.

    consents ──► setup (four rounds) ──► [ contribute ─ lock ─ unmask ─ total ─ advance ] for each step ──► answer
    answer ──► whose numbers are in it agree to its release ──► released

A round closes when every asked site replied, or at its deadline with those that did. Setup needs everybody: it starts
again without the silent ones. A sum needs its quorum, and so does a release. Everything here runs inside the caller's
transaction.

A total that is small is added up where its last round closes. A large one is left to the hub's workers, chunk by chunk
(`adding.py`), and the job goes on when all are there.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from hansa.crypto import merkle
from hansa.crypto.keys import digest
from hansa.errors import NotEnoughSites, ProtocolViolation
from hansa.hub import evidence, models, pace
from hansa.hub.log import record
from hansa.hub.models import Job, Member, Participant, TotalChunk
from hansa.hub.records import tell
from hansa.jobs.base import Schema, Step, check_step, size
from hansa.jobs.under_noise.noisy import read_total
from hansa.mail import boxes
from hansa.mail.boxes import Desk
from hansa.mail.letters import BESIDE_BYTES, End, Open, Payload, Released, Reply, Round, Waits, sentence
from hansa.messages import decode, encode
from hansa.plan import Plan, load
from hansa.protocols import key_setup, release, secure_sum
from hansa.protocols.base import Ask, Done, HubState
from hansa.protocols.key_setup import AwaitEncapsulated, AwaitOffers, AwaitReady, AwaitReveals, Session
from hansa.protocols.release import AwaitReleases
from hansa.protocols.secure_sum import (
    AwaitContributions,
    AwaitLocks,
    AwaitShares,
    Contributed,
    Opened,
    Shares,
    Summed,
)
from hansa.protocols.survivors import Receipt, with_neighbours
from hansa.protocols.thresholds import tolerated_of

SETUP = (AwaitOffers, AwaitReveals, AwaitEncapsulated, AwaitReady)
STATES: Any = (
    AwaitOffers
    | AwaitReveals
    | AwaitEncapsulated
    | AwaitReady
    | AwaitContributions
    | AwaitLocks
    | AwaitShares
    | Opened
    | AwaitReleases
)
GRACE = 60.0
LONGEST_WAIT = 8_760 * 3600.0  # for a person's decision
ADD_UP_SECONDS = 30.0  # after which chunks that nobody added up are given out again
MAX_SETUPS, MAX_STEPS = key_setup.MAX_ATTEMPTS, 200
STAGES = {
    AwaitOffers: "agreeing on keys",
    AwaitReveals: "agreeing on keys",
    AwaitEncapsulated: "agreeing on keys",
    AwaitReady: "agreeing on keys",
    AwaitContributions: "computing",
    AwaitLocks: "confirming who takes part",
    AwaitShares: "opening the total",
    AwaitReleases: "looking at the answer",
}


def participants(db: Db, job: Job) -> Sequence[Participant]:
    return db.scalars(select(Participant).where(Participant.run == job.run).order_by(Participant.site)).all()


def send(db: Db, desk: Desk, part: Participant, kind: str, payload: Payload, now: float) -> None:
    part.bytes_received += len(desk.write(db, part.site, part.run, kind, payload, now))
    part.changed_at = now


def schemas_of(db: Db, sites: Sequence[str], table: str) -> list[Schema]:
    """The schemas that the sites last declared for `table`, in the order of `sites`."""
    found = []
    for site in sites:
        row = db.get(Member, site)
        tables = decode(row.tables, tuple[Schema, ...]) if row else ()
        found += [schema for schema in tables if schema.table == table]
    return found


def end(db: Db, desk: Desk, job: Job, status: str, reason: str, now: float) -> None:
    """Ends a job: its sites are told to erase their seeds and states, the hub erases its own."""
    job.status, job.reason, job.ended_at = status, sentence(reason) if reason else "", now
    job.state = job.session = job.step_bytes = job.deadline = job.total = None
    members = {member.id for member in desk.charter.members}
    for part in participants(db, job):
        part.reply = part.beside = part.chunks = None
        part.asked, part.waits_until = False, None
        if part.site in members:  # who has left the consortium hears no more
            send(db, desk, part, "end", End(status), now)
    record(db, desk, now, "ended", job.run, {"status": status})
    tell(db, now, job.run, f"ended: {status}" + (f" ({job.reason})" if job.reason else ""))


def close_if_complete(db: Db, desk: Desk, job: Job, now: float) -> None:
    parts = participants(db, job)
    if job.status == "consenting" and not any(part.asked for part in parts):
        _open_setup(db, desk, job, [part for part in parts if part.active], now)
    elif job.state is not None and all(_answered(part) for part in parts if part.asked):
        _close(db, desk, job, parts, now)


def gives_out(job: Job, now: float) -> bool:
    """Whether the chunks of a large total are for the workers to add up from `now`."""
    return job.status in models.OPEN and job.deadline == now + ADD_UP_SECONDS


def _answered(part: Participant) -> bool:
    """Whether the reply is here, with all that it names."""
    return part.reply is not None and part.chunks is None


def close_at_deadline(db: Db, desk: Desk, job: Job, now: float) -> None:
    if job.deadline is None or job.deadline > now:
        return
    parts = participants(db, job)
    if job.status == "proposed" and not _goes_on_waiting(desk, job, [job.waits_until], now):
        plan = load(job.plan, desk.charter)
        raise NotEnoughSites(f"the site of '{plan.proposer}' did not sign the proposal in time")
    asked = [part.waits_until for part in parts if part.asked]
    if job.status == "proposed" or _goes_on_waiting(desk, job, asked, now):
        return
    for part in parts:
        if part.asked and not _answered(part):
            part.reply = part.chunks = None
            part.asked = part.active = False
            part.stage = "did not answer in time"
            tell(db, now, job.run, "did not answer in time", part.site)
    if job.status == "consenting":
        _open_setup(db, desk, job, [part for part in parts if part.active], now)
    else:
        _close(db, desk, job, parts, now)


def patience(plan: Plan, waits: Waits, now: float) -> float:
    """Until when a person's decision is waited for: what the site says, up to the plan's own end, and no longer than
    the longest that a policy may say. Then the site has a moment to say that nobody decided."""
    return min(float(waits.until), float(plan.expires), now + LONGEST_WAIT) + GRACE


def _goes_on_waiting(desk: Desk, job: Job, until: Sequence[float | None], now: float) -> bool:
    """Whether somebody's person still has time; the round's deadline then comes again and again until that is over."""
    if not any(moment is not None and moment > now for moment in until):
        return False
    job.deadline, job.opened_at = now + desk.charter.rules.round_seconds, now
    return True


def _open_setup(db: Db, desk: Desk, job: Job, parts: Sequence[Participant], now: float) -> None:
    plan, rules = load(job.plan, desk.charter), desk.charter.rules
    refusals = [f"{part.site}: {part.reason}" for part in participants(db, job) if part.reason]
    if not parts and refusals:
        end(db, desk, job, models.REFUSED, refusals[0], now)
        return
    if not parts:
        raise NotEnoughSites("no site answered in time")
    if job.attempt >= MAX_SETUPS:
        raise NotEnoughSites(f"the sites did not agree on keys in {MAX_SETUPS} attempts")
    keys = desk.charter.signing_keys(tuple(part.site for part in parts))
    corrupt = tolerated_of(len(plan.sites), rules.corrupt)
    try:
        ask = key_setup.begin(plan.digest, job.attempt, keys, corrupt, plan.minimum_sites, plan.job().ring)
    except NotEnoughSites as error:
        raise NotEnoughSites(f"{error}; {'; '.join(refusals)}" if refusals else str(error)) from error
    job.attempt, job.status = job.attempt + 1, "setup"
    _open(db, desk, job, ask, now)


def _open(db: Db, desk: Desk, job: Job, ask: Ask, now: float) -> None:
    """Opens the next round: the state is stored and the requests are in the outbox, or neither is."""
    job.round, job.quorum, job.state = job.round + 1, ask.quorum, encode(ask.state)
    job.opened_at, job.deadline = now, now + desk.charter.rules.round_seconds
    kind = {AwaitOffers: "open", AwaitReleases: "ask-release"}.get(type(ask.state), "round")
    shows_total = isinstance(ask.state, AwaitContributions | AwaitReleases)
    for part in participants(db, job):
        part.reply = part.beside = part.chunks = None
        part.asked = part.site in ask.requests
        if part.asked:
            part.stage = STAGES[type(ask.state)]
            message = encode(ask.requests[part.site])
            beside = job.total or b"" if shows_total else b""
            payload = Open(job.round, message) if kind == "open" else Round(job.round, message, beside)
            send(db, desk, part, kind, payload, now)


def take_reply(desk: Desk, job: Job, part: Participant, reply: Reply) -> None:
    """Keeps a reply to the open round. A large vector that it names is still to be fetched, if the reply holds."""
    part.reply, part.beside, part.stage = reply.message, reply.beside or None, "answered"
    part.waits_until = None
    if reply.beside or job.state is None:
        return
    state: Any = decode(job.state, STATES)
    if not isinstance(state, AwaitContributions):
        return
    try:
        contributed = decode(reply.message, Contributed)
        state.check(part.site, contributed)
    except ProtocolViolation:
        return  # the round closes without it, and says why
    if desk.folder.missing(job.run, contributed.chunks):
        part.chunks, part.stage = encode(contributed.chunks), "sending its numbers"


def _close(db: Db, desk: Desk, job: Job, parts: Sequence[Participant], now: float) -> None:
    if job.state is None:
        raise ValueError("a job without an open round")
    state: HubState | Opened = decode(job.state, STATES)
    if isinstance(state, Opened):
        _total_of_chunks(db, desk, job, state, parts, now)
        return
    pace.note(db, job, STAGES[type(state)], parts, now)
    replies = _replies(db, desk, job, state, parts, now)
    if len(replies) < job.quorum:
        if isinstance(state, SETUP):
            _open_setup(db, desk, job, [part for part in parts if part.site in replies], now)
            return
        raise NotEnoughSites(f"{len(replies)} sites answered and {job.quorum} are needed")
    outcome = state.close(replies)  # type: ignore[attr-defined]  # each state closes with its own type of reply
    evidence.keep(db, job, state, replies, {part.site: part.beside for part in parts}, outcome)
    if isinstance(outcome, Ask):
        if isinstance(state, AwaitContributions):
            _note_survivors(db, desk, job, with_neighbours(state.session, replies), now)
        _open(db, desk, job, outcome, now)
    elif isinstance(outcome, Done) and isinstance(outcome.output, Session):
        _first_step(db, desk, job, outcome.output, now)
    elif isinstance(outcome, Done) and isinstance(outcome.output, Opened):
        _add_up(db, desk, job, outcome.output, replies, now)
    elif isinstance(state, AwaitReleases):
        _release(db, desk, job, state.answer, state.survivors, now)


def _replies(db: Db, desk: Desk, job: Job, state: HubState, parts: Sequence[Participant], now: float) -> dict[str, Any]:
    """The replies that are of the type due and hold by themselves; a site that sends anything else is out."""
    found = {}
    for part in parts:
        if part.asked and part.reply is not None:
            try:
                reply = decode(part.reply, state.accepts)
                state.check(part.site, reply)
                if isinstance(reply, Contributed) and isinstance(state, AwaitContributions):
                    _check_vector(desk, job, state, part, reply)
                found[part.site] = reply
            except ProtocolViolation as violation:
                part.active, part.stage, part.reason = False, "sent something malformed", str(violation)
                boxes.set_aside(db, part.site, str(violation), part.reply, now)
                part.reply, part.asked = None, False
                record(db, desk, now, "letter set aside", job.run, {"site": part.site, "kind": "reply"})
    return found


def _check_vector(desk: Desk, job: Job, state: AwaitContributions, part: Participant, reply: Contributed) -> None:
    """What came beside a reply is what it names: chunks in the folder by their digests, a small vector here."""
    if part.beside is None:
        sizes = [desk.folder.size(job.run, chunk) for chunk in reply.chunks]
    elif reply.chunks == (merkle.leaf(part.beside),):
        sizes = [len(part.beside)]
    else:
        raise ProtocolViolation(f"the numbers of '{part.site}' are not those it signed")
    state.check_sizes(part.site, sizes)


def _note_survivors(db: Db, desk: Desk, job: Job, survivors: Sequence[str], now: float) -> None:
    record(db, desk, now, "survivors locked", job.run, {"step": str(job.step), "sites": ", ".join(survivors)})


def _first_step(db: Db, desk: Desk, job: Job, session: Session, now: float) -> None:
    plan = load(job.plan, desk.charter)
    job.session, job.receipt, job.status, job.step = encode(session), None, "running", 0
    agreed = {"session": session.id.hex(), "plan": plan.digest.hex(), "sites": ", ".join(session.roster)}
    record(db, desk, now, "setup complete", job.run, agreed)
    job.agreed = len(session.roster)
    tell(db, now, job.run, f"{job.agreed} sites agreed on keys")
    job.total = None
    step = plan.job().begin(schemas_of(db, session.roster, plan.table), len(session.roster))
    _ask_for_step(db, desk, job, step, session.roster, now)


def _ask_for_step(db: Db, desk: Desk, job: Job, step: Step, cohort: Sequence[str], now: float) -> None:
    if job.session is None or job.step >= MAX_STEPS:
        raise ValueError("a step without a session, or too many steps")
    session = decode(job.session, Session)
    receipt = decode(job.receipt, Receipt) if job.receipt is not None else None
    check_step(step, len(cohort), session.ring)
    job.step_bytes = encode(step)
    length = sum(size(block) for block in step.blocks)
    ask = secure_sum.begin(session, job.step, job.step_bytes, cohort, receipt, length)
    tell(db, now, job.run, f"step {job.step + 1}: {step.name}")
    _open(db, desk, job, ask, now)


def _add_up(db: Db, desk: Desk, job: Job, opened: Opened, shares: Mapping[str, Shares], now: float) -> None:
    """The masks are open: the total of small vectors is made at once, that of large ones by the workers."""
    here = evidence.beside(db, job)
    if all(chunk in here for chunks in opened.parts for chunk in chunks):
        summed = opened.summed(here.__getitem__)
        evidence.keep_opening(db, job, shares, summed.receipt, summed.content)
        _total(db, desk, job, summed, now)
        return
    for content in here.values():  # a site may send a small vector either way
        desk.folder.put(job.run, content)
    job.state, job.deadline = encode(opened), now + ADD_UP_SECONDS
    for number in range(len(opened.parts[0])):
        db.add(TotalChunk(run=job.run, round=job.round, number=number, digest=None))


def _total_of_chunks(db: Db, desk: Desk, job: Job, opened: Opened, parts: Sequence[Participant], now: float) -> None:
    """Goes on if the workers have added up every chunk; at the deadline they are given out again."""
    chunks = [row.digest for row in total_chunks(db, job)]
    if None in chunks:
        if job.deadline is None or job.deadline <= now:
            job.deadline = now + ADD_UP_SECONDS
        return
    receipt = opened.receipt(chunk for chunk in chunks if chunk is not None)
    content = b"".join(desk.folder.get(job.run, chunk) for chunk in receipt.chunks)
    small = content if len(content) <= BESIDE_BYTES else None
    shares = {part.site: decode(part.reply, Shares) for part in parts if part.asked and part.reply is not None}
    evidence.keep_opening(db, job, shares, receipt, small)
    _total(db, desk, job, opened.total(receipt, content), now)


def total_chunks(db: Db, job: Job) -> Sequence[TotalChunk]:
    """Of the total that is being added up, in order."""
    query = select(TotalChunk).where(TotalChunk.run == job.run, TotalChunk.round == job.round)
    return db.scalars(query.order_by(TotalChunk.number)).all()


def _total(db: Db, desk: Desk, job: Job, summed: Summed, now: float) -> None:
    """A total is open: give it to the job, which asks for another step or answers."""
    if job.step_bytes is None:
        raise ValueError("a total without a step")
    step, plan = decode(job.step_bytes, Step), load(job.plan, desk.charter)
    receipt = summed.receipt
    details = {
        "step": str(job.step),
        "total": digest("sum/total", *receipt.chunks).hex(),
        "locked": receipt.locked().hex(),
    }
    record(db, desk, now, "total opened", job.run, details)
    _mark_leavers(db, job, summed, now)
    asked, honest = plan.job(), decode(job.session or b"", Session).floors.honest
    total = read_total(asked, job.step, step, summed.vector(), len(summed.survivors), honest)
    outcome = asked.advance(step, total)
    job.receipt = encode(receipt)
    job.total = summed.content if len(summed.content) <= BESIDE_BYTES else None
    if isinstance(outcome, Step):
        job.step += 1
        _ask_for_step(db, desk, job, outcome, summed.active, now)
        return
    content = msgspec.json.encode(plan.release(outcome))
    if plan.version == 1:  # of sites that know no such letter
        _release(db, desk, job, content, summed.survivors, now)
        return
    job.status, keys = "releasing", {site: desk.charter.member(site).consent for site in summed.active}
    quorum = decode(job.session or b"", Session).floors.threshold
    tell(db, now, job.run, f"{len(summed.active)} sites look at the answer before it is released")
    _open(db, desk, job, release.begin(plan.digest, content, receipt, keys, summed.active, quorum), now)


def _mark_leavers(db: Db, job: Job, summed: Summed, now: float) -> None:
    for part in participants(db, job):
        part.steps += part.site in summed.survivors
        if part.active and part.site not in summed.survivors:
            part.active = False
        elif part.active and part.site not in summed.active:
            part.active, part.stage = False, f"left after step {job.step + 1}"
            tell(db, now, job.run, f"its numbers are in step {job.step + 1}; it is in no later one", part.site)


def _release(db: Db, desk: Desk, job: Job, content: bytes, survivors: Sequence[str], now: float) -> None:
    job.answer, job.answer_digest = content, sha256(content).digest()
    for part in participants(db, job):
        if part.site in survivors:
            part.active, part.stage = True, "took part"
        if desk.charter.witnessed:
            send(db, desk, part, "released", Released(job.answer_digest), now)
    record(db, desk, now, "released", job.run, {"answer": job.answer_digest.hex(), "sites": ", ".join(survivors)})
    end(db, desk, job, models.DONE, "", now)
