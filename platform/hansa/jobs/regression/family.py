"""What the three families total in an iteration, within which bounds, and the deviances that follow.

With z the standardised columns (|z| ≤ 1), b their coefficients, η = z b and μ the mean of a row with
canonical link (McCullagh and Nelder 1989, chapter 2):

    score = z'(y - μ)      information = z' W z
    loss: binomial Σ log(1+e^η) - yη      poisson Σ μ - yη      gaussian Σ (u - η)²
    fixed: binomial Σy      poisson Σy, Σ y log y, Σ log y!      gaussian Σu, Σu²

A gaussian outcome is standardised too and called u.
"""

import math
from typing import Literal

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array, Flags, Reals, Total, reals

Family = Literal["gaussian", "binomial", "poisson"]
SLACK = 1.001  # floating-point sums may exceed what holds for real numbers by a few units in the last place
_ROOM = 64.0  # how far above its start a poisson mean may rise in a trial before the step is halved


class Share(Struct, frozen=True):
    """Of one site, or of all: `information` is the upper triangle, row by row."""

    score: Array
    information: Array
    loss: float
    fixed: Array
    overflow: bool


class Bounds(Struct, frozen=True):
    score: float
    information: float
    loss: float
    fixed: float
    means: float  # a site's sum of μ; beyond it, it says "overflow" instead


def bounds(family: Family, trial: Array, rows: float, outcome: float, outcome_exponent: int) -> Bounds:
    """What no site can exceed: `rows` and `outcome` (poisson: Σy) are released totals, η is at most Σ|b|."""
    reach = float(np.abs(trial).sum())
    if family == "binomial":
        return Bounds(rows, rows, rows * (1 + reach) * SLACK, rows, math.inf)
    if family == "gaussian":
        return Bounds(rows * (1 + reach) * SLACK, rows, rows * (1 + reach) ** 2 * SLACK, rows, math.inf)
    means = _ROOM * max(outcome, rows)
    fixed = outcome * max(1.0, math.log(2) * outcome_exponent) * SLACK
    return Bounds((outcome + means) * SLACK, means * SLACK, (means + outcome * reach) * SLACK, fixed, means)


def blocks(bound: Bounds, width: int, sites: int) -> tuple[Reals | Flags, ...]:
    return (
        reals("score", (width,), bound.score, sites),
        reals("information", (width * (width + 1) // 2,), bound.information, sites),
        reals("loss", (1,), bound.loss, sites),
        reals("fixed", (3,), bound.fixed, sites),
        Flags("overflow", (1,)),
    )


def share(family: Family, z: Array, y: Array, trial: Array, means: float) -> Share:
    """A site's part; `z` (rows, width) with the intercept's ones, `y` (rows,) standardised if gaussian."""
    eta = z @ trial
    with np.errstate(over="ignore"):
        mu, weight = _means(family, eta)
    if float(mu.sum()) > means:
        width = trial.size
        return Share(np.zeros(width), np.zeros(width * (width + 1) // 2), 0.0, np.zeros(3), True)
    if family == "binomial":
        loss, fixed = np.logaddexp(0.0, eta) - y * eta, [y.sum(), 0.0, 0.0]
    elif family == "poisson":
        from scipy.special import gammaln, xlogy

        loss, fixed = mu - y * eta, [y.sum(), math.fsum(xlogy(y, y)), math.fsum(gammaln(y + 1))]
    else:
        loss, fixed = (y - eta) ** 2, [math.fsum(y), math.fsum(y * y), 0.0]
    information = (z * weight[:, None]).T @ z
    return Share(
        z.T @ (y - mu),
        information[np.triu_indices(trial.size)],
        math.fsum(loss),
        np.array(fixed),
        overflow=False,
    )


def _means(family: Family, eta: Array) -> tuple[Array, Array]:
    """μ and the weight (the variance function at μ), per row."""
    if family == "gaussian":
        return eta, np.ones_like(eta)
    if family == "poisson":
        mu = np.exp(eta)
        return mu, mu
    mu = 1 / (1 + np.exp(-eta))
    tail = np.exp(-np.abs(eta))
    return mu, tail / (1 + tail) ** 2


def read(total: Total) -> Share:
    return Share(
        total.real("score"),
        total.real("information"),
        total.number("loss"),
        total.real("fixed"),
        bool(total.flag("overflow")[0]),
    )


def deviance(family: Family, loss: float, fixed: Array) -> float:
    """Of the trial coefficients; of a gaussian in units of u."""
    if family == "poisson":
        return float(2 * (fixed[1] - fixed[0] + loss))
    return 2 * loss if family == "binomial" else loss


def null_deviance(family: Family, fixed: Array, rows: float, intercept: bool) -> float:
    """Of the model with an intercept alone or, as R has it, with nothing at all (η = 0)."""
    first, second = float(fixed[0]), float(fixed[1])
    if family == "gaussian":
        return second - first * first / rows if intercept else second
    if family == "poisson":
        return 2 * (second - first * math.log(first / rows)) if intercept else 2 * (second - first + rows)
    if not intercept:
        return 2 * rows * math.log(2)
    return -2 * (first * math.log(first / rows) + (rows - first) * math.log1p(-first / rows))


def aic(family: Family, deviance: float, fixed: Array, rows: float, width: int) -> float:
    """As R's: `deviance` in the outcome's own units; the gaussian's dispersion counts as a parameter."""
    if family == "binomial":
        return deviance + 2 * width
    if family == "poisson":
        loss = deviance / 2 - fixed[1] + fixed[0]
        return float(2 * (loss + fixed[2]) + 2 * width)
    return rows * (math.log(2 * math.pi * deviance / rows) + 1) + 2 * (width + 1)
