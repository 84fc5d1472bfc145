"""Histograms and tables under noise: one total of one block, in which a row adds 1 to exactly one cell.

So one row changes the block by exactly 1 in the L2 norm, whatever it holds: what is missing, beyond the ends or not
among the declared categories has a cell too. Counts are rounded to whole numbers and may be below zero; holding them at
zero would lean every sum.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from msgspec import Struct

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import histogram, levels, magnitude
from hansa.jobs.base import Array, Contribution, Schema, Step, Table, Total, encode_state, fit, reals
from hansa.jobs.histogram import Histogram, HistogramAnswer
from hansa.jobs.levels import Known
from hansa.jobs.table import Crosstab, TableAnswer, shape
from hansa.jobs.under_noise.noisy import Noisy

LEARNS = "the counts of the cells, each with noise"
NOTES = (
    "every count carries noise, may be below zero, and sums of counts carry the noise of each",
    "error bars are standard errors of the noise alone",
)


class NoisyHistogram(Noisy, frozen=True, tag="histogram under noise", kw_only=True):
    title: ClassVar[str] = Histogram.title
    learns: ClassVar[str] = LEARNS
    whole: ClassVar[frozenset[str]] = frozenset({"cells"})
    histogram: Histogram

    @property
    def asked(self) -> Histogram:
        return self.histogram

    @property
    def totals(self) -> int:
        return 1

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        del step
        return {"cells": 1.0}

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        cells = reals("cells", (self.histogram.bins + 3,), magnitude.MAX_ROWS, sites)
        return Step("bins", (cells,))

    def share(self, table: Table, step: Step) -> Contribution:
        values = table.numbers(self.histogram.column)
        known = values[~np.isnan(values)]
        missing = np.array([values.size - known.size], dtype=np.float64)
        return fit(step, {"cells": np.concatenate([histogram.tally(known, self._edges()), missing])})

    def advance(self, step: Step, total: Total) -> HistogramAnswer:
        del step
        counts, error = np.rint(total.real("cells")).astype(np.int64), total.noise["cells"]
        return HistogramAnswer(
            edges=tuple(self._edges().tolist()),
            counts=tuple(counts[1:-2].tolist()),
            below=int(counts[0]),
            above=int(counts[-2]),
            missing=int(counts[-1]),
            n=int(counts[:-1].sum()),
            notes=(*NOTES, *self.unit_notes()),
            noise=self.told(total),
            std_error=error,
            n_std_error=error * math.sqrt(counts.size - 1),
        )

    def _edges(self) -> Array:
        if self.histogram.low is None or self.histogram.high is None:
            raise Refused("under noise a histogram needs its range: finding one would cost privacy too")
        return np.linspace(self.histogram.low, self.histogram.high, self.histogram.bins + 1)


class State(Struct, frozen=True):
    """The categories of each column asked about."""

    names: tuple[Known, ...]


class NoisyTable(Noisy, frozen=True, tag="table under noise", kw_only=True):
    title: ClassVar[str] = Crosstab.title
    learns: ClassVar[str] = LEARNS
    whole: ClassVar[frozenset[str]] = frozenset({"cells"})
    crosstab: Crosstab

    @property
    def asked(self) -> Crosstab:
        return self.crosstab

    @property
    def totals(self) -> int:
        return 1

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        del step
        return {"cells": 1.0}

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        names = tuple(levels.declared(column, self.crosstab.levels, schemas) for column in self.crosstab.columns())
        for column, known in zip(self.crosstab.columns(), names, strict=True):
            if not known:
                raise Refused(f"under noise column '{column}' needs its categories: looking for them would show rows")
        cells = reals("cells", (math.prod(map(len, names)) + 1,), magnitude.MAX_ROWS, sites)
        return Step("counts", (cells,), encode_state(State(names)))

    def share(self, table: Table, step: Step) -> Contribution:
        asked, names = self.crosstab.columns(), self._read(step)
        used = np.ones(table.rows, dtype=np.bool_)
        for column, known in zip(asked, names, strict=True):
            used &= levels.declares(table, column, known)
        cell = np.zeros(int(used.sum()), dtype=np.int64)
        for column, known in zip(asked, names, strict=True):
            cell = cell * len(known) + levels.codes(table, column, known, used)
        cells = np.bincount(cell, minlength=math.prod(map(len, names))).astype(np.float64)
        return fit(step, {"cells": np.append(cells, float(table.rows - cell.size))})

    def advance(self, step: Step, total: Total) -> TableAnswer:
        names, error = self._read(step), total.noise["cells"]
        cells = np.rint(total.real("cells")).astype(np.int64)
        counts = cells[:-1].reshape(shape(names))
        unsaid: tuple[str, ...] = ("a category nobody declared counts as missing",)
        if len(names) == 2:
            unsaid += ("chi-squared is left out: its distribution does not hold for counts with noise",)
        return TableAnswer(
            row_names=names[0],
            column_names=names[1] if len(names) == 2 else (),
            counts=tuple(tuple(row) for row in counts.tolist()),
            row_totals=tuple(counts.sum(axis=1).tolist()),
            column_totals=tuple(counts.sum(axis=0).tolist()),
            n=int(counts.sum()),
            missing=int(cells[-1]),
            notes=(*NOTES, *unsaid, *self.unit_notes()),
            noise=self.told(total),
            std_error=error,
            n_std_error=error * math.sqrt(counts.size),
        )

    def _read(self, step: Step) -> tuple[Known, ...]:
        names = messages.decode(step.state, State).names
        odd = any(len(set(known)) != len(known) or not known for known in names)
        if odd or len(names) != len(self.crosstab.columns()):
            raise ProtocolViolation("the state of a table does not fit its columns")
        return names
