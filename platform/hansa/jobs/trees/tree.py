"""A tree as arrays, and the way of a row through it.

Nodes stand level by level, each split's two children together and in the order of the splits (as XGBoost numbers
them). So the children of the k-th split are the nodes 2k + 1 and 2k + 2, and no place of them is stored.
"""

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.jobs.base import Array

LEAF = -1
Codes = npt.NDArray[np.int32]


class Tree(Struct, frozen=True, array_like=True):
    """Per node: a split sends rows with bin ≤ `bins` to the left, those without a number by `lefts`; a leaf has
    feature `LEAF` and adds its value to a row's margin. `covers` are sums of hessians. Arrays of one length."""

    features: tuple[int, ...]
    bins: tuple[int, ...]
    lefts: tuple[bool, ...]
    values: tuple[float, ...]
    gains: tuple[float, ...]
    covers: tuple[float, ...]

    @property
    def leaves(self) -> int:
        return self.features.count(LEAF)

    @property
    def reach(self) -> float:
        return max(abs(value) for value in self.values)


STUMP = Tree((LEAF,), (0,), (False,), (0.0,), (0.0,), (0.0,))


def children(features: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The left child of each node; of a leaf it means nothing."""
    split = (features != LEAF).astype(np.int64)
    return np.asarray(1 + 2 * (np.cumsum(split) - split), dtype=np.int64)


def depths(features: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of each node, 0 for the root; `features` are those of a whole tree."""
    first, found = children(features), np.zeros(features.size, dtype=np.int64)
    for node in np.flatnonzero(features != LEAF):
        found[first[node] : first[node] + 2] = found[node] + 1
    return found


def check(tree: Tree, bins: npt.NDArray[np.int64], depth: int) -> None:
    """What a site asks of a tree before it sends rows through it; `bins` are how many each feature has."""
    lengths = {len(part) for part in (tree.features, tree.bins, tree.lefts, tree.values, tree.gains, tree.covers)}
    features = np.array(tree.features[: 2 ** (depth + 1)], dtype=np.int64)
    splits = np.flatnonzero(features != LEAF)
    if (
        lengths != {1 + 2 * splits.size}
        or np.any((features < LEAF) | (features >= bins.size))
        or np.any(children(features)[splits] <= splits)
        or depths(features).max() > depth
        or any(not 0 <= tree.bins[node] < bins[features[node]] for node in splits)
        or not np.all(np.isfinite((*tree.values, *tree.gains, *tree.covers)))
    ):
        raise ProtocolViolation("a tree in the state is malformed")


def route(tree: Tree, codes: Codes, missing: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.int64]:
    """The node at which each row of `codes` (rows, features) ends; `missing` is each feature's code for no number."""
    features, bins, lefts = np.array(tree.features), np.array(tree.bins), np.array(tree.lefts)
    first = children(features)
    node, row = np.zeros(codes.shape[0], dtype=np.int64), np.arange(codes.shape[0])
    for _ in range(depth):
        feature = features[node]
        code = codes[row, np.maximum(feature, 0)]
        left = np.where(code == missing[np.maximum(feature, 0)], lefts[node], code <= bins[node])
        node = np.where(feature == LEAF, node, first[node] + ~left)
    return node


def margins(trees: tuple[Tree, ...], start: float, codes: Codes, missing: npt.NDArray[np.int64], depth: int) -> Array:
    """(rows,): the start plus the leaves that each row falls into."""
    total = np.full(codes.shape[0], start)
    for tree in trees:
        total += np.array(tree.values)[route(tree, codes, missing, depth)]
    return total
