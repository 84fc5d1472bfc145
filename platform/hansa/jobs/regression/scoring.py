"""Newton's step from a total score and information, what it leaves uncertain, and dependent columns."""

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array

DEPENDENT = 1e-11  # squared distance of a column from the span of those before it, relative to its own length


class Dependent(Struct, frozen=True):
    """The column at this place is a linear function of those before it, as far as the total can tell."""

    column: int


class Newton(Struct, frozen=True):
    """`decrement` is score' covariance score: the squared length of the step in standard errors."""

    step: Array
    covariance: Array
    decrement: float


def newton(score: Array, upper: Array) -> Newton | Dependent:
    """Solves information · step = score; `upper` is the triangle row by row."""
    width = score.size
    information = np.zeros((width, width))
    information[np.triu_indices(width)] = upper
    information = information + np.triu(information, 1).T
    length = np.sqrt(np.maximum(np.diag(information), 0.0))
    if not length.all():
        return Dependent(int(np.flatnonzero(length == 0)[0]))
    triangle = _cholesky(information / np.outer(length, length))
    if isinstance(triangle, Dependent):
        return triangle
    inverse = np.linalg.inv(triangle)
    covariance = inverse.T @ inverse / np.outer(length, length)
    step = covariance @ score
    step = step + covariance @ (score - information @ step)  # one refinement
    return Newton(step, covariance, float(score @ step))


def _cholesky(correlation: Array) -> Array | Dependent:
    """Lower triangle, in the order of the columns so that the first dependent one is named."""
    width = correlation.shape[0]
    lower = np.zeros((width, width))
    for column in range(width):
        row = np.zeros(column)
        for before in range(column):
            row[before] = (correlation[column, before] - row[:before] @ lower[before, :before]) / lower[before, before]
        lower[column, :column] = row
        rest = correlation[column, column] - row @ row
        if not rest > DEPENDENT:
            return Dependent(column)
        lower[column, column] = np.sqrt(rest)
    return lower


def errors(newton: Newton, score: float, information: float) -> tuple[Array, Array]:
    """What rounding by at most `score` and `information` can do to the step and to the variances."""
    weight = np.abs(newton.covariance).sum(axis=1)
    return weight * score, weight * weight * information
