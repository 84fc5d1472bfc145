"""What the hub and each site were doing when, from a job's timeline and its closed rounds: bars in lanes.

Consents, refusals and leaving are told in the timeline; how long each round took, and each reply, in the rounds. Of a
job that ran before rounds were kept, the bars end with the consents. Times are the hub's, when it heard of something.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from hansa.hub.job_detail import JobDetail, TimelineEntry
from hansa.hub.pace import STEP_STAGES, RoundTook

HUB: Final = "hub"
WAITS, AGREES, PERSON, KEYS, COMPUTES, OPENS, GONE = DOING = (
    "waits",
    "is asked to agree",
    "a person decides",
    "agrees on keys",
    "computes",
    "confirms and opens the total",
    "silent, or out",
)
_OF_STAGE: Final[Mapping[str, str]] = {
    "agreeing on keys": KEYS,
    "computing": COMPUTES,
    "sending its numbers": COMPUTES,
    "confirming who takes part": OPENS,
    "opening the total": OPENS,
    "looking at the answer": AGREES,
}
MOST: Final = 1_500  # bars; of more, those of the newest rounds
_OUT: Final = ("did not answer in time", "its numbers are in step", "refuses")  # how a site's last line begins


class Bar(Struct, frozen=True):
    """`start` and `end` in seconds since 1970."""

    lane: str
    start: float
    end: float
    doing: str
    text: str


def bars(detail: JobDetail, now: float) -> list[Bar]:
    """By lane, the hub's first, in time; those of the open round last until `now`."""
    end = detail.view.ended_at or now
    rounds = drawn(detail)
    found = [*_before(detail, end), *_hub(detail, rounds, end)]
    for site in [site.site for site in detail.sites]:
        found += [*_consent(detail, site, end), *_replies(detail, rounds, site, end), *_out(detail, site, end)]
    return [bar for bar in found if bar.end >= bar.start]


def drawn(detail: JobDetail) -> list[RoundTook]:
    """The closed rounds that there is room for, the newest of them."""
    return list(detail.rounds)[-max(1, MOST // (len(detail.sites) + 1)) :]


def lanes(detail: JobDetail) -> list[str]:
    return [HUB, *(site.site for site in detail.sites)]


def _first(detail: JobDetail, begins: tuple[str, ...], site: str | None = None) -> TimelineEntry | None:
    """The first line that begins so, of a site or of whoever it may be."""
    lines = (line for line in detail.timeline if site is None or line.site == site)
    return next((line for line in lines if line.text.startswith(begins)), None)


def _before(detail: JobDetail, end: float) -> Iterator[Bar]:
    """Until consents are asked for."""
    start, signed = detail.view.created_at, _first(detail, ("signed the plan",))
    asked = _first(detail, ("consent was asked of",))
    yield Bar(HUB, start, end if signed is None else signed.at, WAITS, f"{detail.view.proposer} is to sign the plan")
    if signed is not None:
        yield Bar(HUB, signed.at, end if asked is None else asked.at, WAITS, "for its turn over the table")


def _hub(detail: JobDetail, rounds: list[RoundTook], end: float) -> Iterator[Bar]:
    """What the rounds are of: consents, keys, each step, the release."""
    asked = _first(detail, ("consent was asked of",))
    opened = detail.progress.opened_at if detail.view.ended_at is None and detail.progress.round else None
    if asked is not None:
        after = detail.rounds[0].opened_at if detail.rounds else opened
        yield Bar(HUB, asked.at, end if after is None else after, AGREES, "asks for consents")
    groups: dict[tuple[str, str], list[RoundTook]] = {}
    for one in rounds:
        of_step = one.stage in STEP_STAGES
        doing, text = (COMPUTES, f"step {one.step + 1}") if of_step else (_OF_STAGE.get(one.stage, WAITS), one.stage)
        groups.setdefault((doing, text), []).append(one)
    for (doing, text), of_it in groups.items():
        yield Bar(HUB, of_it[0].opened_at, of_it[-1].closed_at, doing, text)
    if opened is not None:
        yield Bar(HUB, opened, end, _now(detail), detail.progress.name or detail.view.status)


def _now(detail: JobDetail) -> str:
    return {"setup": KEYS, "running": COMPUTES, "releasing": AGREES}.get(detail.view.status, WAITS)


def _consent(detail: JobDetail, site: str, end: float) -> Iterator[Bar]:
    asked = _first(detail, ("consent was asked of",))
    if asked is None:
        return
    said = _first(detail, ("consents", *_OUT), site)
    until = end if said is None else said.at
    lines = (line for line in detail.timeline if line.site == site and line.text == "a person decides")
    person = next((line for line in lines if asked.at <= line.at <= until), None)
    if person is not None:
        yield Bar(site, asked.at, person.at, AGREES, "asked for its consent")
        yield Bar(site, person.at, until, PERSON, "whether to consent")
    else:
        yield Bar(site, asked.at, until, AGREES, "asked for its consent" if said is None else said.text)


def _replies(detail: JobDetail, rounds: list[RoundTook], site: str, end: float) -> Iterator[Bar]:
    silent = {line.at for line in detail.timeline if line.site == site and line.text == "did not answer in time"}
    for one in rounds:
        text = f"{one.stage}, step {one.step + 1}" if one.stage in STEP_STAGES else one.stage
        if site in one.replied:
            reply = one.opened_at + one.replied[site]
            yield Bar(site, one.opened_at, reply, _OF_STAGE.get(one.stage, WAITS), text)
        elif one.closed_at in silent:
            yield Bar(site, one.opened_at, one.closed_at, GONE, f"silent while {text}")
    here, opened = detail.progress, detail.progress.opened_at
    if opened is not None and here.round and site in here.waits_for:
        stage = next(part.stage for part in detail.sites if part.site == site)
        doing = PERSON if stage == "a person decides" else _OF_STAGE.get(stage, WAITS)
        yield Bar(site, opened, end, doing, stage)


def _out(detail: JobDetail, site: str, end: float) -> Iterator[Bar]:
    """From when it left, or was left out, to the end."""
    left = _first(detail, _OUT, site)
    if left is not None:
        yield Bar(site, left.at, end, GONE, left.text)
