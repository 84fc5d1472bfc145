"""What the hub and each site were doing, in seconds after the question was asked."""

from typing import Final

import altair as alt
import pandas as pd

from hansa.hub.job_detail import JobDetail
from hansa_dashboard.drawing.picture import QUIET, Plot
from hansa_dashboard.lanes import AGREES, COMPUTES, DOING, GONE, HUB, KEYS, OPENS, PERSON, Bar, bars, drawn, lanes

# After Okabe and Ito, "Color Universal Design" (2008).
_COLOURS: Final = dict(
    zip(DOING, (QUIET, "#56b4e9", "#cc79a7", "#0072b2", "#009e73", "#e69f00", "#d55e00"), strict=True)
)
_UNITS: Final = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0))
_LONG_BEFORE: Final = 10.0  # times as long as all the rest: what comes before the keys is then not drawn


def timeline(detail: JobDetail, now: float) -> Plot | None:
    """None while there is nothing to draw."""
    found = bars(detail, now)
    if not found:
        return None
    first, unhurried = _begin(detail, found)
    shown = [bar for bar in found if bar.end > first or bar.start >= first]
    length = max(bar.end for bar in shown) - first
    unit, seconds = next(((name, each) for name, each in _UNITS if length >= 2 * each), ("seconds", 1.0))
    table = pd.DataFrame(
        {
            "who": [bar.lane for bar in shown],
            "from": [(max(bar.start, first) - first) / seconds for bar in shown],
            "to": [(bar.end - first) / seconds for bar in shown],
            "doing": [bar.doing for bar in shown],
            "what": [bar.text for bar in shown],
        }
    )
    since = "after the first keys were asked for" if unhurried else "after it was asked"
    chart = _chart(table, lanes(detail), f"{unit} {since}")
    says = _says(shown, unhurried, unit, since)
    if (rounds := len(drawn(detail))) < len(detail.rounds):
        says += f" Of {len(detail.rounds)} rounds the newest {rounds} are drawn."
    return Plot(chart, says)


def _begin(detail: JobDetail, found: list[Bar]) -> tuple[float, bool]:
    """Where the axis starts, and whether waiting was so long that what follows would be a line without width."""
    start, end = detail.view.created_at, max(bar.end for bar in found)
    keys = [bar.start for bar in found if bar.doing in (KEYS, COMPUTES, OPENS)]
    if keys and min(keys) - start > _LONG_BEFORE * max(end - min(keys), 1.0):
        return min(keys), True
    return start, False


def _chart(table: pd.DataFrame, order: list[str], title: str) -> alt.Chart:
    present = [doing for doing in DOING if doing in set(table["doing"])]
    scale = alt.Scale(domain=present, range=[_COLOURS[doing] for doing in present])
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=200)
    hints = ["who", "doing", "what", alt.Tooltip("from", format=".3f"), alt.Tooltip("to", format=".3f")]
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_bar(height=13, strokeWidth=1)
        .encode(
            x=alt.X("from:Q", title=title, scale=alt.Scale(zero=True, nice=False)),
            x2="to:Q",
            y=alt.Y("who:N", sort=order, scale=alt.Scale(domain=order), title=None, axis=alt.Axis(labelLimit=180)),
            color=alt.Color("doing:N", scale=scale, legend=legend),
            stroke=alt.Stroke("doing:N", scale=scale, legend=None),
            tooltip=hints,
        )
        .properties(height=alt.Step(22))
    )
    return chart


def _says(shown: list[Bar], unhurried: bool, unit: str, since: str) -> str:
    says = f"A lane for the hub and one for each site; bars are what it was doing, in {unit} {since}."
    if unhurried:
        says += " The wait for consents before that was far longer, and is not drawn."
    busy = dict.fromkeys((bar.lane for bar in shown if bar.lane != HUB), 0.0)
    for bar in shown:
        if bar.lane != HUB and bar.doing not in (GONE, PERSON, AGREES):
            busy[bar.lane] += bar.end - bar.start
    slowest = max(busy, key=busy.__getitem__, default="")
    if slowest and busy[slowest] > 0:
        says += f" The replies of {slowest} took longest: {busy[slowest]:.1f} s together."
    gone = sorted({bar.lane for bar in shown if bar.doing == GONE})
    return says + (f" Silent or out: {', '.join(gone)}." if gone else "")
