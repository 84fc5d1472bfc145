"""What the four families total in an iteration, within which bounds, and the deviances that follow.

With z the standardised columns (|z| ≤ 1), b their coefficients, η = z b and μ the mean of a row with canonical link,
but for gamma, whose link is log (McCullagh and Nelder 1989, chapters 2 and 8):

    score = z' r           r = y - μ; gamma (y - μ)/μ
    information = z' W z   W = the variance at μ; gamma 1, and y/μ in `curvature`, by which a step is Newton's
    loss: binomial Σ log(1+e^η) - yη      poisson Σ μ - yη      gaussian Σ (u - η)²      gamma Σ y/μ + η
    fixed: binomial Σy      poisson Σy, Σ y log y, Σ log y!      gaussian Σu, Σu²      gamma Σy, Σ log y, Σ r²
    meat: z' diag(r²) z, for errors that hold whatever the variance is (Huber 1967; White 1980)

A gaussian outcome is standardised too and called u.
"""

import math
from typing import Literal

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array, Flags, Reals, Total, reals

Family = Literal["gaussian", "binomial", "poisson", "gamma"]
SLACK = 1.001  # floating-point sums may exceed what holds for real numbers by a few units in the last place
_ROOM = 64.0  # how far above its start a poisson mean, or a gamma's y/μ, may rise in a trial before the step is halved
_SMALLEST = 745.0  # -log of the smallest float64 above zero


class Share(Struct, frozen=True):
    """Of one site, or of all: `information` is the upper triangle, row by row."""

    score: Array
    information: Array
    loss: float
    fixed: Array
    overflow: bool
    meat: Array | None = None
    curvature: Array | None = None


class Bounds(Struct, frozen=True):
    score: float
    information: float
    loss: float
    fixed: float
    means: float  # a site's sum of μ, or a gamma's of y/μ; beyond it, it says "overflow" instead
    meat: float


def bounds(family: Family, trial: Array, rows: float, outcome: float, outcome_exponent: int) -> Bounds:
    """What no site can exceed: `rows` and `outcome` (poisson: Σy) are released totals, η is at most Σ|b|."""
    reach = float(np.abs(trial).sum())
    if family == "binomial":
        return Bounds(rows, rows, rows * (1 + reach) * SLACK, rows, math.inf, rows * SLACK)
    if family == "gaussian":
        square = rows * (1 + reach) ** 2 * SLACK
        return Bounds(rows * (1 + reach) * SLACK, rows, square, rows, math.inf, square)
    if family == "gamma":
        ratios = _ROOM * rows
        fixed = max(outcome, _SMALLEST * rows, _ROOM * ratios) * SLACK
        meat = _ROOM * ratios * SLACK
        return Bounds((rows + ratios) * SLACK, rows * SLACK, (ratios + rows * reach) * SLACK, fixed, ratios, meat)
    means = _ROOM * max(outcome, rows)
    fixed = outcome * max(1.0, math.log(2) * outcome_exponent) * SLACK
    score, loss = (outcome + means) * SLACK, (means + outcome * reach) * SLACK
    return Bounds(score, means * SLACK, loss, fixed, means, score * score)


def blocks(family: Family, bound: Bounds, width: int, sites: int, robust: bool) -> tuple[Reals | Flags, ...]:
    triangle = (width * (width + 1) // 2,)
    return (
        reals("score", (width,), bound.score, sites),
        reals("information", triangle, bound.information, sites),
        reals("loss", (1,), bound.loss, sites),
        reals("fixed", (3,), bound.fixed, sites),
        Flags("overflow", (1,)),
        *((reals("meat", triangle, bound.meat, sites),) if robust else ()),
        *((reals("curvature", triangle, bound.means * SLACK, sites),) if family == "gamma" else ()),
    )


def share(family: Family, z: Array, y: Array, trial: Array, means: float, robust: bool = False) -> Share:
    """A site's part; `z` (rows, width) with the intercept's ones, `y` (rows,) standardised if gaussian."""
    eta = z @ trial
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mu, weight = _means(family, eta)
        rest = y / mu - 1 if family == "gamma" else y - mu
        beyond = np.array([(rest + 1).sum(), (rest * rest).sum() / _ROOM]) if family == "gamma" else mu.sum()
    if np.any(beyond > means) or np.any(np.isnan(beyond)):
        nothing = np.zeros(trial.size * (trial.size + 1) // 2)
        others = (nothing if robust else None, nothing if family == "gamma" else None)
        return Share(np.zeros(trial.size), nothing, 0.0, np.zeros(3), True, *others)
    loss, fixed = _losses(family, y, eta, mu, rest)
    meat = _products(z, rest * rest) if robust else None
    curvature = _products(z, rest + 1) if family == "gamma" else None
    return Share(z.T @ rest, _products(z, weight), math.fsum(loss), np.array(fixed), False, meat, curvature)


def _products(z: Array, weights: Array) -> Array:
    """z' diag(weights) z, its upper triangle row by row."""
    return np.asarray(((z * weights[:, None]).T @ z)[np.triu_indices(z.shape[1])], dtype=np.float64)


def _losses(family: Family, y: Array, eta: Array, mu: Array, rest: Array) -> tuple[Array, list[float]]:
    """Row by row, and what does not depend on the coefficients (but for gamma's Σ r²)."""
    if family == "binomial":
        return np.logaddexp(0.0, eta) - y * eta, [float(y.sum()), 0.0, 0.0]
    if family == "gaussian":
        return rest * rest, [math.fsum(y), math.fsum(y * y), 0.0]
    if family == "gamma":
        return rest + 1 + eta, [math.fsum(y), math.fsum(np.log(y)), math.fsum(rest * rest)]
    from scipy.special import gammaln, xlogy

    return mu - y * eta, [float(y.sum()), math.fsum(xlogy(y, y)), math.fsum(gammaln(y + 1))]


def _means(family: Family, eta: Array) -> tuple[Array, Array]:
    """μ and the weight (the variance function at μ), per row."""
    if family == "gaussian":
        return eta, np.ones_like(eta)
    if family in ("poisson", "gamma"):
        mu = np.exp(eta)
        return mu, mu if family == "poisson" else np.ones_like(eta)
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
        total.real("meat") if "meat" in total.values else None,
        total.real("curvature") if "curvature" in total.values else None,
    )


def deviance(family: Family, loss: float, fixed: Array, rows: float) -> float:
    """Of the trial coefficients; of a gaussian in units of u."""
    if family == "gamma":
        return float(2 * (loss - rows - fixed[1]))
    if family == "poisson":
        return float(2 * (fixed[1] - fixed[0] + loss))
    return 2 * loss if family == "binomial" else loss


def null_deviance(family: Family, fixed: Array, rows: float, intercept: bool) -> float:
    """Of the model with an intercept alone or, as R has it, with nothing at all (η = 0)."""
    first, second = float(fixed[0]), float(fixed[1])
    if family == "gaussian":
        return second - first * first / rows if intercept else second
    if family == "gamma":
        return 2 * (rows * math.log(first / rows) - second) if intercept else 2 * (first - rows - second)
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
    if family == "gamma":  # 2 (Σ log y + Σ y/μ ...) with the dispersion D/n, as R's Gamma()$aic
        shape, logs = rows / deviance, fixed[1]
        # Σ log μ + Σ y/μ follows from the deviance: D/2 = Σ y/μ + Σ log μ - n - Σ log y
        each = rows * (shape * math.log(shape) - math.lgamma(shape)) + (shape - 1) * logs
        return float(-2 * (each - shape * (deviance / 2 + rows + logs)) + 2 * (width + 1))
    return rows * (math.log(2 * math.pi * deviance / rows) + 1) + 2 * (width + 1)
