"""`t_test`: whether the means of two groups differ (Welch's or Student's test), or one mean from a given number.

The passes and their totals are those of `groups.py`: of each group the rows, the mean and the variance become known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from hansa.errors import Refused
from hansa.jobs import groups
from hansa.jobs.base import Answer, Example
from hansa.jobs.example import mixed_table
from hansa.jobs.exhibit import Exhibit, Intervals, Method
from hansa.jobs.groups import Group, Grouped, Sample
from hansa.jobs.levels import Levels
from hansa.privacy import disclosure
from hansa.privacy.differencing import Figure
from hansa.privacy.disclosure import Rules

Variances = Literal["unequal", "equal"]


class TTestAnswer(Answer, frozen=True, tag="t_test", kw_only=True):
    """`difference`: the mean of the first group less that of the second, or less `mu` where there is one group; from
    `low` to `high` its 95 % interval. `t_precision` bounds the absolute error of `t`, given float64 rows.

    Two-sided. `df` is Welch's and Satterthwaite's where the variances may be unequal.
    """

    column: str
    by: str | None
    groups: tuple[Group, ...]
    variances: Variances
    mu: float
    difference: float
    se: float
    low: float
    high: float
    t: float
    t_precision: float
    df: float
    p: float
    missing: int | None

    def disclosed(self, rules: Rules) -> "TTestAnswer":
        """Refused if a group has fewer rows than a cell must hold; a left-out count of missing rows is None."""
        missing = disclosure.shown(self.missing or 0, rules)
        notes = (*groups.left_out(missing), *(note for note in self.notes if note.startswith("no rows have")))
        return replace(
            self,
            groups=groups.disclosed(self.groups, rules),
            missing=missing,
            notes=notes + disclosure.note(rules, missing is None),
        )

    def exhibit(self) -> Exhibit:
        if self.by is None:
            what = f"mean less {self.mu:.6g}"
        else:
            what = f"mean of {self.groups[0].name} less that of {self.groups[1].name}"
        facts = (
            ("Difference", f"{self.difference:.5g}"),
            ("95 % interval", f"{self.low:.5g} to {self.high:.5g}"),
            ("t", f"{self.t:.5g}"),
            ("Degrees of freedom", f"{self.df:.5g}"),
            ("p", f"{self.p:.3g}"),
            ("Missing", "not shown" if self.missing is None else f"{self.missing:,}"),
        )
        difference = Intervals(
            says=f"The {what} is {self.difference:.5g}, with a 95 % interval from {self.low:.5g} to {self.high:.5g}.",
            x=f"difference in {self.column}",
            labels=(what,),
            estimates=(self.difference,),
            lows=(self.low,),
            highs=(self.high,),
            null=0.0,
        )
        return Exhibit(facts, (groups.sheet(self.groups),), (groups.intervals(self.groups, self.column), difference))


class TTest(Grouped, frozen=True, tag="t_test", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "t-test of means"
    learns: ClassVar[str] = (
        "which groups occur, the magnitude of the largest number and, in each group, of the largest distance from its "
        "mean in factors of 16, and per group the rows, the mean and the variance"
    )
    method: ClassVar[Method | None] = Method(
        "Whether the means of two groups differ. Where the variances may be unequal the test is Welch's, with the "
        "degrees of freedom of Satterthwaite; where they are taken to be equal it is Student's. With one group the "
        "mean is held against a number. Each group's squares are added up about a centre of its own, which an earlier "
        "step found.",
        (
            "t = (x̄₁ − x̄₂) / √(s₁²/n₁ + s₂²/n₂)",
            "df = (s₁²/n₁ + s₂²/n₂)² / (s₁⁴/(n₁²(n₁ − 1)) + s₂⁴/(n₂²(n₂ − 1)))",
            "equal variances: s² = (S₁ + S₂) / (n₁ + n₂ − 2), df = n₁ + n₂ − 2",
        ),
        (
            "Student, The probable error of a mean (1908)",
            "Welch, The generalization of Student's problem when several different population variances are involved "
            "(1947)",
            "Satterthwaite, An approximate distribution of estimates of variance components (1946)",
        ),
    )

    column: Annotated[str, Meta(title="Column", description="A numeric column.", extra={"form": "column"})]
    by: Annotated[
        str | None,
        Meta(
            title="Groups",
            description="A column with two categories; none to hold one mean against a number.",
            extra={"form": "column"},
        ),
    ] = None
    variances: Annotated[Variances, Meta(title="Variances", description="Unequal: Welch's test. Equal: Student's.")] = (
        "unequal"
    )
    mu: Annotated[
        float,
        Meta(title="Mean", description="What one group's mean is held against.", ge=-1e38, le=1e38),
    ] = 0.0
    levels: Levels = field(default_factory=dict)

    def asked(self) -> tuple[str, str | None, Mapping[str, tuple[str, ...]]]:
        if self.by is not None and self.mu != 0:
            raise Refused("a mean to compare with is given, and groups too; give one of them")
        return self.column, self.by, self.levels

    def refuse_unfit(self, counts: Mapping[str, int]) -> None:
        if self.by is not None and len(counts) != 2:
            raise Refused(f"{len(counts)} categories of column '{self.by}' have rows, and a t-test compares two")
        least = 1 if self.by is not None and self.variances == "equal" else 2
        few = [name for name, count in counts.items() if count < least]
        if few or sum(counts.values()) < 2 + (self.by is not None and self.variances == "equal"):
            whose = f"group '{few[0]}' has" if few and self.by is not None else "there are"
            raise Refused(f"{whose} too few rows with a number in column '{self.column}' for a variance")

    def answered(self, samples: Sequence[Sample], missing: int, notes: tuple[str, ...]) -> TTestAnswer:
        from scipy.special import stdtr, stdtrit

        difference, shift_error = _difference(samples, self.mu)
        squared, squared_error, df = _squared_error(samples, self.variances)
        if squared <= 0:
            raise Refused(f"column '{self.column}' is constant in each group, so nothing tells how sure the means are")
        se = math.sqrt(squared)
        t, wide = difference / se, float(stdtrit(df, 0.975)) * se
        return TTestAnswer(
            column=self.column,
            by=self.by,
            groups=tuple(sample.told() for sample in samples),
            variances=self.variances,
            mu=self.mu,
            difference=difference,
            se=se,
            low=difference - wide,
            high=difference + wide,
            t=t,
            t_precision=shift_error / se + abs(t) * (squared_error / (2 * squared) + 2.0**-50),
            df=df,
            p=float(2 * stdtr(df, -abs(t))),
            missing=missing,
            notes=notes,
        )

    def figures(self, shown: Answer, exact: Answer) -> tuple[Figure, ...]:
        if not (isinstance(shown, TTestAnswer) and isinstance(exact, TTestAnswer)):
            raise TypeError("the answer of another kind")
        return self.cells(shown.groups, shown.missing, exact.groups, exact.missing)


def _difference(samples: Sequence[Sample], mu: float) -> tuple[float, float]:
    """Of the means, and a bound of its error: centres and offsets apart, as centres are close and offsets small."""
    first = samples[0].moments
    if len(samples) == 1:
        away, offset, error = first.centre - mu, first.offset, first.offset_precision
    else:
        second = samples[1].moments
        away, offset = first.centre - second.centre, first.offset - second.offset
        error = first.offset_precision + second.offset_precision
    return away + offset, error + 2.0**-52 * (abs(away) + abs(offset))


def _squared_error(samples: Sequence[Sample], variances: Variances) -> tuple[float, float, float]:
    """The squared standard error of the difference, a bound of its own error, and the degrees of freedom."""
    moments = [sample.moments for sample in samples]
    if variances == "equal" and len(moments) == 2:
        df = float(sum(one.count for one in moments) - 2)
        shares = sum(1 / one.count for one in moments) / df
        return sum(m.squares for m in moments) * shares, sum(m.squares_precision for m in moments) * shares, df
    parts = [(one.variance or 0.0) / one.count for one in moments]
    error = sum((one.variance_precision or 0.0) / one.count for one in moments)
    total = sum(parts)
    among = (
        sum((part / total) ** 2 / (one.count - 1) for part, one in zip(parts, moments, strict=True)) if total else 1.0
    )
    return total, error, 1 / among


EXAMPLE = Example(
    job=TTest(column="pressure", by="arm"),
    tables={
        "a": mixed_table(
            {"arm": ("drug", "placebo")},
            pressure=[120.0, 125.0, 131.0, None, 140.0],
            arm=["drug", "drug", "placebo", "drug", "placebo"],
        ),
        "b": mixed_table(
            {"arm": ("drug", "placebo")},
            pressure=[118.0, 122.0, 135.0, 138.0],
            arm=["drug", "placebo", "placebo", "placebo"],
        ),
    },
    answer=TTestAnswer(
        notes=("rows left out because they miss a value: 1",),
        column="pressure",
        by="arm",
        groups=(
            Group(
                name="drug",
                n=3,
                mean=121.0,
                mean_precision=1.7800575828156678e-14,
                sd=3.605551275463989,
                low=112.0433141049704,
                high=129.9566858950296,
            ),
            Group(
                name="placebo",
                n=5,
                mean=133.2,
                mean_precision=3.199662756969701e-14,
                sd=7.120393247567159,
                low=124.35886405144267,
                high=142.04113594855733,
            ),
        ),
        variances="unequal",
        mu=0.0,
        difference=-12.2,
        se=3.8043834366863356,
        low=-21.5206950501534,
        high=-2.879304949846599,
        t=-3.206827125350527,
        t_precision=6.910307853221076e-15,
        df=5.969072716571246,
        p=0.01857346370446697,
        missing=1,
    ),
)
