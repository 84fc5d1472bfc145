"""Where a numeric feature may be cut: edges between bins that hold about equally many rows.

Four passes count rows in cells. The first cells are octaves in four parts each, on both sides of zero, so numbers of
any scale are told apart without a range (as in DDSketch: Masson, Rim and Lee, VLDB 2019). The next three divide the
cells that hold more than half a bin's share, in proportion to their rows; a cell with fewer than twice `FLOOR` rows is
never divided, so nobody's number is narrowed down. Then neighbouring cells become bins of about n/bins rows (Chen and
Guestrin 2016, section 3.3: a quantile sketch; a heavy value gets a bin of its own, as in Ke et al. 2017) and of at
least `FLOOR` rows. Only the edges between bins stay in the state.
"""

import itertools
import math

import numpy as np
from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.jobs.base import Array
from hansa.jobs.brackets import FLOOR

PASSES = 4
FINENESS = 8  # parts into which one pass divides a feature's heavy cells, in units of its bins
_OCTAVES = 48
_QUARTERS = np.array([1.0, 1.25, 1.5, 1.75])
_MOST_SEGMENTS = 4096


class Segment(Struct, frozen=True, array_like=True):
    """[low, high) in `parts` cells of one width."""

    low: float
    high: float
    parts: int


Segments = tuple[Segment, ...]


def octaves(exponent: int) -> Array:
    """The edges of the first pass, for numbers below 2^exponent in magnitude."""
    steps = np.arange(exponent - _OCTAVES, exponent, dtype=np.int64)
    positive = np.append(np.ldexp(_QUARTERS[None, :], steps[:, None].astype(np.int32)).reshape(-1), 2.0**exponent)
    return np.concatenate([-positive[::-1], positive])


def divided(segments: Segments) -> Array:
    """The edges of a later pass; what lies between two segments is a cell too."""
    if not segments:
        return np.zeros(0)
    ends = np.array([(part.low, part.high) for part in segments]).reshape(-1)
    inside = [np.linspace(part.low, part.high, part.parts + 1) for part in segments if part.parts > 1]
    return np.unique(np.concatenate([ends, *inside]))


def check(segments: Segments, bins: int) -> None:
    """What a site asks of segments before it believes them."""
    ends = np.array([(part.low, part.high) for part in segments]).reshape(-1)
    if (
        len(segments) > _MOST_SEGMENTS
        or not np.all(np.isfinite(ends))
        or np.any(np.diff(ends) < 0)
        or np.any(ends[::2] == ends[1::2])
        or any(not 1 <= part.parts <= FINENESS * bins for part in segments)
    ):
        raise ProtocolViolation("the cells of a feature are out of range")


def cells(edges: Array) -> int:
    return max(edges.size - 1, 1)


def tally(values: Array, edges: Array) -> Array:
    """Rows per cell (closed on the left); the outermost are open, NaN is not counted."""
    place = np.searchsorted(edges[1:-1], values[~np.isnan(values)], side="right")
    return np.bincount(place, minlength=cells(edges)).astype(np.float64)


def refine(edges: Array, counts: Array, bins: int) -> Segments:
    """The cells that hold rows, the heavy ones to be divided by the next pass."""
    every, parts = float(counts.sum()), FINENESS * bins
    found = []
    for cell in np.flatnonzero(counts > 0) if edges.size else ():
        low, high, rows = float(edges[cell]), float(edges[cell + 1]), float(counts[cell])
        heavy = rows >= 2 * FLOOR and 2 * bins * rows > every
        wide = high - low > 2.0**-44 * max(abs(low), abs(high))
        wanted = max(2, math.ceil(parts * rows / every)) if heavy and wide else 1
        found.append(Segment(low, high, min(wanted, parts)))
    return tuple(found)


def edges_of_bins(edges: Array, counts: Array, bins: int) -> tuple[float, ...]:
    """At most bins - 1 edges; none if the rows can't be told apart. An edge is the middle of the gap it lies in."""
    held = np.flatnonzero(counts > 0)
    found: list[float] = []
    rows, rest = 0.0, float(counts.sum())
    for cell, following in itertools.pairwise(held):
        rows += counts[cell]
        share = FLOOR if held.size <= bins else max(FLOOR, rest / (bins - len(found)))
        full = rows >= share or (rows >= max(FLOOR, share / 2) and counts[following] >= share)
        if full and rest - rows >= FLOOR and len(found) < bins - 1:
            low, high = float(edges[cell + 1]), float(edges[following])
            found.append(low + (high - low) / 2)
            rest -= rows
            rows = 0.0
    return tuple(found)
