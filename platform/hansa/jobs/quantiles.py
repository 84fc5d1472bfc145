"""`quantiles`: any quantiles of numeric columns, each as an interval that holds it and at least so many rows.

    magnitudes [and categories] → ranks 1, 2, … → answer

A pass divides the bracket of each quantile into 64 parts and counts the rows in them (`brackets.py`), until every
bracket is as narrow as was asked or holds too few rows to be divided. A quantile is R's type 1: the row of rank
ceil(p n), with p the decimal number that was written. Counts below and above a bracket make every pass right by
itself, so the last one alone decides which rows the answer is about.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import ceil, ldexp
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import brackets, levels, magnitude
from hansa.jobs.base import (
    Answer,
    Array,
    Block,
    Contribution,
    Example,
    Flags,
    Job,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
    reals,
)
from hansa.jobs.brackets import FLOOR, PARTS, Divided
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Exhibit, Intervals, Method, Sheet
from hansa.jobs.groups import ALL
from hansa.jobs.levels import Known, Levels
from hansa.privacy import disclosure
from hansa.privacy.differencing import LEFT, RIGHT, Figure, Span, refuse_revealing
from hansa.privacy.disclosure import Rules

MOST_CELLS = 1024  # quantiles of one question, over its columns and groups
MOST_PASSES = 16  # 64^16 parts: more than float64 tells apart; only sites that leave take so many

Probability = Annotated[float, Meta(gt=0, lt=1)]


class Quantile(Struct, frozen=True, kw_only=True):
    """The quantile `at` lies in [low, high), in which there are `rows`; None where that may not be shown."""

    at: float
    low: float | None
    high: float | None
    rows: int | None


class Of(Struct, frozen=True, kw_only=True):
    """A column, or a column in one group. No quantiles where it has too few rows."""

    column: str
    group: str
    n: int | None
    quantiles: tuple[Quantile, ...]


class QuantilesAnswer(Answer, frozen=True, tag="quantiles", kw_only=True):
    """`missing`: by column, the rows without a number or a group."""

    by: str | None
    of: tuple[Of, ...]
    missing: dict[str, int | None]

    def disclosed(self, rules: Rules) -> "QuantilesAnswer":
        """Refused if a column has few rows; a group that has is left out. So is an interval with fewer rows than a cell
        must hold, and of intervals that overlap the counts whose difference is below that."""
        found = []
        for one in self.of:
            if self.by is None:
                disclosure.refuse_few(one.n or 0, f"the quantiles of column '{one.column}'", rules)
            n = disclosure.shown(one.n or 0, rules)
            found.append(replace(one, n=n, quantiles=() if n is None else _shown(one, rules)))
        missing = {name: disclosure.shown(count or 0, rules) for name, count in self.missing.items()}
        left_out = None in missing.values() or any(
            one.n is None or any(q.rows is None for q in one.quantiles) for one in found
        )
        return replace(self, of=tuple(found), missing=missing, notes=self.notes + disclosure.note(rules, left_out))

    def exhibit(self) -> Exhibit:
        rows = tuple((one.column, one.group, q.at, q.low, q.high, q.rows) for one in self.of for q in one.quantiles)
        sizes = tuple((one.column, one.group, one.n) for one in self.of)
        headings = ("column", "group", "quantile", "from", "to", "rows between")
        facts = tuple(
            (f"Missing in {name}", "not shown" if count is None else f"{count:,}")
            for name, count in self.missing.items()
        )
        sheets = Sheet("Quantiles", headings, rows), Sheet("Rows", ("column", "group", "rows"), sizes)
        return Exhibit(facts, sheets, tuple(plot for name in self.missing if (plot := self._plot(name)) is not None))

    def _plot(self, column: str) -> Intervals | None:
        known = [
            (f"{q.at:g}" if self.by is None else f"{one.group}, {q.at:g}", q.low, q.high)
            for one in self.of
            for q in one.quantiles
            if one.column == column and q.low is not None and q.high is not None
        ]
        if not known:
            return None
        return Intervals(
            says=f"Each of {len(known)} quantiles of {column} lies in the interval that is drawn; the mark in its "
            "middle is no estimate.",
            x=column,
            labels=tuple(label for label, _, _ in known),
            estimates=tuple((low + high) / 2 for _, low, high in known),
            lows=tuple(low for _, low, _ in known),
            highs=tuple(high for _, _, high in known),
        )


class State(Struct, frozen=True):
    """Which pass; the groups, empty while they are looked for; |x| < 2^size of each column; of each column, group and
    probability, in that order, the bracket that is divided."""

    turn: Annotated[int, Meta(ge=0, le=MOST_PASSES)]
    names: Known
    sizes: Annotated[tuple[Annotated[int, Meta(ge=-200, le=200)], ...], Meta(max_length=64)] = ()
    parts: Annotated[tuple[Divided, ...], Meta(max_length=MOST_CELLS)] = ()


class Quantiles(Job, frozen=True, tag="quantiles", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Quantiles of columns"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "which groups occur, per column the magnitude of the largest number in factors of 16, and of every pass the "
        "counts of the histogram around each quantile, whose cells may hold single rows"
    )
    method: ClassVar[Method | None] = Method(
        "Quantiles are not read from sorted rows: nobody sees any. Each pass divides the interval in which a quantile "
        "is known to lie into 64 parts and adds up over all sites how many rows lie in each, until the interval is as "
        "narrow as was asked or can't be divided without holding fewer rows than it must. What is shown is that "
        "interval. A quantile is the row of rank p n, rounded up.",
        ("x(p) = the least x with at least p n rows ≤ x",),
        ("Hyndman and Fan, Sample quantiles in statistical packages (1996): definition 1",),
    )

    of: Annotated[
        tuple[str, ...],
        Meta(title="Columns", description="Numeric columns.", min_length=1, max_length=64, extra={"form": "columns"}),
    ] = field(name="columns")
    at: Annotated[
        tuple[Probability, ...],
        Meta(
            title="Quantiles",
            description="Probabilities between 0 and 1, at most 32.",
            min_length=1,
            max_length=32,
            extra={"form": "numbers"},
        ),
    ] = (0.25, 0.5, 0.75)
    precision: Annotated[
        float,
        Meta(
            title="Width",
            description="An interval as narrow as this, in the column's unit, is not divided; 0: as narrow as can be.",
            ge=0,
            le=1e38,
        ),
    ] = 0.0
    rows: Annotated[int, Meta(title="Rows", description="What an interval holds at least.", ge=FLOOR, le=100_000)] = (
        FLOOR
    )
    by: Annotated[
        str | None, Meta(title="Groups", description="A column of categories, if any.", extra={"form": "column"})
    ] = None
    levels: Levels = field(default_factory=dict)

    def plausible(self, column: str) -> tuple[float, float]:
        return (0.0, 1.0) if column == self.by else (0.0, 1000.0)

    def columns(self) -> tuple[str, ...]:
        asked = self.of if self.by is None else (*self.of, self.by)
        if len(set(asked)) != len(asked):
            raise Refused("a column is named twice")
        if len(set(self.at)) != len(self.at):
            raise Refused("a quantile is named twice")
        levels.refuse_unfit(self.levels, () if self.by is None else (self.by,))
        return asked

    def check(self, schema: Schema) -> None:
        self.columns()
        for name in self.of:
            if schema.column(name).type != "number":
                raise Refused(f"column '{name}' of table '{schema.table}' holds text: count it with a table instead")
        if self.by is not None:
            levels.check(self.by, self.levels, schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        names = (ALL,) if self.by is None else levels.declared(self.by, self.levels, schemas)
        if names:
            self._refuse_many(names)
        blocks: tuple[Block, ...] = (
            reals("rows", (len(self.of),), magnitude.MAX_ROWS, sites),
            Flags("magnitudes", (len(self.of), magnitude.PLACES)),
        )
        if not names:
            blocks += (Flags("present", (levels.LARGEST + 1,)),)
        return Step("magnitudes", blocks, encode_state(State(0, names)))

    def encode(self, table: Table, step: Step) -> Contribution:
        state = self._read(step)
        grouped = np.ones(table.rows, dtype=np.bool_) if self.by is None else ~levels.missing(table, self.by)
        values = [table.numbers(name) for name in self.of]
        used = [grouped & ~np.isnan(column) for column in values]
        if state.turn == 0:
            share = {
                "rows": np.array([kept.sum() for kept in used], dtype=np.float64),
                "magnitudes": np.concatenate(
                    [magnitude.flags(column[kept][:, None]) for column, kept in zip(values, used, strict=True)]
                ),
            }
            if not state.names and self.by is not None:
                share["present"] = levels.presence(table, self.by, np.any(used, axis=0))
            return fit(step, share)
        ranks = np.zeros(self._shape(state.names))
        parts = iter(state.parts)
        for place, (column, kept) in enumerate(zip(values, used, strict=True)):
            codes = None if self.by is None else levels.codes(table, self.by, state.names, kept)
            for group in range(len(state.names)):
                numbers = column[kept] if codes is None else column[kept][codes == group]
                for number in range(len(self.at)):
                    ranks[place, group, number] = brackets.tally(numbers, next(parts))
        missing = np.array([table.rows - kept.sum() for kept in used], dtype=np.float64)
        return fit(step, {"ranks": ranks, "missing": missing})

    def advance(self, step: Step, total: Total) -> Step | QuantilesAnswer:
        state = self._read(step)
        if state.turn == 0:
            return self._first(state, total)
        ranks = np.rint(total.real("ranks"))
        counts = ranks[:, :, 0, :].sum(axis=2)
        self._refuse_empty(counts.sum(axis=1))
        found, parts = [], iter(state.parts)
        for place, group, number in np.ndindex(ranks.shape[:3]):
            rank = ceil(Fraction(repr(self.at[number])) * int(counts[place, group]))
            limit = ldexp(1.0, state.sizes[place])
            found.append(brackets.settled(next(parts), ranks[place, group, number], rank, limit, self.rows))
        following = tuple(self._following(*one) for one in found)
        if state.turn == MOST_PASSES or all(part.parts == 1 for part in following):
            return self._answer(state.names, found, counts, np.rint(total.real("missing")))
        rows = float(counts.sum(axis=1).max() + np.rint(total.real("missing")).max())
        return self._count(State(state.turn + 1, state.names, state.sizes, following), rows, total.sites)

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, QuantilesAnswer) and isinstance(exact, QuantilesAnswer)):
            raise TypeError("the answer of another kind")
        found: list[Figure] = []
        for seen, true in zip(shown.of, exact.of, strict=True):
            found += _spans(true, [quantile.rows is not None for quantile in seen.quantiles], self.by)
            if seen.n is not None:
                found.append(Span(_line(true, self.by), LEFT, RIGHT, true.n or 0))
        return tuple(found)

    def _first(self, state: State, total: Total) -> Step:
        counts = np.rint(total.real("rows"))
        self._refuse_empty(counts)
        names = state.names or levels.found(total.flag("present"))
        self._refuse_many(names)
        sizes = tuple(0 if size is None else size for size in magnitude.exponents(total.flag("magnitudes")))
        parts = tuple(
            brackets.whole(ldexp(1.0, size), float(count), self.rows)
            for size, count in zip(sizes, counts, strict=True)
            for _ in range(len(names) * len(self.at))
        )
        return self._count(State(1, names, sizes, parts), magnitude.MAX_ROWS, total.sites)

    def _following(self, low: float, high: float, rows: float) -> Divided:
        part = brackets.divided(low, high, rows, self.rows)
        return Divided(low, high, 1) if high - low <= self.precision else part

    def _count(self, state: State, rows: float, sites: int) -> Step:
        blocks = (
            reals("ranks", self._shape(state.names), rows, sites),
            reals("missing", (len(self.of),), rows, sites),
        )
        return Step(f"ranks {state.turn}", blocks, encode_state(state))

    def _answer(
        self, names: Sequence[str], found: Sequence[tuple[float, float, float]], counts: Array, missing: Array
    ) -> QuantilesAnswer:
        ends, told = iter(found), []
        for column, group in product(self.of, names):
            quantiles = []
            for at in self.at:
                low, high, rows = next(ends)
                quantiles.append(Quantile(at=at, low=low, high=high, rows=int(rows)))
            n = int(counts[self.of.index(column), names.index(group)])
            told.append(Of(column=column, group=group, n=n, quantiles=tuple(quantiles) if n else ()))
        return QuantilesAnswer(
            by=self.by,
            of=tuple(told),
            missing={name: int(count) for name, count in zip(self.of, missing, strict=True)},
            notes=(f"an interval holds at least {self.rows} rows or all there are, and extremes are not shown",),
        )

    def _shape(self, names: Sequence[str]) -> tuple[int, int, int, int]:
        return len(self.of), len(names), len(self.at), PARTS + 2

    def _refuse_many(self, names: Sequence[str]) -> None:
        cells = len(self.of) * len(names) * len(self.at)
        if cells > MOST_CELLS:
            raise Refused(f"the question is for {cells} quantiles, and {MOST_CELLS} can be found at once")

    def _refuse_empty(self, counts: Array) -> None:
        for name, count in zip(self.of, counts, strict=True):
            if count == 0:
                raise Refused(f"no rows have a number in column '{name}'" + (" and a group" if self.by else ""))

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        cells = len(self.of) * len(state.names) * len(self.at)
        due = (0, 0) if state.turn == 0 else (len(self.of), cells)
        if (len(state.sizes), len(state.parts)) != due or (state.turn and not state.names):
            raise ProtocolViolation("the state of quantiles does not fit their columns")
        ends = [end for part in state.parts for end in (part.low, part.high)]
        if not np.all(np.isfinite(ends)) or any(
            part.parts not in (1, PARTS) or part.low > part.high for part in state.parts
        ):
            raise ProtocolViolation("the state of quantiles is out of range")
        if self.by is None and state.names != (ALL,):
            raise ProtocolViolation("the state names groups that the question does not have")
        return state


def _line(one: Of, by: str | None) -> str:
    """What the intervals of a group lie on: not the column itself, whose intervals hold the rows of every group."""
    return one.column if by is None else f"{one.column}\0{by}\0{one.group}"


def _spans(one: Of, told: Sequence[bool], by: str | None) -> list[Figure]:
    return [
        Span(_line(one, by), (quantile.low, 0), (quantile.high, 0), quantile.rows or 0)
        for quantile, show in zip(one.quantiles, told, strict=True)
        if show and quantile.low is not None and quantile.high is not None
    ]


def _shown(one: Of, rules: Rules) -> tuple[Quantile, ...]:
    """Counts one after the other, as long as with those before none below the minimum could be computed."""
    found: list[Quantile] = []
    for place, quantile in enumerate(one.quantiles):
        if 0 < (quantile.rows or 0) < rules.minimum_cell:
            found.append(replace(quantile, low=None, high=None, rows=None))
            continue
        told = [each.rows is not None for each in found] + [True] + [False] * (len(one.quantiles) - place - 1)
        try:
            refuse_revealing(_spans(one, told, None), (), rules.minimum_cell)
        except Refused:
            found.append(replace(quantile, rows=None))
        else:
            found.append(replace(quantile, rows=disclosure.shown(quantile.rows or 0, rules)))
    return tuple(found)


EXAMPLE = Example(
    job=Quantiles(of=("age",), at=(0.5, 0.9)),
    tables={
        "a": numbers_table(age=[40.0, 50.0, None]),
        "b": numbers_table(age=[60.0, 70.0, 80.0]),
    },
    answer=QuantilesAnswer(
        by=None,
        of=(
            Of(
                column="age",
                group=ALL,
                n=5,
                quantiles=tuple(Quantile(at=at, low=-256.0, high=256.0, rows=5) for at in (0.5, 0.9)),
            ),
        ),
        missing={"age": 1},
        notes=("an interval holds at least 10 rows or all there are, and extremes are not shown",),
    ),
)
