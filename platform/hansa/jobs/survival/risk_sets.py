"""A site's sums over risk sets: of its rows that are under observation at each of some event times."""

from collections.abc import Callable

import numpy as np

from hansa.jobs.base import Array
from hansa.jobs.survival.grid import Cells, Followed
from hansa.jobs.survival.likelihood import Places, Sums, Ties, null_log, terms


def _where(rows: Followed, cells: Cells) -> tuple[Places, Places]:
    """At risk at the places from the first on and before the second."""
    return np.searchsorted(cells, rows.entry, side="right"), np.searchsorted(cells, rows.exit, side="right")


def _died(rows: Followed, cells: Cells) -> tuple[Places, Places]:
    """Which rows have their event at one of `cells`, and at which place."""
    place = np.searchsorted(cells, rows.exit)
    inside = np.minimum(place, max(cells.size - 1, 0))
    seen = np.flatnonzero(rows.died & (cells[inside] == rows.exit)) if cells.size else np.empty(0, dtype=np.int64)
    return seen, place[seen]


def counts(rows: Followed, cells: Cells) -> tuple[Array, Array]:
    """Rows at risk and events at each of `cells`."""
    begin, end = _where(rows, cells)
    size = cells.size + 1
    at_risk = np.cumsum(np.bincount(begin, minlength=size) - np.bincount(end, minlength=size))[:-1]
    events = np.bincount(_died(rows, cells)[1], minlength=cells.size)
    return at_risk.astype(np.float64), events.astype(np.float64)


def sums(rows: Followed, cells: Cells, z: Array, weight: Array) -> Sums:
    """S at each of `cells`; `weight` is exp(η). Every row is added where it leaves and taken off where it has not yet
    come, and the sums run from the last time to the first: without late entries nothing is ever subtracted."""
    begin, end = _where(rows, cells)
    late = begin > 0

    leaving, coming = _tally(end, cells.size + 1), _tally(begin[late], cells.size + 1)

    def running(values: Array) -> Array:
        out, into = leaving(values)[1:], coming(values[late])[1:]
        return np.asarray(np.cumsum(out[::-1], axis=0)[::-1] - np.cumsum(into[::-1], axis=0)[::-1])

    return _moments(running, z, weight)


def tied(rows: Followed, cells: Cells, places: Places, z: Array, weight: Array) -> Sums:
    """T at `places` of `cells`."""
    seen, place = _died(rows, cells)
    kept = np.isin(place, places)
    seen, place = seen[kept], np.searchsorted(places, place[kept])
    return _moments(_tally(place, places.size), z[seen], weight[seen])


def _moments(total: Callable[[Array], Array], z: Array, weight: Array) -> Sums:
    """`total` adds up (rows, m) numbers per place. The triangle is made one column at a time, to need little memory."""
    weighted = z * weight[:, None]
    second = [total(weighted[:, column : column + 1] * z[:, column:]) for column in range(z.shape[1])]
    return Sums(total(weight[:, None])[:, 0], total(weighted), np.concatenate(second, axis=1))


def _tally(place: Places, size: int) -> Callable[[Array], Array]:
    """Adds up (rows, m) numbers per place, which makes (size, m) of them."""
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))

    def total(values: Array) -> Array:
        found = np.zeros((size, values.shape[1]))
        if order.size:
            found[place[order][starts]] = np.add.reduceat(values[order], starts, axis=0)
        return found

    return total


# ---- what a site with a baseline of its own adds ----


def own_likelihood(rows: Followed, z: Array, trial: Array, ties: Ties) -> tuple[Array, Array, float, float]:
    """Score, information, log-likelihood and that of η = 0 of one stratum that is all here. η is taken relative to its
    largest value, so nothing overflows."""
    cells = np.unique(rows.exit[rows.died])
    width = trial.size
    if cells.size == 0:
        return np.zeros(width), np.zeros(width * (width + 1) // 2), 0.0, 0.0
    eta = z @ trial
    top = float(eta.max())
    weight = np.exp(eta - top)
    at_risk, events = counts(rows, cells)
    places = np.flatnonzero(events > 1)
    found = terms(events, sums(rows, cells, z, weight), tied(rows, cells, places, z, weight), places, ties)
    likelihood = float((eta[rows.died] - top).sum() - found.log.sum())
    null = -float(null_log(events, at_risk, places, ties).sum())
    score = z[rows.died].sum(axis=0) - found.mean.sum(axis=0)
    return score, found.information.sum(axis=0), likelihood, null
