"""Quantiles without anybody's row: brackets that secure histograms narrow down, never below `FLOOR` rows.

Each pass divides a bracket into `PARTS` and counts the rows in each, and those below and above. The part that
holds the quantile becomes the next bracket, widened to its neighbours until it holds `FLOOR` rows; one that
holds fewer than two times `FLOOR` is not divided any more. Counts below and above make every pass right by
itself: if a site leaves, its quantiles may lie outside the old bracket, and the next one is found there.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array

PERCENT = (5, 25, 50, 75, 95)
PARTS = 64  # of a bracket, in one pass
FLOOR = 10  # rows that a bracket holds at least, unless the pool has fewer


class Bracket(Struct, frozen=True):
    """The interval [low, high) that holds the quantile: R's type 1, the row of rank ceil(q n)."""

    low: float
    high: float


class Divided(Struct, frozen=True):
    """A bracket and into how many parts of one width (1 or `PARTS`) the next pass divides it."""

    low: float
    high: float
    parts: int


def tally(values: Array, bracket: Divided) -> Array:
    """Rows below, in each part (closed on the left), then the unused places, then above."""
    cell = np.searchsorted(_edges(bracket), values, side="right")
    counts = np.bincount(cell, minlength=bracket.parts + 2).astype(np.float64)
    return np.concatenate([counts[:-1], np.zeros(PARTS - bracket.parts), counts[-1:]])


def narrow(brackets: Sequence[Divided], ranks: Array, count: int, limit: float) -> tuple[Divided, ...]:
    """The next brackets; `ranks` are the totals of `tally`, and every number lies within ± `limit`."""
    return tuple(
        _bracket(part, row, -(-percent * count // 100), limit)
        for part, row, percent in zip(brackets, ranks, PERCENT, strict=True)
    )


def whole(limit: float, rows: float, floor: int = FLOOR) -> Divided:
    return divided(-limit, limit, rows, floor)


def within(part: Divided, low: float, high: float) -> Divided:
    """`part` cut to where all rows are known to lie."""
    if part.low < high and low < part.high:
        return Divided(max(part.low, low), min(part.high, high), part.parts)
    return part


def _edges(bracket: Divided) -> Array:
    return np.linspace(bracket.low, bracket.high, bracket.parts + 1)


def _bracket(part: Divided, row: Array, rank: int, limit: float) -> Divided:
    return divided(*settled(part, row, rank, limit))


def settled(part: Divided, row: Array, rank: int, limit: float, floor: int = FLOOR) -> tuple[float, float, float]:
    """Where the row of this rank lies, and the rows there: at least `floor` of them, or all there are."""
    below, inside, above = row[0], row[1 : part.parts + 1], row[-1]
    if rank <= below:
        low, high, rows = -limit, part.low, below
    elif rank > below + inside.sum():
        low, high, rows = part.high, limit, above
    else:
        low, high, rows = _widened(part, inside, int(np.searchsorted(np.cumsum(inside), rank - below)), floor)
    return (-limit, limit, float(row.sum())) if rows < floor else (low, high, float(rows))


def _widened(part: Divided, inside: Array, place: int, floor: int) -> tuple[float, float, float]:
    """From `place` to the emptier neighbour, until there are `floor` rows or no more parts."""
    first = last = place
    while inside[first : last + 1].sum() < floor and last + 1 - first < part.parts:
        left = inside[first - 1] if first > 0 else np.inf
        right = inside[last + 1] if last + 1 < part.parts else np.inf
        first, last = (first - 1, last) if left <= right else (first, last + 1)
    edges = _edges(part)
    return float(edges[first]), float(edges[last + 1]), float(inside[first : last + 1].sum())


def divided(low: float, high: float, rows: float, floor: int = FLOOR) -> Divided:
    wide = high - low > 2.0**-44 * max(abs(low), abs(high))  # below that a float64 has no parts to tell apart
    return Divided(low, high, PARTS if rows >= 2 * floor and wide else 1)
