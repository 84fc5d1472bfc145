"""Fisher scoring on totals: one iteration is one step, and the last one alone gives the answer.

Convergence is told from a step's own totals: the Newton decrement (the squared length of the next step in
standard errors, Boyd and Vandenberghe 2004, section 9.5.1) is at most `SETTLED`, or what rounding leaves of
it, and the step is then still taken. A separated outcome never gets there: its coefficients keep growing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Answer, Array, Contribution, Flags, Reals, Step, Table, Total, reals
from hansa.jobs.levels import Known
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.regression import design, family, predicting, scaling, scoring
from hansa.jobs.regression.family import Family
from hansa.jobs.regression.formula import Formula
from hansa.jobs.regression.scaling import Scale
from hansa.jobs.regression.scoring import Newton
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

SETTLED = 1e-18
STUDENTS = ("gaussian", "gamma")  # families whose dispersion is estimated
_STILL = 1e-6  # of the largest coefficient: what the last step may move at most
_HALVINGS = 12
_WORSE = 1e-9  # relative growth of the deviance that isn't rounding


class Coefficient(Struct, frozen=True):
    """`z` is a t statistic with `df` degrees of freedom in a gaussian or gamma regression, else a normal one."""

    estimate: float
    std_error: float
    z: float
    p: float


class GlmAnswer(Answer, frozen=True, tag="glm", kw_only=True):
    """As R's glm gives it. `dropped` rows missed a value. Under noise, standard errors hold what it does as well.

    `precision` bounds what rounding in the last totals did: to a coefficient, in units of its standard error,
    and to a standard error, relatively; the larger of the two over all coefficients. `errors` is there where they were
    asked to be robust.
    """

    family: Family
    formula: str
    coefficients: dict[str, Coefficient]
    n: int
    dropped: int | None
    df: int
    deviance: float
    null_deviance: float
    aic: float
    dispersion: float
    iterations: int
    converged: bool
    precision: float
    errors: Literal["robust"] | UnsetType = UNSET

    def disclosed(self, rules: Rules) -> "GlmAnswer":
        """Refused if it rests on few rows, or has many parameters for them; a left-out count of dropped rows is None.
        `n` and the degrees of freedom are what the standard errors rest on, and stay exact."""
        disclosure.refuse_few(self.n, "the regression", rules)
        disclosure.refuse_rich(len(self.coefficients), self.n, rules)
        dropped = disclosure.shown(self.dropped or 0, rules)
        return replace(self, dropped=dropped, notes=_notes(dropped) + disclosure.note(rules, dropped is None))

    def predictors(self) -> tuple[str, ...]:
        return predicting.columns(self.formula)

    def predict(self, table: Table) -> Mapping[str, Array]:
        estimates = {name: one.estimate for name, one in self.coefficients.items()}
        eta = predicting.linear(self.formula, estimates, table)
        return {"linear predictor": eta, "prediction": predicting.mean(self.family, eta)}


class Iteration(Struct, frozen=True, tag="iteration"):
    """`trial` = what was accepted last + `step`; `deviance` is of that, over `rows` of `sites`."""

    categories: dict[str, Known]
    scale: Scale
    trial: tuple[float, ...]
    step: tuple[float, ...]
    deviance: float | None = None
    rows: float = 0.0
    sites: int = 0
    turn: int = 0
    halvings: int = 0


class Question(Struct, frozen=True):
    """What the job asked, with the names of its columns."""

    model: Formula
    text: str
    family: Family
    max_iterations: int
    labels: tuple[str, ...]
    robust: bool = False


def start(categories: dict[str, tuple[str, ...]], scale: Scale, asked: Question) -> Iteration:
    """The null model: an intercept at the mean outcome, everything else zero."""
    trial = [0.0] * len(asked.labels)
    mean = scale.outcome / scale.rows
    _refuse_one_class(asked, scale.outcome, scale.rows)
    if asked.model.intercept and asked.family != "gaussian":
        trial[0] = math.log(mean / (1 - mean)) if asked.family == "binomial" else math.log(mean)
    return Iteration(categories, scale, tuple(trial), (0.0,) * len(trial))


def _refuse_one_class(asked: Question, outcome: float, rows: float) -> None:
    if asked.family == "binomial" and not 0 < round(outcome) < round(rows):
        raise Refused(f"the outcome '{asked.model.outcome.text}' has one class only")
    if asked.family == "poisson" and round(outcome) == 0:
        raise Refused(f"the outcome '{asked.model.outcome.text}' is zero in every row")


def blocks(now: Iteration, kind: Family, sites: int, robust: bool) -> tuple[Reals | Flags, ...]:
    scale = now.scale
    bound = family.bounds(kind, np.array(now.trial), scale.rows, scale.outcome, scale.largest)
    return (reals("rows", (2,), MAX_ROWS, sites), *family.blocks(kind, bound, len(now.trial), sites, robust))


def share(now: Iteration, table: Table, model: Formula, kind: Family, robust: bool) -> Contribution:
    used = design.complete(table, model)
    values = scaling.columns(table, model, now.categories, used)
    width = values.shape[1] - 1 + model.intercept
    scale = now.scale
    if not len(scale.centres) == len(scale.exponents) == values.shape[1] or len(now.trial) != width:
        raise ProtocolViolation("the state of a regression does not fit its columns")
    with np.errstate(over="ignore"):  # what a hub's made-up scale does is refused by the bounds
        values = np.ldexp(values - np.array(scale.centres), -np.array(scale.exponents, dtype=np.int64))
    z = np.column_stack([np.ones((values.shape[0], int(model.intercept))), values[:, :-1]])
    trial = np.array(now.trial)
    means = family.bounds(kind, trial, scale.rows, scale.outcome, scale.largest).means
    part = family.share(kind, z, values[:, -1], trial, means, robust)
    others = {"meat": part.meat, "curvature": part.curvature}
    return {
        "rows": np.array([used.sum(), table.rows - used.sum()], dtype=np.float64),
        "score": part.score,
        "information": part.information,
        "loss": np.array([part.loss]),
        "fixed": part.fixed,
        "overflow": np.array([part.overflow]),
        **{name: values for name, values in others.items() if values is not None},
    }


def advance(now: Iteration, step: Step, total: Total, asked: Question) -> Iteration | GlmAnswer:
    """The next trial, half the last step if it led astray, or the answer."""
    rows, part = float(np.rint(total.real("rows")[0])), family.read(total)
    if part.overflow:
        return _halved(now, asked)
    refuse_few(rows, asked)
    if asked.family != "gaussian":
        _refuse_one_class(asked, part.fixed[0], rows)
    deviance = family.deviance(asked.family, part.loss, part.fixed, rows)
    same_rows = (now.rows, now.sites) == (rows, total.sites)
    if now.deviance is not None and same_rows and deviance - now.deviance > _WORSE * (abs(deviance) + 0.1):
        return _halved(now, asked)
    newton = scoring.newton(part.score, part.information if part.curvature is None else part.curvature)
    if isinstance(newton, scoring.Dependent):
        if now.turn == 0:
            label = asked.labels[newton.column]
            raise Refused(f"column '{label}' depends linearly on the columns before it; leave one of them out")
        raise _stuck(now, np.array(now.step), asked)
    rounding = {block.name: total.sites * block.step / 2 for block in step.blocks if isinstance(block, Reals)}
    if _settled(now, newton, rounding["score"], asked):
        return _answer(now, total, _expected(newton, part), rounding, asked)
    if now.turn + 1 >= asked.max_iterations:
        raise _stuck(now, newton.step, asked)
    trial = np.array(now.trial) + newton.step
    return Iteration(
        now.categories,
        now.scale,
        tuple(trial.tolist()),
        tuple(newton.step.tolist()),
        deviance,
        rows,
        total.sites,
        now.turn + 1,
    )


def refuse_few(rows: float, asked: Question) -> None:
    if rows == 0:
        raise Refused("no rows are complete in the columns of the formula")
    if rows <= len(asked.labels):
        raise Refused(f"there are no more complete rows than the {len(asked.labels)} coefficients of the formula")


def _halved(now: Iteration, asked: Question) -> Iteration:
    """Half way back to what was accepted last, as R's glm does when it diverges."""
    half = np.array(now.step) / 2
    if now.halvings >= _HALVINGS or not half.any():
        raise _stuck(now, half, asked)
    trial = tuple((np.array(now.trial) - half).tolist())
    return msgspec.structs.replace(now, trial=trial, step=tuple(half.tolist()), halvings=now.halvings + 1)


def _stuck(now: Iteration, step: Array, asked: Question) -> Refused:
    """Names the column that moves most: the one that separates, if any does."""
    moving = np.abs(step)
    if asked.model.intercept and moving.size > 1:
        moving[0] = 0.0
    label = asked.labels[int(np.argmax(moving))]
    return Refused(
        f"did not converge in {now.turn + 1} iterations: the outcome may be "
        f"separated by '{label}', alone or with others"
    )


def _settled(now: Iteration, newton: Newton, rounding: float, asked: Question) -> bool:
    """Whether the step that remains is too small to matter, and small enough to be the last."""
    largest = max(1.0, float(np.abs(np.array(now.trial)).max()))
    still = float(np.abs(newton.step).max()) <= _STILL * largest
    if (
        asked.family == "gaussian"
    ):  # linear: the first step solved it, this one refined it; robust errors are of the trial
        return now.turn >= 1 and (still or not asked.robust)
    noise = 4 * rounding**2 * float(np.abs(newton.covariance).sum())
    return newton.decrement <= max(SETTLED, noise) and still


def _expected(newton: Newton, part: family.Share) -> Newton:
    """With the covariance of the expected information, as R's glm has it."""
    found = newton if part.curvature is None else scoring.newton(part.score, part.information)
    return newton if isinstance(found, scoring.Dependent) else replace(newton, covariance=found.covariance)


def _answer(now: Iteration, total: Total, newton: Newton, rounding: dict[str, float], asked: Question) -> GlmAnswer:
    part, kind, width = family.read(total), asked.family, len(now.trial)
    rows, dropped = (round(number) for number in total.real("rows"))
    unit = math.ldexp(1.0, now.scale.exponents[-1])  # of the outcome; 1 unless gaussian
    deviance = family.deviance(kind, part.loss, part.fixed, float(rows)) - newton.decrement
    dispersion = 1.0
    if kind == "gaussian":
        if deviance <= 4 * rounding["loss"] + 1e-26 * float(part.fixed[1]):
            raise Refused(f"the outcome '{asked.model.outcome.text}' follows exactly from the columns of the formula")
        dispersion = deviance / (rows - width)
    if kind == "gamma":
        dispersion = float(part.fixed[2]) / (rows - width)  # Pearson's, as R's
    scaled = unit * unit * deviance
    null = unit * unit * family.null_deviance(kind, part.fixed, float(rows), asked.model.intercept)
    middle = dispersion * newton.covariance if part.meat is None else _sandwich(newton.covariance, part.meat)
    estimates, errors = _in_own_units(now, newton.step, middle, asked.model.intercept)
    return GlmAnswer(
        family=kind,
        formula=asked.text,
        coefficients=coefficients(asked.labels, estimates, errors, rows - width if kind in STUDENTS else None),
        n=rows,
        dropped=dropped,
        df=rows - width,
        deviance=scaled,
        null_deviance=null,
        aic=family.aic(kind, scaled, part.fixed, float(rows), width),
        dispersion=dispersion * unit * unit,
        iterations=now.turn + 1,
        converged=True,
        precision=_precision(newton, rounding, dispersion, deviance if kind == "gaussian" else None),
        errors="robust" if asked.robust else UNSET,
        notes=_notes(dropped),
    )


def _notes(dropped: int | None) -> tuple[str, ...]:
    return (f"rows left out because they miss a value: {dropped}",) if dropped else ()


def _sandwich(bread: Array, meat: Array) -> Array:
    """HC0: no correction for few rows."""
    full = np.zeros_like(bread)
    full[np.triu_indices(bread.shape[0])] = meat
    full = full + np.triu(full, 1).T
    return np.asarray(bread @ full @ bread, dtype=np.float64)


def _in_own_units(now: Iteration, step: Array, covariance: Array, intercept: bool) -> tuple[Array, Array]:
    """Estimates and standard errors of the columns as they were; η = b0 + Σ b (x - c) / 2^e is linear."""
    *centres, outcome = now.scale.centres
    *exponents, last = now.scale.exponents
    slopes = np.ldexp(1.0, -np.array(exponents, dtype=np.int64))
    back = np.diag(np.concatenate([np.ones(int(intercept)), slopes]))
    if intercept:
        back[0, 1:] = -np.array(centres) * slopes
    back = np.ldexp(back, last)
    estimates = back @ (np.array(now.trial) + step)
    if intercept:
        estimates[0] += outcome
    variances = np.einsum("ij,jk,ik->i", back, covariance, back)
    return estimates, np.sqrt(variances)


def coefficients(labels: Sequence[str], estimates: Array, errors: Array, df: int | None) -> dict[str, Coefficient]:
    from scipy.special import ndtr, stdtr

    ratios = estimates / errors
    tails = 2 * (ndtr(-np.abs(ratios)) if df is None else stdtr(df, -np.abs(ratios)))
    numbers = zip(estimates.tolist(), errors.tolist(), ratios.tolist(), tails.tolist(), strict=True)
    return {label: Coefficient(*row) for label, row in zip(labels, numbers, strict=True)}


def _precision(newton: Newton, rounding: dict[str, float], dispersion: float, residual: float | None) -> float:
    step, variance = scoring.errors(newton, rounding["score"], rounding["information"])
    variances = np.diag(newton.covariance)
    of_coefficients = step / np.sqrt(variances * dispersion)
    of_errors = variance / variances / 2 + (rounding["loss"] / residual / 2 if residual else 0.0)
    return float(max(of_coefficients.max(), of_errors.max()))
