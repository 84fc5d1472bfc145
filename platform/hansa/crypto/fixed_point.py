"""Real numbers as elements of Z_2^64, and back.

An element stands for `round(x / step)` in two's complement; `step` is a power of two, so the division is exact
and only the rounding to the nearest multiple loses anything: at most `step / 2` a site. A sum of `n` sites is
right as long as `n * bound / step < 2^63`; `check_ring` refuses everything else before a job starts.
"""

import math

import numpy as np
import numpy.typing as npt

from hansa.errors import Refused

Ring = npt.NDArray[np.uint64]
Real = npt.NDArray[np.float64]

RING_BITS = 64
FINEST_EXPONENT = -500  # 2^-500: far below any statistic, far above where a float64 loses bits


def finest_step(bound: float, sites: int) -> float:
    """The smallest power of two with which `sites` contributions of at most `bound` still fit, with 2 spare bits."""
    if not (math.isfinite(bound) and bound > 0 and sites > 0):
        raise ValueError("a bound is positive and finite, and there is at least one site")
    exponent = math.ceil(math.log2(bound)) + math.ceil(math.log2(sites)) - (RING_BITS - 3)
    return math.ldexp(1.0, max(exponent, FINEST_EXPONENT))


def check_ring(bound: float, step: float, sites: int) -> None:
    """Refuses a block whose total could reach half the ring (`secure sum` refusal 6)."""
    mantissa, _ = math.frexp(step) if math.isfinite(step) else (0.0, 0)
    if mantissa != 0.5 or step <= 0:
        raise Refused("the precision of a block is not a power of two")
    if not (math.isfinite(bound) and bound > 0):
        raise Refused("the bound of a block is not a positive number")
    if sites < 1 or math.log2(bound) - math.log2(step) + math.log2(sites) >= RING_BITS - 1:
        raise Refused("the plan could overflow: sites times bound over precision reaches half the ring")


def encode(values: Real, bound: float, step: float) -> Ring:
    """`values` (any shape, flattened) as ring elements; refuses what is not a number or exceeds `bound`."""
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    if not np.all(np.isfinite(flat)) or np.any(np.abs(flat) > bound):
        raise Refused("a contribution is not finite or exceeds the bound that the plan declares")
    return np.rint(flat / step).astype(np.int64).view(np.uint64)


def decode(elements: Ring, step: float) -> Real:
    """Ring elements as float64, correctly rounded once."""
    return elements.view(np.int64).astype(np.float64) * step
