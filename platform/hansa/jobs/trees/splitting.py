"""The best split of a node, from totals alone (Chen and Guestrin, XGBoost, KDD 2016, equations 6 and 7, algorithm 3).

    value of a leaf = -learning rate · G / (H + λ)      gain = GL²/(HL + λ) + GR²/(HR + λ) - G²/(H + λ)

as the program XGBoost computes the gain: twice the paper's, and compared with γ as it is. Rows without a number go
where the gain is larger, to the right if it makes no difference; a cut after the last bin parts them from all others.
Gains within `TIE` of the largest count as equal, and the first of them is taken (by feature, by bin), so that machines
which differ in the last digits grow the same tree.
"""

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.jobs.base import Array

TIE = 1e-9
NOTHING = 1e-6  # of the mean loss at the start: what a gain must exceed, as XGBoost's kRtEps
_FLAT = 1e-9  # hessian per row below which a side has no value


class Growth(Struct, frozen=True):
    """What the question says of a tree."""

    depth: int
    rate: float
    l2: float
    gamma: float
    child_weight: float
    leaf_rows: int


class Sums(Struct, frozen=True):
    """Of gradients, hessians and rows."""

    gradient: float
    hessian: float
    rows: float


class Split(Struct, frozen=True):
    feature: int
    bin: int
    left: bool
    gain: float
    sides: tuple[Sums, Sums]


def leaf(sums: Sums, growth: Growth) -> float:
    """What it adds to a row's margin."""
    return -growth.rate * sums.gradient / (sums.hessian + growth.l2) if sums.hessian > _FLAT * sums.rows else 0.0


class Layout(Struct, frozen=True):
    """Cells of a node's histogram: per feature its bins and then one for rows without a number."""

    bins: npt.NDArray[np.int64]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.bins + 1)[:-1]]).astype(np.int64)

    @property
    def size(self) -> int:
        return int((self.bins + 1).sum())

    def padded(self, histogram: Array) -> tuple[Array, Array]:
        """(features, widest) a node's cells with zeros behind a feature's own, and (features,) those of no number."""
        places = self.starts[:, None] + np.arange(int(self.bins.max()))
        inside = np.arange(int(self.bins.max())) < self.bins[:, None]
        return np.where(inside, histogram[np.where(inside, places, 0)], 0.0), histogram[self.starts + self.bins]


def whole(histogram: Array, layout: Layout) -> Sums:
    """Of a node, from the cells of its first feature; `histogram` is (3, cells)."""
    first = histogram[:, : int(layout.bins[0]) + 1].sum(axis=1)
    return Sums(float(first[0]), float(first[1]), float(np.rint(first[2])))


def best(histogram: Array, layout: Layout, growth: Growth, least: float) -> Split | None:
    """The split with the largest gain above γ and `least` that leaves both sides enough rows and hessian."""
    padded = [layout.padded(row) for row in histogram]
    # (3, features, cuts, 2): what lies left of a cut, without the rows that have no number and with them
    before = np.stack([np.cumsum(cells, axis=1) for cells, _ in padded])
    missing = np.stack([none for _, none in padded])
    total = before[:, :, -1] + missing
    left = np.stack([before, before + missing[:, :, None]], axis=3)
    right = total[:, :, None, None] - left
    allowed = np.broadcast_to(
        (np.arange(before.shape[2]) < layout.bins[:, None])[:, :, None], left.shape[1:]
    ) & np.logical_and(_enough(left, growth), _enough(right, growth))
    parent = whole(histogram, layout)
    with np.errstate(all="ignore"):
        gain = _score(left, growth) + _score(right, growth) - parent.gradient**2 / (parent.hessian + growth.l2)
    gain = np.where(allowed, gain, -np.inf)
    largest = float(gain.max())
    if not largest > max(growth.gamma, least):
        return None
    place = int(np.flatnonzero(gain.reshape(-1) >= largest * (1 - TIE))[0])
    feature, cut, way = np.unravel_index(place, gain.shape)
    sides = tuple(
        Sums(float(side[0]), float(side[1]), float(np.rint(side[2])))
        for side in (left[:, feature, cut, way], right[:, feature, cut, way])
    )
    return Split(int(feature), int(cut), bool(way), float(gain[feature, cut, way]), (sides[0], sides[1]))


def _enough(side: Array, growth: Growth) -> npt.NDArray[np.bool_]:
    rows, hessian = np.rint(side[2]), side[1]
    enough = (rows >= growth.leaf_rows) & (hessian >= growth.child_weight) & (hessian > _FLAT * rows)
    return np.asarray(enough, dtype=np.bool_)


def _score(side: Array, growth: Growth) -> Array:
    return np.asarray(side[0] ** 2 / (side[1] + growth.l2))
