"""`k_means`: clusters of rows by their nearest centre, as Lloyd's algorithm finds them on the pooled rows.

    magnitudes → means → spreads → moments → iteration 1, 2, … → answer

A step totals, for each centre, the rows that are nearest to it, their sums and their squared distances. The first
`SCREENED` iterations carry `STARTS` sets of centres at once (`multivariate/lloyd.py`).
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import (
    Array,
    Contribution,
    Example,
    Job,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
    reals,
)
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Method
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.multivariate import lloyd, standardising
from hansa.jobs.multivariate.clusters import Cluster, KMeansAnswer
from hansa.jobs.multivariate.lloyd import Sums
from hansa.jobs.multivariate.standardising import SLACK, Magnitudes, Means, Scale, Spreads

Distance = Literal["standardised", "as they are"]
STARTS = 8
SCREENED = 6  # iterations in which the starts race
STILL = 1e-9  # of a standard deviation: centres that move less have arrived


class Moments(Struct, frozen=True, tag="moments"):
    scale: Scale


class Iteration(Struct, frozen=True, tag="iteration"):
    """`centres` (starts, clusters, columns) in units of z, and the weight of each column in a squared distance."""

    scale: Scale
    weights: tuple[float, ...]
    sds: tuple[float, ...]
    centres: tuple[tuple[tuple[float, ...], ...], ...]
    turn: Annotated[int, Meta(ge=0, le=1000)] = 0


Stage = Magnitudes | Means | Spreads | Moments | Iteration


class State(Struct, frozen=True):
    now: Stage


class KMeans(Job, frozen=True, tag="k_means", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "k-means clusters"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "magnitudes, means and variances of the columns, and in every iteration for every centre the rows nearest to "
        "it, their sums and their squared distances, where a centre may have few rows or one"
    )
    method: ClassVar[Method | None] = Method(
        "Lloyd's algorithm on totals: each row belongs to its nearest centre, and a centre moves to the mean of its "
        "rows, until none moves. Centres start at points around the mean that the seed gives and no row; "
        f"{STARTS} such starts are compared after {SCREENED} iterations, and the one with the least inertia goes on.",
        ("inertia = Σ |x − nearest centre|²", "total = inertia + Σ size · |centre − mean|²"),
        ("Lloyd, Least Squares Quantization in PCM (IEEE Transactions on Information Theory 1982)",),
    )

    of: Annotated[
        tuple[str, ...],
        Meta(
            title="Columns",
            description="Numeric columns, at most 64; rows that miss one are left out.",
            min_length=1,
            max_length=64,
            extra={"form": "columns"},
        ),
    ] = field(name="columns")
    clusters: Annotated[int, Meta(title="Clusters", description="How many centres.", ge=2, le=20)] = 3
    distance: Annotated[
        Distance, Meta(title="Distances", description="In standard deviations of each column, or in its own units.")
    ] = "standardised"
    iterations: Annotated[int, Meta(title="Iterations", description="At most so many.", ge=10, le=200)] = 100
    seed: Annotated[int, Meta(title="Seed", description="Another one starts elsewhere.", ge=0, le=2**31 - 1)] = 1

    def columns(self) -> tuple[str, ...]:
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        return self.of

    def check(self, schema: Schema) -> None:
        standardising.refuse_text(self.columns(), schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        return self._ask(Magnitudes(), sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        now = self._read(step)
        rows = standardising.complete(table, self.of)
        if isinstance(now, Magnitudes | Means | Spreads):
            return fit(step, standardising.share(now, rows))
        z = standardising.scaled(rows, now.scale)
        with np.errstate(all="ignore"):  # what a hub's made-up scale does is refused by the bounds
            if isinstance(now, Moments):
                share = {"rows": rows.counts, "first": z.sum(axis=0), "second": (z * z).sum(axis=0)}
                return fit(step, share)
            part = lloyd.sums(z, np.array(now.centres), np.array(now.weights))
        share = {"rows": rows.counts, "counts": part.counts, "sums": part.sums, "inertia": part.inertia}
        return fit(step, share)

    def advance(self, step: Step, total: Total) -> Step | KMeansAnswer:
        now = self._read(step)
        if isinstance(now, Moments):
            return self._ask(self._first(now.scale, total), total.sites)
        if isinstance(now, Iteration):
            then = self._move(now, total)
            return then if isinstance(then, KMeansAnswer) else self._ask(then, total.sites)
        after = standardising.advance(now, total, self.of)
        return self._ask(Moments(after) if isinstance(after, Scale) else after, total.sites)

    def _first(self, scale: Scale, total: Total) -> Iteration:
        n = float(np.rint(total.real("rows")[0]))
        if n < self.clusters:
            raise Refused(f"fewer rows are complete than there are to be clusters ({self.clusters})")
        mean = total.real("first") / n
        sd = np.sqrt(np.maximum(total.real("second") / n - mean * mean, 0.0) * n / (n - 1))
        if not np.all(sd > 2.0**-20):
            raise Refused(f"column '{self.of[int(sd.argmin())]}' is constant over the complete rows")
        centres = lloyd.start(self.seed, STARTS, self.clusters, mean, sd)
        weights = sd**-2 if self.distance == "standardised" else (scale.units / scale.units.max()) ** 2
        sds = scale.units * sd if self.distance == "standardised" else np.full(sd.size, 1.0)
        return Iteration(scale, tuple(weights.tolist()), tuple(sds.tolist()), _nested(centres))

    def _move(self, now: Iteration, total: Total) -> Iteration | KMeansAnswer:
        found = Sums(np.rint(total.real("counts")), total.real("sums"), np.maximum(total.real("inertia"), 0.0))
        if found.counts[0].sum() < self.clusters:
            raise Refused(f"fewer rows are complete than there are to be clusters ({self.clusters})")
        weights, centres = np.array(now.weights), np.array(now.centres)
        if now.turn == SCREENED - 1:
            winner = lloyd.best(found)
            found = Sums(*(getattr(found, name)[[winner]] for name in Sums.__struct_fields__))
            centres = centres[[winner]]
        then = lloyd.moved(centres, found, weights, self.seed, now.turn)
        alone, last = centres.shape[0] == 1, now.turn + 1 >= self.iterations
        here = found.counts > 0
        still = bool(np.all(((then - centres) ** 2 @ weights)[here] <= STILL**2 * weights.max()))
        apart = bool(here.all()) or float(found.inertia.sum()) <= 1e-12 * float(found.counts.sum())
        if alone and (last or (still and apart)):
            return self._answer(now, centres[0], found, total, still)
        return replace(now, centres=_nested(then), turn=now.turn + 1)

    def _answer(self, now: Iteration, centres: Array, found: Sums, total: Total, converged: bool) -> KMeansAnswer:
        """Of the rows as the last centres part them; the centres shown are their means."""
        counts, sums, weights = found.counts[0], found.sums[0], np.array(now.weights)
        units = 1.0 if self.distance == "standardised" else float(now.scale.units.max()) ** 2
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1.0)[:, None], centres)
        within = np.maximum(found.inertia[0] - counts * (((means - centres) ** 2) @ weights), 0.0) * units
        away = ((means - sums.sum(axis=0) / counts.sum()) ** 2) @ weights * units
        own = np.array(now.scale.centres) + now.scale.units * means
        clusters = [
            Cluster(size=round(float(count)), centre=tuple(centre) if count else None, within=float(inside))
            for count, centre, inside in zip(counts, own.tolist(), within, strict=True)
        ]
        clusters.sort(key=lambda one: (-(one.size or 0), one.centre or ()))
        notes: tuple[str, ...] = () if converged else (f"the centres still moved after {now.turn + 1} iterations",)
        if not np.all(counts > 0):
            notes += ("a centre has no row nearest to it: there may be fewer clusters than were asked for",)
        return KMeansAnswer(
            columns=self.of,
            clusters=tuple(clusters),
            sds=now.sds,
            inertia=float(within.sum()),
            between=float(counts @ away),
            n=round(float(counts.sum())),
            dropped=round(float(total.real("rows")[1])),
            iterations=now.turn + 1,
            converged=converged,
            notes=notes,
        )

    def _ask(self, now: Stage, sites: int) -> Step:
        width = len(self.of)
        if isinstance(now, Magnitudes | Means | Spreads):
            blocks = standardising.blocks(now, width, sites)
            return Step(type(now).__name__.lower(), blocks, encode_state(State(now)))
        counted, bound = reals("rows", (2,), MAX_ROWS, sites), now.scale.rows * SLACK
        if isinstance(now, Moments):
            moments = (reals("first", (width,), bound, sites), reals("second", (width,), bound, sites))
            return Step("moments", (counted, *moments), encode_state(State(now)))
        shape = (len(now.centres), self.clusters)
        farthest = 4 * math.fsum(now.weights) * bound
        blocks = (
            counted,
            reals("counts", shape, now.scale.rows, sites),
            reals("sums", (*shape, width), bound, sites),
            reals("inertia", shape, farthest, sites),
        )
        return Step(f"iteration {now.turn + 1}", blocks, encode_state(State(now)))

    def _read(self, step: Step) -> Stage:
        now = messages.decode(step.state, State).now
        width = len(self.of)
        standardising.checked(now.scale if isinstance(now, Moments | Iteration) else now, width)
        if isinstance(now, Iteration):
            rows = [row for start in now.centres for row in start]
            starts = STARTS if now.turn < SCREENED else 1
            if (
                len(now.centres) != starts
                or {len(start) for start in now.centres} != {self.clusters}
                or {len(row) for row in rows} != {width}
                or not np.all(np.abs(np.array(rows)) <= SLACK)
                or len(now.weights) != width
                or not all(0 <= weight <= 2.0**60 for weight in now.weights)
                or not sum(now.weights) > 0
            ):
                raise ProtocolViolation("the state of k-means is out of range")
        return now


def _nested(centres: Array) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(tuple(tuple(row) for row in start) for start in centres.tolist())


EXAMPLE = Example(
    job=KMeans(of=("height", "age"), clusters=2, iterations=20),
    tables={
        "a": numbers_table(
            height=[101.0, 102.0, 110.0, 175.0, 168.0, 190.0, 175.0], age=[4.0, 5.0, 6.0, 38.0, 60.0, 29.0, None]
        ),
        "b": numbers_table(height=[177.0, 165.0, 113.0, 108.0, 170.0, 174.0], age=[55.0, 49.0, 7.0, 6.0, 41.0, 27.0]),
    },
    answer=KMeansAnswer(
        notes=(),
        columns=("height", "age"),
        clusters=(
            Cluster(size=7, centre=(174.14285714285714, 42.714285714285715), within=2.4198827248451096),
            Cluster(size=5, centre=(106.8, 5.600000000000001), within=0.09705013112528604),
        ),
        sds=(35.33336906802081, 21.260826119243983),
        inertia=2.5169328559703956,
        between=19.48306714402961,
        n=12,
        dropped=1,
        iterations=6,
        converged=True,
    ),
)
