"""A regression on one site's own rows, as `glm` fits it on the pool: Fisher scoring to the end, or no fit at all."""

import math

import numpy as np
from msgspec import Struct

from hansa.jobs import magnitude
from hansa.jobs.base import Array, Table
from hansa.jobs.regression import design, family, scaling, scoring
from hansa.jobs.regression.design import Categories
from hansa.jobs.regression.family import Family
from hansa.jobs.regression.fitting import SETTLED
from hansa.jobs.regression.formula import Formula

_ITERATIONS = 25
_HALVINGS = 12
_ROWS_PER_COEFFICIENT = 3


class Fit(Struct, frozen=True):
    """Estimates and their variances, in the columns' own units, over so many complete rows."""

    estimates: Array
    variances: Array
    rows: int


def fit(table: Table, model: Formula, categories: Categories, kind: Family, least: int) -> Fit | None:
    """None if fewer than `least` rows are complete, or three for each coefficient, or if there is no one best fit: a
    column that is constant here, one class only, an outcome that is separated or follows exactly."""
    used = design.complete(table, model)
    values = scaling.columns(table, model, categories, used)
    magnitude.flags(values)  # refuses infinite numbers
    width = values.shape[1] - 1 + model.intercept
    if values.shape[0] < max(least, _ROWS_PER_COEFFICIENT * width):
        return None
    x, y = values[:, :-1], values[:, -1]
    if kind == "binomial" and np.any((y != 0) & (y != 1)):
        return None
    centre = x.mean(axis=0) if model.intercept else np.zeros(x.shape[1])
    scale = np.abs(x - centre).max(axis=0)
    if np.any(scale <= 2.0**-40 * np.abs(x).max(axis=0)):
        return None
    low, unit = (float(y.mean()), float(np.abs(y - y.mean()).max())) if kind == "gaussian" else (0.0, 1.0)
    low = low if model.intercept else 0.0
    if unit == 0.0:
        return None
    z = np.column_stack([np.ones((y.size, int(model.intercept))), (x - centre) / scale])
    found = _iterated(z, (y - low) / unit, kind)
    if found is None:
        return None
    trial, covariance = found
    back = np.diag(np.concatenate([np.ones(int(model.intercept)), 1 / scale]))
    if model.intercept:
        back[0, 1:] = -centre / scale
    estimates = unit * (back @ trial)
    estimates[0] += low if model.intercept else 0.0
    return Fit(estimates, unit**2 * np.einsum("ij,jk,ik->i", back, covariance, back), y.size)


def _iterated(z: Array, y: Array, kind: Family) -> tuple[Array, Array] | None:
    """Coefficients and their covariance; a step that raises the deviance is halved."""
    trial, step, before = np.zeros(z.shape[1]), np.zeros(z.shape[1]), math.inf
    for turn in range(_ITERATIONS):
        for _ in range(_HALVINGS):
            part = family.share(kind, z, y, trial, math.inf)
            deviance = family.deviance(kind, part.loss, part.fixed, float(y.size))
            if deviance <= before + 1e-9 * (abs(before) + 0.1):
                break
            step = step / 2
            trial = trial - step
        newton = scoring.newton(part.score, part.information)
        if isinstance(newton, scoring.Dependent):
            return None
        trial, step, before = trial + newton.step, newton.step, deviance
        if newton.decrement <= SETTLED * max(1.0, deviance) and turn:
            return _finished(y, kind, trial, newton.covariance, deviance)
    return None


def _finished(y: Array, kind: Family, trial: Array, covariance: Array, deviance: float) -> tuple[Array, Array] | None:
    if kind != "gaussian":
        return trial, covariance
    exact = deviance <= 1e-26 * float(y @ y) or y.size <= trial.size
    return None if exact else (trial, covariance * deviance / (y.size - trial.size))
