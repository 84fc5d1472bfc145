"""Linear regression under noise, by noisy sufficient statistics.

Rows are those of `rows.py`: v holds the constant 1 and the columns as z, |v|² ≤ B. u is the outcome. There is one
total: the products of (v, u) with itself, upper triangle, and the rows left out. With C = B + 1 one row changes it by
at most √((C² + C) / 2): the square of Σ_{i≤j} is half of the fourth power of the length and of Σ z_i⁴ ≤ C.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hansa.errors import Refused
from hansa.jobs.base import Array, Contribution, Schema, Step, Table, Total, encode_state, fit, reals
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.regression import family
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.jobs.under_noise import rows
from hansa.jobs.under_noise.regression import (
    NOTES,
    NoisyGlm,
    State,
    in_own_units,
    noise_of_products,
    read,
    refuse_loud,
    symmetric,
    triangle_change,
)


class NoisyLinear(NoisyGlm, frozen=True, tag="linear regression under noise", kw_only=True):
    learns: ClassVar[str] = "with noise: rows, and the sums of all columns and of all products of two"

    @property
    def totals(self) -> int:
        return 1

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        del step
        return {"moments": triangle_change(2 + self.length())}

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        categories = self.categories(schemas)
        size = len(self.frame(categories).scales) + 1
        moments = reals("moments", (size * (size + 1) // 2 + 1,), MAX_ROWS, sites)
        return Step("products", (moments,), encode_state(State(categories)))

    def share(self, table: Table, step: Step) -> Contribution:
        design_rows, outcome = self.bounded(table, read(step))
        every = np.column_stack([design_rows, outcome])
        triangle = rows.products(every, every)[np.triu_indices(every.shape[1])]
        return fit(step, {"moments": np.append(triangle, float(table.rows - outcome.size))})

    def advance(self, step: Step, total: Total) -> GlmAnswer:
        made, noise = self.frame(read(step).categories), total.noise["moments"]
        moments = total.real("moments")
        every = symmetric(moments[:-1], len(made.scales) + 1)
        start = 0 if self.glm.model().intercept else 1
        matrix, right, own = every[start:-1, start:-1], every[start:-1, -1], float(every[-1, -1])
        count, width = round(float(every[0, 0])), matrix.shape[0]
        refuse_loud(matrix, noise)
        inverse = np.linalg.inv(matrix)
        beta = inverse @ right
        rest = own - float(right @ beta)
        if rest <= 2 * _of_rest(noise, beta) or count <= width:
            raise Refused(
                "the noise is louder than what the columns leave unexplained: ask for more rows or a larger ε"
            )
        dispersion, unit = rest / (count - width), made.scales[-1]
        covariance = dispersion * inverse + inverse @ noise_of_products(noise, beta, 1.0) @ inverse
        centre = float(every[0, -1]) ** 2 / count if start == 0 else 0.0
        deviance = unit * unit * rest
        return GlmAnswer(
            family="gaussian",
            formula=self.glm.formula,
            coefficients=in_own_units(made, beta, covariance, start == 0, count - width),
            n=count,
            dropped=round(float(moments[-1])),
            df=count - width,
            deviance=deviance,
            null_deviance=unit * unit * (own - centre),
            aic=family.aic("gaussian", deviance, np.zeros(3), float(count), width),
            dispersion=unit * unit * dispersion,
            iterations=1,
            converged=True,
            precision=0.0,
            notes=(*NOTES, *self.unit_notes()),
            noise=self.told(total),
        )


def _of_rest(noise: float, beta: Array) -> float:
    """The standard deviation that noise leaves in the residual sum of squares, γ' M γ with γ = (β, −1)."""
    squares = np.append(beta * beta, 1.0)
    return noise * math.sqrt(2 * float(squares.sum()) ** 2 - float((squares * squares).sum()))
