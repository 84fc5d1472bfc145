"""What a fitted regression predicts of each row of one's own table.

An answer names its columns and not the categories behind them, so a factor's must be declared in the table, with the
reference first, and mean exactly the coefficients that there are. A row that misses a value has no prediction (NaN).
"""

from collections.abc import Mapping

import numpy as np

from hansa.errors import Refused
from hansa.jobs import levels
from hansa.jobs.base import Array, Table
from hansa.jobs.regression import design, formula
from hansa.jobs.regression.formula import Formula

_ANY = "outcome"  # stands on the left where the answer's formula has no left side; it is not read


def columns(text: str) -> tuple[str, ...]:
    """Those on the right side of an answer's formula."""
    return tuple(dict.fromkeys(factor.column for factor in _parsed(text).factors()))


def linear(text: str, coefficients: Mapping[str, float], table: Table) -> Array:
    """(rows,): η of each. Without an intercept among the coefficients there is a baseline (Cox), coded with one."""
    model, known = _parsed(text), {}
    labels = tuple(coefficients)
    baseline = model.intercept and design.INTERCEPT not in coefficients
    for factor in model.factors():
        if design.categorical(factor, table.schema):
            known[factor.text] = table.schema.column(factor.column).categories
            if not known[factor.text]:
                raise Refused(f"declare the categories of column '{factor.column}', as the model was fitted with")
    due = design.names(model, known)[1:] if baseline else design.names(model, known)
    if due != labels:
        raise Refused(f"this table means the columns {', '.join(due)}, and the model has {', '.join(labels)}")
    names = columns(text)
    used = ~np.any([levels.missing(table, name) for name in names], axis=0) if names else np.ones(table.rows, np.bool_)
    ones = np.ones((int(used.sum()), int(model.intercept and not baseline)))
    found = np.full(table.rows, np.nan)
    z = np.column_stack([ones, design.matrix(table, model, known, used)])
    found[used] = z @ np.array(list(coefficients.values()))
    return found


def mean(family: str, eta: Array) -> Array:
    """What is expected of the outcome."""
    if family == "gaussian":
        return eta
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta), dtype=np.float64)


def _parsed(text: str) -> Formula:
    return formula.parse(text, "" if "~" in text else _ANY)
