"""What regressions under noise share: `linear.py` totals sufficient statistics, `logistic.py` takes noisy Newton steps.

Standard errors add up what sampling and what noise leave uncertain: with τ the noise in each product, e = δb − δA β of
the normal equations has covariance τ² ((1 + |β|²) I + ββ' − diag(β²)); likewise for a Newton step. A fit is refused
where the noise is louder than the least information in any direction.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Array, Schema, Step, Table
from hansa.jobs.glm import Glm
from hansa.jobs.levels import Known
from hansa.jobs.regression import design, fitting
from hansa.jobs.under_noise import ranges, rows
from hansa.jobs.under_noise.noisy import Noisy
from hansa.jobs.under_noise.ranges import Ends
from hansa.jobs.under_noise.rows import Frame

STEPS = 4  # of Newton, in a logistic regression
_LARGEST_TRIAL = 1e6
_CLASSES: Ends = (0.0, 1.0)
NOTES = (
    "coefficients carry noise, and their standard errors hold it; counts and deviance carry it without error bars",
    "numbers beyond the range of their column count as its end",
)


class State(Struct, frozen=True):
    """The categories; of a logistic step also at which coefficients of z it is taken, and what the step before found:
    the information, upper triangle, and the standard deviation of the noise in each number of it."""

    categories: dict[str, Known]
    trial: tuple[float, ...] = ()
    turn: Annotated[int, Meta(ge=0, lt=STEPS)] = 0
    information: tuple[float, ...] = ()
    noise: float = 0.0


class NoisyGlm(Noisy, frozen=True, kw_only=True):
    """What both families share."""

    title: ClassVar[str] = Glm.title
    glm: Glm

    @property
    def asked(self) -> Glm:
        return self.glm

    @property
    def outcome(self) -> Ends | None:
        return _CLASSES if self.glm.family == "binomial" else None

    def categories(self, schemas: Sequence[Schema]) -> dict[str, tuple[str, ...]]:
        """The declared ones; refuses a question for which a category or a range is missing."""
        for schema in schemas:
            self.check(schema)
        known, wanted = self.glm.known_categories(schemas)
        for text in wanted:
            if text not in known:
                raise Refused(f"under noise '{text}' needs its categories: looking for them would show rows")
        self.frame(known)
        return known

    def given(self, categories: design.Categories) -> dict[str, Ends]:
        """The ranges of what counts as a number."""
        columns = rows.numeric_columns(self.glm.model(), categories, self.outcome)
        ranges.refuse_missing(self.glm.declared_ranges(), columns)
        given = {column: self.glm.declared_ranges()[column] for column in columns}
        return given if self.outcome is None else {**given, self.glm.model().outcome.column: self.outcome}

    def frame(self, categories: design.Categories) -> Frame:
        return rows.frame(self.glm.model(), categories, self.given(categories), self.outcome)

    def bounded(self, table: Table, state: State) -> tuple[Array, Array]:
        if set(state.categories) != set(design.categorical_factors(self.glm.model(), table.schema)):
            raise ProtocolViolation("the state of a regression does not name the categories of its formula")
        if any(len(set(names)) != len(names) or not names for names in state.categories.values()):
            raise ProtocolViolation("the state of a regression names a category twice, or none")
        made = self.frame(state.categories)
        return rows.bounded(table, self.glm.model(), state.categories, self.given(state.categories), made)

    def length(self) -> float:
        """The squared length that no row of the design exceeds, without the constant that is always there."""
        return float(len(self.glm.model().terms))


def read(step: Step) -> State:
    state = messages.decode(step.state, State)
    if any(not abs(slope) <= _LARGEST_TRIAL for slope in state.trial):
        raise ProtocolViolation("the state of a regression is out of range")
    return state


def triangle_change(length: float) -> float:
    return math.sqrt((length * length + length) / 2)


def symmetric(upper: Array, size: int) -> Array:
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = upper
    return matrix + np.triu(matrix, 1).T


def noise_of_products(noise: float, beta: Array, own: float) -> Array:
    """The covariance of δb − δA β; `own` is 1 if b carries the same noise as A, 0 if it has none."""
    length = own + float(beta @ beta)
    return noise * noise * (length * np.eye(beta.size) + np.outer(beta, beta) - np.diag(beta * beta))


def refuse_loud(information: Array, noise: float) -> None:
    """A symmetric matrix of noise has its eigenvalues within ± 2 τ √width."""
    least = float(np.linalg.eigvalsh(information)[0])
    if least <= 2 * noise * math.sqrt(information.shape[0]):
        raise Refused(
            "the noise is louder than what the rows say of some column: ask for more rows, narrower ranges, fewer "
            "columns or a larger ε"
        )


def in_own_units(
    made: Frame, beta: Array, covariance: Array, intercept: bool, df: int | None
) -> dict[str, fitting.Coefficient]:
    """Back from z, and from the outcome's, to the columns as they were."""
    slopes = 1 / np.array(made.scales[:-1])
    back = np.diag(np.concatenate([np.ones(int(intercept)), slopes]))
    if intercept:
        back[0, 1:] = -np.array(made.centres[:-1]) * slopes
    back = back * made.scales[-1]
    estimates = back @ beta
    if intercept:
        estimates[0] += made.centres[-1]
    deviations = np.sqrt(np.einsum("ij,jk,ik->i", back, covariance, back))
    return fitting.coefficients(made.labels, estimates, deviations, df)
