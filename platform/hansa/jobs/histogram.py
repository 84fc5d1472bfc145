"""`histogram`: how many rows fall into each of some intervals of one width.

Without a range, one is found that shows nobody's extreme value: a coarse count over all that the magnitude
allows, then from the first to the last cell at which, coming from outside, `FLOOR` rows have been met; if
that is a narrow part of the coarse count, the same once more inside it. What lies outside is counted as below
and above.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import magnitude
from hansa.jobs.base import (
    Answer,
    Array,
    Contribution,
    Example,
    Flags,
    Job,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
    reals,
)
from hansa.jobs.example import numbers_table
from hansa.privacy import disclosure
from hansa.privacy.differencing import LEFT, RIGHT, Figure, Span
from hansa.privacy.disclosure import Rules
from hansa.privacy.noise import Noise

if TYPE_CHECKING:
    from hansa.jobs.under_noise.noisy import Noisy

COARSE = 256
FLOOR = 10  # rows met from either end before the range begins

Edge = Annotated[float, Meta(ge=-1e38, le=1e38)]


class HistogramAnswer(Answer, frozen=True, tag="histogram", kw_only=True):
    """`counts[i]` rows lie in [edges[i], edges[i+1]); the last interval holds its right edge too.

    `std_error` is of each count, and there under noise only.
    """

    edges: tuple[float, ...]
    counts: tuple[int | None, ...]
    below: int | None
    above: int | None
    missing: int | None
    n: int | None
    std_error: float | UnsetType = UNSET
    n_std_error: float | UnsetType = UNSET

    def disclosed(self, rules: Rules) -> "HistogramAnswer":
        """A left-out count is None, and `n` beside one."""
        cells, total = disclosure.line([count or 0 for count in (self.below, *self.counts, self.above)], rules)
        missing = disclosure.shown(self.missing or 0, rules)
        return replace(
            self,
            counts=cells[1:-1],
            below=cells[0],
            above=cells[-1],
            missing=missing,
            n=total,
            notes=_notes(missing) + disclosure.note(rules, None in (*cells, missing)),
        )


class State(Struct, frozen=True):
    """Pass 0 asks for the magnitude; 1 and 2 count coarsely in the range, 3 counts in its bins."""

    turn: Annotated[int, Meta(ge=0, le=3)]
    low: float = 0.0
    high: float = 0.0


class Histogram(Job, frozen=True, tag="histogram", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Histogram of a column"
    learns: ClassVar[str] = (
        "the counts of the bins and, when no range is given, the magnitude of the largest number in factors of "
        "16 and one or two coarse histograms of 256 cells"
    )

    column: Annotated[str, Meta(title="Column", description="A numeric column.", extra={"form": "column"})]
    bins: Annotated[int, Meta(title="Bins", description="Intervals of one width.", ge=2, le=200)] = 20
    low: Annotated[Edge | None, Meta(title="From", description="Left end; give both ends or none.")] = None
    high: Annotated[Edge | None, Meta(title="To", description="Right end; give both ends or none.")] = None

    def columns(self) -> tuple[str, ...]:
        if (self.low is None) != (self.high is None):
            raise Refused("give both ends of the range or none")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise Refused("the left end of the range is not below its right end")
        return (self.column,)

    def check(self, schema: Schema) -> None:
        self.columns()
        if schema.column(self.column).type != "number":
            raise Refused(f"column '{self.column}' of table '{schema.table}' holds text: count it with a table instead")

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        if self.low is not None and self.high is not None:
            return self._count(State(3, float(self.low), float(self.high)), magnitude.MAX_ROWS, sites)
        rows = reals("rows", (2,), magnitude.MAX_ROWS, sites)
        return Step("magnitude", (rows, Flags("magnitude", (1, magnitude.PLACES))), encode_state(State(0)))

    def encode(self, table: Table, step: Step) -> Contribution:
        state = _read(step)
        values = table.numbers(self.column)
        known = values[~np.isnan(values)]
        rows = np.array([known.size, table.rows - known.size], dtype=np.float64)
        if state.turn == 0:
            return fit(step, {"rows": rows, "magnitude": magnitude.flags(known[:, None])})
        return fit(step, {"rows": rows, "cells": tally(known, _edges(state, self.bins))})

    def advance(self, step: Step, total: Total) -> Step | HistogramAnswer:
        state = _read(step)
        count, missing = (round(number) for number in total.real("rows"))
        if count == 0:
            raise Refused(f"no rows have a number in column '{self.column}'")
        rows = float(count + missing)
        if state.turn == 0:
            exponent = magnitude.exponents(total.flag("magnitude"))[0]
            edge = math.ldexp(1.0, exponent or 0)
            return self._count(State(1, -edge, edge), rows, total.sites)
        cells = np.rint(total.real("cells"))
        if state.turn < 3:
            return self._count(_closer(state, cells), rows, total.sites)
        return HistogramAnswer(
            edges=tuple(_edges(state, self.bins).tolist()),
            counts=tuple(int(cell) for cell in cells[1:-1]),
            below=int(cells[0]),
            above=int(cells[-1]),
            missing=missing,
            n=count,
            notes=_notes(missing),
        )

    def under_noise(self, noise: Noise) -> "Noisy":
        from hansa.jobs.under_noise.counts import NoisyHistogram

        noise.check()
        self.columns()
        if self.low is None:
            raise Refused("under noise a histogram needs its range, which is found from rows otherwise")
        return NoisyHistogram(histogram=self, noise=noise)

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, HistogramAnswer) and isinstance(exact, HistogramAnswer)):
            raise TypeError("the answer of another kind")
        ends = [LEFT, *((edge, 0) for edge in exact.edges[:-1]), (exact.edges[-1], 1), RIGHT]
        seen = (shown.below, *shown.counts, shown.above)
        true = (exact.below, *exact.counts, exact.above)
        found = [
            Span(self.column, low, high, count or 0)
            for (low, high), figure, count in zip(pairwise(ends), seen, true, strict=True)
            if figure is not None
        ]
        return (*found, *(() if shown.n is None else (Span(self.column, LEFT, RIGHT, exact.n or 0),)))

    def steps_after(self, step: Step) -> int | None:
        return 0 if _read(step).turn == 3 else None

    def _count(self, state: State, rows: float, sites: int) -> Step:
        cells = (self.bins if state.turn == 3 else COARSE) + 2
        blocks = (reals("rows", (2,), rows, sites), reals("cells", (cells,), rows, sites))
        return Step("bins" if state.turn == 3 else f"range {state.turn}", blocks, encode_state(state))


def _notes(missing: int | None) -> tuple[str, ...]:
    return (f"rows not counted because they hold no number: {missing}",) if missing else ()


def _read(step: Step) -> State:
    state = messages.decode(step.state, State)
    if not (math.isfinite(state.low) and math.isfinite(state.high)) or (state.turn and not state.low < state.high):
        raise ProtocolViolation("the state of a histogram has no range")
    return state


def _edges(state: State, bins: int) -> Array:
    return np.linspace(state.low, state.high, (bins if state.turn == 3 else COARSE) + 1)


def tally(values: Array, edges: Array) -> Array:
    """Rows below, in each interval, above."""
    place = np.searchsorted(edges, values, side="right")
    place[values == edges[-1]] -= 1
    return np.bincount(place, minlength=edges.size + 1).astype(np.float64)


def _closer(state: State, cells: Array) -> State:
    """The range without its thin ends; once more if it is a narrow part (under a quarter) of the last one."""
    from_left, from_right = np.cumsum(cells), np.cumsum(cells[::-1])
    first = max(int(np.searchsorted(from_left, FLOOR)) - 1, 0)
    last = min(COARSE - int(np.searchsorted(from_right, FLOOR)), COARSE - 1)
    if cells.sum() < 2 * FLOOR or first > last:
        return State(3, state.low, state.high)
    edges = _edges(state, COARSE)
    low, high = float(edges[first]), float(edges[last + 1])
    apart = high - low > 2.0**-40 * max(abs(low), abs(high))
    return State(2 if state.turn == 1 and last + 1 - first < COARSE // 4 and apart else 3, low, high)


EXAMPLE = Example(
    job=Histogram(column="age", bins=4, low=20.0, high=60.0),
    tables={
        "a": numbers_table(age=[23.0, 31.0, None, 38.0, 71.0]),
        "b": numbers_table(age=[20.0, 47.0, 52.0, 60.0, 19.0]),
    },
    answer=HistogramAnswer(
        edges=(20.0, 30.0, 40.0, 50.0, 60.0),
        counts=(2, 2, 1, 2),
        below=1,
        above=1,
        missing=1,
        n=9,
        notes=("rows not counted because they hold no number: 1",),
    ),
)
