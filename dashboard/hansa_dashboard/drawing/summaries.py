"""Means, and the brackets in which quantiles lie."""

from typing import Any

import altair as alt
import pandas as pd

from hansa.jobs.summary import Figures, SummaryAnswer
from hansa_dashboard.drawing.picture import COLOUR, NOISE, QUIET, Chart, Picture, Plot, count, counts, reach

_NOISE = {"count_error": "rows", "mean_error": "mean", "variance_error": "variance"}


def summary(answer: SummaryAnswer, _about: str) -> Picture:
    table = pd.DataFrame([_row(name, figures) for name, figures in answer.columns.items()])
    for name in ("rows", "missing"):
        table[name] = counts([None if pd.isna(number) else int(number) for number in table[name]])
    found = [figures.count for figures in answer.columns.values()]
    known = [number for number in found if number is not None]
    same = count(known[0]) if known and min(known) == max(known) else "not shown"
    if known and min(known) != max(known):
        same = f"{min(known):,} to {max(known):,}"
    facts = (("Columns", str(len(table))), ("Rows with a number", same))
    plots = tuple(Plot(_brackets(name, one), _says(name, one)) for name, one in answer.columns.items())
    return Picture(table, plots, facts)


def _row(name: str, figures: Figures) -> dict[str, Any]:
    row: dict[str, Any] = {
        "column": name,
        "rows": figures.count,
        "missing": figures.missing,
        "mean": figures.mean,
        "standard deviation": figures.sd,
        "variance": figures.variance,
    }
    for percent, bracket in figures.quantiles.items():
        row[percent] = f"{bracket.low:.6g} to {bracket.high:.6g}"
    for field, what in _NOISE.items():
        if isinstance(error := getattr(figures, field), float):
            row[f"noise in {what}, standard error"] = error
    return row


def _brackets(name: str, figures: Figures) -> Chart:
    """A plot a column, each on its own scale. The ticks keep a bracket visible that is thinner than a pixel."""
    brackets = pd.DataFrame(
        {
            "quantile": list(figures.quantiles),
            "low": [bracket.low for bracket in figures.quantiles.values()],
            "high": [bracket.high for bracket in figures.quantiles.values()],
        }
    )
    base = alt.Chart(brackets).encode(
        x=alt.X("low:Q", title=f"{name}: where the quantiles lie, and the mean", scale=alt.Scale(zero=False)),
        y=alt.Y("quantile:N", sort=None, title=None),
        tooltip=["quantile", alt.Tooltip("low", format=".6g"), alt.Tooltip("high", format=".6g")],
    )
    bars = base.mark_bar(color=COLOUR, height=12).encode(x2="high:Q")
    ticks = base.mark_tick(color=COLOUR, thickness=3, size=12)
    mean = (
        alt.Chart(pd.DataFrame({"mean": [figures.mean]}))
        .mark_rule(color=QUIET, strokeDash=[4, 4], strokeWidth=2)
        .encode(x="mean:Q", tooltip=[alt.Tooltip("mean", format=".6g")])
    )
    return alt.layer(*_noise(figures), mean, bars, ticks).properties(height=alt.Step(22))


def _noise(figures: Figures) -> list[alt.Chart]:
    """A band around the mean: what the noise alone leaves open."""
    wide = reach(figures.mean_error)
    if wide is None:
        return []
    ends = pd.DataFrame({"from": [figures.mean - wide], "to": [figures.mean + wide]})
    hints = [alt.Tooltip("from", format=".6g"), alt.Tooltip("to", format=".6g")]
    return [alt.Chart(ends).mark_rect(color=NOISE, opacity=0.35).encode(x="from:Q", x2="to:Q", tooltip=hints)]


def _says(name: str, figures: Figures) -> str:
    wide, median = reach(figures.mean_error), figures.quantiles.get("50%")
    noise = "" if wide is None else f" ± {wide:.3g} (the band, 95 % of the noise)"
    half = f", the median between {median.low:.6g} and {median.high:.6g}" if median is not None else ""
    return f"{name}: the dashed line is the mean, {figures.mean:.6g}{noise}; each bar is where a quantile lies{half}."
