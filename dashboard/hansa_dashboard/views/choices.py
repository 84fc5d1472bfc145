"""The choices of a proposal side by side: who learns what, and what each costs, before anybody is asked."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from msgspec.structs import replace

from hansa.errors import NotEnoughSites, Refused
from hansa.hub import estimating, queries
from hansa.hub.actions import Hub
from hansa.hub.estimating import Estimate
from hansa.plan import Noise, Question, noise_from
from hansa_dashboard.words import plain, size, some, took

OTHERS = ("0.5", "1", "3")  # of ε, beside the one that was filled in
_KEPT = "estimates"  # of this session, by question


def show(hub: Hub, question: Question) -> None:
    """A row for exact totals and for each loudness of noise; the one that is chosen stands first."""
    rows = [_row(hub, one, one == question) for one in _alternatives(question)]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    chosen = _estimate(hub, question)
    if isinstance(chosen, Estimate):
        st.caption(plain(rests_on(chosen)))


def rests_on(found: Estimate) -> str:
    """From what the figures come, and what is not in them."""
    steps = some(found.steps, "step")
    if found.open_ended:
        steps = f"{steps}, if this takes as many as on invented rows; the rows decide"
    pace = (
        f"the pace of this hub's last {some(found.measured, 'job')}"
        if found.measured
        else "the pace of the machine that Hansa was measured on, since no job has ended here yet"
    )
    return (
        f"Computed by playing the question over invented rows: {steps}, {some(found.rounds, 'round')}, "
        f"{some(found.letters, 'letter')}. Seconds are at {pace}; the time that people take to decide, and other jobs "
        "before this one, come on top."
    )


def _alternatives(question: Question) -> list[Question]:
    said = question.noise
    unit = {"unit": "row"} if said is None else _unit(said)
    found = [question]
    if said is not None:
        found.append(replace(question, noise=None))
    for epsilon in OTHERS:
        delta = "1e-6" if said is None else said.written[1]
        noise = noise_from({"epsilon": epsilon, "delta": delta, **unit}, "the form")
        if said is None or noise.micro_epsilon != said.micro_epsilon:
            found.append(replace(question, noise=noise))
    return found


def _unit(noise: Noise) -> dict[str, object]:
    if noise.unit == "row":
        return {"unit": "row"}
    named = {"id_column": noise.id_column} if noise.unit == "person" else {}
    return {"unit": noise.unit, "rows_per_person": noise.rows_per_person, **named}


def _row(hub: Hub, question: Question, chosen: bool) -> dict[str, object]:
    noise = question.noise
    name = "exact" if noise is None else f"noise, ε {noise.written[0]}"
    found = _estimate(hub, question)
    row: dict[str, object] = {
        "Choice": f"{name} (chosen)" if chosen else name,
        "The answer hides": "nobody, beyond what is left out" if noise is None else noise.hides,
        "The hub and the sites see": "exact totals" if noise is None else "totals with noise",
    }
    if not isinstance(found, Estimate):
        return row | {"Error": found, "Time": "", "A site moves": "", "Budget": ""}
    return row | {
        "Error": "rounding only" if noise is None else loudness(found.deviations),
        "Time": f"about {took(0, found.seconds)}",
        "A site moves": size(found.site_bytes),
        "Budget": _budget(hub, question),
    }


def loudness(deviations: Mapping[str, float]) -> str:
    """What 95 of 100 numbers of each block stay within: 1.96 standard deviations of the noise."""
    return "; ".join(f"{name} ± {1.96 * deviation:.3g}" for name, deviation in deviations.items())


def _budget(hub: Hub, question: Question) -> str:
    """Of the site that has least left."""
    if question.noise is None:
        return "none"
    found = queries.costs(hub, question)
    if len(found) < len(question.sites):
        return "a site has told of none"
    worst = min(found, key=lambda one: one.left - one.cost)
    return f"{worst.cost:.1f} % of {worst.site}'s; {worst.left:.1f} % is left" + ("" if worst.fits else ": too much")


def _estimate(hub: Hub, question: Question) -> Estimate | str:
    """Kept for this session: the form is drawn anew at every change. A text says why there is none."""
    kept: dict[object, Estimate | str] = st.session_state.setdefault(_KEPT, {})
    key = repr(question)
    if key not in kept:
        if len(kept) > 50:
            kept.clear()
        try:
            kept[key] = estimating.estimate(hub, question) or "can't be played over invented rows"
        except (Refused, NotEnoughSites) as refusal:
            kept[key] = str(refusal)
    return kept[key]
