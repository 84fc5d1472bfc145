"""What a Cox regression gives, what of it may be shown, and how."""

import math
from collections.abc import Mapping
from itertools import accumulate, pairwise

from msgspec import Struct
from msgspec.structs import replace

from hansa.jobs.base import Answer, Array, Table
from hansa.jobs.exhibit import Cell, Curves, Exhibit, Intervals, Line, Plot, Sheet
from hansa.jobs.regression import predicting
from hansa.jobs.regression.fitting import Coefficient
from hansa.jobs.survival import grouping
from hansa.jobs.survival.curve import Z
from hansa.jobs.survival.likelihood import Ties
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules


class Test(Struct, frozen=True):
    chi_squared: float
    df: int
    p: float


class Baseline(Struct, frozen=True):
    """Cumulative hazard of a row whose columns are all zero, after each time with events, in one stratum."""

    stratum: str
    times: tuple[float, ...]
    events: tuple[int | None, ...]
    hazard: tuple[float, ...]


class CoxAnswer(Answer, frozen=True, tag="cox", kw_only=True):
    """As R's coxph gives it. `dropped` rows missed a value or enter after the horizon.

    `score_test` is None if a site left after the first iteration. `proportional` (per column, and of all together: the
    test of cox.zph on 1 - Kaplan-Meier) and `baseline` are empty if each site has its own baseline, the latter also
    where zero is too far from all rows. `precision` is as of any regression.
    """

    formula: str
    ties: Ties
    common: bool
    coefficients: dict[str, Coefficient]
    n: int
    events: int | None
    dropped: int | None
    loglik_null: float
    loglik: float
    likelihood_ratio: Test
    wald: Test
    score_test: Test | None
    proportional: dict[str, Test]
    baseline: tuple[Baseline, ...]
    iterations: int
    precision: float
    width_note: str
    time: str

    def disclosed(self, rules: Rules) -> "CoxAnswer":
        """Refused if it rests on few rows or few events, or has many parameters for its rows. The baseline hazard is
        shown after groups of events; `n` is what the standard errors rest on, and stays exact."""
        events = self.events or 0
        disclosure.refuse_few(self.n, "the regression", rules)
        disclosure.refuse_few(events, "the regression's hazard", rules)
        disclosure.refuse_rich(len(self.coefficients), self.n, rules)
        _, whole = disclosure.line([events, self.n - events], rules)
        shown = [_grouped(one, rules) for one in self.baseline]
        hidden = whole is None or None in shown
        baseline = tuple(_uncounted(one) if hidden else one for one in shown if one)
        dropped = disclosure.shown(self.dropped or 0, rules)
        left_out = hidden or dropped is None or baseline != self.baseline
        return replace(
            self,
            events=None if hidden else disclosure.shown(events, rules),
            dropped=dropped,
            baseline=baseline,
            notes=notes(self.width_note, self.common, dropped) + disclosure.note(rules, left_out),
        )

    def predictors(self) -> tuple[str, ...]:
        return predicting.columns(self.formula)

    def predict(self, table: Table) -> Mapping[str, Array]:
        """`hazard ratio` is to a row whose columns are all zero."""
        estimates = {name: one.estimate for name, one in self.coefficients.items()}
        eta = predicting.linear(self.formula, estimates, table)
        return {"linear predictor": eta, "hazard ratio": predicting.mean("cox", eta)}

    def exhibit(self) -> Exhibit:
        tests = [("Likelihood ratio", self.likelihood_ratio), ("Wald", self.wald), ("Score", self.score_test)]
        rows = [_row(name, test) for name, test in tests if test]
        rows += [_row(f"proportional hazards, {name}", test) for name, test in self.proportional.items()]
        sheets = [
            self._coefficients(),
            Sheet("Tests", ("test", "chi-squared", "df", "p"), tuple(rows)),
        ]
        if self.baseline:
            steps = [
                (one.stratum, *step)
                for one in self.baseline
                for step in zip(one.times, one.events, one.hazard, strict=True)
            ]
            headings = ("stratum", self.time, "events", "cumulative hazard")
            sheets.append(Sheet("Baseline, where all columns are zero", headings, tuple(steps)))
        return Exhibit(self._facts(), tuple(sheets), self._plots())

    def _facts(self) -> tuple[tuple[str, str], ...]:
        overall = self.likelihood_ratio
        found = [("Rows", str(self.n)), ("Events", "left out" if self.events is None else str(self.events))]
        found += [("Likelihood ratio p", f"{overall.p:.3g}"), ("Log-likelihood", f"{self.loglik:.6g}")]
        if "all" in self.proportional:
            found.append(("Proportional hazards p", f"{self.proportional['all'].p:.3g}"))
        return tuple(found)

    def _coefficients(self) -> Sheet:
        headings = ("term", "hazard ratio", "95 % from", "95 % to", "coefficient", "std error", "z", "p")
        rows: list[tuple[Cell, ...]] = []
        for name, one in self.coefficients.items():
            ratio, low, high = _ratio(one)
            rows.append((name, ratio, low, high, one.estimate, one.std_error, one.z, one.p))
        return Sheet("Hazard ratios", headings, tuple(rows))

    def _plots(self) -> tuple[Plot, ...]:
        ratios = [_ratio(one) for one in self.coefficients.values()]
        plots: list[Plot] = [
            Intervals(
                says="The hazard ratio of each term with its 95 % interval, on a logarithmic scale; 1 is no effect.",
                x="hazard ratio",
                labels=tuple(self.coefficients),
                estimates=tuple(ratio for ratio, _, _ in ratios),
                lows=tuple(low for _, low, _ in ratios),
                highs=tuple(high for _, _, high in ratios),
                null=1.0,
                log=True,
            )
        ]
        lines = tuple(Line(one.stratum, (0.0, *one.times), (0.0, *one.hazard)) for one in self.baseline if one.times)
        if lines:
            says = "The cumulative hazard of a row whose columns are all zero, over time."
            plots.append(Curves(says=says, x=self.time, y="cumulative hazard", lines=lines, stairs=True))
        return tuple(plots)


def notes(width_note: str, common: bool, dropped: int | None) -> tuple[str, ...]:
    found = [width_note]
    if common:
        found.append(
            "one baseline for all sites: the hub and the sites saw sums of the columns over the risk set of each "
            "interval with an event, and who knows when a row left may find its columns between two of them"
        )
    else:
        found.append("each site has a baseline hazard of its own, so none is shown")
    if dropped:
        found.append(f"rows left out because they miss a value or enter after the horizon: {dropped}")
    return tuple(found)


def _grouped(one: Baseline, rules: Rules) -> Baseline | None:
    """After groups of enough events; None if the stratum has too few in all."""
    counts = [events or 0 for events in one.events]
    if 0 < sum(counts) < rules.minimum_cell:
        return None
    total = sum(counts)
    shown = [0, *grouping.running(list(accumulate(counts)), total, rules.minimum_cell)]
    steps = [(end, after - before) for end, (before, after) in enumerate(pairwise(shown)) if after > before]
    return Baseline(
        one.stratum,
        tuple(one.times[end] for end, _ in steps),
        tuple(disclosure.shown(count, rules) for _, count in steps),
        tuple(one.hazard[end] for end, _ in steps),
    )


def _uncounted(one: Baseline) -> Baseline:
    return replace(one, events=(None,) * len(one.events))


def _row(name: str, test: Test) -> tuple[Cell, ...]:
    return (name, test.chi_squared, test.df, test.p)


def _ratio(one: Coefficient) -> tuple[float, float, float]:
    """With its 95 % interval; infinite where a float can't hold it."""
    ends = (one.estimate, one.estimate - Z * one.std_error, one.estimate + Z * one.std_error)
    ratio, low, high = (math.exp(end) if end < 700 else math.inf for end in ends)
    return ratio, low, high
