"""Real numbers as elements of Z_2^64 or Z_2^32, and back.

An element stands for `round(x / step)` in two's complement; `step` is a power of two, so the division is exact
and only the rounding to the nearest multiple loses anything: at most `step / 2` a site. A sum of `n` sites is
right as long as `n * round(bound / step)` stays below half the ring; `check_ring` refuses everything else before
a job starts. `bits` is 64 or 32 everywhere; an array of elements is uint64 or uint32 accordingly.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from hansa.errors import Refused

Ring = npt.NDArray[np.uint64 | np.uint32]
Real = npt.NDArray[np.float64]

FINEST_EXPONENT = -500  # 2^-500: far below any statistic, far above where a float64 loses bits

SIGNED: Final[dict[int, np.dtype[np.int64 | np.int32]]] = {64: np.dtype(np.int64), 32: np.dtype(np.int32)}
UNSIGNED: Final[dict[int, np.dtype[np.uint64 | np.uint32]]] = {64: np.dtype(np.uint64), 32: np.dtype(np.uint32)}


def finest_step(bound: float, sites: int, bits: int = 64) -> float:
    """The smallest power of two with which `sites` contributions of at most `bound` still fit, with 2 spare bits."""
    if not (math.isfinite(bound) and bound > 0 and sites > 0):
        raise ValueError("a bound is positive and finite, and there is at least one site")
    _check_bits(bits)
    exponent = math.ceil(math.log2(bound)) + math.ceil(math.log2(sites)) - (bits - 3)
    return math.ldexp(1.0, max(exponent, FINEST_EXPONENT))


def check_ring(bound: float, step: float, sites: int, bits: int = 64) -> None:
    """Refuses a block whose total could reach half the ring (`secure sum` refusal 6)."""
    _check_bits(bits)
    mantissa, _ = math.frexp(step) if math.isfinite(step) else (0.0, 0)
    if mantissa != 0.5 or step <= 0:
        raise Refused("the precision of a block is not a power of two")
    if not (math.isfinite(bound) and bound > 0):
        raise Refused("the bound of a block is not a positive number")
    if sites < 1 or sites * _largest(bound, step) >= 2 ** (bits - 1):
        raise Refused("the plan could overflow: sites times bound over precision reaches half the ring")


def encode(values: Real, bound: float, step: float, bits: int = 64) -> Ring:
    """`values` (any shape, flattened) as ring elements; refuses what is not a number or exceeds `bound`.

    Refuses also a `bound` that reaches half the ring for one site alone: rounded to an integer of `bits`, such a
    value would come back with another sign.
    """
    _check_bits(bits)
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    if not np.all(np.isfinite(flat)) or np.any(np.abs(flat) > bound):
        raise Refused("a contribution is not finite or exceeds the bound that the plan declares")
    if not _largest(bound, step) < 2 ** (bits - 1):
        raise Refused("the bound of a block reaches half the ring")
    return np.rint(flat / step).astype(SIGNED[bits]).view(UNSIGNED[bits])


def decode(elements: Ring, step: float) -> Real:
    """Ring elements (uint64 or uint32) as float64, correctly rounded once."""
    bits = 8 * elements.itemsize
    if elements.dtype != UNSIGNED.get(bits):
        raise ValueError("an element of the ring is a uint64 or a uint32")
    return elements.view(SIGNED[bits]).astype(np.float64) * step


def _largest(bound: float, step: float) -> float:
    """The integer that stands for `bound`, exact; infinite where the quotient leaves the floats."""
    quotient = bound / step
    return round(quotient) if math.isfinite(quotient) else math.inf


def _check_bits(bits: int) -> None:
    if bits not in UNSIGNED:
        raise ValueError("a ring has 64 or 32 bits")
