"""Growing trees one level a step: what sites add up, and what grows from it (Chen and Guestrin 2016; histograms as in
Ke et al., LightGBM, NIPS 2017).

A step totals, for each open node, feature and bin, the gradients, hessians and rows. A level needs nothing of the level
above but the tree itself, so a site that leaves in the middle of a tree leaves the rest right. That is why a sibling is
not had by subtraction from its parent: the parent's histogram would have to travel in the public state to every site
(as large as what is saved), and would hold the rows of whoever has left.

The first step of a tree also totals the loss of the trees before it, over the training rows and over the held ones.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Array, Reals, Total, reals
from hansa.jobs.levels import Known
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.trees import loss, splitting
from hansa.jobs.trees.loss import Family
from hansa.jobs.trees.splitting import Growth, Layout, Sums
from hansa.jobs.trees.tree import LEAF, STUMP, Codes, Tree, check, depths, margins, route

_LARGEST_REACH = 1e100


class Ground(Struct, frozen=True):
    """What is fixed before the first tree: per feature the edges between its bins, where margins start, and the
    bounds: no site has more than `rows`, and a gaussian outcome is below 2^largest."""

    categories: dict[str, Known]
    edges: tuple[tuple[float, ...], ...]
    start: float
    largest: int
    rows: float

    @property
    def layout(self) -> Layout:
        return Layout(np.array([len(edges) + 1 for edges in self.edges], dtype=np.int64))


class Growing(Struct, frozen=True, tag="growing"):
    """`tree` is unfinished, its last `open` nodes without a decision; none are when only the last loss is asked.

    `losses`: means over training and over held rows, after 0, 1, … trees. `since`: how many of them are over other
    held rows than the last. `fewest`: rows in the smallest leaf. `rows`: training, held, without outcome."""

    ground: Ground
    trees: tuple[Tree, ...] = ()
    tree: Tree = STUMP
    open: int = 1
    losses: tuple[tuple[float, float], ...] = ()
    rows: tuple[int, int, int] = (0, 0, 0)
    since: int = 0
    fewest: int = 0

    @property
    def between(self) -> bool:
        """No tree is half grown, so the loss is asked."""
        return len(self.tree.features) == 1

    @property
    def reach(self) -> float:
        return abs(self.ground.start) + sum(tree.reach for tree in self.trees)


class Rows(Struct, frozen=True):
    """A site's own: its features as numbers, outcome, and whether each row is held for validation."""

    features: Array
    outcome: Array
    held: npt.NDArray[np.bool_]
    dropped: int


class Asked(Struct, frozen=True):
    family: Family
    trees: int
    growth: Growth
    patience: int


def checked(now: Growing, asked: Asked, features: int) -> Growing:
    """`now`, if an honest hub could have sent it."""
    ground, layout = now.ground, now.ground.layout
    edges = [edge for one in ground.edges for edge in one]
    unfinished = np.array(now.tree.features, dtype=np.int64)
    if (
        len(ground.edges) != features
        or not np.all(np.isfinite(edges))
        or any(np.any(np.diff(one) <= 0) for one in ground.edges)
        or not (math.isfinite(ground.start) and 1 <= ground.rows <= MAX_ROWS and abs(ground.largest) <= 200)
        or len(now.trees) > asked.trees
        or not 0 <= now.open <= len(unfinished)
        or np.any(unfinished[len(unfinished) - now.open :] != LEAF)
    ):
        raise ProtocolViolation("the state of boosting is out of range")
    for tree in (*now.trees, now.tree):
        check(tree, layout.bins, asked.growth.depth)
    levels = set(depths(unfinished)[len(unfinished) - now.open :].tolist())
    if (
        not now.reach < _LARGEST_REACH
        or len(levels) > 1
        or max(levels, default=0) >= asked.growth.depth
        or len(now.losses) != len(now.trees) + (not now.between)
        or not 0 <= now.since <= len(now.losses)
        or not np.all(np.isfinite(now.losses))
    ):
        raise ProtocolViolation("the state of boosting is out of range")
    return now


def blocks(now: Growing, family: Family, sites: int) -> tuple[Reals, ...]:
    rows, layout = now.ground.rows, now.ground.layout
    gradient, hessian, spent = loss.bounds(family, rows, now.reach, now.ground.largest)
    found: list[Reals] = []
    if now.between:
        found += [reals("rows", (3,), rows, sites), reals("loss", (2,), spent, sites)]
    if now.open:
        shape = (now.open, layout.size)
        found += [
            reals("gradients", shape, gradient, sites),
            reals("hessians", shape, hessian, sites),
            reals("counts", shape, rows, sites),
        ]
    return tuple(found)


def coded(features: Array, edges: Sequence[tuple[float, ...]]) -> Codes:
    """The bin of each row and feature: how many edges are at or below the number; one beyond the last if none."""
    found = np.empty(features.shape, dtype=np.int32)
    for place, (column, cuts) in enumerate(zip(features.T, edges, strict=True)):
        code = np.searchsorted(np.array(cuts), column, side="right")
        found[:, place] = np.where(np.isnan(column), len(cuts) + 1, code)
    return found


def share(now: Growing, rows: Rows, asked: Asked) -> dict[str, Array]:
    layout, depth = now.ground.layout, asked.growth.depth
    codes = coded(rows.features, now.ground.edges)
    margin = margins(now.trees, now.ground.start, codes, layout.bins, depth)
    train = ~rows.held
    found: dict[str, Array] = {}
    if now.between:
        counts = (train.sum(), rows.held.sum(), rows.dropped)
        found["rows"] = np.array(counts, dtype=np.float64)
        parts = [loss.loss(asked.family, margin[part], rows.outcome[part]) for part in (train, rows.held)]
        found["loss"] = np.array(parts)
    if now.open:
        node = route(now.tree, codes, layout.bins, depth) - (len(now.tree.features) - now.open)
        some = np.flatnonzero(train & (node >= 0))
        first, second = loss.derivatives(asked.family, margin[some], rows.outcome[some])
        names = {"gradients": first, "hessians": second, "counts": None}
        for name, weights in names.items():
            found[name] = _histogram(codes[some], node[some], weights, now.open, layout)
    return found


def _histogram(codes: Codes, node: npt.NDArray[np.int64], weights: Array | None, nodes: int, layout: Layout) -> Array:
    """(nodes, cells) sums of `weights`, or of rows."""
    found = np.empty((nodes, layout.size))
    for feature, (start, bins) in enumerate(zip(layout.starts, layout.bins, strict=True)):
        width = int(bins) + 1
        sums = np.bincount(node * width + codes[:, feature], weights, minlength=nodes * width)
        found[:, start : start + width] = sums.reshape(nodes, width)
    return found


# ---- at the hub ----


def advance(now: Growing, total: Total, asked: Asked) -> tuple[Growing, bool]:
    """What is known after this total, and whether it is the end."""
    if now.between:
        now = _with_loss(now, total, asked)
        if not now.open or _stale(now, asked):
            return _cut_back(now, asked), True
    grown = _level(now, total, asked.growth)
    if not grown.between:
        return grown, False
    if len(grown.tree.features) == 1 and not grown.open and len(grown.trees) == len(now.trees):
        if not now.trees:
            raise Refused("no split of any column lowers the loss, with so many rows on either side of it")
        return _cut_back(now, asked), True
    return (grown if len(grown.trees) < asked.trees else replace(grown, open=0)), False


def best_turn(now: Growing) -> int:
    """How many trees have the least loss over the held rows, since those rows are the same."""
    held = [one for _, one in now.losses[now.since :]]
    least = min(held)
    return now.since + next(place for place, one in enumerate(held) if one <= least + 1e-9 * abs(least))


def _stale(now: Growing, asked: Asked) -> bool:
    return 0 < asked.patience <= len(now.trees) - best_turn(now)


def _cut_back(now: Growing, asked: Asked) -> Growing:
    """With early stopping, the trees after the best are dropped."""
    if not asked.patience:
        return now
    turn = best_turn(now)
    if not turn:
        raise Refused("no tree lowers the loss over the rows held for validation")
    return replace(now, trees=now.trees[:turn])


def _with_loss(now: Growing, total: Total, asked: Asked) -> Growing:
    train, held, dropped = (round(count) for count in total.real("rows").tolist())
    if train < 1:
        raise Refused("no rows have an outcome")
    if asked.patience and held < 1:
        raise Refused("early stopping needs rows held for validation, and there are none")
    spent = total.real("loss")
    means = (float(spent[0]) / train, float(spent[1]) / held if held else 0.0)
    if not now.losses and not means[0] > math.ldexp(1.0, 2 * now.ground.largest - 80):
        raise Refused("the outcome is constant")
    since = now.since if now.rows[1] == held else len(now.losses)
    return replace(now, losses=(*now.losses, means), rows=(train, held, dropped), since=since)


def _level(now: Growing, total: Total, growth: Growth) -> Growing:
    """The open nodes split or become leaves; a tree without open nodes joins the others."""
    layout, tree = now.ground.layout, now.tree
    histograms = np.stack([total.real(name) for name in ("gradients", "hessians", "counts")], axis=1)
    first = len(tree.features) - now.open
    last_level = int(depths(np.array(tree.features, dtype=np.int64))[first]) + 1 == growth.depth
    least = splitting.NOTHING * now.losses[0][0]
    nodes = list(zip(*(getattr(tree, name) for name in Tree.__struct_fields__), strict=True))
    grown, fewest = [], [now.fewest] if now.fewest else []
    for place, histogram in enumerate(histograms, first):
        own = splitting.whole(histogram, layout)
        split = splitting.best(histogram, layout, growth, least)
        if split is None:
            nodes[place] = _leaf(own, growth)
            fewest += [round(own.rows)] if own.rows >= growth.leaf_rows else []
            continue
        nodes[place] = (split.feature, split.bin, split.left, 0.0, split.gain, own.hessian)
        grown += [_leaf(side, growth) for side in split.sides]
        fewest += [round(side.rows) for side in split.sides] if last_level else []
    more = Tree(*(tuple(part) for part in zip(*nodes, *grown, strict=True)))
    if len(nodes) == 1 and not grown:
        return replace(now, tree=STUMP, open=0)
    smallest = min(fewest, default=0)
    if grown and not last_level:
        return replace(now, tree=more, open=len(grown), fewest=smallest)
    return replace(now, trees=(*now.trees, more), tree=STUMP, open=1, fewest=smallest)


Node = tuple[int, int, bool, float, float, float]


def _leaf(sums: Sums, growth: Growth) -> Node:
    """Worth nothing if fewer rows are left than a leaf needs, because a site left in the middle of the tree."""
    value = splitting.leaf(sums, growth) if sums.rows >= growth.leaf_rows else 0.0
    return (LEAF, 0, False, value, 0.0, max(sums.hessian, 0.0))
