"""Discrete Gaussian numbers, P[x] ∝ exp(−x² / 2σ²) over the whole numbers, from a secret stream of bytes.

Few are drawn by rejection, exactly: Canonne, Kamath and Steinke (NeurIPS 2020), algorithms 1 to 3, with `variance` a
whole number, so no float and no approximation stands anywhere.

Many are drawn by inversion. A number's magnitude is the count of k with P[|x| ≤ k] ≤ u for a uniform u of 384 bits, of
which the first 63 are drawn, with a sign, as one word; a table of these probabilities decides by them alone unless
they meet a threshold's, at most once in 2^44 numbers, and the others are drawn then. The table is computed in whole
numbers at 384 bits. Its entries are at most 2^20, each step of the recurrence loses less than 2^-383 and the losses add
up to less than the cube of the number of entries; what is cut off at the end is below 2^-384. So a number is within
2^-300 of the distribution (in total variation), and the numbers of a sum, below 2^40, within 2^-260: for ε ≤ 100 that
adds (1 + e^ε) 2^-260 < 2^-110 to δ, far below the millionth part that `accounting.py` sets aside.

`chance(n)` gives n bytes nobody else knows, others at each call. Rejection takes 4096 bytes at a time, inversion 8
bytes a number and, on a tie, 48. Whoever calls separates the stream from every other by its label.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from math import isqrt

import numpy as np
import numpy.typing as npt

Chance = Callable[[int], bytes]
Numbers = npt.NDArray[np.int64]

FEW = 1024  # so many or fewer are drawn by rejection
MOST_VARIANCE = 2**31  # a table of 2^18.7 thresholds, from 2^20 probabilities
_BITS, _FIRST = 384, 63
_GUARD = 64
_AT_ONCE = 2**16
_WORD = 16  # bytes; limits stay below 2^66, so one word in 2^62 is drawn again


def draw(variance: int, size: int, chance: Chance) -> Numbers:
    """`size` independent numbers of N_Z(0, `variance`)."""
    if not 1 <= variance <= MOST_VARIANCE:
        raise ValueError("the variance of a discrete Gaussian is a whole number that its table can hold")
    return by_rejection(variance, size, chance) if size <= FEW else by_inversion(variance, size, chance)


# ---- rejection ----


def by_rejection(variance: int, size: int, chance: Chance) -> Numbers:
    uniform = _Uniform(chance)
    return np.array([_gaussian(variance, uniform) for _ in range(size)], dtype=np.int64)


class _Uniform:
    """Uniform whole numbers below a limit."""

    def __init__(self, chance: Chance) -> None:
        self._chance, self._bytes, self._at = chance, b"", 0

    def below(self, limit: int) -> int:
        ceiling = 2 ** (8 * _WORD) // limit * limit
        while True:
            if self._at == len(self._bytes):
                self._bytes, self._at = self._chance(4096), 0
            word = int.from_bytes(self._bytes[self._at : self._at + _WORD], "little")
            self._at += _WORD
            if word < ceiling:
                return word % limit


def _gaussian(variance: int, uniform: _Uniform) -> int:
    """Algorithm 3: a discrete Laplace number, kept with probability exp(−(|y| − σ²/t)² / 2σ²)."""
    scale = isqrt(variance) + 1
    while True:
        y = _laplace(scale, uniform)
        if _happens((abs(y) * scale - variance) ** 2, 2 * variance * scale**2, uniform):
            return y


def _laplace(scale: int, uniform: _Uniform) -> int:
    """Algorithm 2: P[y] ∝ exp(−|y| / scale)."""
    while True:
        part = uniform.below(scale)
        if not _happens(part, scale, uniform):
            continue
        whole = 0
        while _happens(1, 1, uniform):
            whole += 1
        magnitude, negative = part + scale * whole, uniform.below(2)
        if magnitude or not negative:
            return -magnitude if negative else magnitude


def _happens(numerator: int, denominator: int, uniform: _Uniform) -> bool:
    """Algorithm 1: true with probability exp(−numerator / denominator)."""
    while numerator > denominator:
        if not _happens(1, 1, uniform):
            return False
        numerator -= denominator
    turn = 1
    while uniform.below(denominator) < numerator and uniform.below(turn) == 0:
        turn += 1
    return turn % 2 == 1


# ---- inversion ----


def by_inversion(variance: int, size: int, chance: Chance) -> Numbers:
    table, numbers = _thresholds(variance), np.empty(size, dtype=np.int64)
    for start in range(0, size, _AT_ONCE):
        part = numbers[start : start + _AT_ONCE]
        words = np.frombuffer(chance(8 * part.size), dtype="<u8").astype(np.uint64)
        first, negative = words >> np.uint64(1), (words & np.uint64(1)).astype(np.bool_)
        part[:] = np.searchsorted(table, first)  # thresholds below; the last is the largest word there is
        for place in np.flatnonzero(table[part] == first):
            part[place] = _resolved(variance, int(first[place]), chance)
        np.negative(part, out=part, where=negative)
    return numbers


@lru_cache(maxsize=16)
def _thresholds(variance: int) -> npt.NDArray[np.uint64]:
    """The first 63 bits of P[|x| ≤ k] for k = 0, 1, … up to the first that has no zero among them."""
    thresholds, last = [], 2**_FIRST - 1
    for probability in _cumulative(variance):
        thresholds.append(probability >> (_BITS - _FIRST))
        if thresholds[-1] == last:
            break
    return np.array(thresholds, dtype=np.uint64)


def _resolved(variance: int, first: int, chance: Chance) -> int:
    """The magnitude for a uniform of which the first bits decide nothing."""
    missing = _BITS - _FIRST
    rest = int.from_bytes(chance(_BITS // 8), "little") >> (_BITS - missing)
    return bisect_right(_cumulative(variance), (first << missing) | rest)


def _cumulative(variance: int) -> list[int]:
    """P[|x| ≤ k] in units of 2^-384, up to where they end in nothing but rounding; the last is 1."""
    masses, ratio = [1 << _BITS], _exponential(1, 2 * variance)
    square = ratio * ratio >> _BITS
    while masses[-1]:
        masses.append(masses[-1] * ratio >> _BITS)
        ratio = ratio * square >> _BITS
    total = 2 * sum(masses) - masses[0]
    found, so_far = [], -masses[0]
    for mass in masses:
        so_far += 2 * mass
        found.append((so_far << _BITS) // total)
    return found


def _exponential(numerator: int, denominator: int) -> int:
    """exp(−numerator / denominator) in units of 2^-384, for a fraction of at most 1; Taylor's series."""
    term = total = 1 << (_BITS + _GUARD)
    turn = 0
    while term:
        turn += 1
        term = term * numerator // (denominator * turn)
        total += -term if turn % 2 else term
    return total >> _GUARD
