"""Kaplan and Meier's estimate from counts, as R's survfit gives it.

    S(t) = Π (1 - d/n)      var log S = Σ d / (n (n - d))        (Kaplan and Meier 1958; Greenwood 1926)
    interval: S exp(±1.96 √var log S), at most 1

Where neighbouring steps are counted as one (`grouping.py`), those who are censored between its first and its last
event are at risk for half of it: n - w/2 stands for n (the actuarial estimate, Cutler and Ederer 1958).
"""

import math
from collections.abc import Sequence

from msgspec import Struct

Z = 1.959963984540054  # 97.5 % of a normal distribution
_TIE = 2.0**-26  # as survfit: how near 0.5 is 0.5


class Counts(Struct, frozen=True):
    """Per step: its time, rows at risk, events, rows censored from this step until the next, and `within`: how many of
    those at risk were censored between the first and the last event that the step counts."""

    times: tuple[float, ...]
    at_risk: tuple[int, ...]
    events: tuple[int, ...]
    censored: tuple[int, ...]
    within: tuple[int, ...]
    censored_before: int


class Curve(Counts, frozen=True):
    """Estimates after each step; no error and no interval where everybody had the event. Median and its interval
    are None where the curve doesn't reach 0.5; `mean` is restricted to the horizon of the answer,
    and None where nothing is shown."""

    survival: tuple[float, ...]
    std_errors: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]
    median: float | None
    median_low: float | None
    median_high: float | None
    mean: float | None
    mean_std_error: float | None


def estimate(counts: Counts, horizon: float) -> Curve:
    survival, variance = 1.0, 0.0
    alive: list[float] = []
    errors: list[float | None] = []
    lows: list[float | None] = []
    highs: list[float | None] = []
    for at_risk, events, within in zip(counts.at_risk, counts.events, counts.within, strict=True):
        exposed = max(at_risk - within / 2, events)  # rounded counts may cross
        if events:
            survival *= (exposed - events) / exposed
            variance += events / (exposed * (exposed - events)) if exposed > events else math.inf
        alive.append(survival)
        known = math.isfinite(variance)
        spread = Z * math.sqrt(variance) if known else 0.0
        errors.append(survival * math.sqrt(variance) if known else None)
        lows.append(survival * math.exp(-spread) if known else None)
        highs.append(min(survival * math.exp(spread), 1.0) if known else None)
    mean, error = _mean(counts, alive, horizon) if counts.times else (None, None)
    return Curve(
        counts.times,
        counts.at_risk,
        counts.events,
        counts.censored,
        counts.within,
        counts.censored_before,
        survival=tuple(alive),
        std_errors=tuple(errors),
        lows=tuple(lows),
        highs=tuple(highs),
        median=_half(counts.times, alive),
        median_low=_half(counts.times, lows),
        median_high=_half(counts.times, highs),
        mean=mean,
        mean_std_error=error,
    )


def _half(times: Sequence[float], values: Sequence[float | None]) -> float | None:
    """When `values` first fall below 0.5; the middle of the stair if one lies at 0.5."""
    below = [(t, v) for t, v in zip(times, values, strict=True) if v is not None and v < 0.5 + _TIE]
    if not below:
        return None
    first, level = below[0]
    lower = [t for t, v in below if v < level]
    return (first + lower[0]) / 2 if abs(level - 0.5) < _TIE and lower else first


def _mean(counts: Counts, alive: Sequence[float], horizon: float) -> tuple[float, float]:
    """The area under the curve up to the horizon, and its standard error."""
    area, variance, right = 0.0, 0.0, horizon
    steps = list(zip(counts.times, counts.at_risk, counts.events, counts.within, alive, strict=True))
    for time, at_risk, events, within, survival in reversed(steps):
        if time > horizon:
            continue
        area += survival * (right - time)
        right, exposed = time, max(at_risk - within / 2, events)
        if events and exposed > events:
            variance += area * area * events / (exposed * (exposed - events))
    return area + right, math.sqrt(variance)
