"""How a job gets on: what the open round waits for, how long closed ones took, what is known of those to come.

One row a closed round, written with what closes it, in the transaction that is open anyway. For people: nothing here
decides anything, and no round is looked at that the page doesn't show.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.hub.models import Job, Participant, RoundRow
from hansa.jobs.base import Step
from hansa.messages import decode, encode
from hansa.plan import Plan

STEP_STAGES: Final = ("computing", "confirming who takes part", "opening the total")  # of a step's three rounds
_PLACES: Final[Mapping[str, tuple[int, int]]] = {  # which round of how many, by the tag of the protocol's state here
    "await-offers": (1, 4),
    "await-reveals": (2, 4),
    "await-encapsulated": (3, 4),
    "await-ready": (4, 4),
    "await-contributions": (1, 3),
    "await-locks": (2, 3),
    "await-shares": (3, 3),
    "opened": (3, 3),
    "await-releases": (1, 1),
}


class RoundTook(Struct, frozen=True):
    """A closed round. `replied`: after how many seconds, by site; whoever was silent is missing."""

    number: int
    step: int
    stage: str
    opened_at: float
    closed_at: float
    replied: dict[str, float]


class Progress(Struct, frozen=True, kw_only=True):
    """Where an open job is. `asked` and `answered` are of its open round, or of the consents."""

    status: str
    step: int = 0  # its number from 1; 0 before the first
    name: str = ""  # of the step
    round: int = 0  # of `rounds` that what is being done has; 0 where none is open
    rounds: int = 0
    asked: int = 0
    answered: int = 0
    waits_for: tuple[str, ...] = ()  # sites
    sending: tuple[str, ...] = ()  # sites whose numbers are on their way
    person_until: float | None = None  # until when a person at some site has time to decide
    closes_at: float | None = None
    opened_at: float | None = None
    steps_after: int | None = None  # how many follow this one; None where that isn't known
    seconds_a_step: float | None = None  # the median of those that have ended


class _Which(Struct):
    """The tag alone of a protocol's state."""

    tag: str = msgspec.field(name="type")


def note(db: Session, job: Job, stage: str, parts: Sequence[Participant], now: float) -> None:
    """Keeps how long the round took that closes now."""
    if job.opened_at is None:
        return
    replied = {
        part.site: round(max(0.0, part.changed_at - job.opened_at), 3)
        for part in parts
        if part.asked and part.reply is not None
    }
    row = RoundRow(run=job.run, number=job.round, step=job.step, stage=stage, replied=encode(replied))
    row.opened_at, row.closed_at = min(job.opened_at, now), now
    db.add(row)


def rounds_of(db: Session, run: str) -> tuple[RoundTook, ...]:
    rows = db.scalars(select(RoundRow).where(RoundRow.run == run).order_by(RoundRow.number))
    return tuple(
        RoundTook(row.number, row.step, row.stage, row.opened_at, row.closed_at, decode(row.replied, dict[str, float]))
        for row in rows
    )


def progress(job: Job, plan: Plan, parts: Sequence[Participant], took: Sequence[RoundTook] = ()) -> Progress:
    """Of an open job; `took` are its closed rounds, for the pace."""
    consenting = job.status == "consenting"
    asked = [part for part in parts if (part.active or part.asked if consenting else part.asked)]
    missing = [part for part in asked if (part.asked if consenting else part.reply is None or part.chunks is not None)]
    waiting = [part.waits_until for part in missing] if job.status != "proposed" else [job.waits_until]
    place, places = _PLACES[_tag(job.state)] if job.state is not None else (0, 0)
    step = decode(job.step_bytes, Step) if job.step_bytes is not None else None
    running = step is not None and job.status in ("running", "releasing")
    return Progress(
        status=job.status,
        step=job.step + 1 if running else 0,
        name=step.name if step is not None and running else "",
        round=place,
        rounds=places,
        asked=len(asked),
        answered=len(asked) - len(missing),
        waits_for=(plan.proposer,) if job.status == "proposed" else tuple(part.site for part in missing),
        sending=tuple(part.site for part in parts if part.chunks is not None),
        person_until=max((until for until in waiting if until is not None), default=None),
        closes_at=job.deadline,
        opened_at=job.opened_at,
        steps_after=plan.job().steps_after(step) if step is not None and running else None,
        seconds_a_step=_pace(took, job.step),
    )


def _tag(state: bytes) -> str:
    return msgspec.msgpack.decode(state, type=_Which).tag


def _pace(took: Sequence[RoundTook], now: int) -> float | None:
    """The median length of the steps before `now`; None where none has ended."""
    steps: dict[int, list[RoundTook]] = {}
    for one in took:
        if one.step < now and one.stage in STEP_STAGES:
            steps.setdefault(one.step, []).append(one)
    lengths = [rounds[-1].closed_at - rounds[0].opened_at for rounds in steps.values()]
    return median(lengths) if lengths else None
