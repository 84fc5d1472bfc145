"""`summary`: count, mean, variance and brackets of quantiles of numeric columns.

Four passes. The variance comes from the moments about a centre that the second pass found (Chan, Golub and
LeVeque 1983, "shifted data"), with the finest precision that the spread found in the third pass allows; sums
of squares of raw numbers would lose every digit of NIST's NumAcc4. The centre need not be exact, and only the
last pass counts.

Least and largest are rows of somebody, so they are not shown. A quantile is known to lie in a bracket that
three secure histograms narrow down; a bracket always holds at least `FLOOR` rows (or all there are).
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import magnitude
from hansa.jobs.base import (
    Answer,
    Array,
    Contribution,
    Example,
    Flags,
    Job,
    Reals,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
    reals,
)
from hansa.jobs.brackets import FLOOR, PARTS, PERCENT, Bracket, Divided, narrow, tally, whole, within
from hansa.jobs.example import numbers_table
from hansa.jobs.under_noise import ranges
from hansa.jobs.under_noise.ranges import Ends, Ranges
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules
from hansa.privacy.noise import Noise

if TYPE_CHECKING:
    from hansa.jobs.under_noise.noisy import Noisy


class Figures(Struct, frozen=True, kw_only=True):
    """Of one column; `…_precision` bounds the absolute error of what stands before it, given float64 rows.

    `…_error` are standard errors of noise, and there under noise only; then `…_precision` is of rounding alone.
    """

    count: int | None
    missing: int | None
    mean: float
    mean_precision: float
    variance: float  # divided by count - 1
    variance_precision: float
    sd: float
    quantiles: dict[str, Bracket]
    count_error: float | UnsetType = UNSET
    mean_error: float | UnsetType = UNSET
    variance_error: float | UnsetType = UNSET


class SummaryAnswer(Answer, frozen=True, tag="summary", kw_only=True):
    columns: dict[str, Figures]

    def disclosed(self, rules: Rules) -> "SummaryAnswer":
        """Refused if a column has fewer numbers than a cell must hold; a left-out count of missing rows is None."""
        found = {}
        for name, figures in self.columns.items():
            disclosure.refuse_few(figures.count or 0, f"the summary of column '{name}'", rules)
            count, missing = disclosure.shown(figures.count or 0, rules), disclosure.shown(figures.missing or 0, rules)
            found[name] = replace(figures, count=count, missing=missing)
        left_out = any(figures.missing is None for figures in found.values())
        return replace(self, columns=found, notes=self.notes + disclosure.note(rules, left_out))


class Shape(Struct, frozen=True):
    """What is known of a column: |x| < 2^largest, |x - centre| < 2^spread, the brackets of its quantiles."""

    largest: int
    centre: float
    spread: int
    brackets: tuple[Divided, ...]


class State(Struct, frozen=True):
    """Which pass it is (0 to 3), and from the second on what is known of each column."""

    turn: Annotated[int, Meta(ge=0, le=3)]
    shapes: tuple[Shape, ...] = ()


class Summary(Job, frozen=True, tag="summary", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Summary of columns"
    learns: ClassVar[str] = (
        "per column: rows and missing rows, the sum, the magnitude of the largest number and of the largest "
        "distance from the mean in factors of 16, and the counts of the histograms around five quantiles"
    )

    of: Annotated[
        tuple[str, ...],
        Meta(
            title="Columns",
            description="Numeric columns, at most 64.",
            min_length=1,
            max_length=64,
            extra={"form": "columns"},
        ),
    ] = field(name="columns")
    ranges: Ranges | UnsetType = UNSET

    def columns(self) -> tuple[str, ...]:
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        ranges.refuse_unfit(self.declared_ranges(), self.of)
        return self.of

    def declared_ranges(self) -> Mapping[str, Ends]:
        return {} if isinstance(self.ranges, UnsetType) else self.ranges

    def under_noise(self, noise: Noise) -> "Noisy":
        from hansa.jobs.under_noise.moments import NoisySummary

        noise.check()
        ranges.refuse_missing(self.declared_ranges(), self.columns())
        return NoisySummary(summary=self, noise=noise)

    def check(self, schema: Schema) -> None:
        for name in self.columns():
            if schema.column(name).type != "number":
                raise Refused(f"column '{name}' of table '{schema.table}' holds text: count it with a table instead")

    def steps_after(self, step: Step) -> int:
        return 3 - _read(step, len(self.of)).turn

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        rows = reals("rows", (len(self.of), 2), magnitude.MAX_ROWS, sites)
        return Step(
            "magnitudes",
            (rows, Flags("magnitudes", (len(self.of), magnitude.PLACES))),
            encode_state(State(0)),
        )

    def encode(self, table: Table, step: Step) -> Contribution:
        state = _read(step, len(self.of))
        numbers = [table.numbers(name) for name in self.of]
        known = [values[~np.isnan(values)] for values in numbers]
        share: dict[str, Array | np.ndarray] = {
            "rows": np.array([(have.size, table.rows - have.size) for have in known], dtype=np.float64)
        }
        if state.turn in (0, 2):
            centres = [shape.centre for shape in state.shapes] or [0.0] * len(known)
            share["magnitudes"] = np.concatenate(
                [magnitude.flags((have - m)[:, None]) for have, m in zip(known, centres, strict=True)]
            )
        if state.turn > 0:
            pairs = list(zip(known, state.shapes, strict=True))
            share["ranks"] = np.array([[tally(have, part) for part in shape.brackets] for have, shape in pairs])
        if state.turn == 1:
            share["sums"] = np.array([math.fsum(np.ldexp(have, -shape.largest)) for have, shape in pairs])
        if state.turn == 3:
            away = [np.ldexp(have - shape.centre, -shape.spread) for have, shape in pairs]
            share["first"] = np.array([math.fsum(d) for d in away])
            share["second"] = np.array([math.fsum(d * d) for d in away])
        return fit(step, share)

    def advance(self, step: Step, total: Total) -> Step | SummaryAnswer:
        state = _read(step, len(self.of))
        counts = np.rint(total.real("rows"))
        for name, (count, _) in zip(self.of, counts, strict=True):
            if count < 2:
                some = "only one row has" if count == 1 else "no rows have"
                raise Refused(f"{some} a number in column '{name}', too few for a mean and a variance")
        if state.turn == 0:
            shapes = _first_shapes(total)
        else:
            ranks = np.rint(total.real("ranks"))
            shapes = tuple(
                Shape(
                    old.largest,
                    old.centre,
                    old.spread,
                    narrow(old.brackets, row, int(count[0]), math.ldexp(1.0, old.largest)),
                )
                for old, row, count in zip(state.shapes, ranks, counts, strict=True)
            )
        if state.turn == 1:
            means = total.real("sums") / counts[:, 0]
            shapes = tuple(
                Shape(s.largest, math.ldexp(float(m), s.largest), s.spread, s.brackets)
                for s, m in zip(shapes, means, strict=True)
            )
        if state.turn == 2:
            spreads = magnitude.exponents(total.flag("magnitudes"))
            shapes = tuple(_within(shape, exponent) for shape, exponent in zip(shapes, spreads, strict=True))
        if state.turn == 3:
            return self._answer(step, total, shapes, counts)
        return _ask(State(state.turn + 1, shapes), float(counts.sum(axis=1).max()), total.sites)

    def _answer(self, step: Step, total: Total, shapes: Sequence[Shape], counts: Array) -> SummaryAnswer:
        rounding = {block.name: total.sites * block.step / 2 for block in step.blocks if isinstance(block, Reals)}
        figures = {
            name: _figures(shapes[i], counts[i], total.real("first")[i], total.real("second")[i], rounding)
            for i, name in enumerate(self.of)
        }
        notes = (f"a quantile's bracket holds at least {FLOOR} rows or all there are, and extremes are not shown",)
        return SummaryAnswer(columns=figures, notes=notes)


def _read(step: Step, columns: int) -> State:
    state = messages.decode(step.state, State)
    if len(state.shapes) != (columns if state.turn else 0):
        raise ProtocolViolation("the state of a summary does not fit its columns")
    for shape in state.shapes:
        edges = [edge for part in shape.brackets for edge in (part.low, part.high)]
        if (
            len(shape.brackets) != len(PERCENT)
            or not np.all(np.isfinite([shape.centre, *edges]))
            or max(abs(shape.largest), abs(shape.spread)) > 200
            or any(part.parts not in (1, PARTS) or part.low > part.high for part in shape.brackets)
        ):
            raise ProtocolViolation("the state of a summary is out of range")
    return state


def _ask(state: State, rows: float, sites: int) -> Step:
    """The blocks of a later pass; numbers are scaled below 1, so the pool's `rows` bounds every total."""
    width = len(state.shapes)
    blocks = [
        reals("rows", (width, 2), rows, sites),
        reals("ranks", (width, len(PERCENT), PARTS + 2), rows, sites),
    ]
    if state.turn == 1:
        return Step("sums", (*blocks, reals("sums", (width,), rows, sites)), encode_state(state))
    if state.turn == 2:
        return Step("spreads", (*blocks, Flags("magnitudes", (width, magnitude.PLACES))), encode_state(state))
    moments = (reals("first", (width,), rows, sites), reals("second", (width,), rows, sites))
    return Step("moments", (*blocks, *moments), encode_state(state))


def _first_shapes(total: Total) -> tuple[Shape, ...]:
    """Brackets that hold everything: all that the magnitudes tell."""
    shapes = []
    for exponent, (count, _) in zip(magnitude.exponents(total.flag("magnitudes")), total.real("rows"), strict=True):
        largest = 0 if exponent is None else exponent
        every = whole(math.ldexp(1.0, largest), float(count))
        shapes.append(Shape(largest, 0.0, largest, (every,) * len(PERCENT)))
    return tuple(shapes)


def _within(shape: Shape, exponent: int | None) -> Shape:
    """With the spread, and the brackets cut to it."""
    spread = 4 * magnitude.LOWEST if exponent is None else exponent
    low, high = shape.centre - math.ldexp(1.0, spread), shape.centre + math.ldexp(1.0, spread)
    brackets = tuple(within(part, low, high) for part in shape.brackets)
    return Shape(shape.largest, shape.centre, spread, brackets)


def _figures(shape: Shape, counts: Array, first: float, second: float, rounding: dict[str, float]) -> Figures:
    """With d = (x - centre) / 2^spread: centre + 2^spread Σd/n, and 4^spread (Σd² - (Σd)²/n)/(n-1)."""
    count, first, second = float(counts[0]), float(first), float(second)
    unit = math.ldexp(1.0, shape.spread)
    mean = shape.centre + unit * first / count
    mean_precision = unit * (rounding["first"] / count + 2.0**-52) + math.ulp(mean)
    spent = rounding["second"] + rounding["first"] * (2 * abs(first) + rounding["first"]) / count
    float_error = 2.0**-50 * (second + first * first / count)
    variance = unit * unit * max(second - first * first / count, 0.0) / (count - 1)
    precision = unit * unit * (spent + float_error) / (count - 1)
    variance = variance if variance > precision else 0.0  # a constant column; no digit of the rest is known
    return Figures(
        count=int(count),
        missing=int(counts[1]),
        mean=mean,
        mean_precision=mean_precision,
        variance=variance,
        variance_precision=precision,
        sd=math.sqrt(variance),
        quantiles={
            f"{percent}%": Bracket(part.low, part.high) for percent, part in zip(PERCENT, shape.brackets, strict=True)
        },
    )


EXAMPLE = Example(
    job=Summary(of=("age",)),
    tables={
        "a": numbers_table(age=[40.0, 50.0, None]),
        "b": numbers_table(age=[60.0, 70.0, 80.0]),
    },
    answer=SummaryAnswer(
        columns={
            "age": Figures(
                count=5,
                missing=1,
                mean=60.0,
                mean_precision=6.430411758628907e-14,
                variance=250.0,
                variance_precision=3.3573144264664734e-13,
                sd=15.811388300841896,
                quantiles={f"{percent}%": Bracket(-256.0, 256.0) for percent in PERCENT},
            )
        },
        notes=("a quantile's bracket holds at least 10 rows or all there are, and extremes are not shown",),
    ),
)
