"""Sums of squares and products that lose no digits: numbers are centred and scaled before they are added up.

    magnitudes → sums → spreads → moments

Three passes find, for each series of numbers (a column, or a column within a group), how large its numbers are, a
centre near their mean, and how far they lie from it; the fourth adds up z = (x - centre) / 2^spread, |z| < 1, and its
squares or products (Chan, Golub and LeVeque 1983, "shifted data"). The centre need not be exact, so a site that leaves
after it was found changes nothing but who is in the answer.

A series without a number, or with one only, is no error here: its kind says what that means.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.jobs import magnitude
from hansa.jobs.base import Array, Block, Flags, Reals, Step, Total, reals

MAGNITUDES, SUMS, SPREADS, MOMENTS = range(4)
NAMES = ("magnitudes", "sums", "spreads", "moments")
_LARGEST_EXPONENT = 200
_LEAST = 4 * magnitude.LOWEST  # the spread of numbers that all equal their centre


class Scale(Struct, frozen=True):
    """What is known of a series: |x| < 2^largest, |x - centre| < 2^spread."""

    largest: int
    centre: float = 0.0
    spread: int = 0


class Moments(Struct, frozen=True, kw_only=True):
    """Of a series. The mean is `centre` + `offset`, kept apart where their sum would lose digits of a difference.

    `squares`: the sum of (x - mean)², zero where no digit of it is known. The precisions bound absolute errors, given
    float64 rows.
    """

    count: int
    centre: float
    offset: float
    offset_precision: float
    squares: float
    squares_precision: float

    @property
    def mean(self) -> float:
        return self.centre + self.offset

    @property
    def mean_precision(self) -> float:
        return self.offset_precision + math.ulp(self.mean)

    @property
    def variance(self) -> float | None:
        """Divided by count - 1."""
        return self.squares / (self.count - 1) if self.count > 1 else None

    @property
    def variance_precision(self) -> float | None:
        return self.squares_precision / (self.count - 1) if self.count > 1 else None


def check(turn: int, scales: Sequence[Scale], width: int) -> None:
    """Whether a public state has what its turn needs, in range."""
    if len(scales) != (0 if turn == MAGNITUDES else width):
        raise ProtocolViolation("the state does not fit the columns that are asked about")
    for scale in scales:
        if not math.isfinite(scale.centre) or max(abs(scale.largest), abs(scale.spread)) > _LARGEST_EXPONENT:
            raise ProtocolViolation("the state's centres or exponents are out of range")


def blocks(turn: int, width: int, rows: float, sites: int) -> tuple[Block, ...]:
    """What a pass totals of `width` series; numbers are scaled below 1, so the pool's `rows` bound every sum."""
    if turn in (MAGNITUDES, SPREADS):
        return (Flags("magnitudes", (width, magnitude.PLACES)),)
    if turn == SUMS:
        return (reals("sums", (width,), rows, sites),)
    return (reals("first", (width,), rows, sites), reals("second", (width,), rows, sites))


def share(turn: int, scales: Sequence[Scale], series: Sequence[Array]) -> dict[str, np.ndarray]:
    """A site's part of `blocks`; `series` hold no missing numbers, and may differ in length."""
    if turn == MAGNITUDES:
        return {"magnitudes": _flags(series)}
    pairs = list(zip(series, scales, strict=True))
    if turn == SUMS:
        return {"sums": np.array([math.fsum(np.ldexp(values, -scale.largest)) for values, scale in pairs])}
    if turn == SPREADS:
        return {"magnitudes": _flags([values - scale.centre for values, scale in pairs])}
    away = [scaled(values, scale) for values, scale in pairs]
    return {
        "first": np.array([math.fsum(z) for z in away]),
        "second": np.array([math.fsum(z * z) for z in away]),
    }


def scaled(values: Array, scale: Scale) -> Array:
    """z, below 1 in magnitude for every row that the spread was found from."""
    return np.asarray(np.ldexp(values - scale.centre, -scale.spread), dtype=np.float64)


def learnt(turn: int, scales: Sequence[Scale], counts: Array, total: Total) -> tuple[Scale, ...]:
    """The scales after a pass before the last; `counts` are the numbers of each series in this total."""
    if turn == MAGNITUDES:
        return tuple(Scale(0 if size is None else size) for size in magnitude.exponents(total.flag("magnitudes")))
    if turn == SUMS:
        return tuple(
            Scale(scale.largest, math.ldexp(float(mean), scale.largest))
            for scale, mean in zip(scales, total.real("sums") / np.maximum(counts, 1), strict=True)
        )
    return tuple(
        Scale(scale.largest, scale.centre, _LEAST if spread is None else spread)
        for scale, spread in zip(scales, magnitude.exponents(total.flag("magnitudes")), strict=True)
    )


def moments(scales: Sequence[Scale], counts: Array, step: Step, total: Total) -> tuple[Moments, ...]:
    """With S = Σz and Q = Σz²: mean = centre + 2^spread S/n, and the sum of squares 4^spread (Q - S²/n)."""
    rounding = roundings(step, total)
    found = []
    sums = zip(total.real("first").tolist(), total.real("second").tolist(), strict=True)
    for scale, count, (first, second) in zip(scales, counts, sums, strict=True):
        n, unit = max(float(count), 1.0), math.ldexp(1.0, scale.spread)
        squares = max(second - first * first / n, 0.0)
        spent = rounding["second"] + rounding["first"] * (2 * abs(first) + rounding["first"]) / n
        spent += 2.0**-50 * (second + first * first / n)
        found.append(
            Moments(
                count=int(count),
                centre=scale.centre,
                offset=unit * first / n,
                offset_precision=unit * (rounding["first"] / n + 2.0**-52),
                squares=unit * unit * squares if squares > spent else 0.0,
                squares_precision=unit * unit * spent,
            )
        )
    return tuple(found)


def roundings(step: Step, total: Total) -> dict[str, float]:
    """By block, how far fixed point may have moved a total."""
    return {block.name: total.sites * block.step / 2 for block in step.blocks if isinstance(block, Reals)}


def _flags(series: Sequence[Array]) -> np.ndarray:
    return np.concatenate([magnitude.flags(values[:, None]) for values in series])
