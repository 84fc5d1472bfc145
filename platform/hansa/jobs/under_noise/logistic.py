"""Logistic regression under noise, by a fixed number of noisy Newton steps.

Rows are those of `rows.py`: v holds the columns as z, with the constant 1 if the model has one, |v|² ≤ B. There are
`STEPS` totals of two blocks each, at coefficients that everybody sees. One row changes

* the score, v (y − μ), by at most √B;
* in all steps but the last, the information, 4 μ (1 − μ) v v', upper triangle, by √((B² + B) / 2), as in `linear.py`;
* in the last, which takes the information of the step before, rows, rows left out, outcome and loss (held below
  `LOSS`) by √3, since a row that is left out adds to one of these alone.

The number is fixed, because stopping on what a total says would make the price of the answer a secret. Poisson is
refused: a row's mean has no bound, so neither has what it adds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Contribution, Schema, Step, Table, Total, encode_state, fit, reals
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

    def steps_after(self, step: Step) -> int:
        return self.totals - 1 - read(step).turn

    def sensitivity(self, step: Step) -> Mapping[str, float]:
        length = self.length() + self.glm.model().intercept
        other = {"rows": math.sqrt(3.0)} if self._last(read(step)) else {"information": triangle_change(length)}
        return {"score": math.sqrt(length), **other}

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        categories = self.categories(schemas)
        start = (0.0,) * len(self.frame(categories).labels)
        return self._ask(State(categories, start), sites)

    def share(self, table: Table, step: Step) -> Contribution:
        state = read(step)
        every, outcome = self.bounded(table, state)
        columns = every if self.glm.model().intercept else every[:, 1:]
        if columns.shape[1] != len(state.trial):
            raise ProtocolViolation("the state of a regression does not fit its columns")
        eta = np.zeros(outcome.size)
        for place, slope in enumerate(state.trial):  # each row by itself, whatever rows stand beside it
            eta += columns[:, place] * slope
        tail = np.exp(-np.abs(eta))
        mean = np.where(eta < 0, tail, 1.0) / (1 + tail)
        score = rows.products(columns, rows.cut(np.clip(outcome - mean, -1.0, 1.0))[:, None])[:, 0]
        if self._last(state):
            loss = np.clip(np.maximum(eta, 0.0) + np.log1p(tail) - outcome * eta, 0.0, LOSS) / LOSS
            counted = (float(outcome.size), float(table.rows - outcome.size), math.fsum(outcome), math.fsum(loss))
            return fit(step, {"score": score, "rows": np.array(counted)})
        weight = np.clip(4 * tail / (1 + tail) ** 2, 0.0, 1.0)
        information = rows.products(rows.cut(columns * weight[:, None]), columns)
        return fit(step, {"score": score, "information": information[np.triu_indices(columns.shape[1])]})

    def advance(self, step: Step, total: Total) -> Step | GlmAnswer:
        state, score = read(step), total.real("score")
        if self._last(state):
            return self._answer(state, total)
        upper, noise = total.real("information") / 4, total.noise["information"] / 4
        information = symmetric(upper, score.size)
        refuse_loud(information, noise)
        move = np.linalg.solve(information, score)
        move = move / max(1.0, float(np.abs(move).max()) / _FARTHEST)
        trial = tuple((np.array(state.trial) + move).tolist())
        return self._ask(State(state.categories, trial, state.turn + 1, tuple(upper.tolist()), noise), total.sites)

    def _last(self, state: State) -> bool:
        return state.turn + 1 >= self.totals

    def _ask(self, state: State, sites: int) -> Step:
        width = len(state.trial)
        other = ("rows", 4) if self._last(state) else ("information", width * (width + 1) // 2)
        blocks = tuple(reals(name, (size,), MAX_ROWS, sites) for name, size in (("score", width), other))
        return Step(f"step {state.turn + 1}", blocks, encode_state(state))

    def _answer(self, state: State, total: Total) -> GlmAnswer:
        count, missing, ones, loss = (float(number) for number in total.real("rows"))
        score, width, intercept = total.real("score"), len(state.trial), self.glm.model().intercept
        if not 0 < ones < count or round(count) <= width:
            raise Refused("the noise is louder than the smaller class of the outcome: ask for more rows or a larger ε")
        inverse = np.linalg.inv(symmetric(np.array(state.information), width))
        move = inverse @ score
        noise = np.eye(width) * total.noise["score"] ** 2 + noise_of_products(state.noise, move, 0.0)
        covariance = np.asarray(inverse + inverse @ noise @ inverse, dtype=np.float64)
        still = bool(np.all(np.abs(move) <= 4 * np.sqrt(np.diag(covariance))))
        moving = () if still else (f"the last of {self.totals} steps still moved a coefficient by more than its noise",)
        deviance = 2 * LOSS * loss - float(score @ move)
        trial, frame = np.array(state.trial) + move, self.frame(state.categories)
        return GlmAnswer(
            family="binomial",
            formula=self.glm.formula,
            coefficients=in_own_units(frame, trial, covariance, intercept, None),
            n=round(count),
            dropped=round(missing),
            df=round(count) - width,
            deviance=deviance,
            null_deviance=family.null_deviance("binomial", np.array([ones, 0.0, 0.0]), count, intercept),
            aic=family.aic("binomial", deviance, np.zeros(3), count, width),
            dispersion=1.0,
            iterations=self.totals,
            converged=still,
            precision=0.0,
            notes=(*NOTES, *moving, *self.unit_notes()),
            noise=self.told(total),
        )
