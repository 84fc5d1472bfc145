"""Where a job is, in sentences: what the open round waits for, and an honest word on how long it may last."""

from typing import Final

from hansa.hub.pace import Progress
from hansa_dashboard.words import clock, listed, some

_ROUNDS: Final = ("computing", "confirming who takes part", "opening the total")
_FOR_PEOPLE: Final = 3  # names of sites that a line has room for


def standing(progress: Progress, now: float) -> str:
    """One line, without a capital and a full stop."""
    match progress.status:
        case "proposed":
            says = f"the site of {listed(progress.waits_for)} is to sign the plan"
        case "waiting":
            return "signed, and in line: jobs over one table take turns"
        case "consenting":
            says = f"{progress.answered} of {some(progress.asked, 'site')} consented"
        case "setup":
            says = f"keys are agreed on: round {progress.round} of {progress.rounds}; {_replies(progress)}"
        case "running":
            says = (
                f"step {progress.step} ({progress.name}), round {progress.round} of {progress.rounds}, "
                f"{_ROUNDS[max(progress.round, 1) - 1]}; {_replies(progress)}"
            )
        case "releasing":
            says = f"{some(progress.asked, 'site')} look at the answer before it is released; {_replies(progress)}"
        case _:
            return ""
    return f"{says}{_until(progress, now)}"


def _replies(progress: Progress) -> str:
    if not progress.waits_for:
        return f"all {some(progress.asked, 'reply is', 'replies are')} in, and the hub is at work"
    waits = f", of {listed(progress.waits_for)}" if len(progress.waits_for) <= _FOR_PEOPLE else ""
    missing = some(len(progress.waits_for), "is missing", "are missing")
    return f"{progress.answered} of {some(progress.asked, 'reply is', 'replies are')} in, {missing}{waits}"


def _until(progress: Progress, now: float) -> str:
    if progress.person_until is not None:
        return f"; a person decides, until {clock(progress.person_until)} at the latest"
    if progress.closes_at is None:
        return ""
    seconds = progress.closes_at - now
    if seconds < 0:
        return "; its time is over, and the hub is to close it"
    sending = ", or later as long as numbers keep coming in" if progress.sending else ""
    return f"; this closes in {seconds:.0f} s at the latest{sending}"


def left(progress: Progress, now: float) -> str:
    """What can be said of the time that is left; empty before the first step. Never more than the pace so far tells."""
    if progress.status != "running" or not progress.step:
        return ""
    pace, after = progress.seconds_a_step, progress.steps_after
    if after is None:
        so_far = "" if pace is None else f" Each took {_seconds(pace)} so far."
        return f"How many steps follow is not known ahead: it depends on what the totals say.{so_far}"
    follow = "This is the last step." if after == 0 else f"{some(after, 'step follows', 'steps follow')}."
    if pace is None:
        return f"{follow} None has ended yet, so nothing can be said of how long they take."
    spent = 0.0 if progress.opened_at is None else max(0.0, now - progress.opened_at)
    rest = max(0.0, pace * (1 - (max(progress.round, 1) - 1) / 3) - spent) + after * pace
    return f"{follow} At the pace so far, {_seconds(pace)} a step, the totals take about {_seconds(rest)} more."


def share(progress: Progress) -> float | None:
    """How much of the steps is done, from 0 to 1; None where their number isn't known."""
    if progress.steps_after is None or not progress.step:
        return None
    rounds = (max(progress.round, 1) - 1) / 3 if progress.status == "running" else 1.0
    return (progress.step - 1 + rounds) / (progress.step + progress.steps_after)


def _seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
