"""What a kind declares to be shown (`hansa.jobs.exhibit`), drawn: one function per sort of plot, whatever the kind."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import altair as alt
import pandas as pd

from hansa.jobs.base import Answer
from hansa.jobs.exhibit import Bars, Cell, Curves, Exhibit, Heat, Intervals, Points, Sheet
from hansa_dashboard.drawing.picture import COLOUR, HEAT, LEFT_OUT, QUIET, WORDS, Chart, Picture, Plot, hints

PALETTE: Final = ("#2a7f9e", "#c2660c", "#7a5ba8", "#3f8f4f", "#b23a5b", "#8a6d1f", "#4a6fd0", "#8a949e")
_DIVERGING: Final = ("#c2660c", "#f3f5f6", "#2a7f9e")  # dark enough at both ends on white and on near-black
_HEIGHT: Final = 340  # in pixels, of a plot of curves or points
_UNDER_AXIS: Final = 56  # to where the first number under a curve stands, below the axis and its title
_BENEATH: Final = 18  # of a row of numbers
_LEFT: Final = 28  # from the axis to the end of a row's name


def drawn(answer: Answer, _about: str) -> Picture:
    return picture(answer.exhibit())


def picture(exhibit: Exhibit) -> Picture:
    """The first sheet is the table; the others stand below it, each under its title."""
    first, *others = exhibit.sheets
    plots = tuple(Plot(_DRAWINGS[type(plot)](plot), plot.says) for plot in exhibit.plots)
    return Picture(frame(first), plots, exhibit.facts, tuple((sheet.title, frame(sheet)) for sheet in others))


def frame(sheet: Sheet) -> pd.DataFrame:
    """A sheet as a table: a column is of whole numbers, of numbers or of text, and what is left out stays so."""
    columns = list(zip(*sheet.rows, strict=True)) if sheet.rows else [() for _ in sheet.headings]
    return pd.DataFrame({heading: _column(cells) for heading, cells in zip(sheet.headings, columns, strict=True)})


def _column(cells: tuple[Cell, ...]) -> "pd.Series[Any]":
    there = [cell for cell in cells if cell is not None]
    if there and all(isinstance(cell, int) for cell in there):
        return pd.Series(list(cells), dtype="Int64")
    if there and all(isinstance(cell, int | float) for cell in there):
        return pd.Series(list(cells), dtype="float64")
    return pd.Series(["" if cell is None else str(cell) for cell in cells], dtype="object")


def _curves(plot: Curves) -> Chart:
    found = pd.DataFrame(
        [
            {"of": line.name, "x": x, "y": y, "low": low, "high": high}
            for line in plot.lines
            for x, y, low, high in zip(
                line.x, line.y, line.low or [None] * len(line.x), line.high or [None] * len(line.x), strict=True
            )
        ]
    )
    names = [line.name for line in plot.lines]
    least = min((line.x[0] for line in plot.lines if line.x), default=0.0)
    most = max((line.x[-1] for line in plot.lines if line.x), default=1.0)
    x = alt.X("x:Q", title=plot.x, scale=alt.Scale(domain=[least, most], nice=False))
    y_scale = alt.Scale(domain=list(plot.y_range)) if plot.y_range else alt.Scale(zero=False)
    y = alt.Y("y:Q", title=plot.y, scale=y_scale)
    legend = (
        alt.Legend(title=None, orient="top", symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=3)
        if len(names) > 1
        else None
    )
    colour = alt.Color(
        "of:N",
        sort=names,
        scale=alt.Scale(domain=names, range=_colours(len(names))),
        legend=legend if len(names) > 1 else None,
    )
    step: Any = "step-after" if plot.stairs else "linear"
    tips = [alt.Tooltip("of:N", title="of"), *_pointed(plot.x, plot.y)]
    base = alt.Chart(found)
    layers: list[Any] = []
    if any(line.low for line in plot.lines):
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.18, interpolate=step)
        layers.append(band.encode(x=x, y=alt.Y("low:Q", title=plot.y, scale=y_scale), y2="high:Q", color=colour))
    if plot.diagonal:
        ends = pd.DataFrame({"x": [least, most], "y": [least, most]})
        layers.append(alt.Chart(ends).mark_line(color=QUIET, strokeDash=[4, 4]).encode(x=x, y=y))
    layers.append(base.mark_line(interpolate=step, strokeWidth=2).encode(x=x, y=y, color=colour, tooltip=tips))
    if plot.beneath is None:
        return alt.layer(*layers).properties(height=_HEIGHT)
    layers += _beneath(plot.beneath)
    return alt.layer(*layers).properties(height=_HEIGHT + _UNDER_AXIS + _BENEATH * len(plot.beneath.rows))


def _beneath(sheet: Sheet) -> list[alt.Chart]:
    """Numbers under the axis, each at its value of x: a row a line, its name at the left."""
    found = []
    for place, row in enumerate(sheet.rows):
        y = _under(place + 1)
        cells = pd.DataFrame(
            {
                "at": [float(at) for at in sheet.headings[1:]],
                "text": ["–" if cell is None else f"{cell:,}" for cell in row[1:]],
            }
        )
        words = alt.Chart(cells).mark_text(fontSize=11, color=WORDS, clip=False)
        found.append(words.encode(x=alt.X("at:Q"), y=y, text="text:N"))
        name = alt.Chart(pd.DataFrame({"text": [str(row[0])]}))
        found.append(_at_left(name, place + 1))
    heading = alt.Chart(pd.DataFrame({"text": [sheet.title]}))
    return [*found, _at_left(heading, 0)]


def _under(place: int) -> Any:
    """Relative to the plot's height, whatever that is: a page makes the whole fit into what the chart asks for."""
    return alt.value({"expr": f"height + {_UNDER_AXIS + _BENEATH * place}"})


def _at_left(chart: alt.Chart, place: int) -> alt.Chart:
    words = chart.mark_text(fontSize=11, color=WORDS, align="right", clip=False)
    named: alt.Chart = words.encode(x=alt.value(-_LEFT), y=_under(place), text="text:N")
    return named


def _intervals(plot: Intervals) -> Chart:
    found = pd.DataFrame({"of": plot.labels, "estimate": plot.estimates, "95 % from": plot.lows, "95 % to": plot.highs})
    ends = [end for end in (*plot.lows, *plot.highs, plot.null) if end is not None]
    scale = alt.Scale(type="log", domain=[min(ends), max(ends)], nice=False) if plot.log else alt.Scale(zero=False)
    x = alt.X("95 % from:Q", title=plot.x, scale=scale, axis=alt.Axis(tickCount=7, format="~g"))
    base = alt.Chart(found).encode(
        y=alt.Y("of:N", sort=list(plot.labels), title=None, axis=alt.Axis(labelLimit=260)), tooltip=hints(found)
    )
    layers: list[Any] = []
    if plot.null is not None:
        line = alt.Chart(pd.DataFrame({"at": [plot.null]})).mark_rule(color=QUIET, strokeDash=[4, 4])
        layers.append(line.encode(x=alt.X("at:Q", scale=scale)))
    layers.append(base.mark_rule(color=COLOUR, strokeWidth=3).encode(x=x, x2="95 % to:Q"))
    layers.append(
        base.mark_point(color=COLOUR, filled=True, size=90, opacity=1, shape="square").encode(
            x=alt.X("estimate:Q", scale=scale)
        )
    )
    return alt.layer(*layers).properties(height=alt.Step(30))


def _bars(plot: Bars) -> Chart:
    found = pd.DataFrame({"of": plot.labels, "value": pd.Series(list(plot.values), dtype="float64")})
    y = alt.Y("of:N", sort=list(plot.labels), title=None, axis=alt.Axis(labelLimit=260))
    there, missing = found[found["value"].notna()], found[found["value"].isna()]
    layers: list[Any] = [
        alt.Chart(there).mark_bar(color=COLOUR).encode(y=y, x=alt.X("value:Q", title=plot.x), tooltip=hints(found))
    ]
    if len(missing):
        words = alt.Chart(missing).mark_text(align="left", dx=6, color=WORDS, fontStyle="italic")
        layers.append(words.encode(y=y, x=alt.datum(0), text=alt.value(LEFT_OUT)))
    return (layers[0] if len(layers) == 1 else alt.layer(*layers)).properties(height=alt.Step(26))


def _heat(plot: Heat) -> Chart:
    found = pd.DataFrame(
        {
            "row": [row for row in plot.rows for _ in plot.columns],
            "column": [column for _ in plot.rows for column in plot.columns],
            "value": pd.Series([value for row in plot.values for value in row], dtype="float64"),
        }
    )
    most = float(found["value"].abs().max()) if found["value"].notna().any() else 1.0
    domain = [-most, 0.0, most] if plot.diverging else [min(0.0, float(found["value"].min() or 0.0)), most]
    scale = alt.Scale(domain=domain, range=list(_DIVERGING if plot.diverging else HEAT), interpolate="rgb")
    x = alt.X("column:N", sort=list(plot.columns), title=None, axis=alt.Axis(orient="top", labelAngle=-35))
    y = alt.Y("row:N", sort=list(plot.rows), title=None, axis=alt.Axis(labelLimit=200))
    base = alt.Chart(found[found["value"].notna()]).encode(x=x, y=y, tooltip=hints(found))
    layers: list[Any] = [base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=None))]
    if len(plot.columns) <= 10:
        bright = f"datum.value > {most * 0.6}" if not plot.diverging else f"abs(datum.value) > {most * 0.55}"
        ink = alt.condition(bright, alt.value("white"), alt.value("#1d2b33"))
        layers.append(base.mark_text(fontSize=12).encode(text=alt.Text("value:Q", format=".3~g"), color=ink))
    return alt.layer(*layers).properties(height=alt.Step(28))


def _points(plot: Points) -> Chart:
    empty = [None] * len(plot.xs)
    found = pd.DataFrame({"x": plot.xs, "y": plot.ys, "low": plot.lows or empty, "high": plot.highs or empty})
    x = alt.X("x:Q", title=plot.x)
    y = alt.Y("y:Q", title=plot.y)
    base = alt.Chart(found).encode(x=x, tooltip=_pointed(plot.x, plot.y))
    layers: list[Any] = []
    if plot.diagonal:
        most = max([*plot.xs, *plot.ys, *plot.highs], default=1.0)
        line = pd.DataFrame({"x": [0.0, most], "y": [0.0, most]})
        layers.append(alt.Chart(line).mark_line(color=QUIET, strokeDash=[4, 4]).encode(x=x, y=y))
    if plot.lows:
        layers.append(base.mark_rule(color=COLOUR, strokeWidth=2).encode(y=alt.Y("low:Q", title=plot.y), y2="high:Q"))
    layers.append(base.mark_point(color=COLOUR, filled=True, size=70, opacity=1).encode(y=y))
    return alt.layer(*layers).properties(height=_HEIGHT)


def _pointed(x: str, y: str) -> list[alt.Tooltip]:
    return [alt.Tooltip("x:Q", title=x, format=".6g"), alt.Tooltip("y:Q", title=y, format=".6g")]


def _colours(lines: int) -> list[str]:
    return [PALETTE[place % len(PALETTE)] for place in range(lines)]


_DRAWINGS: Final[Mapping[type[Any], Callable[[Any], Chart]]] = {
    Curves: _curves,
    Intervals: _intervals,
    Bars: _bars,
    Heat: _heat,
    Points: _points,
}
