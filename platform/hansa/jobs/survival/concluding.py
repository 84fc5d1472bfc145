"""What the total of an iteration of a Cox regression leads to: another iteration, or the answer with its tests."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from hansa.jobs.base import Array, Step, Total
from hansa.jobs.regression import fitting, scoring
from hansa.jobs.regression.scoring import Dependent, Newton
from hansa.jobs.survival import cox_answer, iterating, passes
from hansa.jobs.survival.cox_answer import Baseline, CoxAnswer, Test
from hansa.jobs.survival.grid import Cells
from hansa.jobs.survival.iterating import Found, Iteration
from hansa.jobs.survival.likelihood import Places, Terms
from hansa.jobs.survival.passes import Asked

_FAR = 300.0  # beyond exp of it a hazard is not told


def advance(now: Iteration, step: Step, total: Total, asked: Asked, labels: Sequence[str]) -> Iteration | CoxAnswer:
    """The next trial, half the last step if it led astray, or the answer (with its formula still to be written)."""
    again = iterating.reaching(now, total, labels)
    if again is not None:
        return again
    rows, events = passes.refuse_few(total, asked, labels)
    part = iterating.found(now, step, total, asked)
    counted = (rows, events, total.sites)
    if part is None or iterating.worse(now, part, counted):
        return iterating.halved(now, labels)
    newton = iterating.solve(now, part, events, labels)
    same = now.turn > 0 and (now.rows, now.events, now.sites) == counted
    score = newton.decrement if now.turn == 0 else now.score_test if same else None
    if iterating.settled(now, newton, part.errors[0]):
        kept = replace(now, score_test=score, weights=now.weights if same else ())
        return _answer(kept, total, part, newton, asked, labels)
    if now.turn + 1 >= asked.max_iterations:
        raise iterating.stuck(now, newton.step, labels)
    weights = tuple(_late(now, total).tolist()) if asked.common else ()
    told = replace(now, loglik=part.loglik, rows=rows, events=events, sites=total.sites)
    told = replace(told, weights=weights, score_test=score)
    return iterating.next_trial(told, newton.step, asked, iterating.reached(total, asked))


def _late(now: Iteration, total: Total) -> Array:
    """1 - S(t-) at each interval with an event, over all strata."""
    at_risk, events = np.rint(total.real("counts"))
    union = iterating.every(now.frame)
    pooled = np.rint(total.real("pooled")) if len(now.frame.cells) > 1 else at_risk
    died = np.bincount(_place(now, union), weights=events, minlength=union.size)
    stays = 1 - np.divide(died, pooled, out=np.zeros_like(died), where=pooled > 0)
    return np.asarray(np.clip(1 - np.concatenate([[1.0], np.cumprod(stays)[:-1]]), 0.0, 1.0))


def _place(now: Iteration, union: Cells) -> Places:
    """Where each interval of each stratum is in `union`."""
    return np.searchsorted(union, np.concatenate([np.array(cells, dtype=np.int64) for cells in now.frame.cells]))


def _answer(
    now: Iteration, total: Total, part: Found, newton: Newton, asked: Asked, labels: Sequence[str]
) -> CoxAnswer:
    rows, dropped, events = (round(number) for number in total.real("rows"))
    unit = np.ldexp(1.0, np.array(now.exponents, dtype=np.int64))
    trial, width = np.array(now.trial) + newton.step, len(now.trial)
    errors = np.sqrt(np.diag(newton.covariance))
    wald = float(trial @ _square(part.information, width) @ trial)
    note = asked.axis.note()
    baseline: tuple[Baseline, ...] = ()
    at_zero = -float(trial @ (np.array(now.centres) / unit))
    if part.terms is not None and abs(at_zero) < _FAR:
        baseline = _baseline(now, part.terms, total, asked, at_zero)
    return CoxAnswer(
        formula="",
        ties=asked.ties,
        common=asked.common,
        coefficients=fitting.coefficients(labels, trial / unit, errors / unit, None),
        n=rows,
        events=events,
        dropped=dropped,
        loglik_null=part.null,
        loglik=part.loglik,
        likelihood_ratio=_test(max(2 * (part.loglik - part.null), 0.0), width),
        wald=_test(wald, width),
        score_test=None if now.score_test is None else _test(now.score_test, width),
        proportional=_proportional(now, part, total, newton, labels),
        baseline=baseline,
        iterations=now.turn + 1,
        precision=_precision(newton, part.errors),
        width_note=note,
        time=asked.axis.time,
        notes=cox_answer.notes(note, asked.common, dropped),
    )


def _square(upper: Array, width: int) -> Array:
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = upper
    return matrix + np.triu(matrix, 1).T


def _test(statistic: float, df: int) -> Test:
    from scipy.special import chdtrc

    return Test(statistic, df, float(chdtrc(df, statistic)))


def _precision(newton: Newton, errors: tuple[float, float]) -> float:
    step, variance = scoring.errors(newton, *errors)
    variances = np.diag(newton.covariance)
    return float(max((step / np.sqrt(variances)).max(), (variance / variances / 2).max()))


def _baseline(now: Iteration, terms: Terms, total: Total, asked: Asked, at_zero: float) -> tuple[Baseline, ...]:
    """`at_zero` is η of a row whose columns are zero."""
    events, before, found = np.rint(total.real("counts"))[1], 0, []
    for name, cells in zip(now.frame.strata, now.frame.cells, strict=True):
        own = slice(before, before + len(cells))
        before += len(cells)
        some = np.flatnonzero(events[own] > 0)
        hazard = np.cumsum(terms.hazard[own][some]) * math.exp(at_zero)
        times = tuple(asked.axis.time_of(cells[place]) for place in some)
        found.append(Baseline(name, times, tuple(int(d) for d in events[own][some]), tuple(hazard.tolist())))
    return tuple(found)


def _proportional(now: Iteration, part: Found, total: Total, newton: Newton, labels: Sequence[str]) -> dict[str, Test]:
    """Score tests against coefficients β + θ g(t), per column and for all (Grambsch and Therneau 1994; R's survival 3).
    Nothing if the weights g are of other rows."""
    if part.terms is None or not now.weights:
        return {}
    width = len(labels)
    events = np.rint(total.real("counts"))[1]
    weights = np.array(now.weights)[_place(now, iterating.every(now.frame))]
    middle = float((weights * events).sum() / events.sum())
    weights = weights - middle
    columns = total.real("columns")
    score = columns[1] - middle * columns[0] - weights @ part.terms.mean
    crossed = _square(weights @ part.terms.information, width)
    own = _square(weights**2 @ part.terms.information, width)
    rest = own - crossed @ newton.covariance @ crossed
    tests = {
        label: _test(float(score[place] ** 2 / rest[place, place]), 1)
        for place, label in enumerate(labels)
        if rest[place, place] > scoring.DEPENDENT * own[place, place]
    }
    together = scoring.newton(score, rest[np.triu_indices(width)])
    if isinstance(together, Dependent) or len(tests) != width:
        return tests
    return {**tests, "all": _test(together.decrement, width)}
