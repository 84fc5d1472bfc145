"""`pca`: principal components of numeric columns, equal to those of the pooled rows.

    magnitudes → means → spreads → products → answer

One step totals the sums and the products of columns about a public centre, and so the covariance matrix; the components
are its eigenvectors. With at most 1024 columns that is at most 4 MiB a site in one step, less than subspace iteration
sends in ten, and exact: no step depends on a convergence test.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import Refused
from hansa.jobs.base import (
    Answer,
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
from hansa.jobs.exhibit import Bars, Exhibit, Heat, Method, Sheet
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.multivariate import standardising
from hansa.jobs.multivariate.spectrum import spectrum
from hansa.jobs.multivariate.standardising import SLACK, Magnitudes, Means, Scale, Spreads
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

Matrix = Literal["correlation", "covariance"]
_MOST_DRAWN = 40  # columns of the heat map


class PcaAnswer(Answer, frozen=True, tag="pca", kw_only=True):
    """`loadings[i]` is the i-th component: a unit vector over the columns, its largest entry positive (R's prcomp calls
    it rotation, scikit-learn components_). `variance` of the rows along it, with n - 1; `ratio` of the total variance.

    `precision` bounds what rounding did to a variance, relative to the largest.
    """

    columns: tuple[str, ...]
    matrix: Matrix
    loadings: tuple[tuple[float, ...], ...]
    variance: tuple[float, ...]
    ratio: tuple[float, ...]
    total_variance: float
    means: tuple[float, ...]
    sds: tuple[float, ...]
    n: int
    dropped: int | None
    precision: float

    def disclosed(self, rules: Rules) -> "PcaAnswer":
        """Refused over few rows, and over many columns for the rows: a component has as many parameters. `n` is what
        the variances rest on, and stays exact."""
        disclosure.refuse_few(self.n, "the principal components", rules)
        disclosure.refuse_rich(len(self.columns), self.n, rules)
        dropped = disclosure.shown(self.dropped or 0, rules)
        return replace(self, dropped=dropped, notes=self.notes + disclosure.note(rules, dropped is None))

    def exhibit(self) -> Exhibit:
        names = tuple(f"PC{number}" for number in range(1, len(self.variance) + 1))
        shares = zip(names, self.variance, self.ratio, np.cumsum(self.ratio).tolist(), strict=True)
        loadings = np.array(self.loadings).T
        largest = np.sort(np.argsort(-np.abs(loadings).max(axis=1), kind="stable")[:_MOST_DRAWN])
        per_column = tuple(
            (name, mean, sd, *row)
            for name, mean, sd, row in zip(self.columns, self.means, self.sds, loadings.tolist(), strict=True)
        )
        some = f" of the {largest.size} columns with the largest" if largest.size < len(self.columns) else ""
        return Exhibit(
            (
                ("Rows", str(self.n)),
                ("Columns", str(len(self.columns))),
                ("Explained", f"{100 * sum(self.ratio):.1f} %"),
            ),
            (
                Sheet("loadings", ("column", "mean", "sd", *names), per_column),
                Sheet("variance", ("component", "variance", "share", "shares so far"), tuple(shares)),
            ),
            (
                Bars(
                    says=f"The first component holds {100 * self.ratio[0]:.1f} % of the variance, "
                    f"the {len(names)} shown {100 * sum(self.ratio):.1f} %.",
                    x="share of the variance",
                    labels=names,
                    values=self.ratio,
                ),
                Heat(
                    says=f"Loadings{some}, from blue to red through zero: how each component is made of the columns.",
                    rows=tuple(self.columns[place] for place in largest),
                    columns=names,
                    values=tuple(tuple(row) for row in loadings[largest].tolist()),
                    diverging=True,
                ),
            ),
        )


def scores(answer: PcaAnswer, table: Table) -> Array:
    """(rows, components) of one's own rows; NaN where a row misses a column."""
    values = np.column_stack([table.numbers(column) for column in answer.columns]) - np.array(answer.means)
    if answer.matrix == "correlation":
        values = values / np.array(answer.sds)
    return np.asarray(values @ np.array(answer.loadings).T, dtype=np.float64)


class Products(Struct, frozen=True, tag="products"):
    scale: Scale


Stage = Magnitudes | Means | Spreads | Products


class State(Struct, frozen=True):
    now: Stage


class Pca(Job, frozen=True, tag="pca", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Principal components"
    learns: ClassVar[str] = (
        "magnitudes of the columns and of their spread in factors of 16, and the rows, the means and the whole "
        "covariance matrix of the columns, of which the answer shows the first components only"
    )
    method: ClassVar[Method | None] = Method(
        "Each institution adds up, over its complete rows, the columns and the products of every pair of them about a "
        "centre that earlier totals gave. From the totals follow the means and the covariance or correlation matrix of "
        "the pool, and its eigenvectors are the components: unit vectors, of which the largest entry is made positive.",
        ("C = (Σ z zᵀ − Σz Σzᵀ / n) / (n − 1)", "C v = λ v; λ is the variance along v"),
        ("Jolliffe, Principal Component Analysis (2002), chapters 2 and 3",),
    )

    of: Annotated[
        tuple[str, ...],
        Meta(
            title="Columns",
            description="Numeric columns, 2 to 1024; rows that miss one are left out.",
            min_length=2,
            max_length=1024,
            extra={"form": "columns"},
        ),
    ] = field(name="columns")
    components: Annotated[int, Meta(title="Components", description="At most so many are shown.", ge=1, le=32)] = 5
    matrix: Annotated[
        Matrix, Meta(title="Matrix", description="Correlation standardises the columns, covariance does not.")
    ] = "correlation"

    def columns(self) -> tuple[str, ...]:
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        return self.of

    def check(self, schema: Schema) -> None:
        standardising.refuse_text(self.columns(), schema)

    def steps_after(self, step: Step) -> int:
        return (Magnitudes, Means, Spreads, Products)[::-1].index(type(self._read(step)))

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        return self._ask(Magnitudes(), sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        now = self._read(step)
        rows = standardising.complete(table, self.of)
        if not isinstance(now, Products):
            return fit(step, standardising.share(now, rows))
        z = standardising.scaled(rows, now.scale)
        with np.errstate(all="ignore"):
            products = z.T @ z
            sums = np.sum(z, axis=0)
        upper = products[np.triu_indices(len(self.of))]
        return fit(step, {"rows": rows.counts, "sums": sums, "products": upper})

    def advance(self, step: Step, total: Total) -> Step | PcaAnswer:
        now = self._read(step)
        if isinstance(now, Products):
            return self._answer(now.scale, step, total)
        then = standardising.advance(now, total, self.of)
        return self._ask(Products(then) if isinstance(then, Scale) else then, total.sites)

    def _ask(self, now: Stage, sites: int) -> Step:
        width = len(self.of)
        if not isinstance(now, Products):
            blocks = standardising.blocks(now, width, sites)
        else:
            bound = now.scale.rows * SLACK
            blocks = (
                reals("rows", (2,), MAX_ROWS, sites),
                reals("sums", (width,), bound, sites),
                reals("products", (width * (width + 1) // 2,), bound, sites),
            )
        return Step(type(now).__name__.lower(), blocks, encode_state(State(now)))

    def _read(self, step: Step) -> Stage:
        now = messages.decode(step.state, State).now
        standardising.checked(now.scale if isinstance(now, Products) else now, len(self.of))
        return now

    def _answer(self, scale: Scale, step: Step, total: Total) -> PcaAnswer:
        n, dropped = (round(count) for count in total.real("rows").tolist())
        if n < 3:
            raise Refused("fewer than three rows are complete in the columns asked about")
        width, sums = len(self.of), total.real("sums")
        second = np.zeros((width, width))
        second[np.triu_indices(width)] = total.real("products")
        second = second + np.triu(second, 1).T
        covariance = (second - np.outer(sums, sums) / n) / (n - 1)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        rounding = {block.name: total.sites * getattr(block, "step", 0.0) / 2 for block in step.blocks}
        spent = rounding["products"] + rounding["sums"] * (2 * float(np.abs(sums).max()) + rounding["sums"]) / n
        away = (spent + 2.0**-50 * np.abs(second).max()) / (n - 1)  # of each entry
        for column, one in zip(self.of, spread, strict=True):
            if not one * one > away:
                raise Refused(f"column '{column}' is constant over the complete rows")
        weights = 1 / spread if self.matrix == "correlation" else scale.units
        largest = 1.0 if self.matrix == "correlation" else float(weights.max())
        weights = weights / largest  # so that no square overflows
        found = spectrum(covariance * np.outer(weights, weights))
        count = min(self.components, found.rank)
        if count < self.components and count < width:
            notes: tuple[str, ...] = (f"only {count} components have any variance",)
        else:
            notes = ()
        alike = [f"PC{place + 1}" for place in found.alike if place < count]
        if alike:
            notes += (f"{', '.join(alike)}: of equal variance with another, so only the space they span is determined",)
        variances = found.variances[:count] * largest * largest
        error = float(np.linalg.norm(weights) ** 2) * away
        return PcaAnswer(
            columns=self.of,
            matrix=self.matrix,
            loadings=tuple(tuple(row) for row in found.directions[:count].tolist()),
            variance=tuple(variances.tolist()),
            ratio=tuple((found.variances[:count] / found.variances.sum()).tolist()),
            total_variance=float(found.variances.sum()) * largest * largest,
            means=tuple((np.array(scale.centres) + scale.units * sums / n).tolist()),
            sds=tuple((scale.units * spread).tolist()),
            n=n,
            dropped=dropped,
            precision=float(error / found.variances[0]) + math.ulp(1.0) * width,
            notes=notes,
        )


EXAMPLE = Example(
    job=Pca(of=("height", "weight", "age"), components=2),
    tables={
        "a": numbers_table(
            height=[161.0, 172.0, 180.0, 155.0, 168.0, 190.0, 175.0],
            weight=[58.0, 70.0, 84.0, 50.0, 66.0, 92.0, None],
            age=[31.0, 45.0, 52.0, 38.0, 60.0, 29.0, 40.0],
        ),
        "b": numbers_table(
            height=[177.0, 165.0, 183.0, 158.0, 170.0, 174.0],
            weight=[79.0, 61.0, 81.0, 57.0, 72.0, 68.0],
            age=[55.0, 49.0, 33.0, 64.0, 41.0, 27.0],
        ),
    },
    answer=PcaAnswer(
        notes=(),
        columns=("height", "weight", "age"),
        matrix="correlation",
        loadings=(
            (0.683315181281726, 0.6649368909213376, -0.30156142678032855),
            (0.14516206378392357, 0.28105612274670067, 0.9486492666442027),
        ),
        variance=(2.0853312319827766, 0.9003207251494217),
        ratio=(0.6951104106609256, 0.30010690838314064),
        total_variance=2.9999999999999996,
        means=(171.08333333333334, 69.83333333333333, 43.666666666666664),
        sds=(10.457344816255254, 12.43041236303734, 12.485142685559822),
        n=12,
        dropped=1,
        precision=3.002368637639099e-15,
    ),
)
