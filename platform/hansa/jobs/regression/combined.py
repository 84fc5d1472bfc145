"""The answer of a meta-analysis: fixed and random effects of each coefficient, and how much the sites differ."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from hansa.jobs.base import Answer
from hansa.jobs.exhibit import Exhibit, Intervals, Sheet
from hansa.jobs.regression import design
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

Family = Literal["gaussian", "binomial"]
_NORMAL = 1.959963984540054


class Effect(Struct, frozen=True):
    estimate: float
    std_error: float
    z: float
    p: float


class Combined(Struct, frozen=True):
    """Of one coefficient. `q` is Cochran's, with sites - 1 degrees of freedom, `p` its chi-squared tail; `i2` from 0 to
    1; `tau2` the variance between sites by DerSimonian and Laird, 0 if `q` is below its degrees of freedom."""

    fixed: Effect
    random: Effect
    tau2: float
    q: float
    i2: float
    p: float


class MetaAnalysisAnswer(Answer, frozen=True, tag="meta_analysis", kw_only=True):
    """`sites` have a fit of their own, over `n` rows together; `without` have rows and no fit: too few, one class only,
    a constant column, separated. A site's fit rests on at least `minimum_rows` rows."""

    family: Family
    formula: str
    coefficients: dict[str, Combined]
    sites: int
    without: int
    n: int
    minimum_rows: int

    def disclosed(self, rules: Rules) -> "MetaAnalysisAnswer":
        """Refused if a site's own fit may rest on few rows, or if all fits together have many parameters for theirs."""
        disclosure.refuse_few(self.minimum_rows, "a site's own fit", rules)
        disclosure.refuse_rich(len(self.coefficients) * self.sites, self.n, rules)
        return replace(self, n=disclosure.shown(self.n, rules) or 0, notes=self.notes + disclosure.note(rules, False))

    def exhibit(self) -> Exhibit:
        rows = tuple(
            (
                name,
                *(one.fixed.estimate, one.fixed.std_error, one.fixed.p),
                *(one.random.estimate, one.random.std_error, one.random.p),
                *(one.tau2, one.q, one.p, one.i2),
            )
            for name, one in self.coefficients.items()
        )
        drawn = [name for name in self.coefficients if name != design.INTERCEPT] or list(self.coefficients)
        effects = [self.coefficients[name].random for name in drawn]
        half = [_NORMAL * one.std_error for one in effects]
        heads = ("fixed", "SE", "p", "random", "SE (random)", "p (random)", "τ²", "Q", "p of Q", "I²")
        return Exhibit(
            (("Sites with a fit", str(self.sites)), ("Sites without", str(self.without)), ("Rows", str(self.n))),
            (Sheet("effects", ("term", *heads), rows),),
            (
                Intervals(
                    says="Random effects over the sites with their 95 % intervals; a site's own estimate is not shown.",
                    x="estimate",
                    labels=tuple(drawn),
                    estimates=tuple(one.estimate for one in effects),
                    lows=tuple(one.estimate - away for one, away in zip(effects, half, strict=True)),
                    highs=tuple(one.estimate + away for one, away in zip(effects, half, strict=True)),
                    null=0.0,
                ),
            ),
        )
