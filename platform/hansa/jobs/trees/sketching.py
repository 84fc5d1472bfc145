"""The steps before the trees: magnitudes, then the passes that find where columns may be cut (`cuts.py`).

The edges need not be exact, only public and the same at every site: a site that leaves afterwards changes how evenly
bins are filled, and nothing else. Rows held for validation are counted in no cell.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import magnitude
from hansa.jobs.base import Array, Contribution, Flags, Reals, Total, reals
from hansa.jobs.levels import Known
from hansa.jobs.trees import cuts, loss
from hansa.jobs.trees.boosting import Ground, Rows
from hansa.jobs.trees.cuts import Segments
from hansa.jobs.trees.features import Feature
from hansa.jobs.trees.loss import Family


class Magnitudes(Struct, frozen=True, tag="magnitudes"):
    """The categories of the columns that hold some."""

    categories: dict[str, Known]


class Cells(Struct, frozen=True, tag="cells"):
    """Per numeric column: numbers are below 2^exponent, and from the second pass on its cells. `largest`: the outcome
    is below 2^largest. No site has more than `rows`."""

    categories: dict[str, Known]
    turn: Annotated[int, Meta(ge=0, lt=cuts.PASSES)]
    exponents: tuple[int, ...]
    segments: tuple[Segments, ...]
    largest: int
    rows: float

    @property
    def edges(self) -> list[Array]:
        if self.turn:
            return [cuts.divided(segments) for segments in self.segments]
        return [cuts.octaves(exponent) for exponent in self.exponents]


def checked(now: Cells, numeric: int, bins: int) -> Cells:
    """`now`, if an honest hub could have sent it."""
    if (
        len(now.exponents) != numeric
        or len(now.segments) != (numeric if now.turn else 0)
        or not 1 <= now.rows <= magnitude.MAX_ROWS
        or any(abs(exponent) > 200 for exponent in (*now.exponents, now.largest))
    ):
        raise ProtocolViolation("the state of boosting is out of range")
    for segments in now.segments:
        cuts.check(segments, bins)
    return now


def blocks(now: Magnitudes | Cells, numeric: int, sites: int) -> tuple[Reals | Flags, ...]:
    if isinstance(now, Magnitudes):
        counted = reals("rows", (3,), magnitude.MAX_ROWS, sites)
        return (counted, Flags("magnitudes", (1 + numeric, magnitude.PLACES)), Flags("unfit", (1,)))
    counted = reals("rows", (1,), now.rows, sites)
    size = sum(cuts.cells(own) for own in now.edges)
    cells = (reals("cells", (size,), now.rows, sites),) if size else ()
    sums = (reals("sum", (1,), now.rows * loss.SLACK, sites),) if now.turn == cuts.PASSES - 1 else ()
    return (counted, *cells, *sums)


def share(now: Magnitudes | Cells, rows: Rows, numeric: list[int], family: Family) -> Contribution:
    """`numeric`: the places of the features that are numbers."""
    values, train = rows.features[:, numeric], ~rows.held
    if isinstance(now, Magnitudes):
        unfit = family == "binomial" and bool(np.any((rows.outcome != 0) & (rows.outcome != 1)))
        return {
            "rows": np.array([train.sum(), rows.held.sum(), rows.dropped], dtype=np.float64),
            "magnitudes": magnitude.flags(np.column_stack([rows.outcome, values])),
            "unfit": np.array([unfit]),
        }
    found: dict[str, Array] = {"rows": np.array([train.sum()], dtype=np.float64)}
    if numeric:
        parts = [cuts.tally(column, own) for column, own in zip(values[train].T, now.edges, strict=True)]
        found["cells"] = np.concatenate(parts)
    if now.turn == cuts.PASSES - 1:
        with np.errstate(over="ignore"):  # what a hub's made-up scale does is refused by the bounds
            found["sum"] = np.array([np.ldexp(rows.outcome[train], -now.largest).sum()])
    return found


def first_cells(now: Magnitudes, total: Total, family: Family, outcome: str) -> Cells:
    rows = np.rint(total.real("rows"))
    if rows[0] < 1:
        raise Refused(f"no rows have an outcome in column '{outcome}'")
    if total.flag("unfit")[0]:
        raise Refused(f"the outcome '{outcome}' holds values other than 0 and 1, which a binomial family needs")
    first, *others = magnitude.exponents(total.flag("magnitudes"))
    if first is None:
        what = "has one class only" if family == "binomial" else "is constant"
        raise Refused(f"the outcome '{outcome}' {what}: it is zero in every row")
    exponents = tuple(0 if one is None else one for one in others)
    return Cells(now.categories, 0, exponents, (), first, float(rows.max()))


def next_cells(now: Cells, total: Total, bins: int) -> Cells:
    pairs = zip(now.edges, _counts(now, total), strict=True)
    return replace(now, turn=now.turn + 1, segments=tuple(cuts.refine(own, part, bins) for own, part in pairs))


def ground(now: Cells, total: Total, bins: int, family: Family, every: tuple[Feature, ...]) -> Ground:
    """What the last pass tells: the edges of bins, and where margins start."""
    rows = total.count("rows")
    if rows < 1:
        raise Refused("no rows have an outcome")
    pairs = zip(now.edges, _counts(now, total), strict=True)
    found = iter([cuts.edges_of_bins(own, part, bins) for own, part in pairs])
    edges = tuple(next(found) if one.category is None else (0.5,) for one in every)
    if not any(edges):
        raise Refused("no column can be cut: each holds one value, or fewer than 20 numbers")
    mean = float(np.ldexp(total.number("sum"), now.largest)) / rows
    if family == "binomial" and not 0 < round(mean * rows) < rows:
        raise Refused("the outcome has one class only")
    return Ground(now.categories, edges, loss.start(family, mean), now.largest, now.rows)


def _counts(now: Cells, total: Total) -> list[Array]:
    """Per numeric column."""
    if not now.exponents:
        return []
    ends = np.cumsum([cuts.cells(own) for own in now.edges])[:-1]
    return np.split(np.rint(total.real("cells")), ends)
