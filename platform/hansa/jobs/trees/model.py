"""The answer of gradient boosting, and what it predicts for one's own rows."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from hansa.errors import Refused
from hansa.jobs.base import Answer, Array, Schema, Table
from hansa.jobs.exhibit import Bars, Curves, Exhibit, Line, Plot, Sheet
from hansa.jobs.trees import features, loss
from hansa.jobs.trees.loss import Family
from hansa.jobs.trees.tree import LEAF, children
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

ABOVE_ALL = 2.0**127  # a threshold that parts the rows without a number from all others


class FittedTree(Struct, frozen=True):
    """Per node, level by level, the children of the k-th split at 2k + 1 and 2k + 2. A row goes left if its number in
    that feature is below the threshold, or if it has none and `default_left` says so. A leaf has feature -1 and adds
    its value to the margin. `gain` of a split, `cover`: the sum of hessians (gaussian: of rows)."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    default_left: tuple[bool, ...]
    value: tuple[float, ...]
    gain: tuple[float, ...]
    cover: tuple[float, ...]


class Importance(Struct, frozen=True):
    """Of a feature, over all splits by it: their number, total gain, mean cover (as XGBoost's weight, total_gain,
    cover)."""

    splits: int
    gain: float
    cover: float


class GradientBoostingAnswer(Answer, frozen=True, tag="gradient_boosting", kw_only=True):
    """`start` is every row's margin before the first tree, as log-odds if binomial. `loss` is the mean log loss
    (binomial) or squared error (gaussian) of the training rows after 0, 1, … trees, `validation_loss` that of the rows
    held back; it is empty if none were. With early stopping the losses go on beyond the last tree that is kept.
    """

    family: Family
    outcome: str
    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    features: tuple[str, ...]
    start: float
    trees: tuple[FittedTree, ...]
    importance: dict[str, Importance]
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    n: int | None
    n_validation: int | None
    dropped: int | None
    smallest_leaf: int | None

    def disclosed(self, rules: Rules) -> "GradientBoostingAnswer":
        """Refused if a leaf, or the validation loss, rests on fewer rows than a cell must hold, or if there are many
        leaves for the rows: each is a parameter. Covers are counts, or nearly, and are rounded like counts."""
        disclosure.refuse_few(self.n or 0, "the model", rules)
        disclosure.refuse_few(self.smallest_leaf or 0, "a leaf of the model", rules)
        if self.n_validation:
            disclosure.refuse_few(self.n_validation, "the loss over the rows held for validation", rules)
        leaves = sum(tree.feature.count(LEAF) for tree in self.trees)
        disclosure.refuse_rich(leaves, self.n or 0, rules)
        dropped = disclosure.shown(self.dropped or 0, rules)
        coarse = rules.round_to > 1
        trees = tuple(
            replace(tree, cover=tuple(_rounded(cover, rules) for cover in tree.cover)) if coarse else tree
            for tree in self.trees
        )
        return replace(
            self,
            trees=trees,
            importance=importance(trees, self.features) if coarse else self.importance,
            n=disclosure.shown(self.n or 0, rules),
            n_validation=disclosure.shown(self.n_validation or 0, rules),
            smallest_leaf=disclosure.shown(self.smallest_leaf or 0, rules),
            dropped=dropped,
            notes=self.notes + disclosure.note(rules, dropped is None),
        )

    def predictors(self) -> tuple[str, ...]:
        return self.columns

    def predict(self, table: Table) -> Mapping[str, Array]:
        return {"prediction": predict(self, table)}

    def exhibit(self) -> Exhibit:
        ranked = sorted(self.importance.items(), key=lambda item: -item[1].gain)
        rows = tuple((name, one.splits, one.gain, one.cover) for name, one in ranked)
        turns = tuple(range(len(self.loss)))
        curve = tuple(
            (turn, self.loss[turn], self.validation_loss[turn] if self.validation_loss else None) for turn in turns
        )
        x = tuple(float(turn) for turn in turns)
        lines = [Line("training rows", x, self.loss)]
        lines += [Line("held rows", x, self.validation_loss)] if self.validation_loss else []
        what = "mean log loss" if self.family == "binomial" else "mean squared error"
        best = ", ".join(name for name, _ in ranked[:3])
        plots: tuple[Plot, ...] = (
            Curves(
                says=f"The {what} after each tree: {self.loss[0]:.4g} to {self.loss[-1]:.4g} on the training rows.",
                x="trees",
                y=what,
                lines=tuple(lines),
            ),
            Bars(
                says=f"How much each feature lowers the loss over all trees; the most by {best}.",
                x="total gain",
                labels=tuple(name for name, _ in ranked),
                values=tuple(one.gain for _, one in ranked),
            ),
        )
        return Exhibit(
            (
                ("Trees", str(len(self.trees))),
                ("Rows", "not shown" if self.n is None else str(self.n)),
                (what.capitalize(), f"{self.loss[len(self.trees)]:.4g}"),
            ),
            (
                Sheet("importance", ("feature", "splits", "total gain", "mean cover"), rows),
                Sheet("loss", ("trees", "training rows", "held rows"), curve),
            ),
            plots,
        )


def importance(trees: tuple[FittedTree, ...], names: tuple[str, ...]) -> dict[str, Importance]:
    """Of the features that some split uses."""
    splits = [
        (feature, gain, cover)
        for tree in trees
        for feature, gain, cover in zip(tree.feature, tree.gain, tree.cover, strict=True)
        if feature != LEAF
    ]
    found = {}
    for place, name in enumerate(names):
        own = [(gain, cover) for feature, gain, cover in splits if feature == place]
        if own:
            gains, covers = zip(*own, strict=True)
            found[name] = Importance(len(own), float(sum(gains)), float(sum(covers)) / len(own))
    return found


def predict(answer: GradientBoostingAnswer, table: Table) -> Array:
    """Of each row of `table`, the probability of an outcome of 1 (binomial) or the outcome (gaussian)."""
    for column in answer.columns:
        _refuse_other(table.schema, column, column in answer.categories)
    values = features.matrix(table, answer.columns, answer.categories, np.ones(table.rows, dtype=np.bool_))
    margin = np.full(table.rows, answer.start)
    for tree in answer.trees:
        margin += _values(tree, values)
    return margin if answer.family == "gaussian" else loss.probability(margin)


def _refuse_other(schema: Schema, column: str, categorical: bool) -> None:
    if schema.column(column).type == "text" and not categorical:
        raise Refused(f"column '{column}' of table '{schema.table}' holds text, and the model knows it as numbers")


def _values(tree: FittedTree, values: Array) -> Array:
    feature, threshold = np.array(tree.feature), np.array(tree.threshold)
    first, lefts = children(feature), np.array(tree.default_left)
    node, row = np.zeros(values.shape[0], dtype=np.int64), np.arange(values.shape[0])
    while np.any(feature[node] != LEAF):
        number = values[row, np.maximum(feature[node], 0)]
        left = np.where(np.isnan(number), lefts[node], number < threshold[node])
        node = np.where(feature[node] == LEAF, node, first[node] + ~left)
    return np.asarray(np.array(tree.value)[node], dtype=np.float64)


def _rounded(cover: float, rules: Rules) -> float:
    return float(rules.round_to * round(cover / rules.round_to))
