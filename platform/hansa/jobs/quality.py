"""`quality`: what to look at before anything else is asked: do the tables describe their columns alike, and what do the
columns hold over all of them together.

    magnitudes → sums → spreads → checks [→ drift]        (without a column of numbers: checks alone)

The schemas are compared as they are; they are public. A column that some table lacks, or gives another type, is a
finding and has no figures: if others left, a total over those that hold it could be one table's own. Of the rest the
last pass counts what is missing, odd or undeclared; mean, sd and brackets of quantiles come from the passes before, as
in a `summary`.

Drift between tables is told without any table's mean: `drift.py`.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import agreement, brackets, centring, checks, drift, levels, magnitude
from hansa.jobs.agreement import Finding
from hansa.jobs.base import (
    Answer,
    Array,
    Block,
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
from hansa.jobs.brackets import PARTS, PERCENT, Bracket, Divided
from hansa.jobs.centring import MAGNITUDES, MOMENTS, SPREADS, SUMS, Moments, Scale
from hansa.jobs.checks import CHECKS, Checked
from hansa.jobs.drift import LEAST_TABLES, SIXTEENTH
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Method
from hansa.jobs.levels import Known
from hansa.jobs.quality_answer import QualityAnswer
from hansa.jobs.under_noise import ranges
from hansa.jobs.under_noise.ranges import Ends
from hansa.privacy.differencing import Figure

DRIFT = MOMENTS + 1


class State(Struct, frozen=True):
    """Which pass; what the schemas tell; the places of the columns of numbers and of texts in the question, and their
    categories, in that order; of the numbers what is known so far, and for the drift their mean and sd."""

    turn: Annotated[int, Meta(ge=0, le=DRIFT)]
    findings: Annotated[tuple[Finding, ...], Meta(max_length=256)]
    numbers: Annotated[tuple[int, ...], Meta(max_length=64)]
    texts: Annotated[tuple[int, ...], Meta(max_length=64)]
    names: Annotated[tuple[Known, ...], Meta(max_length=64)]
    scales: Annotated[tuple[Scale, ...], Meta(max_length=64)] = ()
    parts: Annotated[tuple[tuple[Divided, ...], ...], Meta(max_length=64)] = ()
    about: Annotated[tuple[tuple[float, float], ...], Meta(max_length=64)] = ()


class Quality(Job, frozen=True, tag="quality", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Quality of columns"
    lenient: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "the rows, per column what is counted and which declared categories occur, and of numbers the magnitudes in "
        "factors of 16, mean, variance and the histograms around five quantiles; with drift, the variation between "
        "tables in sixteenths of what chance makes of it"
    )
    method: ClassVar[Method | None] = Method(
        "The schemas of the tables are compared column by column. Over all rows together it is counted how many values "
        "are missing, infinite, whole, zero, outside a declared range, none of the declared categories, or texts with "
        "a blank at an end. Means and standard deviations come from moments about a centre; quantiles are brackets "
        "that hold at least 10 rows. Drift is an analysis of variance with the tables as groups, of which only the "
        "sum over tables is known; no table's mean is.",
        (
            "between = Σ n(m − m̄)², over tables",
            "F = [between / (k − 1)] / [(Σ(x − m̄)² − between) / (n − k)]",
            "I² = max(0, 1 − 1/F)",
        ),
        ("Higgins and Thompson, Quantifying heterogeneity in a meta-analysis (2002), for I²",),
    )

    of: Annotated[
        tuple[str, ...],
        Meta(title="Columns", description="At most 64.", min_length=1, max_length=64, extra={"form": "columns"}),
    ] = field(name="columns")
    ranges: Annotated[
        dict[str, Ends],
        Meta(
            title="Ranges",
            description="The least and the largest that a number should be; what lies outside is counted.",
            extra={"form": "ranges"},
        ),
    ] = field(default_factory=dict)
    drift: Annotated[
        Literal["no", "yes"],
        Meta(title="Drift", description="Whether the means differ between tables; told over four or more."),
    ] = "no"

    def columns(self) -> tuple[str, ...]:
        if len(set(self.of)) != len(self.of):
            raise Refused("a column is named twice")
        ranges.refuse_unfit(self.ranges, self.of)
        return self.of

    def check(self, schema: Schema) -> None:
        """A column that is not there is a finding."""
        del schema
        self.columns()

    def steps_after(self, step: Step) -> int:
        state = self._read(step)
        return (DRIFT if self.drift == "yes" and state.numbers else MOMENTS) - state.turn

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        self.columns()
        if self.drift == "yes" and sites < LEAST_TABLES:
            raise Refused(f"drift is told between {LEAST_TABLES} tables or more: of fewer it could show a table's mean")
        types = [agreement.type_of(name, schemas) for name in self.of]
        numbers = tuple(place for place, type_ in enumerate(types) if type_ == "number")
        texts = tuple(place for place, type_ in enumerate(types) if type_ == "text")
        for place in texts:
            if self.of[place] in self.ranges:
                raise Refused(f"a range is given for column '{self.of[place]}', which holds text")
        findings = tuple(finding for name in self.of for finding in agreement.findings(name, schemas))
        names = tuple(levels.declared(self.of[place], {}, schemas) for place in (*numbers, *texts))
        first = State(MAGNITUDES if numbers else MOMENTS, findings, numbers, texts, names)
        return self._ask(first, magnitude.MAX_ROWS, sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        state = self._read(step)
        known = [table.numbers(self.of[place]) for place in state.numbers]
        known = [values[checks.usable(values)] for values in known]
        share: dict[str, np.ndarray] = {"table rows": np.array([table.rows], dtype=np.float64)}
        if known:
            share["rows"] = np.array([values.size for values in known], dtype=np.float64)
            share |= centring.share(min(state.turn, MOMENTS), state.scales, known)
            if state.turn > MAGNITUDES:
                pairs = zip(known, state.parts, strict=True)
                share["ranks"] = np.array([[brackets.tally(values, part) for part in parts] for values, parts in pairs])
        if state.turn >= MOMENTS:
            share |= self._checked(state, table)
        if state.turn == DRIFT:
            share["tables"] = np.array([values.size > 0 for values in known], dtype=np.float64)
            share["drift"] = np.array([drift.part(*pair) for pair in zip(known, state.about, strict=True)])
        return fit(step, share)

    def advance(self, step: Step, total: Total) -> Step | QualityAnswer:
        state, rows = self._read(step), total.number("table rows")
        if rows == 0:
            raise Refused("no table has a row")
        counts = np.rint(total.real("rows")) if state.numbers else np.zeros(0)
        if state.turn == MAGNITUDES:
            scales = centring.learnt(MAGNITUDES, (), counts, total)
            sizes = [math.ldexp(1.0, scale.largest) for scale in scales]
            whole = [brackets.whole(size, float(count)) for size, count in zip(sizes, counts, strict=True)]
            parts = tuple((one,) * len(PERCENT) for one in whole)
            return self._ask(replace(state, turn=SUMS, scales=scales, parts=parts), rows, total.sites)
        state = replace(state, parts=_narrowed(state, counts, total))
        if state.turn < MOMENTS:
            scales = centring.learnt(state.turn, state.scales, counts, total)
            parts = tuple(_within(*pair) for pair in zip(state.parts, scales, strict=True))
            parts = parts if state.turn == SPREADS else state.parts
            return self._ask(replace(state, turn=state.turn + 1, scales=scales, parts=parts), rows, total.sites)
        found = centring.moments(state.scales, counts, step, total) if state.numbers else ()
        if self.drift == "yes" and state.numbers and state.turn == MOMENTS:
            about = tuple((one.mean, math.sqrt(one.variance or 0.0)) for one in found)
            return self._ask(replace(state, turn=DRIFT, about=about), rows, total.sites)
        return self._answer(state, found, round(rows), total)

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, QualityAnswer) and isinstance(exact, QualityAnswer)):
            raise TypeError("the answer of another kind")
        return tuple(
            figure
            for seen, true in zip(shown.columns, exact.columns, strict=True)
            for figure in checks.figures(
                seen, true, exact.ranges.get(true.column), exact.categories.get(true.column, ())
            )
        )

    def _checked(self, state: State, table: Table) -> dict[str, np.ndarray]:
        places, share, counts = (*state.numbers, *state.texts), {}, []
        for number, (place, names) in enumerate(zip(places, state.names, strict=True)):
            column, type_ = self.of[place], "number" if number < len(state.numbers) else "text"
            counts.append(checks.tallied(table, column, type_, names, self.ranges.get(column)))
            if names:
                share[f"seen {number}"] = checks.seen(table, column, names)
        return {**share, "checks": np.array(counts)} if counts else {}

    def _ask(self, state: State, rows: float, sites: int) -> Step:
        width, every = len(state.numbers), len(state.numbers) + len(state.texts)
        blocks: list[Block] = [reals("table rows", (1,), magnitude.MAX_ROWS, sites)]
        if width:
            blocks.append(reals("rows", (width,), magnitude.MAX_ROWS, sites))
            blocks += centring.blocks(min(state.turn, MOMENTS), width, rows, sites)
            if state.turn > MAGNITUDES:
                blocks.append(reals("ranks", (width, len(PERCENT), PARTS + 2), rows, sites))
        if state.turn >= MOMENTS and every:
            blocks.append(reals("checks", (every, len(CHECKS)), rows, sites))
            blocks += [Flags(f"seen {at}", (len(names),)) for at, names in enumerate(state.names) if names]
        if state.turn == DRIFT:
            blocks.append(reals("tables", (width,), 1.0, sites))
            blocks.append(Reals("drift", (width,), rows + 1, SIXTEENTH))
        name = (*centring.NAMES[:MOMENTS], "checks", "drift")[state.turn]
        return Step(name, tuple(blocks), encode_state(state))

    def _answer(self, state: State, found: Sequence[Moments], rows: int, total: Total) -> QualityAnswer:
        columns = []
        for number, (place, names) in enumerate(zip((*state.numbers, *state.texts), state.names, strict=True)):
            column, type_ = self.of[place], "number" if number < len(state.numbers) else "text"
            counted = dict(zip(CHECKS, np.rint(total.real("checks")[number]).astype(int).tolist(), strict=True))
            there = {"whole", "zero", "unusable"} if type_ == "number" else {"blanks"}
            there |= ({"below", "above"} if column in self.ranges else set()) | ({"undeclared"} if names else set())
            one = Checked(
                column=column,
                type=type_,
                n=rows - counted["missing"] - counted["unusable"],
                missing=counted["missing"],
                **{check: counted[check] for check in CHECKS if check in there},
            )
            if names:
                present = total.flag(f"seen {number}")
                one = replace(one, unseen=tuple(name for name, yes in zip(names, present, strict=True) if not yes))
            columns.append(one if type_ == "text" else self._numbers(one, state, number, found[number], total))
        asked = [self.of[place] for place in (*state.numbers, *state.texts)]
        return QualityAnswer(
            rows=rows,
            columns=tuple(columns),
            findings=state.findings,
            ranges={column: self.ranges[column] for column in asked if column in self.ranges},
            categories={column: names for column, names in zip(asked, state.names, strict=True) if names},
        )

    def _numbers(self, one: Checked, state: State, number: int, moments: Moments, total: Total) -> Checked:
        some = moments.count > 0
        ends = zip(PERCENT, state.parts[number], strict=True)
        found = replace(
            one,
            mean=moments.mean if some else None,
            mean_precision=moments.mean_precision if some else None,
            sd=None if moments.variance is None else math.sqrt(moments.variance),
            quantiles={f"{percent}%": Bracket(part.low, part.high) for percent, part in ends} if some else None,
        )
        if state.turn < DRIFT:
            return found
        tables, spread = round(float(total.real("tables")[number])), float(total.real("drift")[number])
        return replace(found, drift=drift.between(moments, state.about[number], tables, spread))

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        centring.check(min(state.turn, MOMENTS), state.scales, len(state.numbers))
        places, width = (*state.numbers, *state.texts), len(state.numbers)
        ends = [end for parts in state.parts for part in parts for end in (part.low, part.high)]
        if (
            len(set(places)) != len(places)
            or any(not 0 <= place < len(self.of) for place in places)
            or len(state.names) != len(places)
            or any(len(set(names)) != len(names) for names in state.names)
            or len(state.parts) != (width if state.turn > MAGNITUDES else 0)
            or len(state.about) != (width if state.turn == DRIFT else 0)
            or not (width or state.turn == MOMENTS)
            or (state.turn == DRIFT and self.drift == "no")
        ):
            raise ProtocolViolation("the state does not fit the columns that are asked about")
        parts = [part for some in state.parts for part in some]
        if (
            any(len(some) != len(PERCENT) for some in state.parts)
            or not np.all(np.isfinite([*ends, *(one for pair in state.about for one in pair)]))
            or any(sd < 0 for _, sd in state.about)
            or any(part.parts not in (1, PARTS) or part.low > part.high for part in parts)
        ):
            raise ProtocolViolation("the state of a report on quality is out of range")
        return state


def _narrowed(state: State, counts: Array, total: Total) -> tuple[tuple[Divided, ...], ...]:
    if not state.numbers:
        return ()
    return tuple(
        brackets.narrow(parts, row, int(count), math.ldexp(1.0, scale.largest))
        for parts, row, count, scale in zip(
            state.parts, np.rint(total.real("ranks")), counts, state.scales, strict=True
        )
    )


def _within(parts: tuple[Divided, ...], scale: Scale) -> tuple[Divided, ...]:
    """The brackets cut to the spread."""
    low, high = scale.centre - math.ldexp(1.0, scale.spread), scale.centre + math.ldexp(1.0, scale.spread)
    return tuple(brackets.within(part, low, high) for part in parts)


EXAMPLE = Example(
    job=Quality(of=("age", "ward"), ranges={"age": (0.0, 120.0)}),
    tables={
        "a": mixed_table(
            {"ward": ("north", "south", "west")},
            age=[40.0, 50.5, None, 0.0, 180.0],
            ward=["north", "south", "South ", None, "south"],
        ),
        "b": mixed_table({"ward": ("north", "south", "west")}, age=[60.0, 70.0, 80.0], ward=["north", "north", "east"]),
    },
    answer=QualityAnswer(
        rows=8,
        columns=(
            Checked(
                column="age",
                type="number",
                n=7,
                missing=1,
                unusable=0,
                whole=6,
                zero=1,
                below=0,
                above=1,
                mean=68.64285714285714,
                mean_precision=7.130803883878149e-14,
                sd=55.47876041462045,
                quantiles={f"{percent}%": Bracket(-256.0, 256.0) for percent in PERCENT},
            ),
            Checked(column="ward", type="text", n=7, missing=1, undeclared=2, blanks=1, unseen=("west",)),
        ),
        findings=(),
        ranges={"age": (0.0, 120.0)},
        categories={"ward": ("north", "south", "west")},
    ),
)
