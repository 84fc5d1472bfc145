"""The partial likelihood of Cox (1972) from sums over risk sets, with ties as Breslow (1974) or Efron (1977) has them.

At an event time with d events, with S the sums over the risk set of exp(η) (S0), exp(η) z (S1) and exp(η) zz' (S2), and
T the same sums over those who have the event:

    Efron: Σ over l = 0 … d-1 of      log D           N / D                M / D - NN' / D²
           with f = l/d,   D = S0 - f T0,   N = S1 - f T1,   M = S2 - f T2        (Breslow: f = 0)

are the parts of the log-likelihood (subtracted from Σ η), of the score (subtracted from Σ z) and of the information.
Written out in powers of f, five sums of numbers per event time are enough, however many ties there are.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.jobs.base import Array

Ties = Literal["efron", "breslow"]
Places = npt.NDArray[np.int64]


class Sums(Struct, frozen=True):
    """Over k event times and p columns: `zero` (k,), `first` (k, p), `second` (k, p(p+1)/2: the upper triangle, row by
    row)."""

    zero: Array
    first: Array
    second: Array


class Terms(Struct, frozen=True):
    """Per event time: parts of the log-likelihood, of the score and of the information, and the hazard's step."""

    log: Array
    mean: Array
    information: Array
    hazard: Array


def terms(events: Array, risk: Sums, tied: Sums, places: Places, ties: Ties) -> Terms:
    """`tied`: T at the event times `places`, where several events may be. Every S0 is positive where there are
    events."""
    zero = np.where(events > 0, risk.zero, 1.0)
    first, second = risk.first / zero[:, None], risk.second / zero[:, None]  # so that no square of S0 underflows
    log, u0, v0 = events * np.log(zero), events.copy(), events.copy()
    u1, v1, v2 = np.zeros_like(zero), np.zeros_like(zero), np.zeros_like(zero)
    own = places[events[places] > 1] if ties == "efron" else places[:0]
    at = np.searchsorted(places, own)
    share = tied.zero[at] / zero[own]
    for place, among in zip(own, share, strict=True):
        part = np.arange(events[place]) / events[place]
        rest = 1 - part * among
        log[place] += np.log(rest).sum()
        u0[place], u1[place] = (1 / rest).sum(), (part / rest).sum()
        v0[place], v1[place], v2[place] = ((part**power / rest**2).sum() for power in range(3))
    mean = first * u0[:, None]
    information = second * u0[:, None] - _products(first, first) * v0[:, None]
    if own.size:
        dead, square = tied.first[at] / zero[own, None], tied.second[at] / zero[own, None]
        mean[own] -= dead * u1[own, None]
        crossed = _products(first[own], dead) + _products(dead, first[own])
        information[own] += crossed * v1[own, None] - square * u1[own, None]
        information[own] -= _products(dead, dead) * v2[own, None]
    return Terms(log, mean, information, u0 / zero)


def _products(one: Array, other: Array) -> Array:
    """(k, p(p+1)/2) the upper triangle of each row's outer product."""
    rows, columns = np.triu_indices(one.shape[1])
    return one[:, rows] * other[:, columns]


def null_log(events: Array, at_risk: Array, places: Places, ties: Ties) -> Array:
    """The parts of the log-likelihood at η = 0, which counts alone tell."""
    nothing = Sums(at_risk, np.zeros((at_risk.size, 0)), np.zeros((at_risk.size, 0)))
    own = Sums(events[places], np.zeros((places.size, 0)), np.zeros((places.size, 0)))
    return terms(events, nothing, own, places, ties).log
