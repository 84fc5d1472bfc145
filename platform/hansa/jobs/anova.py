"""`anova`: whether the means of several groups differ: one-way analysis of variance, and Welch's for unequal variances.

The passes and their totals are those of `groups.py`: of each group the rows, the mean and the variance become known.
NIST's certified data sets (StRD, analysis of variance) are among the tests, with the digits that are reached.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa.errors import Refused
from hansa.jobs import groups
from hansa.jobs.base import Answer, Example
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Exhibit, Method, Sheet
from hansa.jobs.groups import Group, Grouped, Sample
from hansa.jobs.levels import Levels
from hansa.privacy import disclosure
from hansa.privacy.differencing import Figure
from hansa.privacy.disclosure import Rules


class Welch(Struct, frozen=True):
    """The test of equal means that takes no equal variances for granted."""

    f: float
    df_between: int
    df_within: float
    p: float


class AnovaAnswer(Answer, frozen=True, tag="anova", kw_only=True):
    """`…_precision` bounds the absolute error of what stands before it, given float64 rows. `welch` is None where a
    group has one row only or is constant. `eta_squared` is the share of the sum of squares that is between groups
    (R-squared)."""

    column: str
    by: str
    groups: tuple[Group, ...]
    ss_between: float
    ss_between_precision: float
    ss_within: float
    ss_within_precision: float
    df_between: int
    df_within: int
    ms_between: float
    ms_within: float
    residual_sd: float
    f: float
    f_precision: float
    p: float
    eta_squared: float
    welch: Welch | None
    missing: int | None

    def disclosed(self, rules: Rules) -> "AnovaAnswer":
        """Refused if a group has fewer rows than a cell must hold; a left-out count of missing rows is None."""
        shown = groups.disclosed(self.groups, rules)
        disclosure.refuse_rich(len(self.groups), self.df_within + len(self.groups), rules)
        missing = disclosure.shown(self.missing or 0, rules)
        notes = (*groups.left_out(missing), *(note for note in self.notes if note.startswith("no rows have")))
        return replace(self, groups=shown, missing=missing, notes=notes + disclosure.note(rules, missing is None))

    def exhibit(self) -> Exhibit:
        facts = [
            ("F", f"{self.f:.5g}"),
            ("Degrees of freedom", f"{self.df_between}, {self.df_within}"),
            ("p", f"{self.p:.3g}"),
            ("Eta squared", f"{self.eta_squared:.4g}"),
            ("Missing", "not shown" if self.missing is None else f"{self.missing:,}"),
        ]
        if self.welch is not None:
            facts.insert(3, ("p by Welch", f"{self.welch.p:.3g}"))
        rows: list[tuple[str | int | float | None, ...]] = [
            ("between groups", self.ss_between, self.df_between, self.ms_between, self.f, self.p),
            ("within groups", self.ss_within, self.df_within, self.ms_within, None, None),
        ]
        if self.welch is not None:
            rows.append(("Welch", None, self.welch.df_within, None, self.welch.f, self.welch.p))
        headings = ("source", "sum of squares", "df", "mean square", "F", "p")
        sheets = groups.sheet(self.groups), Sheet("Analysis of variance", headings, tuple(rows))
        return Exhibit(tuple(facts), sheets, (groups.intervals(self.groups, self.column),))


class Anova(Grouped, frozen=True, tag="anova", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Analysis of variance"
    learns: ClassVar[str] = (
        "which groups occur, the magnitude of the largest number and, in each group, of the largest distance from its "
        "mean in factors of 16, and per group the rows, the mean and the variance"
    )
    method: ClassVar[Method | None] = Method(
        "One-way analysis of variance: the variation of the group means about the mean of all rows against that of "
        "rows about the mean of their group. Each group's squares are added up about a centre of its own, which an "
        "earlier step found. Welch's test beside it does not take the variances of the groups to be equal.",
        (
            "F = [Σ n(x̄ − x̄̄)² / (k − 1)] / [Σ Σ(x − x̄)² / (n − k)]",
            "η² = between / (between + within)",
            "Welch: w = n/s², F = [Σ w(x̄ − x̃)² / (k − 1)] / [1 + 2(k − 2)Λ / (k² − 1)], "
            "Λ = Σ(1 − w/Σw)² / (n − 1), df = k − 1 and (k² − 1) / (3Λ)",
        ),
        (
            "Fisher, Statistical Methods for Research Workers (1925)",
            "Welch, On the comparison of several mean values: an alternative approach (1951)",
            "Simon and Lesage, Assessing the accuracy of ANOVA calculations in statistical software (1989)",
        ),
    )

    column: Annotated[str, Meta(title="Column", description="A numeric column.", extra={"form": "column"})]
    by: Annotated[
        str, Meta(title="Groups", description="The column whose categories are the groups.", extra={"form": "column"})
    ]
    levels: Levels = field(default_factory=dict)

    def asked(self) -> tuple[str, str | None, Mapping[str, tuple[str, ...]]]:
        return self.column, self.by, self.levels

    def refuse_unfit(self, counts: Mapping[str, int]) -> None:
        if len(counts) < 2:
            raise Refused(f"one category only of column '{self.by}' has rows, so there is nothing to compare")
        if sum(counts.values()) <= len(counts):
            raise Refused(f"every group has one row with a number in column '{self.column}', too few for a variance")

    def answered(self, samples: Sequence[Sample], missing: int, notes: tuple[str, ...]) -> AnovaAnswer:
        from scipy.special import fdtrc

        n, k = sum(sample.n for sample in samples), len(samples)
        between, between_error = _between(samples)
        within = math.fsum(sample.moments.squares for sample in samples)
        within_error = math.fsum(sample.moments.squares_precision for sample in samples) + 2.0**-52 * within
        if within <= 0:
            raise Refused(f"column '{self.column}' is constant in each group, so nothing tells how sure the means are")
        f = (between / (k - 1)) / (within / (n - k))
        return AnovaAnswer(
            column=self.column,
            by=self.by,
            groups=tuple(sample.told() for sample in samples),
            ss_between=between,
            ss_between_precision=between_error,
            ss_within=within,
            ss_within_precision=within_error,
            df_between=k - 1,
            df_within=n - k,
            ms_between=between / (k - 1),
            ms_within=within / (n - k),
            residual_sd=math.sqrt(within / (n - k)),
            f=f,
            f_precision=(between_error / (k - 1)) / (within / (n - k)) + f * (within_error / within + 2.0**-50),
            p=float(fdtrc(k - 1, n - k, f)),
            eta_squared=between / (between + within),
            welch=_welch(samples),
            missing=missing,
            notes=notes,
        )

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, AnovaAnswer) and isinstance(exact, AnovaAnswer)):
            raise TypeError("the answer of another kind")
        return self.cells(shown.groups, shown.missing, exact.groups, exact.missing)


def _shifts(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """The means less the first group's centre, and bounds of their errors."""
    origin = samples[0].moments.centre
    away = [(sample.moments.centre - origin) + sample.moments.offset for sample in samples]
    sizes = [abs(sample.moments.centre - origin) + abs(sample.moments.offset) for sample in samples]
    errors = [s.moments.offset_precision + 2.0**-52 * size for s, size in zip(samples, sizes, strict=True)]
    return away, errors


def _between(samples: Sequence[Sample]) -> tuple[float, float]:
    """Σ n (mean - grand mean)², and a bound of its error."""
    away, errors = _shifts(samples)
    n = [sample.n for sample in samples]
    grand = math.fsum(count * one for count, one in zip(n, away, strict=True)) / sum(n)
    largest = max(errors) + 2.0**-52 * max(map(abs, away))  # of the grand mean too
    parts = [count * (one - grand) ** 2 for count, one in zip(n, away, strict=True)]
    spent = math.fsum(
        count * (2 * abs(one - grand) + 2 * largest) * 2 * largest for count, one in zip(n, away, strict=True)
    )
    total = math.fsum(parts)
    return total, spent + 2.0**-51 * total


def _welch(samples: Sequence[Sample]) -> Welch | None:
    """Welch 1951. Without one where a variance is unknown or zero."""
    from scipy.special import fdtrc

    variances = [sample.moments.variance for sample in samples]
    if not all(variances):
        return None
    away, _ = _shifts(samples)
    k, n = len(samples), [sample.n for sample in samples]
    weights = [count / (variance or 1.0) for count, variance in zip(n, variances, strict=True)]
    whole = math.fsum(weights)
    middle = math.fsum(weight * one for weight, one in zip(weights, away, strict=True)) / whole
    spread = math.fsum(weight * (one - middle) ** 2 for weight, one in zip(weights, away, strict=True)) / (k - 1)
    unsure = math.fsum((1 - weight / whole) ** 2 / (count - 1) for weight, count in zip(weights, n, strict=True))
    f = spread / (1 + 2 * (k - 2) * unsure / (k * k - 1))
    df = (k * k - 1) / (3 * unsure)
    return Welch(f, k - 1, df, float(fdtrc(k - 1, df, f)))


EXAMPLE = Example(
    job=Anova(column="pressure", by="arm"),
    tables={
        "a": mixed_table(
            {"arm": ("low", "high", "none")},
            pressure=[120.0, 125.0, 131.0, None, 140.0, 121.0],
            arm=["low", "high", "none", "low", "none", "high"],
        ),
        "b": mixed_table(
            {"arm": ("low", "high", "none")},
            pressure=[118.0, 122.0, 135.0, 138.0],
            arm=["low", "high", "none", "low"],
        ),
    },
    answer=AnovaAnswer(
        notes=("rows left out because they miss a value: 1",),
        column="pressure",
        by="arm",
        groups=(
            Group(
                name="low",
                n=3,
                mean=125.33333333333333,
                mean_precision=1.7837583262310847e-14,
                sd=11.015141094572204,
                low=97.9702059400557,
                high=152.69646072661095,
            ),
            Group(
                name="high",
                n=3,
                mean=122.66666666666667,
                mean_precision=1.7837583262310847e-14,
                sd=2.0816659994661326,
                low=117.49552165412442,
                high=127.83781167920893,
            ),
            Group(
                name="none",
                n=3,
                mean=135.33333333333334,
                mean_precision=3.2048437977512854e-14,
                sd=4.509249752822894,
                low=124.13173597064514,
                high=146.53493069602155,
            ),
        ),
        ss_between=267.55555555555554,
        ss_between_precision=1.581747078994849e-12,
        ss_within=292.0,
        ss_within_precision=3.3484326422694726e-13,
        df_between=2,
        df_within=6,
        ms_between=133.77777777777777,
        ms_within=48.666666666666664,
        residual_sd=6.97614984548545,
        f=2.7488584474885847,
        f_precision=2.1844483506799352e-14,
        p=0.14210812795454777,
        eta_squared=0.4781572676727561,
        welch=Welch(f=8.072757809316892, df_between=2, df_within=3.1914330470053938, p=0.056429716848282116),
        missing=1,
    ),
)
