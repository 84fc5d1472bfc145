"""Coefficients with their intervals."""

from typing import Any

import altair as alt
import pandas as pd

from hansa.jobs.base import NoiseAdded
from hansa.jobs.regression.fitting import STUDENTS, GlmAnswer
from hansa_dashboard.drawing.picture import COLOUR, NORMAL, QUIET, Chart, Picture, Plot, count, hints

_INTERCEPT = "(Intercept)"
_FROM, _TO = "95 % from", "95 % to"


def glm(answer: GlmAnswer, _about: str) -> Picture:
    table = _table(answer)
    facts = (
        ("Rows", f"{answer.n:,}"),
        ("Left out", count(answer.dropped)),
        ("Deviance", f"{answer.deviance:,.6g}"),
        ("AIC", f"{answer.aic:,.6g}"),
        ("Iterations", f"{answer.iterations}{'' if answer.converged else ', not converged'}"),
    )
    noisy = isinstance(answer.noise, NoiseAdded)
    return Picture(table, (Plot(_chart(table, noisy), _says(table, noisy)),), facts)


def _table(answer: GlmAnswer) -> pd.DataFrame:
    from scipy.special import stdtrit

    students = answer.family in STUDENTS
    wide = float(stdtrit(answer.df, 0.975)) if students else NORMAL
    rows = answer.coefficients.items()
    return pd.DataFrame(
        {
            "term": [name for name, _ in rows],
            "estimate": [row.estimate for _, row in rows],
            "standard error": [row.std_error for _, row in rows],
            _FROM: [row.estimate - wide * row.std_error for _, row in rows],
            _TO: [row.estimate + wide * row.std_error for _, row in rows],
            "t" if students else "z": [row.z for _, row in rows],
            "p": [row.p for _, row in rows],
        }
    )


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Without the intercept, whose size would hide the others."""
    return table[table["term"] != _INTERCEPT] if len(table) > 1 else table


def _chart(table: pd.DataFrame, noisy: bool) -> Chart:
    shown = _shown(table)
    base = alt.Chart(shown).encode(
        y=alt.Y("term:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)), tooltip=hints(table)
    )
    zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(color=QUIET, strokeDash=[4, 4]).encode(x="at:Q")
    title = "coefficient with 95 % interval" + (", noise included" if noisy else "")
    title += "" if len(shown) == len(table) else ", no intercept"
    bars = base.mark_rule(color=COLOUR, strokeWidth=3).encode(
        x=alt.X(f"{_FROM}:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=9)), x2=f"{_TO}:Q"
    )
    dots = base.mark_point(color=COLOUR, filled=True, size=90, opacity=1).encode(x="estimate:Q")
    return alt.layer(zero, bars, dots).properties(height=alt.Step(30))


def _says(table: pd.DataFrame, noisy: bool) -> str:
    shown: list[dict[str, Any]] = _shown(table).to_dict("records")  # type: ignore[assignment]  # its keys are names
    away = [str(row["term"]) for row in shown if row[_FROM] > 0 or row[_TO] < 0]
    lie = f"{len(away)} of {len(shown)} intervals lie to one side of zero: {', '.join(away[:6])}" if away else ""
    which = lie or f"None of {len(shown)} intervals lies to one side of zero"
    noise = ", with what sampling and what the noise leave open" if noisy else ""
    return (
        f"A dot is a coefficient and its line the 95 % interval{noise}; the dashed line is zero. "
        f"{which}{' …' if len(away) > 6 else ''}."
    )
