"""The log-rank test of equal survival in all groups, stratified if there are strata (Mantel 1966).

At each time the events of a group have a hypergeometric distribution given the margins; observed minus expected
events are summed over times and strata, and so are their covariances.
"""

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array
from hansa.jobs.regression import scoring


class LogRank(Struct, frozen=True):
    """`observed` and `expected` events per group. The statistic has `df` degrees of freedom."""

    chi_squared: float
    df: int
    p: float
    observed: tuple[int, ...]
    expected: tuple[float, ...]


def test(at_risk: Array, events: Array) -> LogRank | None:
    """Of counts (times, groups, strata); None where nothing can be compared."""
    from scipy.special import chdtrc

    n, d = at_risk.sum(axis=1, keepdims=True), events.sum(axis=1, keepdims=True)
    share = np.divide(at_risk, n, out=np.zeros_like(at_risk), where=n > 0)
    expected = (share * d).sum(axis=(0, 2))
    spread = np.divide(d * (n - d), n - 1, out=np.zeros_like(n), where=n > 1)
    crossed = np.einsum("kgs,kxs,khs->gh", share, spread, share)
    variance = np.diag(np.einsum("kgs,kxs->g", share, spread)) - crossed
    observed = events.sum(axis=(0, 2))
    compared = np.flatnonzero(expected > 0)[1:]  # the first group follows from the others
    if compared.size == 0 or np.any(np.diag(variance)[compared] <= 0):
        return None
    upper = variance[np.ix_(compared, compared)][np.triu_indices(compared.size)]
    solved = scoring.newton((observed - expected)[compared], upper)
    if isinstance(solved, scoring.Dependent):
        return None
    return LogRank(
        chi_squared=solved.decrement,
        df=compared.size,
        p=float(chdtrc(compared.size, solved.decrement)),
        observed=tuple(int(count) for count in observed),
        expected=tuple(expected.tolist()),
    )
