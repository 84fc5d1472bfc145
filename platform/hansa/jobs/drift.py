"""How far the means of the tables lie apart, without any table's mean.

Each table contributes n_s (m_s - m)² / s², its mean's distance from that of all in units of what chance makes of it.
The sum over tables is that of an analysis of variance with the tables as groups. What it must not become is a way to a
table's own mean:

* A participant subtracts its own part from every total. Of two tables that leaves the other's mean. Of three, whoever
  knows how many rows the two others have is left with two means and two equations. So it takes four.
* Numbers of rows and sums of whole numbers are few enough to try them all, so a sum of exact parts could be taken apart
  again. Each part is rounded to a sixteenth; F is told with what that makes uncertain.

A table that leaves between two steps is told by the difference of their sums, here as in a `summary`.
"""

import math

from msgspec import Struct

from hansa.jobs.base import Array
from hansa.jobs.centring import Moments

LEAST_TABLES = 4
SIXTEENTH = 2.0**-4  # to which a table's part is rounded


class Drift(Struct, frozen=True, kw_only=True):
    """How far the tables' means lie apart: an analysis of variance with the tables as groups. `eta_squared`: the share
    of the variation that is between tables; `i_squared`: the share of that which chance does not explain."""

    f: float
    f_precision: float
    df_between: int
    df_within: int
    p: float
    eta_squared: float
    i_squared: float


def part(values: Array, about: tuple[float, float]) -> float:
    """A table's part of the drift: n (m - mean)² / sd², of which no more is told than its sixteenth."""
    mean, sd = about
    if not values.size or not sd:
        return 0.0
    away = math.fsum((values - mean) / sd)
    return round(away * away / values.size / SIXTEENTH) * SIXTEENTH


def between(moments: Moments, about: tuple[float, float], tables: int, spread: float) -> Drift | None:
    """None where too few tables have numbers, or the column is constant."""
    from scipy.special import fdtrc

    mean, sd = about
    if tables < LEAST_TABLES or moments.count <= tables or not sd or not moments.squares:
        return None
    moved = (moments.centre - mean) + moments.offset  # since the mean was found, by tables that left
    apart = sd * sd * spread - moments.count * moved * moved
    apart = min(max(apart, 0.0), moments.squares)
    within = moments.squares - apart
    if within <= 0:
        return None
    mean_square = within / (moments.count - tables)
    f = apart / (tables - 1) / mean_square
    unsure = tables * SIXTEENTH / 2 * sd * sd
    return Drift(
        f=f,
        f_precision=unsure * (1 / (tables - 1) + f / (moments.count - tables)) / mean_square,
        df_between=tables - 1,
        df_within=moments.count - tables,
        p=float(fdtrc(tables - 1, moments.count - tables, f)),
        eta_squared=apart / moments.squares,
        i_squared=max(0.0, 1 - 1 / f) if f else 0.0,
    )
