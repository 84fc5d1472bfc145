"""`table`: how many rows have each category, of one column or of two at once, with Pearson's chi-squared.

A third column may divide the rows into strata, each with a table of its own; `odds.py` is what two by two tell beyond
chi-squared. What is new is left out of a question or an answer that does not have it, so older ones keep their bytes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude, odds, strata
from hansa.jobs.base import (
    Answer,
    Array,
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
from hansa.jobs.example import mixed_table
from hansa.jobs.levels import Known, Levels
from hansa.jobs.odds import CommonOdds, Odds
from hansa.jobs.strata import Stratum
from hansa.privacy import disclosure
from hansa.privacy.differencing import Cell, Figure, Span
from hansa.privacy.disclosure import Rules
from hansa.privacy.noise import Noise

if TYPE_CHECKING:
    from hansa.jobs.under_noise.noisy import Noisy


class TableAnswer(Answer, frozen=True, tag="table", kw_only=True):
    """`counts[i][j]` rows have `row_names[i]` and `column_names[j]`, or one column of counts for one
    question.

    `std_error` is of each count, and there under noise only; then `chi_squared` and `p` are None.

    `chi_squared` has no continuity correction. It and `p` are None with one column, one category, an empty
    one. `odds` is there if it was asked, `strata` and their `common` odds if there is a third column; `counts` are then
    the sums over the strata.
    """

    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    counts: tuple[tuple[int | None, ...], ...]
    row_totals: tuple[int | None, ...]
    column_totals: tuple[int | None, ...]
    n: int | None
    missing: int | None
    chi_squared: float | None = None
    df: int | None = None
    p: float | None = None
    std_error: float | UnsetType = UNSET
    n_std_error: float | UnsetType = UNSET
    odds: Odds | UnsetType | None = UNSET
    strata: tuple[Stratum, ...] | UnsetType = UNSET
    common: CommonOdds | UnsetType | None = UNSET

    def disclosed(self, rules: Rules) -> "TableAnswer":
        """A left-out count, and what is computed from rounded or left-out ones, are None."""
        divided: tuple[Stratum, ...] | UnsetType = UNSET
        if isinstance(self.strata, UnsetType):
            table = disclosure.crossed(strata.plain(self.counts), rules)
        else:
            table, layers = disclosure.layered([strata.plain(one.counts) for one in self.strata], rules)
            divided = tuple(Stratum.shown(one.name, layer) for one, layer in zip(self.strata, layers, strict=True))
        missing = disclosure.shown(self.missing or 0, rules)
        exact = table.whole and rules.round_to == 1
        return replace(
            self,
            counts=table.cells,
            row_totals=table.row_totals,
            column_totals=table.column_totals,
            n=table.total,
            missing=missing,
            chi_squared=self.chi_squared if exact else None,
            df=self.df if exact else None,
            p=self.p if exact else None,
            strata=divided,
            odds=self.odds if exact or self.odds is UNSET else None,
            common=self.common if exact or self.common is UNSET else None,
            notes=_notes(missing) + disclosure.note(rules, not table.whole or missing is None),
        )


class State(Struct, frozen=True):
    """The categories of each column asked about; empty while they are being looked for."""

    names: tuple[Known, ...]


class Crosstab(Job, frozen=True, tag="table", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Table of counts"
    learns: ClassVar[str] = "which categories occur in the pool at all, and the count of each cell of the table"

    rows: Annotated[str, Meta(title="Rows", description="The column down the side.", extra={"form": "column"})]
    across: Annotated[
        str | None,
        Meta(title="Columns", description="The column along the top, if any.", extra={"form": "column"}),
    ] = field(name="columns", default=None)
    levels: Levels = field(default_factory=dict)
    strata: Annotated[
        str | UnsetType,
        Meta(
            title="Strata",
            description="A column that divides the rows; then the odds ratio that two by two have in common is told.",
            extra={"form": "column"},
        ),
    ] = UNSET
    odds: Annotated[
        Literal["no", "yes"] | UnsetType,
        Meta(title="Odds ratio", description="Of two by two categories, with Fisher's exact test."),
    ] = UNSET

    def columns(self) -> tuple[str, ...]:
        asked = tuple(name for name in (self.rows, self.across, self.strata) if isinstance(name, str))
        for name in asked:
            if asked.count(name) > 1:
                raise Refused(f"column '{name}' is named twice")
        if self.across is None and (self.strata is not UNSET or self.odds == "yes"):
            raise Refused("strata and odds ratios are of a table of two columns, and one is named")
        levels.refuse_unfit(self.levels, asked)
        return asked

    def check(self, schema: Schema) -> None:
        for column in self.columns():
            levels.check(column, self.levels, schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        names = tuple(levels.declared(column, self.levels, schemas) for column in self.columns())
        if all(names):
            return _count(State(names), magnitude.MAX_ROWS, sites)
        open_columns = tuple(
            Flags(f"present {place}", (levels.LARGEST + 1,)) for place, known in enumerate(names) if not known
        )
        return Step("categories", open_columns, encode_state(State(names)))

    def encode(self, table: Table, step: Step) -> Contribution:
        asked, names = self.columns(), self._read(step)
        used = ~np.any([levels.missing(table, column) for column in asked], axis=0)
        if not all(names):
            return fit(
                step,
                {
                    f"present {place}": levels.presence(table, column, used)
                    for place, column in enumerate(asked)
                    if not names[place]
                },
            )
        extent = _extent(names)
        cell = np.zeros(int(used.sum()), dtype=np.int64)
        for column, known in zip(asked, names, strict=True):
            cell = cell * len(known) + levels.codes(table, column, known, used)
        counts = np.bincount(cell, minlength=int(np.prod(extent))).astype(np.float64)
        missing = np.array([table.rows - used.sum()], dtype=np.float64)
        return fit(step, {"counts": counts.reshape(extent), "missing": missing})

    def advance(self, step: Step, total: Total) -> Step | TableAnswer:
        names = self._read(step)
        if not all(names):
            found = tuple(known or levels.found(total.flag(f"present {place}")) for place, known in enumerate(names))
            for column, known in zip(self.columns(), found, strict=True):
                if not known:
                    raise Refused(f"no rows have a category in column '{column}' and in all that are asked about")
            return _count(State(found), magnitude.MAX_ROWS, total.sites)
        layers = np.rint(total.real("counts"))
        if layers.sum() == 0:
            raise Refused(f"no rows have a category in column '{self.rows}' and in all that are asked about")
        missing, layered = total.count("missing"), layers.ndim == 3
        counts = layers.sum(axis=2) if layered else layers
        chi_squared, df, p = _independence(counts) if self.across is not None else (None, None, None)
        return TableAnswer(
            row_names=names[0],
            column_names=names[1] if self.across is not None else (),
            counts=strata.whole(counts),
            row_totals=tuple(int(count) for count in counts.sum(axis=1)),
            column_totals=tuple(int(count) for count in counts.sum(axis=0)),
            n=int(counts.sum()),
            missing=missing,
            chi_squared=chi_squared,
            df=df,
            p=p,
            odds=odds.alone(counts) if self.odds == "yes" else UNSET,
            strata=tuple(Stratum.of(*one) for one in zip(names[2], np.moveaxis(layers, 2, 0), strict=True))
            if layered
            else UNSET,
            common=odds.common(layers) if layered else UNSET,
            notes=_notes(missing),
        )

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, TableAnswer) and isinstance(exact, TableAnswer)):
            raise TypeError("the answer of another kind")
        asked = self.columns()
        names: tuple[tuple[str, ...], ...] = (exact.row_names,)
        names = names if self.across is None else (*names, exact.column_names)
        if isinstance(shown.strata, UnsetType) or isinstance(exact.strata, UnsetType):
            found = self._cells(names, shown, exact)
        else:
            names += (tuple(one.name for one in exact.strata),)
            found = [*strata.cells(asked, names, shown.strata, exact.strata)]
        if shown.missing is not None:
            found.append(Cell(asked, names, exact.missing or 0, outside=True))
        return tuple(found)

    def _cells(self, names: tuple[tuple[str, ...], ...], shown: TableAnswer, exact: TableAnswer) -> list[Figure]:
        asked, found = self.columns(), list[Figure]()
        for at, figure in np.ndenumerate(np.array(shown.counts, dtype=object)):
            if figure is not None:
                count, place = exact.counts[at[0]][at[1]] or 0, at[: len(asked)]
                cell = tuple((names[axis][number],) for axis, number in enumerate(place))
                found.append(Cell(asked, cell, count))
                if len(asked) == 1 and (number := _number(cell[0][0])) is not None:
                    found.append(Span(self.rows, (number, 0), (number, 1), count))
        return found

    def steps_after(self, step: Step) -> int:
        return 0 if all(self._read(step)) else 1

    def under_noise(self, noise: Noise) -> "Noisy":
        from hansa.jobs.under_noise.counts import NoisyTable

        noise.check()
        self.columns()
        if self.strata is not UNSET or self.odds == "yes":
            raise Refused("under noise a table has neither strata nor an odds ratio")
        return NoisyTable(crosstab=self, noise=noise)

    def _read(self, step: Step) -> tuple[tuple[str, ...], ...]:
        names = messages.decode(step.state, State).names
        if len(names) != len(self.columns()):
            raise ProtocolViolation("the state of a table does not fit its columns")
        return names


def _notes(missing: int | None) -> tuple[str, ...]:
    return (f"rows not counted because a category is missing: {missing}",) if missing else ()


def shape(names: tuple[tuple[str, ...], ...]) -> tuple[int, int]:
    return len(names[0]), len(names[1]) if len(names) == 2 else 1


def _extent(names: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    return tuple(map(len, names)) if len(names) == 3 else shape(names)


def _count(state: State, rows: float, sites: int) -> Step:
    blocks = (reals("counts", _extent(state.names), rows, sites), reals("missing", (1,), rows, sites))
    return Step("counts", blocks, encode_state(state))


def _number(name: str) -> float | None:
    """A category of a column of numbers, as one."""
    try:
        return float(name)
    except ValueError:
        return None


def _independence(counts: Array) -> tuple[float | None, int | None, float | None]:
    """Pearson's test of independence, undefined where a total is zero or nothing varies."""
    from scipy.special import chdtrc

    down, along = counts.sum(axis=1), counts.sum(axis=0)
    df = (down.size - 1) * (along.size - 1)
    if df == 0 or not (down.all() and along.all()):
        return None, None, None
    expected = np.outer(down, along) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic, df, float(chdtrc(df, statistic))


EXAMPLE = Example(
    job=Crosstab(rows="hospital", across="ill"),
    tables={
        "a": mixed_table({"hospital": ("north",)}, hospital=["north"] * 5, ill=[0.0, 0.0, 0.0, 1.0, None]),
        "b": mixed_table({"hospital": ("south",)}, hospital=["south"] * 4, ill=[0.0, 1.0, 1.0, 1.0]),
    },
    answer=TableAnswer(
        row_names=("north", "south"),
        column_names=("0", "1"),
        counts=((3, 1), (1, 3)),
        row_totals=(4, 4),
        column_totals=(4, 4),
        n=8,
        missing=1,
        chi_squared=2.0,
        df=1,
        p=0.15729920705028513,
        notes=("rows not counted because a category is missing: 1",),
    ),
)
