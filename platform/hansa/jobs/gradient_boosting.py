"""`gradient_boosting`: boosted trees for a yes-or-no or a numeric outcome, grown on the pool's histograms of gradients.

    magnitudes → cells (four passes) → tree 1, level 1 → tree 1, level 2 → … → last loss → answer

The steps before the trees find where features may be cut (`trees/cuts.py`), and then one step is one level of one tree
(`trees/boosting.py`): as the horizontal boosting of FATE (HomoSecureBoost) and FedTree (Li et al., MLSys 2023), with
totals in the place of a server that sees each site's histograms.

Rows held for validation are a site's own k-th, 2k-th, 3k-th … in the order of its table: which they are is nobody
else's knowledge, and needs no chance.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct, field

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels
from hansa.jobs.base import (
    Contribution,
    Example,
    Job,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
)
from hansa.jobs.brackets import FLOOR
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Method
from hansa.jobs.levels import Levels
from hansa.jobs.trees import boosting, cuts, features, model, sketching
from hansa.jobs.trees.boosting import Asked, Ground, Growing, Rows
from hansa.jobs.trees.loss import Family
from hansa.jobs.trees.model import FittedTree, GradientBoostingAnswer, Importance
from hansa.jobs.trees.sketching import Cells, Magnitudes
from hansa.jobs.trees.splitting import Growth
from hansa.jobs.trees.tree import LEAF, Tree, depths


class State(Struct, frozen=True):
    now: Magnitudes | Cells | Growing


class GradientBoosting(Job, frozen=True, tag="gradient_boosting", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Gradient boosting"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "magnitudes of the columns, the rows in fine cells of every column (a cell of fewer than 20 is not divided), "
        "the loss after each tree, and for every node of every tree the rows and the sums of gradients and hessians in "
        "each bin of each column, where a small node's bin may hold few rows or one"
    )
    method: ClassVar[Method | None] = Method(
        "Trees are added one by one, each fitted to the gradients of the loss over the pool. A tree grows level by "
        "level: each institution adds up the gradients, hessians and rows of its own rows by node, column and bin, and "
        "only the totals over the institutions are opened; from them the best split of every node follows. Bins hold "
        "about equally many rows and at least 10. Rows without a number go to the side that lowers the loss more. "
        "Rows held for validation are every k-th of each institution's table.",
        (
            "gain = GL²/(HL + λ) + GR²/(HR + λ) − G²/(H + λ), of a split into L and R",
            "leaf = −η · G / (H + λ)",
            "binomial: g = p − y, h = p(1 − p); gaussian: g = prediction − y, h = 1",
        ),
        (
            "Friedman, Greedy Function Approximation: A Gradient Boosting Machine (Annals of Statistics 2001)",
            "Chen and Guestrin, XGBoost: A Scalable Tree Boosting System (KDD 2016)",
            "Ke et al., LightGBM (NIPS 2017), for histograms",
        ),
    )

    outcome: Annotated[
        str, Meta(title="Outcome", description="The column to predict: 0 or 1, or numbers.", extra={"form": "column"})
    ]
    of: Annotated[
        tuple[str, ...],
        Meta(
            title="Columns",
            description="What to predict it from, at most 64; text needs declared categories.",
            min_length=1,
            max_length=64,
            extra={"form": "columns"},
        ),
    ] = field(name="columns")
    family: Annotated[Family, Meta(title="Family", description="Logistic (0/1) or squared error.")] = "binomial"
    trees: Annotated[int, Meta(title="Trees", description="At most so many.", ge=1, le=200)] = 50
    depth: Annotated[int, Meta(title="Depth", description="Splits from the root to a leaf.", ge=1, le=6)] = 3
    learning_rate: Annotated[
        float, Meta(title="Learning rate", description="What each tree's leaves are multiplied by.", ge=0.001, le=1.0)
    ] = 0.3
    l2: Annotated[float, Meta(title="L2 penalty", description="Lambda, on the leaves.", ge=0.0, le=1e6)] = 1.0
    gamma: Annotated[float, Meta(title="Least gain", description="Gamma: a split must gain more.", ge=0.0, le=1e9)] = (
        0.0
    )
    minimum_child_weight: Annotated[
        float, Meta(title="Least hessian", description="Of either side of a split.", ge=0.0, le=1e9)
    ] = 1.0
    minimum_leaf: Annotated[
        int, Meta(title="Rows of a leaf", description="At least so many of the pool.", ge=FLOOR, le=1_000_000)
    ] = 20
    bins: Annotated[int, Meta(title="Bins", description="Of each column, at most.", ge=2, le=64)] = 32
    validation: Annotated[
        int,
        Meta(title="Validation", description="Hold back every k-th row of each site; 0 for none.", ge=0, le=1000),
    ] = 0
    early_stopping: Annotated[
        int,
        Meta(title="Early stopping", description="Trees without a better validation loss; 0 for never.", ge=0, le=100),
    ] = 0
    levels: Levels = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        asked = (self.outcome, *self.of)
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        if self.outcome in self.of:
            raise Refused(f"the outcome '{self.outcome}' is also one of the columns to predict it from")
        if self.early_stopping and self.validation < 2:
            raise Refused("early stopping needs rows held for validation: every k-th with k from 2")
        if self.validation == 1:
            raise Refused("every row would be held for validation, and none be left to learn from")
        levels.refuse_unfit(self.levels, self.of)
        return asked

    def check(self, schema: Schema) -> None:
        self.columns()
        if schema.column(self.outcome).type == "text":
            raise Refused(f"the outcome '{self.outcome}' holds text: write 0 and 1, or numbers")
        for column in self.of:
            schema.column(column)
        for column in features.categorical(self.of, self.levels, schema):
            levels.check(column, self.levels, schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        wanted = [features.categorical(self.of, self.levels, schema) for schema in schemas]
        if any(one != wanted[0] for one in wanted):
            raise Refused("a column holds text in one table and numbers in another")
        categories = {column: levels.declared(column, self.levels, schemas) for column in wanted[0]}
        for column, names in categories.items():
            if not names:
                raise Refused(f"column '{column}' holds text whose categories not every table declares")
        return self._sketch(Magnitudes(categories), sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        now = self._read(step)
        known = now.ground.categories if isinstance(now, Growing) else now.categories
        if set(known) != set(features.categorical(self.of, self.levels, table.schema)) or not all(known.values()):
            raise ProtocolViolation("the state of boosting does not name the categories of its columns")
        rows = self._rows(table, known)
        if isinstance(now, Growing):
            return fit(step, boosting.share(now, rows, self._asked()))
        return fit(step, sketching.share(now, rows, self._numeric(known), self.family))

    def advance(self, step: Step, total: Total) -> Step | GradientBoostingAnswer:
        now = self._read(step)
        if isinstance(now, Growing):
            then, done = boosting.advance(now, total, self._asked())
            return self._answer(then) if done else self._grow(then, total.sites)
        if isinstance(now, Magnitudes):
            return self._sketch(sketching.first_cells(now, total, self.family, self.outcome), total.sites)
        if now.turn < cuts.PASSES - 1:
            return self._sketch(sketching.next_cells(now, total, self.bins), total.sites)
        every = features.layout(self.of, now.categories)
        return self._grow(Growing(sketching.ground(now, total, self.bins, self.family, every)), total.sites)

    def _sketch(self, now: Magnitudes | Cells, sites: int) -> Step:
        name = f"cells, pass {now.turn + 1}" if isinstance(now, Cells) else "magnitudes"
        blocks = sketching.blocks(now, len(self._numeric(now.categories)), sites)
        return Step(name, blocks, encode_state(State(now)))

    def _grow(self, now: Growing, sites: int) -> Step:
        name = f"tree {len(now.trees) + 1}, {_level(now.tree)}" if now.open else "last loss"
        return Step(name, boosting.blocks(now, self.family, sites), encode_state(State(now)))

    def _rows(self, table: Table, categories: dict[str, tuple[str, ...]]) -> Rows:
        outcome = table.numbers(self.outcome)
        used = ~np.isnan(outcome)
        number = np.arange(1, table.rows + 1)
        held = number % self.validation == 0 if self.validation else np.zeros(table.rows, dtype=np.bool_)
        values = features.matrix(table, self.of, categories, used)
        return Rows(values, outcome[used], held[used], int(table.rows - used.sum()))

    def _numeric(self, categories: dict[str, tuple[str, ...]]) -> list[int]:
        return [place for place, one in enumerate(features.layout(self.of, categories)) if one.category is None]

    def _asked(self) -> Asked:
        growth = Growth(
            self.depth, self.learning_rate, self.l2, self.gamma, self.minimum_child_weight, self.minimum_leaf
        )
        return Asked(self.family, self.trees, growth, self.early_stopping)

    def _answer(self, now: Growing) -> GradientBoostingAnswer:
        ground = now.ground
        names = tuple(one.name for one in features.layout(self.of, ground.categories))
        trees = tuple(_fitted(tree, ground) for tree in now.trees)
        train, held, dropped = now.rows
        return GradientBoostingAnswer(
            family=self.family,
            outcome=self.outcome,
            columns=self.of,
            categories=dict(ground.categories),
            features=names,
            start=ground.start,
            trees=trees,
            importance=model.importance(trees, names),
            loss=tuple(one for one, _ in now.losses),
            validation_loss=tuple(one for _, one in now.losses) if held else (),
            n=train,
            n_validation=held,
            dropped=dropped,
            smallest_leaf=now.fewest,
            notes=self._notes(now, names),
        )

    def _notes(self, now: Growing, names: tuple[str, ...]) -> tuple[str, ...]:
        found = [f"a leaf rests on at least {self.minimum_leaf} rows, and a bin of a column on at least {FLOOR}"]
        used = {feature for tree in now.trees for feature in tree.features}
        uncut = [name for place, name in enumerate(names) if not now.ground.edges[place] and place not in used]
        if uncut:
            found.append(f"columns that can't be cut, for their rows hold one value or hardly any: {', '.join(uncut)}")
        if len(now.trees) < self.trees:
            found.append(
                f"boosting stopped after {len(now.trees)} of {self.trees} trees: more would not lower the loss"
            )
        return tuple(found)

    def _read(self, step: Step) -> Magnitudes | Cells | Growing:
        now = messages.decode(step.state, State).now
        if isinstance(now, Growing):
            every = features.layout(self.of, now.ground.categories)
            return boosting.checked(now, self._asked(), len(every))
        numeric = len(self._numeric(now.categories))
        return sketching.checked(now, numeric, self.bins) if isinstance(now, Cells) else now


def _level(tree: Tree) -> str:
    return f"level {int(depths(np.array(tree.features, dtype=np.int64))[-1]) + 1}"


def _fitted(tree: Tree, ground: Ground) -> FittedTree:
    thresholds = tuple(
        0.0 if feature == LEAF else (*ground.edges[feature], model.ABOVE_ALL)[cut]
        for feature, cut in zip(tree.features, tree.bins, strict=True)
    )
    return FittedTree(tree.features, thresholds, tree.lefts, tree.values, tree.gains, tree.covers)


EXAMPLE = Example(
    job=GradientBoosting(outcome="ill", of=("age", "ward"), trees=2, depth=1, minimum_leaf=10),
    tables={
        "a": mixed_table(
            {"ward": ("north", "south")},
            ill=[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, None],
            age=[30.0, 42.0, 45.0, 33.0, 38.0, 71.0, 60.0, 66.0, 51.0, 58.0, None, 50.0],
            ward=[
                "north",
                "south",
                "north",
                "north",
                "south",
                "north",
                "south",
                "south",
                "north",
                "south",
                "south",
                "north",
            ],
        ),
        "b": mixed_table(
            {"ward": ("north", "south")},
            ill=[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
            age=[61.0, 31.0, 35.0, 58.0, 66.0, 33.0, 44.0, 69.0, 70.0, 47.0, 41.0, 62.0],
            ward=[
                "south",
                "north",
                "south",
                "south",
                "north",
                "south",
                "south",
                "north",
                "north",
                "north",
                "north",
                None,
            ],
        ),
    },
    answer=GradientBoostingAnswer(
        notes=("a leaf rests on at least 10 rows, and a bin of a column on at least 10",),
        family="binomial",
        outcome="ill",
        columns=("age", "ward"),
        categories={"ward": ("north", "south")},
        features=("age", "ward=north", "ward=south"),
        start=0.0870113769896297,
        trees=(
            FittedTree(
                feature=(0, -1, -1),
                threshold=(48.0, 0.0, 0.0),
                default_left=(False, False, False),
                value=(0.0, -0.37965673902069674, 0.3559394226218648),
                gain=(11.620287191165101, 0.0, 0.0),
                cover=(5.7391304347826075, 2.744801512287334, 2.9943289224952734),
            ),
            FittedTree(
                feature=(0, -1, -1),
                threshold=(48.0, 0.0, 0.0),
                default_left=(False, False, False),
                value=(0.0, -0.30072872548003315, 0.2871624513675666),
                gain=(7.2443488480454015, 0.0, 0.0),
                cover=(5.549479515175127, 2.691951920987681, 2.857527594187446),
            ),
        ),
        importance={"age": Importance(splits=2, gain=18.864636039210502, cover=5.644304974978867)},
        loss=(0.6922017029622767, 0.5573912651036101, 0.4730986033471827),
        validation_loss=(),
        n=23,
        n_validation=0,
        dropped=1,
        smallest_leaf=11,
    ),
)
