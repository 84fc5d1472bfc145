"""How large numbers may be, without saying whose they are.

Fixed point needs a bound for each total. A site answers, per column, a row of flags in unary code: "some
number is not zero", then "some number is at least 16^k in magnitude" for k from `LOWEST` to `HIGHEST`. The
total of flags is "any site said yes", so what becomes known is the order of magnitude of the largest number
of the pool, in factors of 16, and nothing of how many there are or where.
"""

import numpy as np
import numpy.typing as npt

from hansa.errors import Refused
from hansa.jobs.base import Array

LOWEST, HIGHEST = -32, 32
PLACES = HIGHEST - LOWEST + 2
MAX_ROWS = 2.0**40  # of one site, before anything is known of the pool
_THRESHOLDS = np.ldexp(1.0, 4 * np.arange(LOWEST, HIGHEST + 1))


def flags(values: Array) -> npt.NDArray[np.bool_]:
    """`PLACES` flags for each column of `values` (rows, columns); missing numbers (NaN) say nothing."""
    if values.shape[0] == 0:
        return np.zeros((values.shape[1], PLACES), dtype=np.bool_)
    largest = np.nan_to_num(np.fmax.reduce(np.abs(values), axis=0), nan=0.0, posinf=np.inf)
    if np.any(largest >= np.ldexp(1.0, 4 * (HIGHEST + 1))):
        raise Refused("a column holds infinite numbers or some beyond 10^39; change its unit")
    return np.column_stack([largest > 0, largest[:, None] >= _THRESHOLDS])


def exponents(total: npt.NDArray[np.bool_]) -> tuple[int | None, ...]:
    """Per column the least multiple of four `e` with every number below 2^e; None where all are zero."""
    highest = [np.flatnonzero(row) for row in total]
    return tuple(int(4 * (LOWEST + places[-1])) if places.size else None for places in highest)
