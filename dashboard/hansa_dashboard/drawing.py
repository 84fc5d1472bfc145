"""From an answer to its table and its plot: one function a kind, pure, without Streamlit.

What is not in the answer is not computed here, except the 95 % intervals of a regression, which follow from it:
estimate ± q * standard error, with q of Student's t for a gaussian regression and of the normal for the others.
"""

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import pandas as pd
from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.jobs.base import Answer
from hansa.jobs.histogram import HistogramAnswer
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.jobs.summary import Figures, SummaryAnswer
from hansa.jobs.table import TableAnswer

COLOUR = "#2a7f9e"  # reads on white and on near-black
QUIET = "#8a949e"
HEAT = ("#d7ecf2", "#0f4c63")
Chart = alt.Chart | alt.FacetChart | alt.LayerChart


class Picture(Struct, frozen=True):
    """`facts` stand above the plots: label and value, each a few characters."""

    table: pd.DataFrame
    charts: tuple[Chart, ...]
    facts: tuple[tuple[str, str], ...]


def draw(answer: Answer, about: str) -> Picture:
    """`about` names what was asked, for an axis: the answer itself doesn't know its column."""
    for kind, drawing in _DRAWINGS.items():
        if isinstance(answer, kind):
            return drawing(answer, about)
    raise ProtocolViolation(f"no drawing is known for an answer of type {type(answer).__name__}")


def csv(table: pd.DataFrame) -> bytes:
    """UTF-8. A text that a spreadsheet would run as a formula is preceded by an apostrophe."""
    safe = table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell)
    return safe.to_csv(index=False).encode()


def glm(answer: GlmAnswer, _about: str) -> Picture:
    from scipy.special import ndtri, stdtrit

    gaussian = answer.family == "gaussian"
    reach = float(stdtrit(answer.df, 0.975) if gaussian else ndtri(0.975))
    rows = answer.coefficients.items()
    table = pd.DataFrame(
        {
            "term": [name for name, _ in rows],
            "estimate": [row.estimate for _, row in rows],
            "standard error": [row.std_error for _, row in rows],
            "95 % from": [row.estimate - reach * row.std_error for _, row in rows],
            "95 % to": [row.estimate + reach * row.std_error for _, row in rows],
            "t" if gaussian else "z": [row.z for _, row in rows],
            "p": [row.p for _, row in rows],
        }
    )
    facts = (
        ("Rows", f"{answer.n:,}"),
        ("Left out", _count(answer.dropped)),
        ("Deviance", f"{answer.deviance:,.6g}"),
        ("AIC", f"{answer.aic:,.6g}"),
        ("Iterations", f"{answer.iterations}{'' if answer.converged else ', not converged'}"),
    )
    return Picture(table, (_coefficients(table),), facts)


def _count(count: int | None) -> str:
    return "not shown" if count is None else f"{count:,}"


def _coefficients(table: pd.DataFrame) -> Chart:
    """Without the intercept, whose size would hide the others."""
    shown = table[table["term"] != "(Intercept)"] if len(table) > 1 else table
    base = alt.Chart(shown).encode(
        y=alt.Y("term:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
        tooltip=[alt.Tooltip(name, format=".6g") if name != "term" else alt.Tooltip(name) for name in table.columns],
    )
    zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(color=QUIET, strokeDash=[4, 4]).encode(x="at:Q")
    title = "coefficient with 95 % interval" + ("" if len(shown) == len(table) else ", without the intercept")
    bars = base.mark_rule(color=COLOUR, strokeWidth=3).encode(
        x=alt.X("95 % from:Q", title=title, scale=alt.Scale(zero=False)), x2="95 % to:Q"
    )
    dots = base.mark_point(color=COLOUR, filled=True, size=90, opacity=1).encode(x="estimate:Q")
    return alt.layer(zero, bars, dots).properties(height=alt.Step(30))


def histogram(answer: HistogramAnswer, about: str) -> Picture:
    table = pd.DataFrame({"from": answer.edges[:-1], "to": answer.edges[1:], "count": answer.counts})
    facts = (
        ("Rows with a number", _count(answer.n)),
        ("Missing", _count(answer.missing)),
        ("Below", _count(answer.below)),
        ("Above", _count(answer.above)),
    )
    chart = (
        alt.Chart(table)
        .mark_rect(color=COLOUR, stroke="white", strokeWidth=0.6)
        .encode(
            x=alt.X("from:Q", title=about, scale=alt.Scale(domain=[answer.edges[0], answer.edges[-1]], nice=False)),
            x2="to:Q",
            y=alt.Y("count:Q", title="rows", scale=alt.Scale(zero=True)),
            y2=alt.datum(0),
            tooltip=["from", "to", "count"],
        )
        .properties(height=320)
    )
    return Picture(table, (chart,), facts)


def table(answer: TableAnswer, about: str) -> Picture:
    facts = [("Rows", _count(answer.n)), ("Missing", _count(answer.missing))]
    if answer.chi_squared is not None and answer.p is not None:
        facts += [
            ("Chi-squared", f"{answer.chi_squared:.5g}"),
            ("Degrees of freedom", f"{answer.df}"),
            ("p", f"{answer.p:.3g}"),
        ]
    if answer.column_names:
        return Picture(_crossed(answer), (_heat(answer),), tuple(facts))
    counts = [row[0] for row in answer.counts]
    share = [count / answer.n if count is not None and answer.n else None for count in counts]
    one = pd.DataFrame({"category": answer.row_names, "count": counts, "share": share})
    chart = (
        alt.Chart(one)
        .mark_bar(color=COLOUR)
        .encode(
            y=alt.Y("category:N", sort=None, title=about, axis=alt.Axis(labelLimit=260)),
            x=alt.X("count:Q", title="rows"),
            tooltip=["category", "count", alt.Tooltip("share", format=".1%")],
        )
        .properties(height=alt.Step(32))
    )
    return Picture(one, (chart,), tuple(facts))


def _crossed(answer: TableAnswer) -> pd.DataFrame:
    """The counts with their totals at the right and at the foot."""
    body: dict[str, list[Any]] = {"": [*answer.row_names, "total"]}
    for j, name in enumerate(answer.column_names):
        heading = name if name not in body and name != "total" else f"{name} "
        body[heading] = [*(row[j] for row in answer.counts), answer.column_totals[j]]
    body["total"] = [*answer.row_totals, answer.n]
    return pd.DataFrame(body)


def _heat(answer: TableAnswer) -> Chart:
    cells = pd.DataFrame(
        [
            {"row": row, "column": column, "count": answer.counts[i][j]}
            for i, row in enumerate(answer.row_names)
            for j, column in enumerate(answer.column_names)
        ]
    )
    most = max(count or 0 for row in answer.counts for count in row)
    base = alt.Chart(cells).encode(
        x=alt.X("column:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
        tooltip=["row", "column", "count"],
    )
    tiles = base.mark_rect().encode(
        color=alt.Color("count:Q", scale=alt.Scale(domain=[0, most], range=list(HEAT)), legend=None)
    )
    numbers = base.mark_text(fontSize=14).encode(
        text="count:Q",
        color=alt.condition(f"datum.count > {most / 2}", alt.value("white"), alt.value("#10333f")),
    )
    return alt.layer(tiles, numbers).properties(height=alt.Step(44))


def summary(answer: SummaryAnswer, _about: str) -> Picture:
    rows = []
    for name, figures in answer.columns.items():
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
        rows.append(row)
    counts = [figures.count or 0 for figures in answer.columns.values()]
    same = f"{counts[0]:,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    facts = (("Columns", str(len(rows))), ("Rows with a number", same))
    return Picture(
        pd.DataFrame(rows), tuple(_brackets(name, figures) for name, figures in answer.columns.items()), facts
    )


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
    return alt.layer(mean, bars, ticks).properties(height=alt.Step(22))


_DRAWINGS: Mapping[type[Answer], Callable[[Any, str], Picture]] = {
    GlmAnswer: glm,
    HistogramAnswer: histogram,
    TableAnswer: table,
    SummaryAnswer: summary,
}
