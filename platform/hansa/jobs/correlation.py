"""`correlation`: Pearson's correlation of each pair of some columns, over the rows that miss none of them.

    magnitudes → sums → spreads → products

The four passes are those of `centring.py`; the last adds up the products of all pairs of centred and scaled columns,
Σ z_i z_j, of which r, covariances, means and standard deviations follow. p is of Student's t with n - 2 degrees of
freedom, the interval Fisher's: tanh(atanh r ± 1.96 / √(n - 3)) (Fisher 1915, 1921).

The totals tell the means and the covariance matrix, exactly; of columns of noughts and ones that is how many rows have
each pair of them.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import Refused
from hansa.jobs import centring, magnitude
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
from hansa.jobs.centring import MOMENTS, Scale
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Exhibit, Heat, Method, Sheet
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

MOST = 32  # columns
NORMAL = 1.959963984540054  # the 97.5 % point of the standard normal


class Pair(Struct, frozen=True, kw_only=True):
    """Of two columns; r and what follows from it are None where one of them is constant."""

    first: str
    second: str
    r: float | None
    covariance: float  # divided by n - 1
    t: float | None
    p: float | None
    low: float | None  # of r, 95 %; None with fewer than four rows
    high: float | None


class CorrelationAnswer(Answer, frozen=True, tag="correlation", kw_only=True):
    """`matrix[i][j]` is r of `columns[i]` and `columns[j]`; `precision` bounds the absolute error of every r, given
    float64 rows."""

    columns: tuple[str, ...]
    n: int
    missing: int | None
    means: tuple[float, ...]
    sds: tuple[float, ...]
    matrix: tuple[tuple[float | None, ...], ...]
    pairs: tuple[Pair, ...]
    precision: float

    def disclosed(self, rules: Rules) -> "CorrelationAnswer":
        """Refused over few rows, or with many columns for them; `n` is what p rests on, and stays exact."""
        disclosure.refuse_few(self.n, "the correlation", rules)
        disclosure.refuse_rich(len(self.columns), self.n, rules)
        missing = disclosure.shown(self.missing or 0, rules)
        notes = (*_notes(missing), *(note for note in self.notes if "constant" in note))
        return replace(self, missing=missing, notes=notes + disclosure.note(rules, missing is None))

    def exhibit(self) -> Exhibit:
        strongest = max((pair for pair in self.pairs if pair.r is not None), key=lambda p: abs(p.r or 0), default=None)
        says = "Pearson's correlation of each pair of columns, from -1 in one colour by 0 to 1 in another."
        if strongest is not None:
            says += f" The strongest is {strongest.r:.3g}, of {strongest.first} and {strongest.second}."
        pairs = tuple((p.first, p.second, p.r, p.low, p.high, p.p, p.covariance) for p in self.pairs)
        columns = tuple(zip(self.columns, self.means, self.sds, strict=True))
        missing = "not shown" if self.missing is None else f"{self.missing:,}"
        return Exhibit(
            (("Complete rows", f"{self.n:,}"), ("Rows left out", missing), ("Precision of r", f"{self.precision:.1g}")),
            (
                Sheet("Pairs", ("first", "second", "r", "95 % from", "95 % to", "p", "covariance"), pairs),
                Sheet("Columns", ("column", "mean", "sd"), columns),
            ),
            (Heat(says=says, rows=self.columns, columns=self.columns, values=self.matrix, diverging=True),),
        )


class State(Struct, frozen=True):
    """Which pass of `centring` it is, and from the second on what is known of each column."""

    turn: Annotated[int, Meta(ge=0, le=MOMENTS)]
    scales: Annotated[tuple[Scale, ...], Meta(max_length=MOST)] = ()


class Correlation(Job, frozen=True, tag="correlation", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Correlation of columns"
    learns: ClassVar[str] = (
        "the rows that miss none of the columns and those that miss some, the magnitude of the largest number of each "
        "column and of the largest distance from its mean in factors of 16, the means and the covariance matrix"
    )
    method: ClassVar[Method | None] = Method(
        "Pearson's correlation of each pair of columns over the rows that miss none of them. The covariances come from "
        "the products of columns that were centred and scaled by what earlier steps found, so that no digit is lost to "
        "a large mean. p tests that there is no correlation, by Student's t; the interval is Fisher's.",
        (
            "r = Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²)",
            "t = r √((n − 2) / (1 − r²)), with n − 2 degrees of freedom",
            "95 % interval: tanh(atanh r ± 1.96 / √(n − 3))",
        ),
        (
            "Fisher, Frequency distribution of the values of the correlation coefficient (1915)",
            'Fisher, On the "probable error" of a coefficient of correlation deduced from a small sample (1921)',
            "Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983): shifted data",
        ),
    )

    of: Annotated[
        tuple[str, ...],
        Meta(
            title="Columns",
            description=f"Numeric columns, 2 to {MOST}.",
            min_length=1,
            max_length=64,
            extra={"form": "columns"},
        ),
    ] = field(name="columns")

    def columns(self) -> tuple[str, ...]:
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        if not 2 <= len(self.of) <= MOST:
            raise Refused(f"a correlation is of 2 to {MOST} columns, and {len(self.of)} are named")
        return self.of

    def check(self, schema: Schema) -> None:
        for name in self.columns():
            if schema.column(name).type != "number":
                raise Refused(f"column '{name}' of table '{schema.table}' holds text, which has no correlation")

    def steps_after(self, step: Step) -> int:
        return MOMENTS - self._read(step).turn

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        return self._ask(State(0), magnitude.MAX_ROWS, sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        state = self._read(step)
        values = np.array([table.numbers(name) for name in self.of])  # [column, row]
        values = values[:, ~np.isnan(values).any(axis=0)]
        rows = np.array([values.shape[1], table.rows - values.shape[1]], dtype=np.float64)
        if state.turn < MOMENTS:
            return fit(step, {"rows": rows, **centring.share(state.turn, state.scales, list(values))})
        z = [centring.scaled(one, scale) for one, scale in zip(values, state.scales, strict=True)]
        products = np.array([math.fsum(z[i] * z[j]) for i, j in _places(len(z))])
        return fit(step, {"rows": rows, "first": np.array([math.fsum(one) for one in z]), "products": products})

    def advance(self, step: Step, total: Total) -> Step | CorrelationAnswer:
        state = self._read(step)
        n, missing = (round(number) for number in total.real("rows"))
        if n < 3:
            raise Refused(f"only {n} rows miss none of the columns, too few for a correlation")
        if state.turn == MOMENTS:
            return self._answer(step, total, state.scales, n, missing)
        counts = np.full(len(self.of), float(n))
        scales = centring.learnt(state.turn, state.scales, counts, total)
        return self._ask(State(state.turn + 1, scales), float(n), total.sites)

    def _ask(self, state: State, rows: float, sites: int) -> Step:
        width = len(self.of)
        counted = reals("rows", (2,), magnitude.MAX_ROWS, sites)
        if state.turn < MOMENTS:
            blocks = centring.blocks(state.turn, width, rows, sites)
            return Step(centring.NAMES[state.turn], (counted, *blocks), encode_state(state))
        first, products = (width,), (width * (width + 1) // 2,)
        blocks = (reals("first", first, rows, sites), reals("products", products, rows, sites))
        return Step("products", (counted, *blocks), encode_state(state))

    def _answer(self, step: Step, total: Total, scales: Sequence[Scale], n: int, missing: int) -> CorrelationAnswer:
        about, spent = _about_means(step, total, n)
        constant = np.diag(about) <= np.diag(spent)
        size = np.sqrt(np.where(constant, 1.0, np.diag(about)))
        relative = spent / np.outer(size, size)
        r = np.clip(about / np.outer(size, size), -1.0, 1.0)
        np.fill_diagonal(r, 1.0)
        error = relative + np.abs(r) * (np.diag(relative)[:, None] + np.diag(relative)) / 2 + 2.0**-51
        known = ~(constant[:, None] | constant)
        units = np.ldexp(1.0, np.array([scale.spread for scale in scales]))
        covariance = np.where(known, about, 0.0) * np.outer(units, units) / (n - 1)
        means = [s.centre + u * f / n for s, u, f in zip(scales, units, total.real("first"), strict=True)]
        notes = [
            f"column '{name}' is constant over these rows" for name, none in zip(self.of, constant, strict=True) if none
        ]
        return CorrelationAnswer(
            columns=self.of,
            n=n,
            missing=missing,
            means=tuple(float(mean) for mean in means),
            sds=tuple(np.sqrt(np.diag(covariance)).tolist()),
            matrix=tuple(
                tuple(float(one) if told else None for one, told in zip(row, tell, strict=True))
                for row, tell in zip(r, known, strict=True)
            ),
            pairs=tuple(
                _pair(self.of[i], self.of[j], float(r[i, j]) if known[i, j] else None, float(covariance[i, j]), n)
                for i, j in combinations(range(len(self.of)), 2)
            ),
            precision=float(error[known].max(initial=0.0)),
            notes=(*_notes(missing), *notes),
        )

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        centring.check(state.turn, state.scales, len(self.of))
        return state


def _places(width: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i ≤ j, in the order in which a step has their products."""
    return [(i, j) for i in range(width) for j in range(i, width)]


def _about_means(step: Step, total: Total, n: int) -> tuple[Array, Array]:
    """Σ(z_i - z̄_i)(z_j - z̄_j) as a matrix, and bounds of its errors."""
    rounding, first = centring.roundings(step, total), total.real("first")
    upper = np.zeros((first.size, first.size))
    upper[tuple(np.array(_places(first.size)).T)] = total.real("products")
    products = upper + np.triu(upper, 1).T
    outer = np.outer(first, first) / n
    squares = np.diag(products)
    exact = np.sqrt(np.outer(squares, squares))  # bounds every sum that a float64 rounds on the way
    sums = np.abs(first)[:, None] + np.abs(first) + rounding["first"]
    spent = rounding["products"] + rounding["first"] * sums / n + 2.0**-50 * (exact + np.abs(outer))
    return products - outer, spent


def _pair(first: str, second: str, r: float | None, covariance: float, n: int) -> Pair:
    from scipy.special import stdtr

    if r is None:
        return Pair(first=first, second=second, r=r, covariance=0.0, t=None, p=None, low=None, high=None)
    t = math.copysign(math.inf, r) if abs(r) == 1.0 else r * math.sqrt((n - 2) / ((1 - r) * (1 + r)))
    low: float | None = None
    high: float | None = None
    if n > 3:
        wide = NORMAL / math.sqrt(n - 3)
        low, high = (r, r) if abs(r) == 1.0 else (math.tanh(math.atanh(r) - wide), math.tanh(math.atanh(r) + wide))
    return Pair(
        first=first,
        second=second,
        r=r,
        covariance=covariance,
        t=t if math.isfinite(t) else None,
        p=float(2 * stdtr(n - 2, -abs(t))),
        low=low,
        high=high,
    )


def _notes(missing: int | None) -> tuple[str, ...]:
    return (f"rows left out because they miss a value: {missing}",) if missing else ()


EXAMPLE = Example(
    job=Correlation(of=("age", "pressure")),
    tables={
        "a": numbers_table(age=[40.0, 50.0, None], pressure=[120.0, 125.0, 118.0]),
        "b": numbers_table(age=[60.0, 70.0, 80.0], pressure=[130.0, 150.0, 145.0]),
    },
    answer=CorrelationAnswer(
        columns=("age", "pressure"),
        n=5,
        missing=1,
        means=(60.0, 134.0),
        sds=(15.811388300841896, 12.942179105544785),
        matrix=((1.0, 0.9162708326722891), (0.9162708326722891, 1.0)),
        pairs=(
            Pair(
                first="age",
                second="pressure",
                r=0.9162708326722891,
                covariance=187.5,
                t=3.962029078465306,
                p=0.02871560840680893,
                low=0.17747138973296966,
                high=0.9945489043146216,
            ),
        ),
        precision=3.5779008280158774e-15,
        notes=("rows left out because they miss a value: 1",),
    ),
)
