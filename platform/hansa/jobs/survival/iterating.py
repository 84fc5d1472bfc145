"""Newton's iterations of a Cox regression: one is one step, and the last one alone gives the answer.

With a baseline per site, each site computes its own score, information and log-likelihood, and these are totalled. With
a common one, sums over the risk sets of all sites are, at every interval with an event, and the hub computes the rest.
There the largest η decides how large a sum of exp(η) may be. It is known from the last trial if the step is short, else
flags alone are asked first: sums of the same trial must never be asked twice, with and without a site, since their
difference would be that site's. Convergence is told as in `regression/fitting.py`.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Array, Contribution, Flags, Reals, Step, Table, Total, reals
from hansa.jobs.magnitude import MAX_ROWS
from hansa.jobs.regression import fitting, scoring
from hansa.jobs.regression.family import SLACK
from hansa.jobs.regression.scoring import Newton
from hansa.jobs.survival import likelihood, passes, risk_sets
from hansa.jobs.survival.grid import Cells
from hansa.jobs.survival.likelihood import Places, Sums, Terms
from hansa.jobs.survival.passes import Asked, Frame, Own, Pair, Spreads

RUNGS = 15  # η of 2, 4, … 30
_FARTHEST = 340.0  # Σ|b| at most, so that exp(-2 Σ|b|) is a float
_ASK = -1  # the reach of a trial whose largest η isn't known
_SHORT = 4  # Σ|b| for which nobody needs to be asked
_HALVINGS = 12
_WORSE = 1e-9


class Iteration(Struct, frozen=True, tag="iteration"):
    """`trial` = what was accepted last + `step`; `loglik` is of that, over `rows`, `events` and `sites`.

    `bound` rows are the most there can be, and η is at most `reach`: unknown if -1, when flags alone are asked.
    `weights` are 1 - S(t-) of the last total's Kaplan-Meier curve at each interval with an event in any stratum, for
    the test of proportional hazards. `score_test` is of the first step.
    """

    frame: Frame
    exponents: tuple[int, ...]
    centres: tuple[float, ...]
    bound: float
    tied: tuple[Pair, ...]
    trial: tuple[float, ...]
    step: tuple[float, ...]
    reach: int = 0
    loglik: float | None = None
    rows: int = 0
    events: int = 0
    sites: int = 0
    turn: int = 0
    halvings: int = 0
    weights: tuple[float, ...] = ()
    score_test: float | None = None


class Found(Struct, frozen=True):
    """What a total tells at its trial. `terms` with a common baseline alone; `errors`: what rounding did to the score
    and to the information, at most."""

    score: Array
    information: Array
    loglik: float
    null: float
    errors: tuple[float, float]
    terms: Terms | None = None


def start(stage: Spreads, exponents: tuple[int, ...]) -> Iteration:
    nothing = (0.0,) * len(exponents)
    return Iteration(stage.frame, exponents, stage.centres, stage.rows, stage.tied, nothing, nothing)


def name(now: Iteration) -> str:
    again = f", halved {now.halvings} times" if now.halvings else ""
    return f"iteration {now.turn + 1}{again}" + (", how far" if now.reach == _ASK else "")


def every(frame: Frame) -> Cells:
    """The intervals with an event in any stratum."""
    return np.array(sorted({cell for cells in frame.cells for cell in cells}), dtype=np.int64)


def blocks(now: Iteration, asked: Asked, sites: int) -> tuple[Reals | Flags, ...]:
    width, rows = len(now.trial), now.bound * SLACK
    triangle = width * (width + 1) // 2
    counted = reals("rows", (3,), MAX_ROWS, sites)
    if not asked.common:
        far = 2 * math.fsum(map(abs, now.trial)) + math.log(rows) + 1
        return (
            counted,
            reals("score", (width,), 2 * rows, sites),
            reals("information", (triangle,), rows, sites),
            reals("loglik", (2,), rows * far, sites),
        )
    if now.reach == _ASK:
        return (Flags("reach", (RUNGS,)),)
    size, largest = 1 + width + triangle, rows * math.exp(now.reach)
    found: list[Reals | Flags] = [
        counted,
        reals("columns", (2, width), rows, sites),
        reals("counts", (2, passes.pairs(now.frame)), rows, sites),
        reals("risk", (passes.pairs(now.frame), size), largest, sites),
        Flags("reach", (RUNGS,)),
    ]
    if len(now.frame.cells) > 1:
        found.append(reals("pooled", (every(now.frame).size,), rows, sites))
    if now.tied and asked.ties == "efron":
        found.append(reals("tied", (len(now.tied), size), largest, sites))
    return tuple(found)


def share(now: Iteration, table: Table, asked: Asked) -> Contribution:
    own = passes.own_rows(table, asked, now.frame)
    if not len(now.trial) == len(now.centres) == len(now.exponents) == own.values.shape[1]:
        raise ProtocolViolation("the state of a Cox regression does not fit its columns")
    with np.errstate(over="ignore", invalid="ignore"):  # what a hub's made-up scale does is refused by the bounds
        z = np.ldexp(own.values - np.array(now.centres), -np.array(now.exponents, dtype=np.int64))
        return _common(now, own, z, asked) if asked.common else _of_site(now, own, z, asked)


def _of_site(now: Iteration, own: Own, z: Array, asked: Asked) -> Contribution:
    width = z.shape[1]
    score, information, loglik = np.zeros(width), np.zeros(width * (width + 1) // 2), np.zeros(2)
    for stratum in range(int(own.stratum.max(initial=-1)) + 1):
        rows, kept = passes.of_stratum(own, stratum)
        found = risk_sets.own_likelihood(rows, z[kept], np.array(now.trial), asked.ties)
        score, information, loglik = score + found[0], information + found[1], loglik + found[2:]
    return {"rows": own.counted, "score": score, "information": information, "loglik": loglik}


def _common(now: Iteration, own: Own, z: Array, asked: Asked) -> Contribution:
    eta = z @ np.array(now.trial)
    top = float(eta.max(initial=-np.inf))
    flags = top > 2 * np.arange(1, RUNGS + 1)
    if now.reach == _ASK:
        return {"reach": flags}
    if not top <= now.reach:
        raise ProtocolViolation("a step of a Cox regression has no room for the rows of this site")
    weight = np.exp(eta)
    risk, tied, counts = [], [], []
    before = 0
    for stratum, listed in enumerate(now.frame.cells):
        cells = np.array(listed, dtype=np.int64)
        rows, kept = passes.of_stratum(own, stratum)
        places = np.array([t - before for t in now.tied if before <= t < before + cells.size], dtype=np.int64)
        risk.append(_table(risk_sets.sums(rows, cells, z[kept], weight[kept])))
        tied.append(_table(risk_sets.tied(rows, cells, places, z[kept], weight[kept])))
        counts.append(np.array(risk_sets.counts(rows, cells)))
        before += cells.size
    died, union = own.rows.died, every(now.frame)
    late = _late(now, own.rows.exit, union)
    columns = np.array([z[died].sum(axis=0), (z[died] * late[died, None]).sum(axis=0)])
    found = {
        "rows": own.counted,
        "columns": columns,
        "counts": np.concatenate(counts, axis=1),
        "risk": np.concatenate(risk),
        "reach": flags,
    }
    if len(now.frame.cells) > 1:
        found["pooled"] = risk_sets.counts(own.rows, union)[0]
    if now.tied and asked.ties == "efron":
        found["tied"] = np.concatenate(tied)
    return found


def _late(now: Iteration, exit_: Cells, union: Cells) -> Array:
    """The weight of each row's interval; 0 while there are none."""
    if not now.weights:
        return np.zeros(exit_.size)
    return np.array(now.weights)[np.minimum(np.searchsorted(union, exit_), union.size - 1)]


def _table(sums: Sums) -> Array:
    return np.column_stack([sums.zero, sums.first, sums.second])


def _sums(table: Array, width: int) -> Sums:
    return Sums(table[:, 0], table[:, 1 : 1 + width], table[:, 1 + width :])


# ---- what follows from a total ----


def found(now: Iteration, step: Step, total: Total, asked: Asked) -> Found | None:
    """None where a sum over a risk set is lost in rounding."""
    rounding = {block.name: total.sites * block.step / 2 for block in step.blocks if isinstance(block, Reals)}
    if not asked.common:
        loglik, null = total.real("loglik").tolist()
        errors = (rounding["score"], rounding["information"])
        return Found(total.real("score"), total.real("information"), loglik, null, errors)
    width = len(now.trial)
    at_risk, events = np.rint(total.real("counts"))
    places: Places = np.array(now.tied if asked.ties == "efron" else (), dtype=np.int64)
    tied = total.real("tied") if places.size else np.zeros((0, 1 + width + width * (width + 1) // 2))
    risk = _sums(total.real("risk"), width)
    small = rounding["risk"] * 2.0**10
    if np.any(risk.zero[events > 0] <= small):
        return None
    terms = likelihood.terms(events, risk, _sums(tied, width), places, asked.ties)
    columns = total.real("columns")
    lost = 4 * rounding["risk"] * float(terms.hazard.sum()) + 2.0**-48 * float(events.sum())
    return Found(
        columns[0] - terms.mean.sum(axis=0),
        terms.information.sum(axis=0),
        float(np.array(now.trial) @ columns[0] - terms.log.sum()),
        -float(likelihood.null_log(events, at_risk, places, asked.ties).sum()),
        (lost + rounding["columns"], 4 * lost),
        terms,
    )


def reaching(now: Iteration, total: Total, labels: Sequence[str]) -> Iteration | None:
    """With room for the largest η, or half the step if it is beyond all rungs; None if there was room."""
    if now.reach != _ASK:
        return None
    due = _rung(total)
    return halved(now, labels) if due > 2 * RUNGS else replace(now, reach=due)


def _rung(total: Total) -> int:
    """Just above the largest η."""
    return 2 * (int(total.flag("reach").sum()) + 1)


def settled(now: Iteration, newton: Newton, rounding: float) -> bool:
    noise = 4 * rounding**2 * float(np.abs(newton.covariance).sum())
    largest = max(1.0, float(np.abs(np.array(now.trial)).max()))
    still = float(np.abs(newton.step).max()) <= 1e-6 * largest
    return still and newton.decrement <= max(fitting.SETTLED, noise)


def solve(now: Iteration, part: Found, events: int, labels: Sequence[str]) -> Newton:
    """Newton's step, or a sentence that names the column for which there is none."""
    width = len(now.trial)
    corner = np.cumsum([0, *range(width, 1, -1)])
    flat = np.flatnonzero(part.information[corner] <= max(1e-11 * events, 8 * part.errors[1]))
    if flat.size and now.turn == 0:
        raise Refused(f"column '{labels[flat[0]]}' is the same for all who are at risk, whenever there is an event")
    if flat.size:
        raise stuck(now, np.array(now.step), labels)  # what is left of the information is rounding
    newton = scoring.newton(part.score, part.information)
    if isinstance(newton, scoring.Dependent):
        if now.turn == 0:
            raise Refused(
                f"column '{labels[newton.column]}' depends linearly on those before it; leave one of them out"
            )
        raise stuck(now, np.array(now.step), labels)
    return newton


def worse(now: Iteration, part: Found, counted: tuple[int, int, int]) -> bool:
    same = (now.rows, now.events, now.sites) == counted
    return now.loglik is not None and same and now.loglik - part.loglik > _WORSE * (abs(part.loglik) + 0.1)


def next_trial(now: Iteration, step: Array, asked: Asked, reached: int) -> Iteration:
    """With `step` taken, or as much of it as keeps within all bounds; `reached`: just above the largest η now."""
    trial = np.array(now.trial)
    while np.abs(trial + step).sum() > _FARTHEST:
        step = step / 2
    reach = 0
    if asked.common:
        highest, longest = (2 * math.ceil(float(np.abs(b).sum()) / 2 + 2.0**-20) for b in (trial + step, step))
        reach = min(highest, reached + longest)
        reach = reach if highest <= _SHORT or (longest == 2 and reach <= 2 * RUNGS) else _ASK
    return replace(
        now,
        trial=tuple((trial + step).tolist()),
        step=tuple(step.tolist()),
        reach=reach,
        turn=now.turn + 1,
    )


def reached(total: Total, asked: Asked) -> int:
    return _rung(total) if asked.common else 0


def halved(now: Iteration, labels: Sequence[str]) -> Iteration:
    """Half way back to what was accepted last."""
    half = np.array(now.step) / 2
    if now.halvings >= _HALVINGS or not half.any():
        raise stuck(now, half, labels)
    trial = tuple((np.array(now.trial) - half).tolist())
    reach = _ASK if now.reach else 0
    return replace(now, trial=trial, step=tuple(half.tolist()), reach=reach, halvings=now.halvings + 1)


def stuck(now: Iteration, step: Array, labels: Sequence[str]) -> Refused:
    """Names the column that moves most."""
    label = labels[int(np.argmax(np.abs(step)))]
    return Refused(
        f"did not converge in {now.turn + 1} iterations: the hazard ratio of '{label}' may have no finite estimate, "
        "because only rows at one end of it have the event"
    )
