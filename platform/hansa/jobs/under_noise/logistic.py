"""Logistic regression under noise, by a fixed number of noisy Newton steps.

Rows are those of `rows.py`: v holds the columns as z, with the constant 1 if the model has one, |v|² ≤ B. There are
`STEPS` totals, at coefficients that everybody sees. One row changes the score, v (y − μ), by at most √B; the
information, 4 μ (1 − μ) v v', upper triangle, by √((B² + B) / 2), as in `linear.py`; rows, rows left out, outcome and
loss (held below `LOSS`) by √3, since a row that is left out adds to one of these alone.

The number is fixed, because stopping on what a total says would make the price of the answer a secret. Poisson is
refused: a row's mean has no bound, so neither has what it adds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Array, Contribution, Schema, Step, Table, Total, encode_state, fit, reals
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.regression import family
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.jobs.under_noise import rows
from hansa.jobs.under_noise.regression import (
    NOTES,
    STEPS,
    NoisyGlm,
    State,
    in_own_units,
    noise_of_products,
    read,
    refuse_loud,
    symmetric,
    triangle_change,
)

LOSS = 8.0  # the most that a row counts as in the deviance: it is that far off only by an odd of 1 to 3000
_FARTHEST = 4.0  # that a Newton step goes, in any coefficient of z


class NoisyLogistic(NoisyGlm, frozen=True, tag="logistic regression under noise", kw_only=True):
    learns: ClassVar[str] = "with noise, of a fixed number of steps: the score, the information matrix, rows and loss"

    @property
    def totals(self) -> int:
        return min(STEPS, self.glm.max_iterations)

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        del step
        length = self.length() + self.glm.model().intercept
        return {"score": math.sqrt(length), "information": triangle_change(length), "rows": math.sqrt(3.0)}

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        categories = self.categories(schemas)
        start = (0.0,) * len(self.frame(categories).labels)
        return _ask(State(categories, start), sites)

    def share(self, table: Table, step: Step) -> Contribution:
        state = read(step)
        every, outcome = self.bounded(table, state)
        columns = every if self.glm.model().intercept else every[:, 1:]
        if columns.shape[1] != len(state.trial):
            raise ProtocolViolation("the state of a regression does not fit its columns")
        eta = np.zeros(outcome.size)
        for column, slope in zip(
            columns.T, state.trial, strict=True
        ):  # each row by itself, whatever rows stand beside it
            eta += column * slope
        tail = np.exp(-np.abs(eta))
        mean = np.where(eta < 0, tail, 1.0) / (1 + tail)
        weight = np.clip(4 * tail / (1 + tail) ** 2, 0.0, 1.0)
        loss = np.clip(np.maximum(eta, 0.0) + np.log1p(tail) - outcome * eta, 0.0, LOSS) / LOSS
        score = rows.products(columns, rows.cut(np.clip(outcome - mean, -1.0, 1.0))[:, None])[:, 0]
        information = rows.products(rows.cut(columns * weight[:, None]), columns)[np.triu_indices(columns.shape[1])]
        counted = (float(outcome.size), float(table.rows - outcome.size), math.fsum(outcome), math.fsum(loss))
        return fit(step, {"score": score, "information": information, "rows": np.array(counted)})

    def advance(self, step: Step, total: Total) -> Step | GlmAnswer:
        state = read(step)
        counted, score = total.real("rows"), total.real("score")
        information = symmetric(total.real("information"), score.size) / 4
        refuse_loud(information, total.noise["information"] / 4, round(float(counted[0])) - score.size)
        inverse = np.linalg.inv(information)
        move = inverse @ score
        last = state.turn + 1 == self.totals
        if not last:
            move = move / max(1.0, float(np.abs(move).max()) / _FARTHEST)
        trial = np.array(state.trial) + move
        if not last:
            return _ask(State(state.categories, tuple(trial.tolist()), state.turn + 1), total.sites)
        noise = np.eye(score.size) * total.noise["score"] ** 2
        noise = noise + noise_of_products(total.noise["information"] / 4, move, 0.0)
        covariance = np.asarray(inverse + inverse @ noise @ inverse, dtype=np.float64)
        return self._answer(state, total, trial, covariance, float(score @ move))

    def _answer(self, state: State, total: Total, trial: Array, covariance: Array, decrement: float) -> GlmAnswer:
        count, missing, ones, loss = (float(number) for number in total.real("rows"))
        rows_, width, intercept = round(count), trial.size, self.glm.model().intercept
        if not 0 < ones < count:
            raise Refused("the noise is louder than the smaller class of the outcome: ask for more rows or a larger ε")
        fixed = np.array([ones, 0.0, 0.0])
        deviance = 2 * LOSS * loss - decrement
        moved = np.abs(trial - np.array(state.trial)) <= 4 * np.sqrt(np.diag(covariance))
        still = (
            ()
            if moved.all()
            else (f"the last of {self.totals} steps still moved a coefficient by more than its noise",)
        )
        return GlmAnswer(
            family="binomial",
            formula=self.glm.formula,
            coefficients=in_own_units(self.frame(state.categories), trial, covariance, intercept, None),
            n=rows_,
            dropped=round(missing),
            df=rows_ - width,
            deviance=deviance,
            null_deviance=family.null_deviance("binomial", fixed, count, intercept),
            aic=family.aic("binomial", deviance, fixed, count, width),
            dispersion=1.0,
            iterations=self.totals,
            converged=bool(moved.all()),
            precision=0.0,
            notes=(*NOTES, *still, *self.unit_notes()),
            noise=self.told(total),
        )


def _ask(state: State, sites: int) -> Step:
    width = len(state.trial)
    shapes = {"score": width, "information": width * (width + 1) // 2, "rows": 4}
    blocks = tuple(reals(name, (size,), MAX_ROWS, sites) for name, size in shapes.items())
    return Step(f"step {state.turn + 1}", blocks, encode_state(state))
