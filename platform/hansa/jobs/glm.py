"""`glm`: linear, logistic, Poisson and gamma regression by a formula, equal to the fit on the pooled rows.

    [categories] → magnitudes → means → [spreads] → iteration 1, 2, … → answer

`scaling.py` holds the passes before the iterations, `fitting.py` the iterations, `family.py` their totals.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType, field

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels
from hansa.jobs.base import Contribution, Example, Job, Schema, Step, Table, Total, encode_state, fit
from hansa.jobs.example import mixed_table
from hansa.jobs.levels import Levels
from hansa.jobs.regression import design, fitting, formula, scaling
from hansa.jobs.regression.family import Family
from hansa.jobs.regression.fitting import Coefficient, GlmAnswer, Iteration, Question
from hansa.jobs.regression.formula import Formula
from hansa.jobs.regression.scaling import Magnitudes, Means, Open, Spreads
from hansa.jobs.under_noise import ranges
from hansa.jobs.under_noise.ranges import Ends, Ranges
from hansa.privacy.noise import Noise

if TYPE_CHECKING:
    from hansa.jobs.under_noise.noisy import Noisy

_LARGEST_EXPONENT = 200


class State(Struct, frozen=True):
    """Which pass it is, with what that pass needs to know."""

    now: Open | Magnitudes | Means | Spreads | Iteration


class Glm(Job, frozen=True, tag="glm", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "Regression"
    open_ended: ClassVar[bool] = True
    learns: ClassVar[str] = (
        "which categories occur, magnitudes and means of the columns, and of every iteration the score, the "
        "information matrix (for a linear regression the sums of squares and products) and the deviance; with robust "
        "errors the sums of products weighted by squared residuals as well"
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
    family: Annotated[
        Family,
        Meta(title="Family", description="Linear, logistic (0/1), Poisson (counts) or gamma (positive, log link)."),
    ]
    outcome: Annotated[
        str, Meta(title="Outcome", description="If the formula has no left side.", extra={"form": "column"})
    ] = ""
    max_iterations: Annotated[int, Meta(title="Iterations", description="At most so many.", ge=2, le=100)] = 25
    levels: Levels = field(default_factory=dict)
    ranges: Ranges | UnsetType = UNSET
    errors: Annotated[
        Literal["model", "robust"] | UnsetType,
        Meta(title="Standard errors", description="Those of the model, or robust ones, which ask less of it."),
    ] = UNSET

    def columns(self) -> tuple[str, ...]:
        model = self.model()
        levels.refuse_unfit(self.levels, model.columns())
        ranges.refuse_unfit(self.declared_ranges(), model.columns())
        return model.columns()

    def check(self, schema: Schema) -> None:
        self.columns()
        design.check(self.model(), self.levels, schema)

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        model = self.model()
        known, wanted = self.known_categories(schemas)
        opened = Open(known)
        if scaling.open_factors(model, known, wanted):
            blocks = scaling.blocks(opened, model, wanted, 1.0, sites)
            return Step("categories", blocks, encode_state(State(opened)))
        return self._ask(Magnitudes(known), 1.0, sites)

    def encode(self, table: Table, step: Step) -> Contribution:
        model, now = self.model(), _read(step)
        wanted = design.categorical_factors(model, table.schema)
        known = now.known if isinstance(now, Open) else now.categories
        if not set(known) <= set(wanted) or (not isinstance(now, Open) and len(known) != len(wanted)):
            raise ProtocolViolation("the state of a regression does not name the categories of its formula")
        if not isinstance(now, Open):
            design.names(model, known)  # refuses a state that asks for more columns than a regression has
        if isinstance(now, Iteration):
            return fit(step, fitting.share(now, table, model, self.family, self.robust))
        return fit(step, scaling.share(now, table, model, self.family, wanted))

    def advance(self, step: Step, total: Total) -> Step | GlmAnswer:
        model, now = self.model(), _read(step)
        if isinstance(now, Open):
            opened = [block.name.removeprefix("present ") for block in step.blocks]
            return self._ask(Magnitudes(scaling.categories(now, model, opened, total)), 1.0, total.sites)
        labels = design.names(model, now.categories)
        asked = Question(model, self.formula, self.family, self.max_iterations, labels, self.robust)
        if isinstance(now, Iteration):
            then = fitting.advance(now, step, total, asked)
            return then if isinstance(then, GlmAnswer) else self._iterate(then, total.sites)
        fitting.refuse_few(float(np.rint(total.real("rows")[0])), asked)
        rows = float(np.rint(total.real("rows")[0]))
        labels = labels[1:] if model.intercept else labels
        if isinstance(now, Magnitudes):
            return self._ask(
                Means(now.categories, scaling.largest(total, model, self.family, labels)), rows, total.sites
            )
        if isinstance(now, Means):
            spreads = scaling.centred(now, total)
            if model.intercept:
                return self._ask(spreads, rows, total.sites)
            scale = scaling.finished(spreads, (0.0,) * len(now.exponents), now.exponents, self.family)
        else:
            scale = scaling.scale(now, total, model, self.family, labels)
        return self._iterate(fitting.start(now.categories, scale, asked), total.sites)

    def known_categories(self, schemas: Sequence[Schema]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """The declared categories by the text of their factor, and the texts of all categorical factors."""
        model = self.model()
        wanted = [design.categorical_factors(model, schema) for schema in schemas]
        if any(one != wanted[0] for one in wanted):
            raise Refused("a column of the formula holds text in one table and numbers in another")
        known = {
            factor.text: names
            for factor in model.factors()
            if factor.text in wanted[0] and (names := levels.declared(factor.column, self.levels, schemas))
        }
        scaling.refuse_single(known)
        return known, wanted[0]

    def under_noise(self, noise: Noise) -> "Noisy":
        from hansa.jobs.under_noise.linear import NoisyLinear
        from hansa.jobs.under_noise.logistic import NoisyLogistic

        noise.check()
        self.columns()
        if self.family in ("poisson", "gamma"):
            name = "Poisson" if self.family == "poisson" else self.family
            raise Refused(f"under noise there is no {name} regression: a row's mean has no bound, so no noise hides it")
        if self.robust:
            raise Refused("under noise standard errors are those of the model: robust ones have no bound")
        return NoisyLinear(glm=self, noise=noise) if self.family == "gaussian" else NoisyLogistic(glm=self, noise=noise)

    def declared_ranges(self) -> Mapping[str, Ends]:
        return {} if isinstance(self.ranges, UnsetType) else self.ranges

    @property
    def robust(self) -> bool:
        return self.errors == "robust"

    def model(self) -> Formula:
        return formula.parse(self.formula, self.outcome)

    def _ask(self, now: Magnitudes | Means | Spreads, rows: float, sites: int) -> Step:
        blocks = scaling.blocks(now, self.model(), (), rows, sites)
        return Step(type(now).__name__.lower(), blocks, encode_state(State(now)))

    def _iterate(self, now: Iteration, sites: int) -> Step:
        again = f", halved {now.halvings} times" if now.halvings else ""
        blocks = fitting.blocks(now, self.family, sites, self.robust)
        return Step(f"iteration {now.turn + 1}{again}", blocks, encode_state(State(now)))


def _read(step: Step) -> Open | Magnitudes | Means | Spreads | Iteration:
    now = messages.decode(step.state, State).now
    numbers: list[float] = []
    exponents: list[int] = []
    if isinstance(now, Means | Spreads):
        exponents += now.exponents
    if isinstance(now, Spreads):
        numbers += (*now.centres, now.rows, now.outcome)
    if isinstance(now, Iteration):
        scale = now.scale
        exponents += (*scale.exponents, scale.largest)
        numbers += (
            *now.trial,
            *now.step,
            *scale.centres,
            scale.rows,
            scale.outcome,
            now.rows,
            now.deviance or 0.0,
        )
        if scale.rows < 1:
            raise ProtocolViolation("the state of a regression is out of range")
    if not np.all(np.isfinite(numbers)) or any(abs(exponent) > _LARGEST_EXPONENT for exponent in exponents):
        raise ProtocolViolation("the state of a regression is out of range")
    return now


EXAMPLE = Example(
    job=Glm(formula="ill ~ age + ward", family="binomial"),
    tables={
        "a": mixed_table(
            {"ward": ("north", "south")},
            ill=[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, None],
            age=[30.0, 42.0, 45.0, 51.0, 60.0, 71.0, 50.0],
            ward=["north", "south", "north", "north", "south", "north", "south"],
        ),
        "b": mixed_table(
            {"ward": ("north", "south")},
            ill=[1.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            age=[38.0, 47.0, 55.0, 58.0, 66.0, 33.0],
            ward=["south", "north", "south", "south", "north", "south"],
        ),
    },
    answer=GlmAnswer(
        family="binomial",
        formula="ill ~ age + ward",
        coefficients={
            "(Intercept)": Coefficient(-5.928894732442823, 3.619700673884567, -1.6379516613676484, 0.1014317778563568),
            "age": Coefficient(0.1150566332692465, 0.06818953895843453, 1.6873062206708886, 0.09154448547737688),
            "wardsouth": Coefficient(0.4288379692514155, 1.401871483078388, 0.3059039108989681, 0.7596778081493634),
        },
        n=12,
        dropped=1,
        df=9,
        deviance=12.583212476543508,
        null_deviance=16.635532333438686,
        aic=18.58321247654351,
        dispersion=1.0,
        iterations=6,
        converged=True,
        precision=2.166246570109356e-15,
        notes=("rows left out because they miss a value: 1",),
    ),
)
