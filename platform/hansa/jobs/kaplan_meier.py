"""`kaplan_meier`: survival curves of one or more groups, and the log-rank test between them.

    times → counts → answer

The first pass finds which intervals hold an event, how long the longest follow-up is, and which categories occur; the
second counts rows at risk, events and censored rows at the intervals with events. Only the second counts: it holds
no number from the first, so a site that leaves between them is in none of the counts.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct, field

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels
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
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Method
from hansa.jobs.levels import Known, Levels
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.survival import curve, grid, km_answer, logrank
from hansa.jobs.survival.curve import Counts, Curve
from hansa.jobs.survival.grid import Axis, EventColumn, Horizon, StartColumn, TimeColumn, Width
from hansa.jobs.survival.km_answer import Group, KaplanMeierAnswer
from hansa.jobs.survival.logrank import LogRank
from hansa.privacy.differencing import Cell, Figure

Place = Annotated[int, Meta(ge=0, le=grid.MOST)]


class State(Struct, frozen=True):
    """`names`: the categories of `by` and of `strata`, one for all rows where there is no such column, empty while they
    are being looked for. `cells`: the intervals to count at, none before they are known; `last`: the longest time."""

    names: tuple[Known, Known]
    cells: tuple[Place, ...]
    last: Place


class KaplanMeier(Job, frozen=True, tag="kaplan_meier", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Survival curves"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "which categories occur, the longest time, which intervals hold an event, and in each of these, per group and "
        "stratum, how many rows are at risk, have the event and are censored until the next, however few"
    )
    method: ClassVar[Method | None] = Method(
        "Survival is estimated by Kaplan and Meier's product limit with Greenwood's variance and an interval on the "
        "scale of its logarithm. Groups are compared by the log-rank test, within strata if there are any.",
        (
            "S(t) = Π (1 - d / n)",
            "var log S(t) = Σ d / (n (n - d))",
            "χ² = (O - E)' V⁻¹ (O - E)",
        ),
        (
            "Kaplan, Meier (1958). Nonparametric estimation from incomplete observations. JASA 53, 457-481.",
            "Greenwood (1926). The natural duration of cancer. Reports on Public Health and Medical Subjects 33.",
            "Mantel (1966). Evaluation of survival data and two new rank order statistics arising in its "
            "consideration. Cancer Chemotherapy Reports 50, 163-170.",
            "Cutler, Ederer (1958). Maximum utilization of the life table method in analyzing survival. Journal of "
            "Chronic Diseases 8, 699-712.",
        ),
    )

    time: TimeColumn
    event: EventColumn
    width: Width
    start: StartColumn = None
    by: Annotated[
        str | None, Meta(title="Groups", description="A curve for each of its categories.", extra={"form": "column"})
    ] = None
    strata: Annotated[
        str | None, Meta(title="Strata", description="Groups are compared within them.", extra={"form": "column"})
    ] = None
    horizon: Horizon = None
    levels: Levels = field(default_factory=dict)

    def axis(self) -> Axis:
        return Axis(self.time, self.event, self.start, self.width, self.horizon)

    def plausible(self, column: str) -> tuple[float, float]:
        return grid.plausible(self.time, self.start, self.width, column)

    def columns(self) -> tuple[str, ...]:
        asked = (*self.axis().columns(), *self._categorical())
        if len(set(asked)) != len(asked):
            raise Refused("a column is named twice")
        levels.refuse_unfit(self.levels, self._categorical())
        return asked

    def check(self, schema: Schema) -> None:
        self.columns()
        self.axis().check(schema)
        for column in self._categorical():
            levels.check(column, self.levels, schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        del sites  # flags alone
        for schema in schemas:
            self.check(schema)
        by, strata = (
            levels.declared(column, self.levels, schemas) if column else ("all",) for column in (self.by, self.strata)
        )
        axis, names = self.axis(), (by, strata)
        blocks = [Flags("unfit", (grid.UNFIT,)), Flags("events", (axis.last + 1,)), Flags("followed", (axis.last + 1,))]
        blocks += [Flags(f"present {place}", (levels.LARGEST + 1,)) for place, known in enumerate(names) if not known]
        return Step("times", tuple(blocks), encode_state(State(names, (), axis.last)))

    def encode(self, table: Table, step: Step) -> Contribution:
        axis, state = self.axis(), self._read(step)
        used = grid.complete(table, axis, self._categorical())
        rows = grid.follow(table, axis, used)
        followed = np.arange(state.last + 1) <= rows.exit.max(initial=-1)
        if not state.cells:
            events = np.bincount(rows.exit[rows.died], minlength=axis.last + 1) > 0
            share = {"unfit": grid.unfit(table, axis, used), "events": events, "followed": followed}
            for place, (column, known) in enumerate(zip((self.by, self.strata), state.names, strict=True)):
                if column and not known:
                    share[f"present {place}"] = levels.presence(table, column, used)
            return fit(step, share)
        code, extent = np.zeros(rows.exit.size, dtype=np.int64), (len(state.names[0]), len(state.names[1]))
        for column, known in zip((self.by, self.strata), state.names, strict=True):
            code = code * len(known) + (levels.codes(table, column, known, used) if column else 0)
        counts = _counted(rows, code, np.array(state.cells), extent)
        dropped = np.array([table.rows - used.sum()], dtype=np.float64)
        return fit(step, {**counts, "dropped": dropped, "followed": followed})

    def advance(self, step: Step, total: Total) -> Step | KaplanMeierAnswer:
        axis, state = self.axis(), self._read(step)
        longest = np.flatnonzero(total.flag("followed"))
        if longest.size == 0:
            raise Refused("no rows are complete in the columns of the question")
        last = int(longest[-1])
        if state.cells:
            return self._answer(state.names, np.array(state.cells), total, last if axis.horizon is None else axis.last)
        grid.refuse_unfit(total.flag("unfit"), axis)
        names = [known or levels.found(total.flag(f"present {place}")) for place, known in enumerate(state.names)]
        cells = sorted({*np.flatnonzero(total.flag("events")).tolist(), *grid.nice(last)})
        extent = (len(cells), len(names[0]), len(names[1]))
        blocks: tuple[Reals | Flags, ...] = (
            reals("at risk", extent, MAX_ROWS, total.sites),
            reals("events", extent, MAX_ROWS, total.sites),
            reals("censored", (extent[0] + 1, extent[1]), MAX_ROWS, total.sites),
            reals("dropped", (1,), MAX_ROWS, total.sites),
            Flags("followed", (last + 1,)),
        )
        return Step("counts", blocks, encode_state(State((names[0], names[1]), tuple(cells), last)))

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        """How many rows each group has. The steps of the curve are not among them: they are counts of times."""
        if not (isinstance(shown, KaplanMeierAnswer) and isinstance(exact, KaplanMeierAnswer)):
            raise TypeError("the answer of another kind")
        if self.by is None:
            return ()
        return tuple(
            Cell((self.by,), ((group.name,),), true.n or 0)
            for group, true in zip(shown.groups, exact.groups, strict=True)
            if group.n is not None
        )

    def steps_after(self, step: Step) -> int:
        return 0 if self._read(step).cells else 1

    def _categorical(self) -> tuple[str, ...]:
        return tuple(column for column in (self.by, self.strata) if column)

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        if list(state.cells) != sorted(set(state.cells)) or state.last > self.axis().last:
            raise ProtocolViolation("the intervals of a survival curve are out of range")
        if state.cells and (state.cells[-1] > state.last or not all(state.names)):
            raise ProtocolViolation("the state of a survival curve does not fit its step")
        if not state.cells and state.last != self.axis().last:
            raise ProtocolViolation("the state of a survival curve does not fit its step")
        for column, known in zip((self.by, self.strata), state.names, strict=True):
            if column is None and known != ("all",):
                raise ProtocolViolation("the state of a survival curve names categories of no column")
        return state

    def _answer(
        self, names: tuple[tuple[str, ...], tuple[str, ...]], cells: grid.Cells, total: Total, last: int
    ) -> KaplanMeierAnswer:
        axis, dropped = self.axis(), total.count("dropped")
        at_risk, events, censored = (np.rint(total.real(name)) for name in ("at risk", "events", "censored"))
        times, horizon = [axis.time_of(int(cell)) for cell in cells], axis.time_of(last)
        shown = np.isin(cells, grid.nice(last))
        curves = [
            _curve(
                times, at_risk[:, place].sum(axis=1), events[:, place].sum(axis=1), censored[:, place], shown, horizon
            )
            for place in range(len(names[0]))
        ]
        width_note, marks = axis.note(), tuple(axis.time_of(cell) for cell in grid.nice(last) if cell in cells)
        return KaplanMeierAnswer(
            time=self.time,
            by=self.by or "",
            groups=tuple(_group(name, own, marks) for name, own in zip(names[0], curves, strict=True)),
            marks=marks,
            logrank=logrank.test(at_risk, events) if self.by else None,
            horizon=horizon,
            horizon_given=axis.horizon is not None,
            width_note=width_note,
            dropped=dropped,
            notes=km_answer.notes(width_note, dropped),
        )


def _counted(rows: grid.Followed, code: grid.Cells, cells: grid.Cells, extent: tuple[int, int]) -> dict[str, Array]:
    """At each of `cells` per group and stratum (`code`), and the censored per group before, between and after."""
    columns = extent[0] * extent[1]
    after_entry, after_exit = (np.searchsorted(cells, times, side="right") for times in (rows.entry, rows.exit))

    def tally(places: grid.Cells, codes: grid.Cells) -> Array:
        flat = np.bincount(places * columns + codes, minlength=(cells.size + 1) * columns)
        return flat.reshape(cells.size + 1, columns).astype(np.float64)

    at_risk = np.cumsum(tally(after_entry, code) - tally(after_exit, code), axis=0)[:-1]
    seen = rows.died & (after_exit > 0)
    seen[seen] = cells[after_exit[seen] - 1] == rows.exit[seen]
    events = tally(after_exit[seen] - 1, code[seen])[:-1]
    censored = tally(after_exit[~rows.died], code[~rows.died]).reshape(cells.size + 1, *extent).sum(axis=2)
    shape = (cells.size, *extent)
    return {"at risk": at_risk.reshape(shape), "events": events.reshape(shape), "censored": censored}


def _curve(
    times: list[float], at_risk: Array, events: Array, censored: Array, shown: grid.Mask, horizon: float
) -> Curve:
    """A group's own steps: where it has events, and the times `shown` for its rows at risk."""
    kept = np.flatnonzero((at_risk > 0) & ((events > 0) | shown))
    running = np.cumsum(censored)  # before each of `times`, then in all
    ends = np.append(running[kept], running[-1])
    counts = Counts(
        tuple(times[place] for place in kept),
        tuple(int(count) for count in at_risk[kept]),
        tuple(int(count) for count in events[kept]),
        tuple(int(count) for count in np.diff(ends)),
        (0,) * kept.size,
        int(ends[0]),
    )
    return curve.estimate(counts, horizon)


def _group(name: str, own: Curve, marks: tuple[float, ...]) -> Group:
    events, censored = sum(own.events), own.censored_before + sum(own.censored)
    at_risk = dict(zip(own.times, own.at_risk, strict=True))
    return Group(name, events + censored, events, censored, tuple(at_risk.get(mark) for mark in marks), own)


EXAMPLE = Example(
    job=KaplanMeier(time="weeks", event="died", width=1.0, by="ward"),
    tables={
        "a": mixed_table(
            {"ward": ("north", "south")},
            weeks=[1.0, 2.0, 2.0, None, 3.0, 4.0],
            died=[1.0, 1.0, 0.0, 1.0, 1.0, 0.0],
            ward=["north", "north", "north", "north", "south", "south"],
        ),
        "b": mixed_table(
            {"ward": ("north", "south")},
            weeks=[1.0, 3.0, 4.0, 2.0],
            died=[1.0, 1.0, 0.0, 1.0],
            ward=["south", "north", "north", "south"],
        ),
    },
    answer=KaplanMeierAnswer(
        notes=(
            "times are rounded up to multiples of 1, which leaves whole numbers as they are",
            "rows left out because they miss a value or enter after the horizon: 1",
            "each step is exact, so whoever knows that somebody had the event in an interval finds the step",
        ),
        time="weeks",
        by="ward",
        groups=(
            Group(
                name="north",
                n=5,
                events=3,
                censored=2,
                at_risk=(5, 5, 4, 2, 1),
                curve=Curve(
                    times=(0.0, 1.0, 2.0, 3.0, 4.0),
                    at_risk=(5, 5, 4, 2, 1),
                    events=(0, 1, 1, 1, 0),
                    censored=(0, 0, 1, 0, 1),
                    within=(0, 0, 0, 0, 0),
                    censored_before=0,
                    survival=(1.0, 0.8, 0.6000000000000001, 0.30000000000000004, 0.30000000000000004),
                    std_errors=(
                        0.0,
                        0.17888543819998318,
                        0.21908902300206645,
                        0.23874672772626648,
                        0.23874672772626648,
                    ),
                    lows=(1.0, 0.516125760342172, 0.2933164316383264, 0.06305448425513632, 0.06305448425513632),
                    highs=(1.0, 1.0, 1.0, 1.0, 1.0),
                    median=3.0,
                    median_low=2.0,
                    median_high=None,
                    mean=2.7,
                    mean_std_error=0.5069516742254631,
                ),
            ),
            Group(
                name="south",
                n=4,
                events=3,
                censored=1,
                at_risk=(4, 4, 3, 2, 1),
                curve=Curve(
                    times=(0.0, 1.0, 2.0, 3.0, 4.0),
                    at_risk=(4, 4, 3, 2, 1),
                    events=(0, 1, 1, 1, 0),
                    censored=(0, 0, 0, 0, 1),
                    within=(0, 0, 0, 0, 0),
                    censored_before=0,
                    survival=(1.0, 0.75, 0.5, 0.25, 0.25),
                    std_errors=(0.0, 0.21650635094610965, 0.25, 0.21650635094610965, 0.21650635094610965),
                    lows=(1.0, 0.42593226849798194, 0.18765892870658826, 0.04579075966601816, 0.04579075966601816),
                    highs=(1.0, 1.0, 1.0, 1.0, 1.0),
                    median=2.5,
                    median_low=1.0,
                    median_high=None,
                    mean=2.5,
                    mean_std_error=0.5590169943749475,
                ),
            ),
        ),
        marks=(0.0, 1.0, 2.0, 3.0, 4.0),
        logrank=LogRank(
            chi_squared=0.054959209961356795,
            df=1,
            p=0.8146482154432605,
            observed=(3, 3),
            expected=(3.253968253968254, 2.746031746031746),
        ),
        horizon=4.0,
        horizon_given=False,
        width_note="times are rounded up to multiples of 1, which leaves whole numbers as they are",
        dropped=1,
    ),
)
