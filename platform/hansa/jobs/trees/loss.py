"""The two families: what a row's margin costs, its gradient and hessian, where boosting starts, within which bounds.

The margin m of a row is the start plus the leaves it falls into.

    binomial: loss log(1 + e^m) - y m, g = p - y, h = p (1 - p), start = log-odds of the mean outcome
    gaussian: loss (y - m)², g = m - y, h = 1 (of half the loss, as XGBoost has it), start = the mean outcome
"""

import math
from typing import Literal

import numpy as np

from hansa.jobs.base import Array

Family = Literal["binomial", "gaussian"]
SLACK = 1.001  # floating-point sums may exceed what holds for real numbers by a few units in the last place


def probability(margin: Array) -> Array:
    tail = np.exp(-np.abs(margin))
    return np.asarray(np.where(margin >= 0, 1.0, tail) / (1.0 + tail), dtype=np.float64)


def derivatives(family: Family, margin: Array, outcome: Array) -> tuple[Array, Array]:
    """Gradient and hessian of each row."""
    if family == "gaussian":
        return margin - outcome, np.ones_like(margin)
    tail = np.exp(-np.abs(margin))
    return probability(margin) - outcome, tail / (1.0 + tail) ** 2


def loss(family: Family, margin: Array, outcome: Array) -> float:
    """Summed over the rows."""
    each = (outcome - margin) ** 2 if family == "gaussian" else np.logaddexp(0.0, margin) - outcome * margin
    return math.fsum(each)


def start(family: Family, mean: float) -> float:
    return mean if family == "gaussian" else math.log(mean / (1.0 - mean))


def bounds(family: Family, rows: float, reach: float, largest: int) -> tuple[float, float, float]:
    """Of a site's sums of gradients, hessians and losses: `reach` bounds every margin, 2^largest a gaussian outcome."""
    if family == "gaussian":
        away = reach + math.ldexp(1.0, largest)
        return rows * away * SLACK, rows * SLACK, rows * away * away * SLACK
    return rows * SLACK, rows / 4 * SLACK, rows * (math.log(2.0) + reach) * SLACK
