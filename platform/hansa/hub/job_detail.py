"""One job with everything that a person may see of it, and its answer held to its evidence."""

import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import replay
from hansa.access import Action, authorise, may
from hansa.errors import Refused
from hansa.hub import evidence as kept
from hansa.hub import models, pace
from hansa.hub.actions import Hub, thing_of
from hansa.hub.looking import JobView, Viewer, view_of
from hansa.hub.models import Event, Job, Participant
from hansa.hub.pace import Progress, RoundTook
from hansa.mail import charter_files
from hansa.plan import Disclosure, Noise
from hansa.plan import read as read_plan

MOST_CHUNKS: Final = 64  # of a step, that are recomputed at the hub: 256 MiB of each site
_OFFERED: Final[tuple[Action, ...]] = ("cancel", "see evidence")
_RECOMPUTING = threading.BoundedSemaphore(1)  # in this process: it takes a core for as long as it lasts


class SiteProgress(Struct, frozen=True):
    site: str
    stage: str
    reason: str
    consented: bool
    took_part: bool
    bytes_moved: int
    changed_at: float


class TimelineEntry(Struct, frozen=True):
    at: float
    site: str
    text: str


class JobDetail(Struct, frozen=True):
    view: JobView
    plan_digest: str
    protection: str
    minimum_sites: int
    deadline: float | None  # of the open round, seconds since 1970; a hub that runs closes it soon after
    parameters: dict[str, Any]
    sites: tuple[SiteProgress, ...]
    timeline: tuple[TimelineEntry, ...]
    rounds: tuple[RoundTook, ...]  # that have closed; none of a job that ran before any were kept
    progress: Progress
    answer: dict[str, Any] | None
    remarks: tuple[str, ...]  # what a reader of the answer must know about who is in it
    answer_digest: str
    recipients: tuple[str, ...]  # members; empty where the plan is of Hansa 0.1, which names none: everybody
    purpose: str
    disclosure: Disclosure | None
    noise: Noise | None
    withheld: bool  # there is an answer, and it is not for who looks
    may: tuple[Action, ...]  # of `cancel` and `see evidence`, what who looks may


class KeptEvidence(Struct, frozen=True):
    """From what anybody recomputes a job's totals and its answer (`hansa.replay`). Shows no input."""

    content: bytes  # `replay.Evidence`, encoded
    chunks: tuple[bytes, ...]  # the digests of what lies beside it: the chunks of large vectors
    read: Callable[[bytes], bytes]

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()


class Recomputed(Struct, frozen=True):
    """What held when an answer was recomputed. `chunks` of `of_chunks`: of all totals; `exact`: to the byte."""

    steps: int
    chunks: int
    of_chunks: int
    signatures: int
    exact: bool


def shows(hub: Hub, row: Job, who: Viewer | None, what: Action) -> bool:
    return who is None or may(who, what, thing_of(hub.desk, row))


def job(hub: Hub, run: str, who: Viewer | None = None) -> JobDetail | None:
    """None too if `who` may not see it; without the answer if it is for others."""
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        if row is None or not shows(hub, row, who, "see job"):
            return None
        parts = db.scalars(select(Participant).where(Participant.run == run).order_by(Participant.site)).all()
        events = db.scalars(select(Event).where(Event.run == run).order_by(Event.id)).all()
        timeline = tuple(TimelineEntry(event.at, event.site, event.text) for event in events)
        return _detail(hub, row, who, parts, (timeline, pace.rounds_of(db, run)))


def _detail(
    hub: Hub,
    row: Job,
    who: Viewer | None,
    parts: Sequence[Participant],
    told: tuple[tuple[TimelineEntry, ...], tuple[RoundTook, ...]],
) -> JobDetail:
    plan, (timeline, rounds) = hub.desk.plan(row.plan), told
    shown = row.answer is not None and shows(hub, row, who, "see answer")
    view = view_of(row, plan)
    return JobDetail(
        view=view,
        plan_digest=plan.digest.hex(),
        protection=plan.protection,
        minimum_sites=plan.minimum_sites,
        deadline=row.deadline,
        parameters=view.parameters,
        sites=tuple(_progress(part) for part in parts),
        timeline=timeline,
        rounds=rounds,
        progress=pace.progress(row, plan, parts, rounds),
        answer=msgspec.json.decode(row.answer, type=dict[str, Any]) if row.answer is not None and shown else None,
        remarks=tuple(_remark(part) for part in parts if row.status == models.DONE and part.stage != "took part"),
        answer_digest=row.answer_digest.hex() if row.answer_digest else "",
        recipients=plan.recipients,
        purpose=plan.purpose,
        disclosure=plan.disclosure,
        noise=plan.noise,
        withheld=row.answer is not None and not shown,
        may=tuple(action for action in _OFFERED if shows(hub, row, who, action)),
    )


def _progress(part: Participant) -> SiteProgress:
    return SiteProgress(
        part.site,
        part.stage,
        part.reason,
        part.consent is not None,
        part.stage == "took part",
        part.bytes_sent + part.bytes_received,
        part.changed_at,
    )


def _remark(part: Participant) -> str:
    why = f"{part.site} is not in the answer: {part.reason or part.stage}."
    if part.steps:
        why += (
            f" Its numbers are in the first {part.steps} of the totals that led here, so the hub can estimate its part"
            " of those totals from what changed when it left."
        )
    return why


def answer_bytes(hub: Hub, run: str, who: Viewer | None = None) -> bytes | None:
    """The answer as it was released: the JSON whose SHA-256 the log holds. None if it is not for `who`."""
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        return None if row is None or not shows(hub, row, who, "see answer") else row.answer


def evidence(hub: Hub, run: str, who: Viewer | None = None) -> KeptEvidence:
    """Refused to whoever may not see it."""
    with Session(hub.reading) as db:
        row = db.get(Job, run)
        if row is None:
            raise Refused(f"there is no job {run}")
        if who is not None:
            authorise(who, "see evidence", thing_of(hub.desk, row))
        charter = charter_files.signed(hub.home, read_plan(row.plan).charter)
        assembled = kept.assemble(db, run, charter)
    return KeptEvidence(assembled.encoded, kept.large(assembled), partial(hub.desk.folder.get, run))


def recompute(hub: Hub, run: str, who: Viewer | None = None) -> Recomputed:
    """Every total and the answer, from the evidence that lies here; ProtocolViolation names the first thing that does
    not hold. Of a total of more than `MOST_CHUNKS` chunks so many are drawn: all of it takes a machine of one's own."""
    found = evidence(hub, run, who)
    with _RECOMPUTING:
        read = replay.read(found.content)
        replayed = replay.replay(read, charters.load(read.charter), found.read, _drawn)
    return Recomputed(
        steps=len(replayed.steps),
        chunks=sum(step.recomputed for step in replayed.steps),
        of_chunks=sum(step.chunks for step in replayed.steps),
        signatures=_signatures(read),
        exact=replayed.exact,
    )


def _drawn(chunks: int) -> Collection[int]:
    if chunks <= MOST_CHUNKS:
        return range(chunks)
    return secrets.SystemRandom().sample(range(chunks), MOST_CHUNKS)


def _signatures(read: replay.Evidence) -> int:
    """How many `replay` looks at: the proposal, consents, two of each site of the setup, headers, locks, releases."""
    setup = len(read.setup.offers.offers) + len(read.setup.reveals.reveals)
    sums = sum(len(one.contributions.headers) + len(one.locks.signatures) for one in read.sums)
    return 1 + len(read.consents) + setup + sums + len(read.releases)
