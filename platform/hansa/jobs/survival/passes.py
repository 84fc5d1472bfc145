"""The passes before a Cox regression iterates: categories, times and magnitudes, means, spreads.

As before any regression (`regression/scaling.py`), the columns get a public, linear transformation z = (x - centre) /
2^exponent with |z| < 1, which need not be exact. With one baseline for all sites they also find which intervals of
which stratum hold an event, and where several events share one, so that sums travel for these alone.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude
from hansa.jobs.base import Array, Contribution, Flags, Reals, Table, Total, reals
from hansa.jobs.levels import Known
from hansa.jobs.regression import design, scaling
from hansa.jobs.regression.formula import Formula
from hansa.jobs.survival import grid, risk_sets
from hansa.jobs.survival.grid import Axis, Followed, Mask
from hansa.jobs.survival.likelihood import Ties

Place = Annotated[int, Meta(ge=0, le=grid.MOST)]
Pair = Annotated[int, Meta(ge=0, le=levels.MOST * (grid.MOST + 1))]
ONE: tuple[str, ...] = ("all",)


class Asked(Struct, frozen=True):
    """What the job asked. `common`: one baseline for all sites, in each of the strata that `strata` makes."""

    model: Formula
    axis: Axis
    strata: str | None
    common: bool
    ties: Ties
    max_iterations: int

    @property
    def split(self) -> str | None:
        """The column whose categories everybody must know."""
        return self.strata if self.common else None


class Frame(Struct, frozen=True):
    """Categories of the factors and of the strata; per stratum the intervals with events (none if each site has a
    baseline of its own)."""

    categories: dict[str, Known]
    strata: Known
    cells: tuple[tuple[Place, ...], ...] = ()


class Open(Struct, frozen=True, tag="categories"):
    """Some categories are being looked for; `known` are the others."""

    known: dict[str, Known]
    strata: Known


class Magnitudes(Struct, frozen=True, tag="magnitudes"):
    frame: Frame


class Means(Struct, frozen=True, tag="means"):
    """Every number of a column is below 2^exponent, and there are `rows` of them."""

    frame: Frame
    exponents: tuple[int, ...]
    rows: float


class Spreads(Struct, frozen=True, tag="spreads"):
    """`tied`: places, over all strata one after another, of the intervals with several events."""

    frame: Frame
    exponents: tuple[int, ...]
    centres: tuple[float, ...]
    rows: float
    tied: tuple[Pair, ...]


Stage = Open | Magnitudes | Means | Spreads


class Own(Struct, frozen=True):
    """A site's complete rows: when they are observed, their stratum, their columns (rows, width)."""

    rows: Followed
    stratum: grid.Cells
    values: Array
    counted: Array  # complete rows, other rows, events


def used_rows(table: Table, asked: Asked) -> Mask:
    columns = [factor.column for factor in asked.model.factors()]
    return grid.complete(table, asked.axis, (*columns, *((asked.strata,) if asked.strata else ())))


def own_rows(table: Table, asked: Asked, frame: Frame) -> Own:
    used = used_rows(table, asked)
    rows = grid.follow(table, asked.axis, used)
    stratum = np.zeros(rows.exit.size, dtype=np.int64)
    if asked.split is not None:
        stratum = levels.codes(table, asked.split, frame.strata, used)
    elif asked.strata is not None:
        text = table.schema.column(asked.strata).type == "text"
        own = table.texts(asked.strata)[used].astype(str) if text else table.numbers(asked.strata)[used]
        stratum = np.unique(own, return_inverse=True)[1].reshape(-1)
    counted = np.array([used.sum(), table.rows - used.sum(), rows.died.sum()], dtype=np.float64)
    return Own(rows, stratum, design.matrix(table, asked.model, frame.categories, used), counted)


def of_stratum(own: Own, stratum: int) -> tuple[Followed, Mask]:
    kept = own.stratum == stratum
    return Followed(own.rows.entry[kept], own.rows.exit[kept], own.rows.died[kept]), kept


def blocks(stage: Stage, asked: Asked, wanted: Sequence[str], sites: int) -> tuple[Reals | Flags, ...]:
    if isinstance(stage, Open):
        places = (levels.LARGEST + 1,)
        factors = scaling.open_factors(asked.model, stage.known, wanted)
        found = tuple(Flags(f"present {factor.text}", places) for factor in factors)
        return (*found, Flags("present strata", places)) if not stage.strata else found
    width = len(design.names(asked.model, stage.frame.categories)) - 1
    counted = reals("rows", (3,), magnitude.MAX_ROWS, sites)
    if isinstance(stage, Magnitudes):
        sizes = Flags("magnitudes", (width, magnitude.PLACES))
        fitness = (counted, sizes, Flags("unfit", (grid.UNFIT,)))
        return (*fitness, Flags("events", (len(stage.frame.strata), asked.axis.last + 1))) if asked.common else fitness
    if isinstance(stage, Spreads):
        return (counted, Flags("magnitudes", (width, magnitude.PLACES)))
    sums = reals("sums", (width,), stage.rows, sites)
    if not asked.common:
        return (counted, sums)
    return (counted, sums, reals("events", (pairs(stage.frame),), stage.rows, sites))


def pairs(frame: Frame) -> int:
    """How many intervals with events there are, over all strata."""
    return sum(len(cells) for cells in frame.cells)


def share(stage: Stage, table: Table, asked: Asked, wanted: Sequence[str]) -> Contribution:
    if isinstance(stage, Open):
        used = used_rows(table, asked)
        factors = scaling.open_factors(asked.model, stage.known, wanted)
        found = {f"present {factor.text}": levels.presence(table, factor.column, used) for factor in factors}
        if not stage.strata and asked.split is not None:
            found["present strata"] = levels.presence(table, asked.split, used)
        return found
    own = own_rows(table, asked, stage.frame)
    if isinstance(stage, Magnitudes):
        sizes, unfit = magnitude.flags(own.values), grid.unfit(table, asked.axis, used_rows(table, asked))
        if not asked.common:
            return {"rows": own.counted, "magnitudes": sizes, "unfit": unfit}
        events = np.zeros((len(stage.frame.strata), asked.axis.last + 1), dtype=np.bool_)
        events[own.stratum[own.rows.died], own.rows.exit[own.rows.died]] = True
        return {"rows": own.counted, "magnitudes": sizes, "unfit": unfit, "events": events}
    if len(stage.exponents) != own.values.shape[1]:
        raise ProtocolViolation("the state of a Cox regression does not fit its columns")
    if isinstance(stage, Spreads):
        if len(stage.centres) != own.values.shape[1]:
            raise ProtocolViolation("the state of a Cox regression does not fit its columns")
        return {"rows": own.counted, "magnitudes": magnitude.flags(own.values - np.array(stage.centres))}
    with np.errstate(over="ignore"):
        scaled = np.ldexp(own.values, -np.array(stage.exponents, dtype=np.int64))
    summed = {"rows": own.counted, "sums": np.array([math.fsum(column) for column in scaled.T])}
    if not asked.common:
        return summed
    per_stratum = [
        risk_sets.counts(of_stratum(own, stratum)[0], np.array(cells, dtype=np.int64))[1]
        for stratum, cells in enumerate(stage.frame.cells)
    ]
    return {**summed, "events": np.concatenate(per_stratum)}


# ---- what follows from the totals ----


def refuse_few(total: Total, asked: Asked, labels: Sequence[str]) -> tuple[int, int]:
    """Complete rows and their events."""
    rows, _, events = (round(number) for number in total.real("rows"))
    if rows == 0:
        raise Refused("no rows are complete in the columns of the question")
    if events == 0:
        raise Refused(f"there is no event: '{asked.axis.event}' is 0 in every complete row up to the horizon")
    if rows <= len(labels):
        raise Refused(f"there are no more complete rows than the {len(labels)} coefficients of the formula")
    return rows, events


def found(stage: Open, total: Total, asked: Asked, wanted: Sequence[str]) -> Magnitudes:
    categories = scaling.categories(scaling.Open(stage.known), asked.model, wanted, total)
    strata = stage.strata or levels.found(total.flag("present strata"))
    if not strata:
        raise Refused("no rows are complete in the columns of the question")
    return Magnitudes(Frame(categories, strata))


def sized(stage: Magnitudes, total: Total, asked: Asked, labels: Sequence[str]) -> Means:
    grid.refuse_unfit(total.flag("unfit"), asked.axis)
    rows, _ = refuse_few(total, asked, labels)
    exponents = magnitude.exponents(total.flag("magnitudes"))
    for label, exponent in zip(labels, exponents, strict=True):
        if exponent is None:
            raise Refused(f"column '{label}' is constant: it is zero in every row")
    cells: tuple[tuple[int, ...], ...] = ()
    if asked.common:
        cells = tuple(tuple(np.flatnonzero(row).tolist()) for row in total.flag("events"))
    frame = Frame(stage.frame.categories, stage.frame.strata, cells)
    return Means(frame, tuple(exponent for exponent in exponents if exponent is not None), float(rows))


def centred(stage: Means, total: Total, asked: Asked, labels: Sequence[str]) -> Spreads:
    rows, _ = refuse_few(total, asked, labels)
    centres = np.ldexp(total.real("sums"), np.array(stage.exponents, dtype=np.int64)) / rows
    tied = np.flatnonzero(np.rint(total.real("events")) > 1).tolist() if asked.common else ()
    return Spreads(stage.frame, stage.exponents, tuple(centres.tolist()), float(rows), tuple(tied))


def spread(stage: Spreads, total: Total, asked: Asked, labels: Sequence[str]) -> tuple[int, ...]:
    """The exponents of z; refuses constant columns."""
    refuse_few(total, asked, labels)
    exponents = []
    sizes = magnitude.exponents(total.flag("magnitudes"))
    for label, size, exponent in zip(labels, stage.exponents, sizes, strict=True):
        if exponent is None or exponent <= size - scaling.CONSTANT:
            raise Refused(f"column '{label}' is constant over the complete rows")
        exponents.append(exponent)
    return tuple(exponents)
