"""The rows of a regression under noise, each within a bound that follows from the question alone.

Numbers are held in their declared ranges, a column of the design then lies between two ends that interval arithmetic
gives, and z = (x − centre) / scale lies within ±1. A term has one column, or several of which a row has at most one
that isn't zero, so a row of `terms` terms, with the constant 1, has a squared length of at most 1 + `terms`.

z is cut towards zero to a multiple of 2^-21. So products of two are whole multiples of 2^-42, and 1024 of them add up
in a float64 without any rounding: a matrix product over rows is exact, in whatever order the machine adds.
"""

import math
from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from hansa.errors import Refused
from hansa.jobs import levels
from hansa.jobs.base import Array, Table
from hansa.jobs.regression import design
from hansa.jobs.regression.design import Categories
from hansa.jobs.regression.formula import Factor, Formula
from hansa.jobs.under_noise import ranges
from hansa.jobs.under_noise.ranges import Ends

_GRAIN = 2.0**21
_EXACT_ROWS = 1024
_LARGEST = 1e150


class Frame(Struct, frozen=True):
    """How a column x becomes z: of the design without the intercept, then of the outcome."""

    labels: tuple[str, ...]  # of the design, with the intercept if the model has one
    centres: tuple[float, ...]
    scales: tuple[float, ...]


def frame(model: Formula, categories: Categories, given: Mapping[str, Ends], outcome: Ends | None) -> Frame:
    """`outcome` holds the ends of an outcome that is not centred; else they are those of its range."""
    ends = [
        pair for term, width in design.widths(model, categories) for pair in [_of_term(term, categories, given)] * width
    ]
    alone = [len(term) == 1 for term, width in design.widths(model, categories) for _ in range(width)]
    numeric = [
        not any(factor.text in categories for factor in term)
        for term, width in design.widths(model, categories)
        for _ in range(width)
    ]
    ends.append(_of_factor(model.outcome, given) if outcome is None else outcome)
    centred = [*(one and other for one, other in zip(alone, numeric, strict=True)), outcome is None]
    centres, scales = [], []
    for (low, high), centre in zip(ends, centred, strict=True):
        middle = low / 2 + high / 2 if centre and model.intercept else 0.0
        centres.append(middle)
        scales.append(max(high - middle, middle - low))
    if not all(0 < scale < _LARGEST for scale in scales):
        raise Refused("the ranges of the columns leave some term of the formula constant, or without bound")
    return Frame(design.names(model, categories), tuple(centres), tuple(scales))


def numeric_columns(model: Formula, categories: Categories, outcome: Ends | None) -> tuple[str, ...]:
    """Those that need a range; refuses one that stands in the formula as a number and as a category."""
    factors = [factor for factor in model.factors() if factor.text not in categories]
    columns = dict.fromkeys(factor.column for factor in (*factors, *(() if outcome else (model.outcome,))))
    for factor in model.factors():
        if factor.text in categories and factor.column in columns:
            raise Refused(f"under noise column '{factor.column}' can't be both a number and a category")
    return tuple(columns)


def bounded(
    table: Table, model: Formula, categories: Categories, given: Mapping[str, Ends], made: Frame
) -> tuple[Array, Array]:
    """(rows, 1 + columns) with the constant first, and the outcome's z; of the rows that miss nothing.

    A row with a category that nobody declared misses it.
    """
    held = ranges.held_table(table, given)
    used = design.complete(held, model)
    for factor in model.factors():
        if factor.text in categories:
            used &= levels.declares(held, factor.column, categories[factor.text])
    outcome = design.numbers(held, model.outcome, used)
    values = np.column_stack([design.matrix(held, model, categories, used), outcome])
    z = cut(np.clip((values - np.array(made.centres)) / np.array(made.scales), -1.0, 1.0))
    return np.column_stack([np.ones(values.shape[0]), z[:, :-1]]), z[:, -1]


def cut(values: Array) -> Array:
    """Towards zero, so that no bound on a magnitude is exceeded."""
    return np.asarray(np.trunc(values * _GRAIN) / _GRAIN, dtype=np.float64)


def products(left: Array, right: Array) -> Array:
    """left' right of what `cut` gave, the exact sum of each cell rounded once."""
    starts = range(0, max(left.shape[0], 1), _EXACT_ROWS)
    parts = np.array([left[at : at + _EXACT_ROWS].T @ right[at : at + _EXACT_ROWS] for at in starts])
    cells = parts.reshape(parts.shape[0], -1)
    return np.array([math.fsum(cell) for cell in cells.T]).reshape(parts.shape[1:])


def _of_term(term: tuple[Factor, ...], categories: Categories, given: Mapping[str, Ends]) -> Ends:
    """The ends of a product; one with a category in it may also be zero."""
    low, high = 1.0, 1.0
    for factor in term:
        if factor.text not in categories:
            corners = [end * other for end in (low, high) for other in _of_factor(factor, given)]
            low, high = min(corners), max(corners)
    if any(factor.text in categories for factor in term):
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def _of_factor(factor: Factor, given: Mapping[str, Ends]) -> Ends:
    low, high = (float(end) for end in design.applied(factor, np.array(given[factor.column], dtype=np.float64)))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise Refused(f"'{factor.text}' has no finite value at an end of the range of column '{factor.column}'")
    return low, high
