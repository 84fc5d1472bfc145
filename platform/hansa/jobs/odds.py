"""Odds ratios of tables of two by two, alone and over strata, from their counts.

One table: the ratio with Woolf's interval, and Fisher's exact test. Several, one a stratum: the common ratio of Mantel
and Haenszel with the variance of Robins, Breslow and Greenland, and the test of Cochran, Mantel and Haenszel with its
continuity correction, as R's mantelhaen.test gives them.
"""

import math

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array

_NORMAL = 1.959963984540054  # the 97.5 % point of the standard normal


class Odds(Struct, frozen=True, kw_only=True):
    """`ratio` = n11 n22 / (n12 n21), None where that divides by zero; from `low` to `high` 95 %, None with an empty
    cell. `fisher_p` is two-sided."""

    ratio: float | None
    low: float | None
    high: float | None
    fisher_p: float


class CommonOdds(Struct, frozen=True, kw_only=True):
    """Over the strata. `statistic` is chi-squared with one degree of freedom under one odds ratio of 1 in all."""

    ratio: float | None
    low: float | None
    high: float | None
    statistic: float
    p: float


def alone(counts: Array) -> Odds | None:
    """Of one table; None unless it is two by two, with rows in each category."""
    from scipy.stats import fisher_exact

    if counts.shape != (2, 2) or not (counts.sum(axis=0).all() and counts.sum(axis=1).all()):
        return None
    (a, b), (c, d) = counts.tolist()
    ratio = a * d / (b * c) if b * c else None
    low = high = None
    if ratio:
        wide = _NORMAL * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        low, high = ratio * math.exp(-wide), ratio * math.exp(wide)
    p = float(fisher_exact(counts.astype(np.int64)).pvalue)
    return Odds(ratio=ratio, low=low, high=high, fisher_p=p)


def common(layers: Array) -> CommonOdds | None:
    """Of tables `layers[i, j, stratum]`; None unless they are two by two and some stratum tells anything. A stratum
    that has one row, or one category only, tells nothing."""
    from scipy.special import chdtrc

    if layers.shape[:2] != (2, 2):
        return None
    layers = layers[:, :, layers.sum(axis=(0, 1)) > 1]
    n = layers.sum(axis=(0, 1))
    down, along = layers.sum(axis=1), layers.sum(axis=0)
    variance = float((down.prod(axis=0) * along.prod(axis=0) / (n * n * (n - 1))).sum())
    if not variance:
        return None
    away = abs(float((layers[0, 0] - down[0] * along[0] / n).sum()))
    statistic = (away - (0.5 if away >= 0.5 else 0.0)) ** 2 / variance
    ratio, error = _mantel_haenszel(layers, n)
    low = high = None
    if ratio and error is not None:
        low, high = ratio * math.exp(-_NORMAL * error), ratio * math.exp(_NORMAL * error)
    return CommonOdds(ratio=ratio, low=low, high=high, statistic=statistic, p=float(chdtrc(1, statistic)))


def _mantel_haenszel(layers: Array, n: Array) -> tuple[float | None, float | None]:
    """The common ratio, and the standard error of its logarithm (Robins, Breslow and Greenland 1986)."""
    same, other = layers[0, 0] * layers[1, 1] / n, layers[0, 1] * layers[1, 0] / n
    up, down = float(same.sum()), float(other.sum())
    if not down:
        return None, None
    if not up:
        return 0.0, None
    with_, against = (layers[0, 0] + layers[1, 1]) / n, (layers[0, 1] + layers[1, 0]) / n
    parts = (
        float((with_ * same).sum()) / (2 * up * up),
        float((with_ * other + against * same).sum()) / (2 * up * down),
        float((against * other).sum()) / (2 * down * down),
    )
    return up / down, math.sqrt(sum(parts))
