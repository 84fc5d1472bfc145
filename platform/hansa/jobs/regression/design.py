"""The design matrix that a formula and its categories mean: the same columns at the hub and at every site.

Treatment contrasts, names and order as R's model.matrix has them. A factor in a product is coded by contrasts
if the product without it is also a term (or is nothing), else by all its categories; without an intercept the
first categorical factor is coded by all its categories (R, `terms.object` and modelframe.c).
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hansa.errors import Refused
from hansa.jobs import levels
from hansa.jobs.base import Array, Schema, Table
from hansa.jobs.regression import formula
from hansa.jobs.regression.formula import Factor, Formula

INTERCEPT = "(Intercept)"
MOST_COLUMNS = 64

Categories = Mapping[str, tuple[str, ...]]  # text of a categorical factor → its categories, the first the reference


def categorical(factor: Factor, schema: Schema) -> bool:
    return factor.function in formula.CATEGORICAL or schema.column(factor.column).type == "text"


def categorical_factors(model: Formula, schema: Schema) -> tuple[str, ...]:
    """Their texts, in the order of the formula."""
    return tuple(factor.text for factor in model.factors() if categorical(factor, schema))


def check(model: Formula, own: Mapping[str, tuple[str, ...]], schema: Schema) -> None:
    """Refuses columns that aren't there, text without categories, and arithmetic on text."""
    for factor in model.factors():
        if factor.function in formula.NUMERIC or not categorical(factor, schema):
            _refuse_text(factor, schema)
        else:
            levels.check(factor.column, own, schema)
    _refuse_text(model.outcome, schema)
    coded = {factor.column for factor in model.factors() if categorical(factor, schema)}
    for column in own:
        if column not in coded:
            raise Refused(f"categories are given for column '{column}', which the formula uses as a number")


def _refuse_text(factor: Factor, schema: Schema) -> None:
    if schema.column(factor.column).type == "text":
        raise Refused(f"'{factor.text}' needs numbers, and column '{factor.column}' holds text")


def names(model: Formula, categories: Categories) -> tuple[str, ...]:
    """Of the columns, with the intercept first if there is one; refuses more than `MOST_COLUMNS`."""
    labels = [INTERCEPT] if model.intercept else []
    for term, codings in _codings(model, categories):
        parts = [_columns(factor, categories, start) for factor, start in zip(term, codings, strict=True)]
        if len(labels) + math.prod(len(part) for part in parts) > MOST_COLUMNS:
            raise Refused(f"the formula means more than {MOST_COLUMNS} columns")
        labels += [":".join(reversed(label)) for label in itertools.product(*reversed(parts))]
    return tuple(labels)


def widths(model: Formula, categories: Categories) -> list[tuple[tuple[Factor, ...], int]]:
    """Each term and how many columns it has, in their order."""
    return [
        (term, math.prod(len(_columns(f, categories, start)) for f, start in zip(term, codings, strict=True)))
        for term, codings in _codings(model, categories)
    ]


def _columns(factor: Factor, categories: Categories, start: int) -> list[str]:
    if factor.text not in categories:
        return [factor.text]
    return [factor.text + name for name in categories[factor.text][start:]]


def complete(table: Table, model: Formula) -> npt.NDArray[np.bool_]:
    """The rows that miss nothing the formula uses."""
    missing = [levels.missing(table, column) for column in model.columns()]
    return np.asarray(~np.any(missing, axis=0), dtype=np.bool_)


def matrix(table: Table, model: Formula, categories: Categories, used: npt.NDArray[np.bool_]) -> Array:
    """(used rows, columns without the intercept)."""
    columns: list[Array] = []
    for term, codings in _codings(model, categories):
        parts = [
            _block(table, factor, categories.get(factor.text), start, used)
            for factor, start in zip(term, codings, strict=True)
        ]
        for chosen in itertools.product(*(range(part.shape[1]) for part in reversed(parts))):
            picked = [part[:, place] for part, place in zip(parts, reversed(chosen), strict=True)]
            columns.append(np.prod(picked, axis=0))
    if not columns:
        return np.empty((int(used.sum()), 0))
    return np.column_stack(columns).astype(np.float64)


def numbers(table: Table, factor: Factor, used: npt.NDArray[np.bool_]) -> Array:
    """A numeric factor's values in the rows `used`; refuses where the function has none."""
    values = table.numbers(factor.column)[used]
    if not factor.function:
        return values
    result = applied(factor, values)
    if not np.all(np.isfinite(result)):
        raise Refused(f"'{factor.text}' has no finite value in some row of table '{table.schema.table}'")
    return result


def applied(factor: Factor, values: Array) -> Array:
    """The factor's function of `values`, not finite where there is none. Every one of them rises."""
    if not factor.function:
        return values
    functions = {
        "log": np.log,
        "log2": np.log2,
        "log10": np.log10,
        "log1p": np.log1p,
        "exp": np.exp,
        "sqrt": np.sqrt,
    }
    with np.errstate(all="ignore"):
        return np.asarray(functions[factor.function](values), dtype=np.float64)


def _block(
    table: Table, factor: Factor, known: tuple[str, ...] | None, start: int, used: npt.NDArray[np.bool_]
) -> Array:
    """(rows, 1) numbers, or one indicator for each category from `start` on."""
    if known is None:
        return numbers(table, factor, used)[:, None]
    codes = levels.codes(table, factor.column, known, used)
    return np.equal.outer(codes, np.arange(start, len(known))).astype(np.float64)


def _codings(model: Formula, categories: Categories) -> list[tuple[tuple[Factor, ...], tuple[int, ...]]]:
    """Each term with, per factor, the first category that gets a column: 1 for contrasts, 0 for all."""
    terms = {frozenset(term) for term in model.terms}
    whole_is_due = not model.intercept
    coded = []
    for term in model.terms:
        codings = []
        for factor in term:
            rest = frozenset(term) - {factor}
            contrasts = not rest or rest in terms
            if whole_is_due and factor.text in categories:
                contrasts, whole_is_due = False, False
            codings.append(1 if contrasts else 0)
        coded.append((term, tuple(codings)))
    return coded
