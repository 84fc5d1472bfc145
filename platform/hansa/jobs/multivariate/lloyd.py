"""Starting centres without a row, and the iterations of k-means (Lloyd 1982).

k-means++ draws rows as centres, and a row is somebody's. Here a start is a set of points around the pool's mean, drawn
in a box of `BOX` standard deviations by SHAKE-256 of the question's seed: public before any row is looked at, and the
same on every machine. Several starts travel side by side for the first iterations, and the one with the least inertia
goes on alone. A centre that no row is nearest to moves beside the centre with the largest inertia, by half its root
mean square distance in a direction that is drawn likewise.

Distances are of z = (x - centre) / 2^exponent, weighted by column.
"""

import hashlib
import math

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array

BOX = 1.5
TIE = 1e-9  # inertias nearer than that are equal, and the first start wins


class Sums(Struct, frozen=True):
    """Per start and cluster: rows, sums of z, sums of squared distances to the centre."""

    counts: Array  # (starts, clusters)
    sums: Array  # (starts, clusters, columns)
    inertia: Array  # (starts, clusters)


def draws(seed: int, purpose: str, count: int) -> Array:
    """`count` numbers in [-1, 1), the same everywhere."""
    bits = hashlib.shake_256(f"hansa k-means {seed} {purpose}".encode()).digest(4 * count)
    return np.frombuffer(bits, dtype="<u4").astype(np.float64) / 2.0**31 - 1.0


def start(seed: int, starts: int, clusters: int, mean: Array, sd: Array) -> Array:
    """(starts, clusters, columns) in units of z."""
    drawn = draws(seed, "start", starts * clusters * mean.size).reshape(starts, clusters, mean.size)
    return np.clip(mean + BOX * sd * drawn, -1.0, 1.0)


def nearest(z: Array, centres: Array, weights: Array) -> tuple[np.ndarray, Array]:
    """Of each row the nearest centre (the first of several), and its squared distance."""
    away = np.empty((z.shape[0], centres.shape[0]))
    for place, centre in enumerate(centres):
        away[:, place] = ((z - centre) ** 2) @ weights
    label = away.argmin(axis=1)
    return label, away[np.arange(z.shape[0]), label]


def sums(z: Array, centres: Array, weights: Array) -> Sums:
    """A site's part, `centres` (starts, clusters, columns)."""
    starts, clusters, width = centres.shape
    found = Sums(np.zeros((starts, clusters)), np.zeros(centres.shape), np.zeros((starts, clusters)))
    for place in range(starts):
        label, distance = nearest(z, centres[place], weights)
        found.counts[place] = np.bincount(label, minlength=clusters)
        found.inertia[place] = np.bincount(label, distance, minlength=clusters)
        for column in range(width):
            found.sums[place, :, column] = np.bincount(label, z[:, column], minlength=clusters)
    return found


def moved(centres: Array, total: Sums, weights: Array, seed: int, turn: int) -> Array:
    """The means of the rows that were nearest to each centre; empty ones move as the module says."""
    found = centres.copy()
    for place, (counts, own, inertia) in enumerate(zip(total.counts, total.sums, total.inertia, strict=True)):
        some = counts > 0
        found[place, some] = own[some] / counts[some, None]
        spread = inertia.copy()
        for empty in np.flatnonzero(~some):
            largest = int(np.flatnonzero(spread >= spread.max() * (1 - TIE))[0])
            length = math.sqrt(spread[largest] / max(counts[largest], 1.0))
            direction = draws(seed, f"empty {turn} {place} {empty}", weights.size)
            step = direction / max(math.sqrt(float(direction**2 @ weights)), 1e-300)
            found[place, empty] = np.clip(found[place, largest] + length / 2 * step, -1.0, 1.0)
            spread[largest] /= 4
    return found


def best(total: Sums) -> int:
    """The start with the least inertia."""
    inertia = total.inertia.sum(axis=1)
    return int(np.flatnonzero(inertia <= inertia.min() * (1 + TIE))[0])
