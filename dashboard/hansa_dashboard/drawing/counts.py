"""Histograms and tables of counts. A count that was left out is marked as such: it is not zero."""

from itertools import product
from typing import Any

import altair as alt
import pandas as pd
from msgspec import UnsetType

from hansa.jobs.histogram import HistogramAnswer
from hansa.jobs.odds import CommonOdds, Odds
from hansa.jobs.table import TableAnswer
from hansa_dashboard.drawing.picture import (
    COLOUR,
    FROM,
    HEAT,
    LEFT_OUT,
    NOISE,
    QUIET,
    TO,
    WORDS,
    Chart,
    Picture,
    Plot,
    count,
    counts,
    hints,
    left_out_says,
    noise_says,
    reach,
    with_noise,
)


def histogram(answer: HistogramAnswer, about: str) -> Picture:
    wide = reach(answer.std_error)
    bare = pd.DataFrame({"from": answer.edges[:-1], "to": answer.edges[1:], "count": counts(answer.counts)})
    table = with_noise(bare, "count", wide)
    facts = (
        ("Rows with a number", count(answer.n, reach(answer.n_std_error))),
        ("Missing", count(answer.missing, wide)),
        ("Below", count(answer.below, wide)),
        ("Above", count(answer.above, wide)),
    )
    return Picture(table, (Plot(_bins(table, about, wide is not None), _bins_say(answer, about, wide)),), facts)


def _bins(table: pd.DataFrame, about: str, noisy: bool) -> Chart:
    ends = [float(table["from"].iloc[0]), float(table["to"].iloc[-1])]
    x = alt.X("from:Q", title=about, scale=alt.Scale(domain=ends, nice=False))
    there, missing = table[table["count"].notna()], table[table["count"].isna()]
    bars = (
        alt.Chart(there)
        .mark_rect(color=COLOUR, opacity=0.55 if noisy else 1.0, stroke="white", strokeOpacity=0.5, strokeWidth=0.6)
        .encode(
            x=x,
            x2="to:Q",
            y=alt.Y("count:Q", title="rows", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1)),
            y2=alt.datum(0),
            tooltip=hints(table),
        )
    )
    layers = [bars]
    if len(missing):
        layers.insert(0, _band(missing, x))
    if noisy:
        middle = there.assign(middle=(there["from"] + there["to"]) / 2)
        lines = alt.Chart(middle).mark_rule(color=NOISE, strokeWidth=2)
        layers.append(lines.encode(x="middle:Q", y=f"{FROM}:Q", y2=f"{TO}:Q", tooltip=hints(table)))
    return (layers[0] if len(layers) == 1 else alt.layer(*layers)).properties(height=320)


def _band(missing: pd.DataFrame, x: alt.X) -> alt.Chart:
    """Over the whole height: nothing is known there but that it is small."""
    marked = missing.assign(count=LEFT_OUT)
    band: alt.Chart = (
        alt.Chart(marked)
        .mark_rect(color=QUIET, opacity=0.22)
        .encode(x=x, x2="to:Q", y=alt.value(0), y2=alt.value("height"), tooltip=["from", "to", "count"])
    )
    return band


def _bins_say(answer: HistogramAnswer, about: str, wide: float | None) -> str:
    edges, found = answer.edges, answer.counts
    says = f"How many rows have a number of {about} in each of {len(found)} intervals from {edges[0]:.6g} to "
    says += f"{edges[-1]:.6g}."
    known = [number for number in found if number is not None]
    if known:
        place = found.index(max(known))
        says += f" Most, {count(max(known))}, lie from {edges[place]:.6g} to {edges[place + 1]:.6g}."
    return says + left_out_says(found, "intervals") + noise_says(wide)


def table(answer: TableAnswer, about: str) -> Picture:
    wide = reach(answer.std_error)
    facts = [("Rows", count(answer.n, reach(answer.n_std_error))), ("Missing", count(answer.missing, wide))]
    if answer.chi_squared is not None and answer.p is not None:
        facts += [
            ("Chi-squared", f"{answer.chi_squared:.5g}"),
            ("Degrees of freedom", f"{answer.df}"),
            ("p", f"{answer.p:.3g}"),
        ]
    facts += _odds(answer)
    if answer.column_names:
        plot = Plot(_heat(answer, wide), _heat_says(answer, about, wide))
        return Picture(_crossed(answer), (plot,), tuple(facts), _by_stratum(answer))
    found = [row[0] for row in answer.counts]
    share = [number / answer.n if number is not None and answer.n else None for number in found]
    bare = pd.DataFrame({"category": answer.row_names, "count": counts(found), "share": share})
    one = with_noise(bare, "count", wide)
    return Picture(one, (Plot(_bars(one, about, wide is not None), _bars_say(answer, about, wide)),), tuple(facts))


def _odds(answer: TableAnswer) -> list[tuple[str, str]]:
    """What two by two tell beyond chi-squared, alone and over strata."""
    facts: list[tuple[str, str]] = []
    if isinstance(answer.odds, Odds):
        facts += [("Odds ratio", _ratio(answer.odds)), ("p by Fisher", f"{answer.odds.fisher_p:.3g}")]
    if isinstance(answer.common, CommonOdds):
        facts += [
            ("Common odds ratio", _ratio(answer.common)),
            ("Mantel-Haenszel", f"{answer.common.statistic:.5g}"),
            ("p over strata", f"{answer.common.p:.3g}"),
        ]
    return facts


def _ratio(found: Odds | CommonOdds) -> str:
    if found.ratio is None or found.low is None or found.high is None:
        return "none" if found.ratio is None else f"{found.ratio:.4g}"
    return f"{found.ratio:.4g} ({found.low:.4g} to {found.high:.4g})"


def _by_stratum(answer: TableAnswer) -> tuple[tuple[str, pd.DataFrame], ...]:
    if isinstance(answer.strata, UnsetType):
        return ()
    places = list(product(answer.strata, range(len(answer.row_names)), range(len(answer.column_names))))
    table = pd.DataFrame(
        {
            "stratum": [one.name for one, _, _ in places],
            "row": [answer.row_names[i] for _, i, _ in places],
            "column": [answer.column_names[j] for _, _, j in places],
            "count": counts([one.counts[i][j] for one, i, j in places]),
        }
    )
    return (("Strata", table),)


def _bars(one: pd.DataFrame, about: str, noisy: bool) -> Chart:
    y = alt.Y("category:N", sort=list(one["category"]), title=about, axis=alt.Axis(labelLimit=260))
    there, missing = one[one["count"].notna()], one[one["count"].isna()]
    shown = ["category", "count", alt.Tooltip("share", format=".1%")]
    bars = alt.Chart(there).mark_bar(color=COLOUR, opacity=0.55 if noisy else 1.0)
    layers = [bars.encode(y=y, x=alt.X("count:Q", title="rows", axis=alt.Axis(tickMinStep=1)), tooltip=shown)]
    if len(missing):
        words = alt.Chart(missing).mark_text(align="left", dx=6, color=WORDS, fontStyle="italic")
        layers.append(words.encode(y=y, x=alt.datum(0), text=alt.value(LEFT_OUT)))
    if noisy:
        lines = alt.Chart(there).mark_rule(color=NOISE, strokeWidth=2)
        layers.append(lines.encode(y=y, x=f"{FROM}:Q", x2=f"{TO}:Q", tooltip=hints(one)))
    return (layers[0] if len(layers) == 1 else alt.layer(*layers)).properties(height=alt.Step(32))


def _bars_say(answer: TableAnswer, about: str, wide: float | None) -> str:
    found = [row[0] for row in answer.counts]
    known = [number for number in found if number is not None]
    says = f"How many rows have each of the {len(found)} categories of {about}."
    if known:
        says += f" The most frequent is {answer.row_names[found.index(max(known))]}, with {count(max(known))}."
    return says + left_out_says(found, "categories") + noise_says(wide)


def _crossed(answer: TableAnswer) -> pd.DataFrame:
    """The counts with their totals at the right and at the foot."""
    body: dict[str, Any] = {"": [*answer.row_names, "total"]}
    for j, name in enumerate(answer.column_names):
        heading = name if name not in body and name != "total" else f"{name} "
        body[heading] = counts([*(row[j] for row in answer.counts), answer.column_totals[j]])
    body["total"] = counts([*answer.row_totals, answer.n])
    return pd.DataFrame(body)


def _heat(answer: TableAnswer, wide: float | None) -> Chart:
    found = [number for row in answer.counts for number in row]
    cells = pd.DataFrame(
        {
            "row": [row for row in answer.row_names for _ in answer.column_names],
            "column": [column for _ in answer.row_names for column in answer.column_names],
            "count": counts(found),
        }
    )
    cells = with_noise(cells, "count", wide)
    known = [number for number in found if number is not None]
    least, most = min([0, *known]), max([1, *known])
    across, down = list(answer.column_names), list(answer.row_names)
    x = alt.X("column:N", sort=across, title=None, axis=alt.Axis(labelAngle=0, orient="top"))
    y = alt.Y("row:N", sort=down, title=None, axis=alt.Axis(labelLimit=260))
    there, missing = cells[cells["count"].notna()], cells[cells["count"].isna()]
    base = alt.Chart(there).encode(x=x, y=y, tooltip=hints(cells))
    colour = alt.Color("count:Q", scale=alt.Scale(domain=[least, most], range=list(HEAT)), legend=None)
    dark = alt.condition(f"datum.count > {(least + most) / 2}", alt.value("white"), alt.value("#10333f"))
    layers = [base.mark_rect().encode(color=colour), base.mark_text(fontSize=14).encode(text="count:Q", color=dark)]
    if len(missing):
        empty = alt.Chart(missing).encode(x=x, y=y)
        layers.append(empty.mark_rect(color=QUIET, opacity=0.22))
        layers.append(empty.mark_text(color=WORDS, fontStyle="italic").encode(text=alt.value(LEFT_OUT)))
    return alt.layer(*layers).properties(height=alt.Step(44))


def _heat_says(answer: TableAnswer, about: str, wide: float | None) -> str:
    found = [number for row in answer.counts for number in row]
    says = f"How many rows have each pair of categories of {about}: the darker, the more."
    known = [number for number in found if number is not None]
    if known:
        row, column = divmod(found.index(max(known)), len(answer.column_names))
        says += f" Most, {count(max(known))}, have {answer.row_names[row]} and {answer.column_names[column]}."
    noise = "" if wide is None else f" Each count carries noise: ± {wide:,.3g} rows is the 95 % interval of that alone."
    return says + left_out_says(found, "cells") + noise
