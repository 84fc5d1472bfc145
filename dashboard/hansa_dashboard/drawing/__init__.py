"""From an answer to its table and its plots, and from a job to its timeline: pure, without Streamlit.

picture.py     what a drawing is; colours that read on white and on near-black, and for the colour-blind
counts.py      histograms and tables of counts
regression.py  coefficients
declared.py    what a kind declares to be shown, whichever it is
summaries.py   means and brackets of quantiles
timeline.py    what the hub and each site were doing, as bars in lanes

What is not in the answer is not computed here, except 95 % intervals, which follow from it: estimate ± q * standard
error, with q of Student's t for a gaussian or gamma regression and of the normal for all others. Of a count, a mean or
a variance the only standard error there is is that of the noise: without noise they are drawn without an interval.
Every plot has a sentence that says what it shows.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hansa.jobs.base import Answer
from hansa.jobs.histogram import HistogramAnswer
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.jobs.summary import SummaryAnswer
from hansa.jobs.table import TableAnswer
from hansa_dashboard.drawing import declared
from hansa_dashboard.drawing.counts import histogram, table
from hansa_dashboard.drawing.picture import Picture, Plot
from hansa_dashboard.drawing.regression import glm
from hansa_dashboard.drawing.summaries import summary

__all__ = ["Picture", "Plot", "draw"]


def draw(answer: Answer, about: str) -> Picture:
    """`about` names what was asked, for an axis: the answer itself doesn't know its column."""
    return _DRAWINGS.get(type(answer), declared.drawn)(answer, about)


_DRAWINGS: Mapping[type[Answer], Callable[[Any, str], Picture]] = {
    GlmAnswer: glm,
    HistogramAnswer: histogram,
    TableAnswer: table,
    SummaryAnswer: summary,
}
