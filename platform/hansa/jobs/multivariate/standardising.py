"""Complete rows, and the passes that find a centre and a scale for every column: magnitudes, means, spreads.

They give z = (x - centre) / 2^exponent with |z| < 1, public and the same at every site. Neither need be exact: a site
that leaves afterwards changes nothing in what later totals say, because those are moments about any centre (Chan, Golub
and LeVeque 1983, "shifted data").
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import magnitude
from hansa.jobs.base import Array, Contribution, Flags, Reals, Schema, Table, Total, reals

CONSTANT = 40  # a column that varies by less than 2^-40 of its size is constant
SLACK = 1.001  # floating-point sums may exceed what holds for real numbers by a few units in the last place


class Magnitudes(Struct, frozen=True, tag="magnitudes"):
    """Nothing is known yet."""


class Means(Struct, frozen=True, tag="means"):
    """Numbers of a column are below 2^exponent. No site has more than `rows`."""

    exponents: tuple[int, ...]
    rows: float


class Spreads(Struct, frozen=True, tag="spreads"):
    exponents: tuple[int, ...]
    rows: float
    centres: tuple[float, ...]


class Scale(Struct, frozen=True):
    """z = (x - centre) / 2^exponent, below 1 in magnitude; no site has more than `rows`."""

    centres: tuple[float, ...]
    exponents: tuple[int, ...]
    rows: float

    @property
    def units(self) -> Array:
        return np.ldexp(1.0, np.array(self.exponents, dtype=np.int64))


Stage = Magnitudes | Means | Spreads


class Rows(Struct, frozen=True):
    """A site's complete rows (rows, columns), and how many are not."""

    values: Array
    dropped: int

    @property
    def counts(self) -> Array:
        return np.array([self.values.shape[0], self.dropped], dtype=np.float64)


def refuse_text(columns: Sequence[str], schema: Schema) -> None:
    for column in columns:
        if schema.column(column).type != "number":
            raise Refused(f"column '{column}' of table '{schema.table}' holds text, and numbers are due")


def complete(table: Table, columns: Sequence[str]) -> Rows:
    values = np.column_stack([table.numbers(column) for column in columns])
    used = ~np.isnan(values).any(axis=1)
    return Rows(values[used], int(table.rows - used.sum()))


def checked(stage: Stage | Scale, width: int) -> None:
    """Refuses what no honest hub sends."""
    if isinstance(stage, Magnitudes):
        return
    centres = () if isinstance(stage, Means) else stage.centres
    if (
        len(stage.exponents) != width
        or (len(centres) != width and not isinstance(stage, Means))
        or not np.all(np.isfinite(centres))
        or not 1 <= stage.rows <= magnitude.MAX_ROWS
        or any(abs(exponent) > 200 for exponent in stage.exponents)
    ):
        raise ProtocolViolation("the state of the passes before is out of range")


def blocks(stage: Stage, width: int, sites: int) -> tuple[Reals | Flags, ...]:
    counted = reals("rows", (2,), magnitude.MAX_ROWS, sites)
    if isinstance(stage, Means):
        return (counted, reals("sums", (width,), stage.rows * SLACK, sites))
    return (counted, Flags("magnitudes", (width, magnitude.PLACES)))


def share(stage: Stage, rows: Rows) -> Contribution:
    if isinstance(stage, Magnitudes):
        return {"rows": rows.counts, "magnitudes": magnitude.flags(rows.values)}
    if isinstance(stage, Spreads):
        return {"rows": rows.counts, "magnitudes": magnitude.flags(rows.values - np.array(stage.centres))}
    with np.errstate(over="ignore"):  # what a hub's made-up scale does is refused by the bounds
        scaled = np.ldexp(rows.values, -np.array(stage.exponents, dtype=np.int64))
    return {"rows": rows.counts, "sums": np.array([_sum(column) for column in scaled.T])}


def _sum(values: Array) -> float:
    return math.fsum(values) if np.all(np.isfinite(values)) else math.inf


def scaled(rows: Rows, scale: Scale) -> Array:
    """z of the complete rows."""
    with np.errstate(over="ignore"):
        return np.asarray(
            np.ldexp(rows.values - np.array(scale.centres), -np.array(scale.exponents, dtype=np.int64)),
            dtype=np.float64,
        )


def advance(stage: Stage, total: Total, columns: Sequence[str]) -> Means | Spreads | Scale:
    rows = np.rint(total.real("rows"))
    if rows[0] < 2:
        some = "only one row is" if rows[0] == 1 else "no rows are"
        raise Refused(f"{some} complete in the columns asked about")
    if isinstance(stage, Magnitudes):
        found = []
        for column, exponent in zip(columns, magnitude.exponents(total.flag("magnitudes")), strict=True):
            if exponent is None:
                raise Refused(f"column '{column}' is constant: it is zero in every complete row")
            found.append(exponent)
        return Means(tuple(found), float(rows[0]))
    if isinstance(stage, Means):
        means = np.ldexp(total.real("sums") / rows[0], np.array(stage.exponents, dtype=np.int64))
        return Spreads(stage.exponents, float(rows[0]), tuple(means.tolist()))
    spreads = []
    sizes = zip(columns, stage.exponents, magnitude.exponents(total.flag("magnitudes")), strict=True)
    for column, size, spread in sizes:
        if spread is None or spread <= size - CONSTANT:
            raise Refused(f"column '{column}' is constant over the complete rows")
        spreads.append(spread)
    return Scale(stage.centres, tuple(spreads), float(rows[0]))
