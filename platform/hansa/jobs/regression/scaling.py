"""The passes before a regression iterates: categories, magnitudes, means, spreads.

They give a public, linear transformation of each column (`z = (x - centre) / 2^exponent`, |z| < 1) that need
not be exact: a site that leaves afterwards changes nothing in the answer, because the coefficients are
transformed back by the same numbers. Without an intercept there is no centring, since that would be another
model.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude
from hansa.jobs.base import Array, Contribution, Flags, Reals, Table, Total, reals
from hansa.jobs.levels import Known
from hansa.jobs.regression import design
from hansa.jobs.regression.family import Family
from hansa.jobs.regression.formula import Factor, Formula

CONSTANT = 40  # a column that varies by less than 2^-40 of its size is constant


class Open(Struct, frozen=True, tag="categories"):
    """Some categories are being looked for; `known` are the others."""

    known: dict[str, Known]


class Magnitudes(Struct, frozen=True, tag="magnitudes"):
    categories: dict[str, Known]


class Means(Struct, frozen=True, tag="means"):
    """`exponents`: of the columns, then of the outcome; every number is below 2^exponent."""

    categories: dict[str, Known]
    exponents: tuple[int, ...]


class Spreads(Struct, frozen=True, tag="spreads"):
    """`centres` and `exponents` of the columns, then of the outcome; `rows` and the outcome's sum over
    them."""

    categories: dict[str, Known]
    exponents: tuple[int, ...]
    centres: tuple[float, ...]
    rows: float
    outcome: float


class Scale(Struct, frozen=True):
    """z = (x - centre) / 2^exponent; of the columns without the intercept, then of the outcome.

    `rows`, the outcome's sum over them and its magnitude (below 2^largest) give the bounds of later totals.
    """

    centres: tuple[float, ...]
    exponents: tuple[int, ...]
    rows: float
    outcome: float
    largest: int


Stage = Open | Magnitudes | Means | Spreads


def open_factors(model: Formula, known: Mapping[str, tuple[str, ...]], wanted: Sequence[str]) -> list[Factor]:
    return [factor for factor in model.factors() if factor.text in wanted and factor.text not in known]


def blocks(stage: Stage, model: Formula, wanted: Sequence[str], rows: float, sites: int) -> tuple[Reals | Flags, ...]:
    """What a stage totals; `wanted` are the texts of the categorical factors."""
    if isinstance(stage, Open):
        factors = open_factors(model, stage.known, wanted)
        return tuple(Flags(f"present {factor.text}", (levels.LARGEST + 1,)) for factor in factors)
    width = len(design.names(model, stage.categories)) - model.intercept + 1
    counted = reals("rows", (2,), magnitude.MAX_ROWS, sites)
    if isinstance(stage, Means):
        return (counted, reals("sums", (width,), rows, sites))
    sizes = Flags("magnitudes", (width, magnitude.PLACES))
    return (counted, sizes, Flags("unfit", (1,))) if isinstance(stage, Magnitudes) else (counted, sizes)


def share(stage: Stage, table: Table, model: Formula, family: Family, wanted: Sequence[str]) -> Contribution:
    used = design.complete(table, model)
    if isinstance(stage, Open):
        factors = open_factors(model, stage.known, wanted)
        return {f"present {factor.text}": levels.presence(table, factor.column, used) for factor in factors}
    values = columns(table, model, stage.categories, used)
    counted = np.array([used.sum(), table.rows - used.sum()], dtype=np.float64)
    if isinstance(stage, Magnitudes):
        unfit = np.array([_unfit(values[:, -1], family)])
        return {"rows": counted, "magnitudes": magnitude.flags(values), "unfit": unfit}
    if len(stage.exponents) != values.shape[1]:
        raise ProtocolViolation("the state of a regression does not fit its columns")
    if isinstance(stage, Means):
        scaled = np.ldexp(values, -np.array(stage.exponents, dtype=np.int64))
        return {"rows": counted, "sums": np.array([math.fsum(column) for column in scaled.T])}
    if len(stage.centres) != values.shape[1]:
        raise ProtocolViolation("the state of a regression does not fit its columns")
    return {"rows": counted, "magnitudes": magnitude.flags(values - np.array(stage.centres))}


def columns(table: Table, model: Formula, categories: design.Categories, used: npt.NDArray[np.bool_]) -> Array:
    """(used rows, columns without the intercept and then the outcome)."""
    outcome = design.numbers(table, model.outcome, used)
    return np.column_stack([design.matrix(table, model, categories, used), outcome])


def _unfit(outcome: Array, family: Family) -> bool:
    if family == "binomial":
        return bool(np.any((outcome != 0) & (outcome != 1)))
    if family == "gamma":
        return bool(np.any(outcome <= 0))
    return family == "poisson" and bool(np.any((outcome < 0) | (outcome != np.floor(outcome))))


def categories(stage: Open, model: Formula, wanted: Sequence[str], total: Total) -> dict[str, tuple[str, ...]]:
    """All of them, once the flags have told which whole numbers occur."""
    found = dict(stage.known)
    for factor in open_factors(model, stage.known, wanted):
        found[factor.text] = levels.found(total.flag(f"present {factor.text}"))
        if not found[factor.text]:
            raise Refused("no rows are complete in the columns of the formula")
    refuse_single(found)
    return found


def refuse_single(found: Mapping[str, tuple[str, ...]]) -> None:
    for text, names in found.items():
        if len(names) == 1:
            raise Refused(f"'{text}' has one category only, so its effect can't be told from the intercept")


def largest(total: Total, model: Formula, family: Family, labels: Sequence[str]) -> tuple[int, ...]:
    """The exponents that the magnitudes tell; refuses an outcome unfit for the family and zero columns."""
    outcome = model.outcome.text
    if total.flag("unfit")[0]:
        due = {"binomial": "0 and 1", "gamma": "numbers above 0"}.get(family, "counts (whole numbers from 0)")
        raise Refused(f"the outcome '{outcome}' holds values other than {due}, which a {family} regression needs")
    *exponents, last = magnitude.exponents(total.flag("magnitudes"))
    for label, exponent in zip(labels, exponents, strict=True):
        if exponent is None:
            raise Refused(f"column '{label}' is constant: it is zero in every row")
    if last is None:
        what = "has one class only" if family == "binomial" else "is constant"
        raise Refused(f"the outcome '{outcome}' {what}: it is zero in every row")
    return tuple(exponent for exponent in (*exponents, last) if exponent is not None)


def centred(stage: Means, total: Total) -> Spreads:
    """The means of the columns and of the outcome."""
    rows = float(np.rint(total.real("rows")[0]))
    sums = np.ldexp(total.real("sums"), np.array(stage.exponents, dtype=np.int64))
    return Spreads(stage.categories, stage.exponents, tuple((sums / rows).tolist()), rows, float(sums[-1]))


def scale(stage: Spreads, total: Total, model: Formula, family: Family, labels: Sequence[str]) -> Scale:
    """From the spreads around the means; refuses constant columns."""
    spreads = magnitude.exponents(total.flag("magnitudes"))
    exponents = []
    for label, size, spread in zip((*labels, ""), stage.exponents, spreads, strict=True):
        if spread is None or spread <= size - CONSTANT:
            what = f"column '{label}'" if label else f"the outcome '{model.outcome.text}'"
            raise Refused(f"{what} is constant over the complete rows")
        exponents.append(spread)
    return finished(stage, stage.centres, tuple(exponents), family)


def finished(stage: Spreads, centres: tuple[float, ...], exponents: tuple[int, ...], family: Family) -> Scale:
    """A gaussian outcome is standardised like the columns, any other stays as it is."""
    if family != "gaussian":
        centres, exponents = (*centres[:-1], 0.0), (*exponents[:-1], 0)
    return Scale(centres, exponents, stage.rows, stage.outcome, stage.exponents[-1])
