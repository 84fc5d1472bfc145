"""`meta_analysis`: each site fits a regression on its own rows, and the estimates are combined; no site's is shown.

    magnitudes → fixed effects → random effects → answer

A site's estimate θ and its variance v enter sums over the sites only, with weights w = 1/v and w* = 1/(v + τ²): Σw,
Σw², Σwθ, Σwθ² and, once τ² follows from these, Σw*, Σw*θ of each coefficient (DerSimonian and Laird 1986). No sum is
asked twice: if a site leaves before the last step, the sums with it and without it would tell its estimate by
subtraction. So with τ² = 0, where both weights are the same, the last step asks nothing; with a small τ² the sums are
nearly the same, and they do tell roughly what a site that left in between had put in. The random effects then rest on
the sites that are left, and the answer says so.

At least `FEWEST` sites must have a fit. Three of the sums are equations in the weights alone, so whoever knows its own
weight and sees them could solve for those of three others: with five sites, four are unknown. With fewer sites, `glm`
fits all rows at once and no site fits alone.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct, field

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude
from hansa.jobs.base import (
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
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Method
from hansa.jobs.levels import Known, Levels
from hansa.jobs.regression import alone, design, formula
from hansa.jobs.regression.combined import Combined, Effect, Family, MetaAnalysisAnswer
from hansa.jobs.regression.formula import Formula

FEWEST = 5
_COARSE = 0.01  # of Q: what rounding may do to it unsaid


class Magnitudes(Struct, frozen=True, tag="magnitudes"):
    categories: dict[str, Known]


class Fixed(Struct, frozen=True, tag="fixed"):
    """Weights are below 2^weight, estimates below 2^size."""

    categories: dict[str, Known]
    weight: tuple[int, ...]
    size: tuple[int, ...]


class Random(Struct, frozen=True, tag="random"):
    """What the fixed effects' totals told: the sum of weights, the effect, Q and τ² of each coefficient, over so many
    sites with a fit, sites without, and rows. `coarse`: what rounding did to Q, at most."""

    scales: Fixed
    weights: tuple[float, ...]
    effects: tuple[float, ...]
    q: tuple[float, ...]
    tau2: tuple[float, ...]
    counts: tuple[int, int, int]
    coarse: float


Stage = Magnitudes | Fixed | Random


class State(Struct, frozen=True):
    now: Stage


class MetaAnalysis(Job, frozen=True, tag="meta_analysis", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Meta-analysis of sites"
    learns: ClassVar[str] = (
        "how many sites have a fit of their own and over how many rows, the magnitudes of their largest estimate and "
        "weight in factors of 16, and for each coefficient six sums over these sites of estimates and weights; of a "
        "site that leaves before the last two of them, roughly its own"
    )
    method: ClassVar[Method | None] = Method(
        "Each institution fits the regression on its own rows. Estimates are combined with the inverses of their "
        "variances as weights (fixed effects), and with the variance between institutions added to theirs (random "
        "effects). Only sums over the institutions are opened. One whose rows allow no fit contributes nothing.",
        (
            "Q = Σ w (θ − θ̂)², I² = max(0, (Q − df) / Q)",
            "τ² = max(0, (Q − df) / (Σw − Σw² / Σw))",
            "θ̂ = Σ wθ / Σ w with w = 1 / v (fixed) or 1 / (v + τ²) (random), variance 1 / Σ w",
        ),
        (
            "DerSimonian and Laird, Meta-Analysis in Clinical Trials (Controlled Clinical Trials 1986)",
            "Higgins and Thompson, Quantifying Heterogeneity in a Meta-Analysis (Statistics in Medicine 2002)",
        ),
    )

    formula: Annotated[
        str,
        Meta(
            title="Formula",
            description="outcome ~ first + C(code) * third; also log, log2, log10, log1p, exp, sqrt.",
            max_length=formula.LONGEST,
            extra={"form": "formula"},
        ),
    ]
    family: Annotated[Family, Meta(title="Family", description="Linear or logistic (0/1).")]
    minimum_rows: Annotated[
        int, Meta(title="Rows of a site", description="A site with fewer contributes nothing.", ge=10, le=1_000_000)
    ] = 10
    levels: Levels = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        model = self.model()
        levels.refuse_unfit(self.levels, model.columns())
        return model.columns()

    def check(self, schema: Schema) -> None:
        self.columns()
        design.check(self.model(), self.levels, schema)

    def steps_after(self, step: Step) -> int:
        return (Random, Fixed, Magnitudes).index(type(self._read(step)))

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        model = self.model()
        for schema in schemas:
            self.check(schema)
        wanted = [design.categorical_factors(model, schema) for schema in schemas]
        if any(one != wanted[0] for one in wanted):
            raise Refused("a column of the formula holds text in one table and numbers in another")
        known = {}
        for factor in model.factors():
            if factor.text in wanted[0]:
                known[factor.text] = levels.declared(factor.column, self.levels, schemas)
                if len(known[factor.text]) < 2:
                    raise Refused(f"'{factor.text}' needs at least two declared categories")
        design.names(model, known)
        return self._ask(Magnitudes(known), sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        now, model = self._read(step), self.model()
        wanted = design.categorical_factors(model, table.schema)
        known = _categories(now)
        if set(known) != set(wanted) or not all(known.values()):
            raise ProtocolViolation("the state of a meta-analysis does not name the categories of its formula")
        width = len(design.names(model, known))
        own = alone.fit(table, model, known, self.family, self.minimum_rows)
        has_rows = bool(design.complete(table, model).any())
        counts = np.array([own is not None, own is None and has_rows, own.rows if own else 0], dtype=np.float64)
        if isinstance(now, Magnitudes):
            both = np.concatenate([1 / own.variances, own.estimates])[None, :] if own else np.zeros((0, 2 * width))
            return fit(step, {"counts": counts, "magnitudes": magnitude.flags(both)})
        sums = _weighed(own, now) if own else np.zeros(_units(now).shape)
        return fit(step, {"counts": counts, "sums": sums})

    def advance(self, step: Step, total: Total) -> Step | MetaAnalysisAnswer:
        now = self._read(step)
        sites, without, rows = (round(count) for count in total.real("counts").tolist())
        if sites < FEWEST:
            raise Refused(
                f"fewer than {FEWEST} sites have a fit of their own, and of so few each could work out another's "
                "from the sums; a regression over all rows needs none"
            )
        if isinstance(now, Magnitudes):
            found = magnitude.exponents(total.flag("magnitudes"))
            sizes = tuple(4 * magnitude.LOWEST if one is None else one for one in found)
            width = len(sizes) // 2
            return self._ask(Fixed(now.categories, sizes[:width], sizes[width:]), total.sites)
        sums = total.real("sums") * _units(now)
        if not np.all((sums[0] > 0) | _homogeneous(now)):
            raise ProtocolViolation("a sum of weights in a meta-analysis is not positive")
        if isinstance(now, Random):
            return self._answer(now, sums, sites)
        error = float((total.sites * step.blocks[1].step + 2.0**-50) * (_units(now)[3] / 2).max())  # type: ignore[union-attr]
        return self._ask(_fixed(now, sums, (sites, without, rows), error), total.sites)

    def model(self) -> Formula:
        return formula.parse(self.formula, "")

    def _ask(self, now: Stage, sites: int) -> Step:
        counts = reals("counts", (3,), magnitude.MAX_ROWS, sites)
        if isinstance(now, Magnitudes):
            width = len(design.names(self.model(), now.categories))
            blocks = (counts, Flags("magnitudes", (2 * width, magnitude.PLACES)))
            return Step("magnitudes", blocks, encode_state(State(now)))
        name = "fixed effects" if isinstance(now, Fixed) else "random effects"
        return Step(name, (counts, reals("sums", _units(now).shape, 1.0, sites)), encode_state(State(now)))

    def _answer(self, now: Random, sums: Array, sites: int) -> MetaAnalysisAnswer:
        from scipy.special import chdtrc

        fixed = _effects(np.array(now.effects), np.array(now.weights))
        weights = np.where(_homogeneous(now), now.weights, sums[0])
        means = np.where(_homogeneous(now), now.effects, sums[1] / np.where(_homogeneous(now), 1.0, sums[0]))
        random = _effects(means, weights)
        found, df = {}, now.counts[0] - 1
        for place, name in enumerate(design.names(self.model(), now.scales.categories)):
            q = now.q[place]
            i2 = max(0.0, (q - df) / q) if q > 0 else 0.0
            found[name] = Combined(fixed[place], random[place], now.tau2[place], q, i2, float(chdtrc(df, q)))
        notes: tuple[str, ...] = ()
        if sites != now.counts[0]:
            notes += (f"a site left: the random effects rest on {sites} of the {now.counts[0]} sites",)
        if now.coarse > _COARSE:
            notes += (f"rounding may have changed a Q by up to {now.coarse:.2g}, and τ² with it",)
        return MetaAnalysisAnswer(
            family=self.family,
            formula=self.formula,
            coefficients=found,
            sites=now.counts[0],
            without=now.counts[1],
            n=now.counts[2],
            minimum_rows=self.minimum_rows,
            notes=notes,
        )

    def _read(self, step: Step) -> Stage:
        now = messages.decode(step.state, State).now
        model, known = self.model(), _categories(now)
        if not set(known) <= {factor.text for factor in model.factors()}:
            raise ProtocolViolation("the state of a meta-analysis does not name the categories of its formula")
        width = len(design.names(model, known))
        lengths, numbers = {width}, [0.0]
        if isinstance(now, Random):
            numbers = [*now.weights, *now.effects, *now.q, *now.tau2, now.coarse]
            lengths |= {len(now.weights), len(now.effects), len(now.q), len(now.tau2)}
        if not isinstance(now, Magnitudes):
            scales = now if isinstance(now, Fixed) else now.scales
            lengths |= {len(scales.weight), len(scales.size)}
            numbers += [one / 200 for one in (*scales.weight, *scales.size)]
        out = not isinstance(now, Magnitudes) and max(map(abs, numbers[-2 * width :])) > 1
        if lengths != {width} or out or not np.all(np.isfinite(numbers)) or _negative(now):
            raise ProtocolViolation("the state of a meta-analysis is out of range")
        return now


def _categories(now: Stage) -> dict[str, tuple[str, ...]]:
    return now.scales.categories if isinstance(now, Random) else now.categories


def _homogeneous(now: Fixed | Random) -> npt.NDArray[np.bool_]:
    """Of which coefficients the random effects are the fixed ones."""
    return np.array(now.tau2) == 0 if isinstance(now, Random) else np.zeros(len(now.weight), dtype=np.bool_)


def _negative(now: Stage) -> bool:
    return isinstance(now, Random) and min(now.tau2) < 0


def _units(now: Fixed | Random) -> Array:
    """What the sums are divided by, so that each site's part is below 1: (4 or 2, width)."""
    scales = now if isinstance(now, Fixed) else now.scales
    weight, size = np.array(scales.weight, dtype=np.int64), np.array(scales.size, dtype=np.int64)
    exponents = [weight, weight + size] if isinstance(now, Random) else [weight, weight + size, weight + 2 * size]
    return np.ldexp(1.0, np.array([*exponents, 2 * weight][: 2 if isinstance(now, Random) else 4]))


def _weighed(own: alone.Fit, now: Fixed | Random) -> Array:
    """w, wθ, wθ², w², or w*, w*θ, in these units."""
    if isinstance(now, Random):
        tau2 = np.array(now.tau2)
        weight = np.where(tau2 > 0, 1 / (own.variances + tau2), 0.0)
        parts = [weight, weight * own.estimates]
    else:
        weight = 1 / own.variances
        parts = [weight, weight * own.estimates, weight * own.estimates**2, weight**2]
    return np.asarray(np.array(parts) / _units(now), dtype=np.float64)


def _fixed(now: Fixed, sums: Array, counts: tuple[int, int, int], error: float) -> Random:
    """The fixed effects, Cochran's Q and DerSimonian and Laird's τ²."""
    weight, first, second, squares = sums
    q = np.maximum(second - first**2 / weight, 0.0)
    scale = np.maximum(weight - squares / weight, weight * 2.0**-40)
    tau2 = np.maximum(0.0, (q - (counts[0] - 1)) / scale)
    columns = (weight, first / weight, q, tau2)
    return Random(now, *(tuple(one.tolist()) for one in columns), counts, error)  # type: ignore[call-arg,arg-type]


def _effects(estimates: Array, weights: Array) -> list[Effect]:
    from scipy.special import ndtr

    errors = 1 / np.sqrt(weights)
    z = estimates / errors
    columns = zip(estimates.tolist(), errors.tolist(), z.tolist(), (2 * ndtr(-np.abs(z))).tolist(), strict=True)
    return [Effect(*row) for row in columns]


def _made_up(slope: float, shift: int) -> Table:
    x = [float((7 * row + shift) % 11) for row in range(10)]
    y = [round(2.0 + slope * one + math.sin(3 * row + shift), 2) for row, one in enumerate(x)]
    return numbers_table(x=x, y=y)


EXAMPLE = Example(
    job=MetaAnalysis(formula="y ~ x", family="gaussian"),
    tables={
        name: _made_up(slope, shift)
        for shift, (name, slope) in enumerate(zip("abcde", (0.5, 0.7, 0.4, 1.1, 0.6), strict=True))
    },
    answer=MetaAnalysisAnswer(
        notes=(),
        family="gaussian",
        formula="y ~ x",
        coefficients={
            "(Intercept)": Combined(
                fixed=Effect(
                    estimate=2.086852403189664,
                    std_error=0.1561506838134617,
                    z=13.364350076638965,
                    p=9.768448216065286e-41,
                ),
                random=Effect(
                    estimate=2.086852403189664,
                    std_error=0.1561506838134617,
                    z=13.364350076638965,
                    p=9.768448216065286e-41,
                ),
                tau2=0.0,
                q=0.981626020332584,
                i2=0.0,
                p=0.9125691691301845,
            ),
            "x": Combined(
                fixed=Effect(
                    estimate=0.6359005295800818,
                    std_error=0.02668955252791343,
                    z=23.82582206708117,
                    p=1.8038492179778963e-125,
                ),
                random=Effect(
                    estimate=0.6427311824478661,
                    std_error=0.1057884512619919,
                    z=6.075627110336467,
                    p=1.2350410334311278e-09,
                ),
                tau2=0.05139171216228097,
                q=57.925097623226634,
                i2=0.9309453041233012,
                p=7.912316002445142e-12,
            ),
        },
        sites=5,
        without=0,
        n=50,
        minimum_rows=10,
    ),
)
