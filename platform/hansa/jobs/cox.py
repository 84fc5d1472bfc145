"""`cox`: proportional hazards regression, equal to the fit on the pooled rows.

    [categories] → magnitudes → means → spreads → iteration 1, 2, … → answer

`survival/passes.py` holds the passes before the iterations, `survival/iterating.py` the iterations. There is no robust
variance: its sandwich needs each row's own residual over all risk sets, a further sum per interval.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels
from hansa.jobs.base import Contribution, Example, Job, Schema, Step, Table, Total, encode_state, fit
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Method
from hansa.jobs.levels import Levels
from hansa.jobs.regression import design, formula, scaling
from hansa.jobs.regression.fitting import Coefficient
from hansa.jobs.regression.formula import Formula
from hansa.jobs.survival import concluding, grid, iterating, passes
from hansa.jobs.survival.cox_answer import Baseline, CoxAnswer, Test
from hansa.jobs.survival.grid import Axis, EventColumn, Horizon, StartColumn, TimeColumn, Width
from hansa.jobs.survival.iterating import Iteration
from hansa.jobs.survival.likelihood import Ties
from hansa.jobs.survival.passes import ONE, Asked, Frame, Magnitudes, Means, Open, Spreads

_LARGEST_EXPONENT = 200


class State(Struct, frozen=True):
    """Which pass it is, with what that pass needs to know."""

    now: Open | Magnitudes | Means | Spreads | Iteration


class Cox(Job, frozen=True, tag="cox", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Cox regression"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "which categories occur, magnitudes and means of the columns, and of every iteration the score, the "
        "information matrix and the log-likelihood; with a common baseline instead of these, at every interval with an "
        "event, rows at risk, events, and sums and products of the columns over both, weighted by hazard: where one "
        "row alone leaves between two of these intervals, they tell that row's own columns; of a site that leaves "
        "between two iterations, about the same of its rows alone"
    )
    method: ClassVar[Method | None] = Method(
        "The hazard of a row is a baseline hazard, which may be any, times exp(η) with η linear in the columns. The "
        "coefficients maximise the partial likelihood by Newton's method; a baseline of each site's own stratifies by "
        "site. Proportional hazards are tested by the score test against a coefficient that changes with the "
        "Kaplan-Meier estimate of time.",
        ("h(t | x) = h₀(t) exp(x'β)", "L(β) = Π exp(x'β) / Σ exp(x'β) over the risk set", "H₀(t) = Σ d / Σ exp(x'β)"),
        (
            "Cox (1972). Regression models and life-tables. JRSS B 34, 187-220.",
            "Efron (1977). The efficiency of Cox's likelihood function for censored data. JASA 72, 557-565.",
            "Breslow (1974). Covariance analysis of censored survival data. Biometrics 30, 89-99.",
            "Grambsch, Therneau (1994). Proportional hazards tests and diagnostics based on weighted residuals. "
            "Biometrika 81, 515-526.",
            "Lu, Wang, Ji, et al. (2015). WebDISCO: a web service for distributed Cox model learning without "
            "patient-level data sharing. JAMIA 22, 1212-1219. doi:10.1093/jamia/ocv083.",
        ),
    )

    time: TimeColumn
    event: EventColumn
    formula: Annotated[
        str,
        Meta(
            title="Formula",
            description="first + C(code) * third; also log, log2, log10, log1p, exp, sqrt.",
            max_length=formula.LONGEST,
            extra={"form": "formula"},
        ),
    ]
    width: Width
    baseline: Annotated[
        Literal["site", "common"],
        Meta(
            title="Baseline hazard",
            description="One for each site, or a common one: then much more becomes known, see what is learnt.",
        ),
    ] = "site"
    ties: Annotated[Ties, Meta(title="Ties", description="How events in one interval are counted.")] = "efron"
    start: StartColumn = None
    strata: Annotated[
        str | None,
        Meta(title="Strata", description="A baseline for each of its categories.", extra={"form": "column"}),
    ] = None
    horizon: Horizon = None
    max_iterations: Annotated[int, Meta(title="Iterations", description="At most so many.", ge=2, le=100)] = 25
    levels: Levels = field(default_factory=dict)

    def asked(self) -> Asked:
        axis = Axis(self.time, self.event, self.start, self.width, self.horizon)
        return Asked(self.model(), axis, self.strata, self.baseline == "common", self.ties, self.max_iterations)

    def model(self) -> Formula:
        """Without an intercept's column, but with its coding: any baseline holds one."""
        found = formula.parse(self.formula, self.event)
        if not found.terms:
            raise Refused("the formula has nothing on its right side")
        return replace(found, intercept=True)

    def plausible(self, column: str) -> tuple[float, float]:
        return grid.plausible(self.time, self.start, self.width, column)

    def columns(self) -> tuple[str, ...]:
        asked = self.asked()
        factors = [factor.column for factor in asked.model.factors()]
        own = (*asked.axis.columns(), *((self.strata,) if self.strata else ()))
        if len(set(own)) != len(own):
            raise Refused("a column is named twice")
        for column in own:
            if column in factors:
                raise Refused(f"column '{column}' also stands in the formula")
        levels.refuse_unfit(self.levels, (*factors, *((self.strata,) if self.strata else ())))
        return tuple(dict.fromkeys((*own, *factors)))

    def check(self, schema: Schema) -> None:
        self.columns()
        asked = self.asked()
        asked.axis.check(schema)
        design.check(asked.model, {name: own for name, own in self.levels.items() if name != self.strata}, schema)
        if asked.split is not None:
            levels.check(asked.split, self.levels, schema)
        elif self.strata is not None:
            schema.column(self.strata)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        asked = self.asked()
        wanted = [design.categorical_factors(asked.model, schema) for schema in schemas]
        if any(one != wanted[0] for one in wanted):
            raise Refused("a column of the formula holds text in one table and numbers in another")
        known = {
            factor.text: names
            for factor in asked.model.factors()
            if factor.text in wanted[0] and (names := levels.declared(factor.column, self.levels, schemas))
        }
        scaling.refuse_single(known)
        strata = ONE if asked.split is None else levels.declared(asked.split, self.levels, schemas)
        if not strata or scaling.open_factors(asked.model, known, wanted[0]):
            opened = Open(known, strata)
            return Step("categories", passes.blocks(opened, asked, wanted[0], sites), encode_state(State(opened)))
        return self._ask(Magnitudes(Frame(known, strata)), sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        asked, now = self.asked(), self._read(step)
        wanted = design.categorical_factors(asked.model, table.schema)
        known = now.known if isinstance(now, Open) else now.frame.categories
        if not set(known) <= set(wanted) or (not isinstance(now, Open) and len(known) != len(wanted)):
            raise ProtocolViolation("the state of a Cox regression does not name the categories of its formula")
        if isinstance(now, Open):
            return fit(step, passes.share(now, table, asked, wanted))
        design.names(asked.model, known)  # refuses a state that asks for more columns than a regression has
        if isinstance(now, Iteration):
            return fit(step, iterating.share(now, table, asked))
        return fit(step, passes.share(now, table, asked, wanted))

    def advance(self, step: Step, total: Total) -> Step | CoxAnswer:
        asked, now = self.asked(), self._read(step)
        if isinstance(now, Open):
            present = [block.name.removeprefix("present ") for block in step.blocks]
            return self._ask(passes.found(now, total, asked, present), total.sites)
        labels = design.names(asked.model, now.frame.categories)[1:]
        if isinstance(now, Magnitudes):
            return self._ask(passes.sized(now, total, asked, labels), total.sites)
        if isinstance(now, Means):
            return self._ask(passes.centred(now, total, asked, labels), total.sites)
        if isinstance(now, Spreads):
            exponents = passes.spread(now, total, asked, labels)
            return self._iterate(iterating.start(now, exponents), asked, total.sites)
        then = concluding.advance(now, step, total, asked, labels)
        if isinstance(then, Iteration):
            return self._iterate(then, asked, total.sites)
        return replace(then, formula=self.formula)

    def _ask(self, now: Magnitudes | Means | Spreads, sites: int) -> Step:
        return Step(type(now).__name__.lower(), passes.blocks(now, self.asked(), (), sites), encode_state(State(now)))

    def _iterate(self, now: Iteration, asked: Asked, sites: int) -> Step:
        return Step(iterating.name(now), iterating.blocks(now, asked, sites), encode_state(State(now)))

    def _read(self, step: Step) -> Open | Magnitudes | Means | Spreads | Iteration:
        now = messages.decode(step.state, State).now
        asked = self.asked()
        strata = now.strata if isinstance(now, Open) else now.frame.strata
        if (asked.split is None and strata != ONE) or (not strata and not isinstance(now, Open)):
            raise ProtocolViolation("the state of a Cox regression does not name its strata")
        if isinstance(now, Open):
            return now
        _refuse_cells(now.frame, asked, isinstance(now, Magnitudes))
        numbers: list[float] = [now.rows] if isinstance(now, Means | Spreads) else []
        if isinstance(now, Spreads | Iteration):
            tied = now.tied
            if list(tied) != sorted(set(tied)) or (tied and tied[-1] >= passes.pairs(now.frame)):
                raise ProtocolViolation("the state of a Cox regression is out of range")
            numbers += now.centres
        if isinstance(now, Iteration):
            numbers += (*now.trial, *now.step, *now.weights, now.bound, now.loglik or 0.0, now.score_test or 0.0)
            if now.weights and len(now.weights) != iterating.every(now.frame).size:
                raise ProtocolViolation("the weights of a Cox regression do not fit its intervals")
            if now.reach not in (-1, *range(0, 2 * iterating.RUNGS + 1, 2)) or not 1 <= now.bound <= 2.0**50:
                raise ProtocolViolation("the state of a Cox regression is out of range")
        exponents = () if isinstance(now, Magnitudes) else now.exponents
        if not np.all(np.isfinite(numbers)) or any(abs(exponent) > _LARGEST_EXPONENT for exponent in exponents):
            raise ProtocolViolation("the state of a Cox regression is out of range")
        return now


def _refuse_cells(frame: Frame, asked: Asked, before: bool) -> None:
    """Intervals are rising and of the question; none before they are known, or if no sums are asked about them."""
    strata = len(frame.strata) if asked.common and not before else 0
    last = asked.axis.last
    if len(frame.cells) != strata or any(
        list(cells) != sorted(set(cells)) or (cells and cells[-1] > last) for cells in frame.cells
    ):
        raise ProtocolViolation("the intervals of a Cox regression are out of range")
    if strata and not passes.pairs(frame):
        raise ProtocolViolation("a Cox regression with a common baseline has no interval with an event")


EXAMPLE = Example(
    job=Cox(time="weeks", event="died", formula="age + ward", width=1.0, baseline="common"),
    tables={
        "a": mixed_table(
            {"ward": ("north", "south")},
            weeks=[6.0, 6.0, 6.0, 7.0, 10.0, None, 13.0],
            died=[1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0],
            age=[71.0, 62.0, 45.0, 51.0, 60.0, 71.0, 50.0],
            ward=["north", "south", "north", "north", "south", "north", "south"],
        ),
        "b": mixed_table(
            {"ward": ("north", "south")},
            weeks=[1.0, 6.0, 3.0, 8.0, 9.0, 12.0],
            died=[1.0, 1.0, 1.0, 0.0, 1.0, 0.0],
            age=[68.0, 57.0, 66.0, 58.0, 48.0, 33.0],
            ward=["south", "north", "south", "south", "north", "south"],
        ),
    },
    answer=CoxAnswer(
        notes=(
            "times are rounded up to multiples of 1, which leaves whole numbers as they are",
            "one baseline for all sites: the hub and the sites saw sums of the columns over the risk set of each "
            "interval with an event, and who knows when a row left may find its columns between two of them",
            "rows left out because they miss a value or enter after the horizon: 1",
        ),
        formula="age + ward",
        ties="efron",
        common=True,
        coefficients={
            "age": Coefficient(
                estimate=0.11112172766030602, std_error=0.04832668037498812, z=2.299386732092155, p=0.021482988682615195
            ),
            "wardsouth": Coefficient(
                estimate=-0.7442082392122795, std_error=0.8085247831111577, z=-0.9204519821255301, p=0.3573366148617608
            ),
        },
        n=12,
        events=8,
        dropped=1,
        loglik_null=-14.640106964944417,
        loglik=-11.215095887373161,
        likelihood_ratio=Test(chi_squared=6.850022155142511, df=2, p=0.03254892042412103),
        wald=Test(chi_squared=6.27438636996647, df=2, p=0.043404455364210455),
        score_test=Test(chi_squared=5.830466871025947, df=2, p=0.05419137936391594),
        proportional={
            "age": Test(chi_squared=1.7403648386532262, df=1, p=0.18709260591430288),
            "wardsouth": Test(chi_squared=7.458009267727482, df=1, p=0.006315481068385328),
            "all": Test(chi_squared=7.524704901491353, df=2, p=0.023229030898394624),
        },
        baseline=(
            Baseline(
                stratum="all",
                times=(1.0, 3.0, 6.0, 7.0, 9.0, 13.0),
                events=(1, 1, 3, 1, 1, 1),
                hazard=(
                    0.00014716727267287305,
                    0.0003170550188699909,
                    0.0011370811774853713,
                    0.0019000305659264238,
                    0.00328439167483792,
                    0.011416962881804847,
                ),
            ),
        ),
        iterations=6,
        precision=4.041802766232281e-11,
        width_note="times are rounded up to multiples of 1, which leaves whole numbers as they are",
        time="weeks",
    ),
)
