"""Numbers of one column by the categories of another: what `t_test` and `anova` have in common.

    sizes [and categories] → sums → spreads → moments

The first pass asks how large the numbers are and, where nobody declares them, which categories occur. The others are
those of `centring.py` with a centre and a spread of each group's own, so that neither a large common mean nor one group
far from the others costs digits (NIST StRD, analysis of variance: SmLs07 to SmLs09 have thirteen constant leading
digits). The last pass alone decides which rows are in the answer.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import centring, levels, magnitude
from hansa.jobs.base import (
    Answer,
    Block,
    Contribution,
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
from hansa.jobs.centring import MAGNITUDES, MOMENTS, SUMS, Moments, Scale
from hansa.jobs.exhibit import Intervals, Sheet
from hansa.jobs.levels import Known
from hansa.privacy import disclosure
from hansa.privacy.differencing import Cell, Figure
from hansa.privacy.disclosure import Rules

ALL = "all rows"  # the one group where there is no column of groups
A_NUMBER = "a number"


class Group(Struct, frozen=True, kw_only=True):
    """Rows of one category that have a number. `low` to `high`: the 95 % interval of the mean by its own sd, Student's
    t with n - 1 degrees of freedom. `…_precision` bounds the absolute error, given float64 rows."""

    name: str
    n: int | None
    mean: float
    mean_precision: float
    sd: float | None  # None of one row
    low: float | None
    high: float | None


class Sample(Struct, frozen=True):
    """A group with its moments, before it is an answer."""

    name: str
    moments: Moments

    @property
    def n(self) -> int:
        return self.moments.count

    def told(self) -> Group:
        from scipy.special import stdtrit

        moments, variance = self.moments, self.moments.variance
        low = high = None
        if variance is not None:
            wide = float(stdtrit(moments.count - 1, 0.975)) * math.sqrt(variance / moments.count)
            low, high = moments.mean - wide, moments.mean + wide
        return Group(
            name=self.name,
            n=moments.count,
            mean=moments.mean,
            mean_precision=moments.mean_precision,
            sd=None if variance is None else math.sqrt(variance),
            low=low,
            high=high,
        )


class State(Struct, frozen=True):
    """Which pass it is; the categories, empty while they are being looked for; from the second pass on the scale of
    each group."""

    turn: Annotated[int, Meta(ge=0, le=MOMENTS)]
    names: Known
    scales: Annotated[tuple[Scale, ...], Meta(max_length=levels.MOST)] = ()


class Grouped(Job, frozen=True, kw_only=True):
    """A question about the numbers of a column in groups. A kind says its columns and what the moments answer."""

    @abstractmethod
    def asked(self) -> tuple[str, str | None, Mapping[str, tuple[str, ...]]]:
        """The column of numbers, that of the groups if any, and the question's own categories."""

    @abstractmethod
    def refuse_unfit(self, counts: Mapping[str, int]) -> None:
        """Refuses groups of these sizes, none of them zero."""

    @abstractmethod
    def answered(self, samples: Sequence[Sample], missing: int, notes: tuple[str, ...]) -> Answer: ...

    def columns(self) -> tuple[str, ...]:
        column, by, own = self.asked()
        if column == by:
            raise Refused(f"column '{column}' is named twice")
        levels.refuse_unfit(own, () if by is None else (by,))
        return (column,) if by is None else (column, by)

    def check(self, schema: Schema) -> None:
        self.columns()
        column, by, own = self.asked()
        if schema.column(column).type != "number":
            raise Refused(f"column '{column}' of table '{schema.table}' holds text, which has no mean")
        if by is not None:
            levels.check(by, own, schema)

    def steps_after(self, step: Step) -> int:
        return MOMENTS - self._read(step).turn

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        _, by, own = self.asked()
        names = (ALL,) if by is None else levels.declared(by, own, schemas)
        return _ask(State(MAGNITUDES, names), magnitude.MAX_ROWS, sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        state, (column, by, _) = self._read(step), self.asked()
        values = table.numbers(column)
        used = ~np.isnan(values)
        if by is not None:
            used &= ~levels.missing(table, by)
        missing = np.array([table.rows - used.sum()], dtype=np.float64)
        if state.turn == MAGNITUDES:
            rows = np.array([used.sum()], dtype=np.float64)
            found = {"rows": rows, "missing": missing, **centring.share(MAGNITUDES, (), [values[used]])}
            if not state.names and by is not None:
                found["present"] = levels.presence(table, by, used)
            return fit(step, found)
        one = np.zeros(int(used.sum()), dtype=np.int64)
        codes = one if by is None else levels.codes(table, by, state.names, used)
        groups = [values[used][codes == place] for place in range(len(state.names))]
        rows = np.array([group.size for group in groups], dtype=np.float64)
        return fit(step, {"rows": rows, "missing": missing, **centring.share(state.turn, state.scales, groups)})

    def advance(self, step: Step, total: Total) -> Step | Answer:
        state, (column, by, _) = self._read(step), self.asked()
        counts = np.rint(total.real("rows"))
        if counts.sum() == 0:
            raise Refused(f"no rows have a number in column '{column}'" + (f" and a category in '{by}'" if by else ""))
        if state.turn == MAGNITUDES:
            names = state.names or levels.found(total.flag("present"))
            (scale,) = centring.learnt(MAGNITUDES, (), counts, total)
            return _ask(State(SUMS, names, (scale,) * len(names)), float(counts.sum()), total.sites)
        there = {name: int(count) for name, count in zip(state.names, counts, strict=True) if count}
        self.refuse_unfit(there)
        if state.turn < MOMENTS:
            scales = centring.learnt(state.turn, state.scales, counts, total)
            return _ask(State(state.turn + 1, state.names, scales), float(counts.sum()), total.sites)
        found = centring.moments(state.scales, counts, step, total)
        samples = [Sample(name, one) for name, one in zip(state.names, found, strict=True) if one.count]
        empty = tuple(f"no rows have category '{name}'" for name in state.names if name not in there)
        missing = total.count("missing")
        return self.answered(samples, missing, (*left_out(missing), *empty))

    def cells(
        self, shown: Sequence[Group], missing: int | None, exact: Sequence[Group], true: int | None
    ) -> tuple[Figure, ...]:
        """The counts that an answer shows. Having a number is a category of its own beside those of `by`."""
        column, by, _ = self.asked()
        among = (f"{column}\0",) if by is None else (f"{column}\0", by)
        every = tuple(group.name for group in exact)
        found = [
            Cell(among, ((A_NUMBER,), (group.name,))[: len(among)], group.n or 0)
            for seen, group in zip(shown, exact, strict=True)
            if seen.n is not None
        ]
        if missing is not None:
            found.append(Cell(among, ((A_NUMBER,), every)[: len(among)], true or 0, outside=True))
        return tuple(found)

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        centring.check(state.turn, state.scales, len(state.names))
        if len(set(state.names)) != len(state.names) or not (state.names or state.turn == MAGNITUDES):
            raise ProtocolViolation("the state does not name the groups once each")
        if self.asked()[1] is None and state.names != (ALL,):
            raise ProtocolViolation("the state names groups that the question does not have")
        return state


def _ask(state: State, rows: float, sites: int) -> Step:
    width = 1 if state.turn == MAGNITUDES else len(state.names)
    blocks: tuple[Block, ...] = (
        reals("rows", (width,), magnitude.MAX_ROWS, sites),
        reals("missing", (1,), magnitude.MAX_ROWS, sites),
        *centring.blocks(state.turn, width, rows, sites),
    )
    if not state.names:
        blocks += (Flags("present", (levels.LARGEST + 1,)),)
    return Step(centring.NAMES[state.turn], blocks, encode_state(state))


def left_out(missing: int | None) -> tuple[str, ...]:
    return (f"rows left out because they miss a value: {missing}",) if missing else ()


def disclosed(groups: Sequence[Group], rules: Rules) -> tuple[Group, ...]:
    """Refused if any group has few rows: its mean is a figure over them."""
    for group in groups:
        disclosure.refuse_few(group.n or 0, f"the mean of group '{group.name}'", rules)
    return tuple(replace(group, n=disclosure.shown(group.n or 0, rules)) for group in groups)


def sheet(groups: Sequence[Group]) -> Sheet:
    rows = tuple((g.name, g.n, g.mean, g.sd, g.low, g.high) for g in groups)
    return Sheet("Groups", ("group", "rows", "mean", "sd", "95 % from", "95 % to"), rows)


def intervals(groups: Sequence[Group], column: str) -> Intervals:
    """A forest of the means; a group of one row stands there without an interval."""
    ends = [(g.mean if g.low is None else g.low, g.mean if g.high is None else g.high) for g in groups]
    highest, lowest = max(groups, key=lambda g: g.mean), min(groups, key=lambda g: g.mean)
    says = f"The mean of {column} in each of {len(groups)} groups, with its 95 % interval."
    if len(groups) > 1:
        says += (
            f" The highest is {highest.mean:.4g}, of {highest.name}; the lowest {lowest.mean:.4g}, of {lowest.name}."
        )
    return Intervals(
        says=says,
        x=f"mean of {column}",
        labels=tuple(g.name for g in groups),
        estimates=tuple(g.mean for g in groups),
        lows=tuple(low for low, _ in ends),
        highs=tuple(high for _, high in ends),
    )
