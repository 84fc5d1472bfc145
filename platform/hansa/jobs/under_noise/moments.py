"""Summaries under noise: counts, two moments and a histogram of each column over its declared range, in one total.

A number x of the range [low, high] counts as z = (x − middle) / half, |z| ≤ 1. Over w columns one row changes, in the
L2 norm, each of the four blocks by at most √w: it adds 1 to one of two counts, z, z², and 1 to one of the cells of each
column. A missing number adds 1 to a count and nothing to the rest.

Standard errors are those of the noise, by the delta method. A quantile's bracket ends where the noisy count of the
rows below differs from what the quantile needs by three standard deviations of the noise.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hansa.errors import Refused
from hansa.jobs import magnitude
from hansa.jobs.base import Array, Contribution, Schema, Step, Table, Total, fit, reals
from hansa.jobs.brackets import PERCENT, Bracket
from hansa.jobs.summary import Figures, Summary, SummaryAnswer
from hansa.jobs.under_noise import ranges
from hansa.jobs.under_noise.noisy import Noisy
from hansa.jobs.under_noise.ranges import Ends

CELLS = 64
SURE = 3.0  # standard deviations, at either end of a bracket
LATTICES = 2.0**-7  # of a share's standard deviation: its lattice is finer than that


class NoisySummary(Noisy, frozen=True, tag="summary under noise", kw_only=True):
    title: ClassVar[str] = Summary.title
    learns: ClassVar[str] = "per column, with noise: rows and missing rows, the sum, the sum of squares, 64 counts"
    whole: ClassVar[frozenset[str]] = frozenset({"rows", "cells"})
    summary: Summary

    @property
    def asked(self) -> Summary:
        return self.summary

    @property
    def totals(self) -> int:
        return 1

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        del step
        return dict.fromkeys(("rows", "first", "second", "cells"), math.sqrt(len(self.summary.of)))

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        width = len(self.summary.of)
        shapes: dict[str, tuple[int, ...]] = {"rows": (width, 2), "first": (width,), "second": (width,)}
        shapes["cells"] = (width, CELLS)
        return Step("moments", tuple(reals(name, shape, magnitude.MAX_ROWS, sites) for name, shape in shapes.items()))

    def share(self, table: Table, step: Step) -> Contribution:
        rows, first, second, cells = [], [], [], []
        for name in self.summary.of:
            values, ends = table.numbers(name), self._ends(name)
            known = ranges.held(values[~np.isnan(values)], ends)
            z = np.clip((known - _middle(ends)) / _half(ends), -1.0, 1.0)
            rows.append((float(known.size), float(values.size - known.size)))
            first.append(math.fsum(z))
            second.append(math.fsum(z * z))
            place = np.searchsorted(_edges(ends)[1:-1], known, side="right")
            cells.append(np.bincount(place, minlength=CELLS).astype(np.float64))
        share = {"rows": np.array(rows), "first": np.array(first), "second": np.array(second), "cells": np.array(cells)}
        return fit(step, share)

    def advance(self, step: Step, total: Total) -> SummaryAnswer:
        del step
        figures = {name: self._figures(name, place, total) for place, name in enumerate(self.summary.of)}
        notes = (
            "every number carries noise, and counts may be below zero; standard errors are of the noise alone",
            "numbers beyond the range of their column count as its end",
            "a quantile's bracket is as wide as the noise makes it, and holds it in all but 3 of 1000 cases an end",
        )
        return SummaryAnswer(columns=figures, notes=(*notes, *self.unit_notes()), noise=self.told(total))

    def _figures(self, name: str, place: int, total: Total) -> Figures:
        ends, noise = self._ends(name), total.noise
        half = _half(ends)
        count, missing = (round(float(number)) for number in total.real("rows")[place])
        if count < 2 or count < SURE * noise["rows"]:
            raise Refused(
                f"the noise is louder than the rows with a number in column '{name}': too few, or too small an ε"
            )
        first, second = float(total.real("first")[place]), float(total.real("second")[place])
        mean = first / count
        variance = (second - first * mean) / (count - 1)
        mean_error = math.hypot(noise["first"], mean * noise["rows"]) / count
        by_each = (noise["second"], 2 * mean * noise["first"], (mean * mean - variance) * noise["rows"])
        rounding = LATTICES * math.sqrt(total.sites) / 2 / count
        return Figures(
            count=count,
            missing=missing,
            mean=_middle(ends) + half * mean,
            mean_precision=half * rounding * noise["first"],
            variance=half * half * max(variance, 0.0),
            variance_precision=half * half * rounding * (noise["second"] + 2 * noise["first"]) * count / (count - 1),
            sd=half * math.sqrt(max(variance, 0.0)),
            quantiles=_brackets(total.real("cells")[place], ends, noise["cells"]),
            count_error=noise["rows"],
            mean_error=half * mean_error,
            variance_error=half * half * math.hypot(*by_each) / (count - 1),
        )

    def _ends(self, column: str) -> Ends:
        ranges.refuse_missing(self.summary.declared_ranges(), [column])
        return self.summary.declared_ranges()[column]


def _middle(ends: Ends) -> float:
    return ends[0] / 2 + ends[1] / 2


def _half(ends: Ends) -> float:
    return ends[1] / 2 - ends[0] / 2


def _edges(ends: Ends) -> Array:
    return np.linspace(*ends, CELLS + 1)


def _brackets(cells: Array, ends: Ends, deviation: float) -> dict[str, Bracket]:
    """Between the last edge that is surely not above the quantile and the first that surely is."""
    edges, found = _edges(ends), {}
    below, before = np.concatenate([[0.0], np.cumsum(cells)]), np.arange(CELLS + 1)
    for percent in PERCENT:
        part = percent / 100
        beyond = below - part * below[-1]
        spread = SURE * deviation * np.sqrt(before * (1 - part) ** 2 + (CELLS - before) * part**2)
        under, over = np.flatnonzero(beyond < -spread), np.flatnonzero(beyond > spread)
        low = int(under[-1]) if under.size else 0
        high = int(over[over > low][0]) if np.any(over > low) else CELLS
        found[f"{percent}%"] = Bracket(float(edges[low]), float(edges[high]))
    return found
