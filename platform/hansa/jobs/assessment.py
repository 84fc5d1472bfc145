"""`assessment`: how well a logistic model that is fitted already predicts: ROC and AUC, calibration, Brier score.

    rows → predictions → answer

Each row's predicted probability falls into one of `CELLS` cells of one width; what is totalled is how many rows of
either class each cell holds. Everything follows from these counts, but for the sums of the probabilities and of the
losses, which are exact. Rows in one cell count as tied, so the area under the curve is known to within half the share
of pairs that are (`auc_precision`). Its standard error is that of DeLong, DeLong and Clarke-Pearson (1988) over cells.

Nothing of a site's rows is in the model's coefficients: they are part of the question, and public.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from hansa import messages
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude
from hansa.jobs.base import (
    Answer,
    Array,
    Contribution,
    Example,
    Flags,
    Job,
    Schema,
    Step,
    Table,
    Total,
    encode_state,
    fit,
    reals,
)
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Curves, Exhibit, Line, Method, Points, Sheet
from hansa.jobs.levels import Known, Levels
from hansa.jobs.regression import design, formula
from hansa.jobs.regression.formula import Formula
from hansa.privacy import disclosure
from hansa.privacy.disclosure import Rules

CELLS = 1024
GROUPS = 10  # of the calibration plot
_LOSS = 40.0  # -log of a probability, at most: beyond it a float64 is 0 or 1
_NORMAL = 1.959963984540054


class Group(Struct, frozen=True):
    """Rows whose predicted probability lies in [low, high): of either class, and the mean of what is predicted."""

    low: float
    high: float
    without: int
    events: int
    predicted: float


class AssessmentAnswer(Answer, frozen=True, tag="assessment", kw_only=True):
    """`log_loss` and `brier` are means over rows; `expected` is the sum of the predicted probabilities."""

    formula: str
    n: int
    events: int
    expected: float
    dropped: int | None
    auc: float
    auc_std_error: float
    auc_precision: float
    brier: float
    log_loss: float
    groups: tuple[Group, ...]

    def disclosed(self, rules: Rules) -> "AssessmentAnswer":
        """Refused if either class is small. Neighbouring groups are joined until each shows no small count."""
        disclosure.refuse_few(min(self.events, self.n - self.events), "either class of the outcome", rules)
        joined = _joined(self.groups, lambda group: _shown(group, rules))
        dropped = disclosure.shown(self.dropped or 0, rules)
        notes = (f"predictions are joined until no group shows a count from 1 to {rules.minimum_cell - 1}",)
        coarser = notes if len(joined) < len(self.groups) else ()
        if rules.round_to > 1:
            joined = tuple(_rounded(group, rules) for group in joined)
        return replace(
            self,
            dropped=dropped,
            groups=joined,
            notes=self.notes + coarser + disclosure.note(rules, dropped is None),
        )

    def exhibit(self) -> Exhibit:
        wide = _NORMAL * self.auc_std_error
        facts = (
            ("Rows", f"{self.n:,}"),
            ("Events", f"{self.events:,}"),
            ("Expected", f"{self.expected:,.1f}"),
            ("AUC", f"{self.auc:.3f} ± {wide:.3f}"),
            ("Brier", f"{self.brier:.4f}"),
            ("Log loss", f"{self.log_loss:.4f}"),
        )
        coarse = _joined(self.groups, lambda group: group.without + group.events >= self.n / GROUPS)
        heads = ("from", "to", "rows", "events", "predicted", "observed", "95 % from", "95 % to")
        rows = tuple(
            (g.low, g.high, g.without + g.events, g.events, g.predicted, *_wilson(g.events, g.without + g.events))
            for g in coarse
        )
        sheet = Sheet("predicted and observed", heads, rows)
        plots = (self._calibration(rows), self._roc())
        return Exhibit(facts, (sheet,), plots)

    def _calibration(self, rows: Sequence[tuple[float | int, ...]]) -> Points:
        return Points(
            says=f"What was predicted and what was observed in {len(rows)} groups of rows, with the 95 % interval of "
            "the observed share. On the dashed line both are equal. "
            f"{self.events:,} events stand beside {self.expected:,.1f} that were expected.",
            x="predicted probability",
            y="observed share of events",
            xs=tuple(row[4] for row in rows),
            ys=tuple(row[5] for row in rows),
            lows=tuple(row[6] for row in rows),
            highs=tuple(row[7] for row in rows),
            diagonal=True,
        )

    def _roc(self) -> Curves:
        x, y = _curve(self.groups)
        return Curves(
            says="The share of events that lie above a threshold against the share of other rows that do, for every "
            f"threshold: the area is {self.auc:.3f}; that of the dashed line, which tells nothing, is 0.5.",
            x="1 - specificity",
            y="sensitivity",
            lines=(Line("ROC", x, y),),
            diagonal=True,
            y_range=(0.0, 1.0),
        )


class State(Struct, frozen=True):
    """The categories of the formula's factors, and how many rows there are once that is known (0 before)."""

    categories: dict[str, Known]
    rows: float = 0.0


class Assessment(Job, frozen=True, tag="assessment", kw_only=True, forbid_unknown_fields=True):
    title: ClassVar[str] = "How well a model predicts"
    learns: ClassVar[str] = (
        f"of each of {CELLS} intervals of the predicted probability how many rows of either class lie in it, and the "
        "sums of the predictions and of their losses"
    )
    method: ClassVar[Method | None] = Method(
        "A logistic model with the coefficients of the question, applied to every row that misses no value. Rows are "
        f"counted by class in {CELLS} intervals of the predicted probability; rows of one interval are tied. The area "
        "under the ROC curve is the share of pairs of an event and another row in which the event has the larger "
        "prediction, ties counted half. The intervals of observed shares are Wilson's.",
        (
            "AUC = Σᵢ eᵢ (Σ_{j<i} fⱼ + fᵢ / 2) / (E F), with eᵢ events and fᵢ others in interval i",
            "Brier = Σ (p − y)² / n",
        ),
        (
            "Hanley and McNeil, Radiology 143 (1982)",
            "DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), for the standard error",
            "Wilson, JASA 22 (1927)",
        ),
    )

    formula: Annotated[
        str,
        Meta(
            title="Formula",
            description="That of the model, as it was fitted.",
            max_length=formula.LONGEST,
            extra={"form": "formula"},
        ),
    ]
    coefficients: Annotated[
        dict[str, Annotated[float, Meta(ge=-1e6, le=1e6)]],
        Meta(
            title="Coefficients",
            description="The name of each term, as the regression gives it, and its estimate.",
            min_length=1,
            max_length=design.MOST_COLUMNS,
            extra={"form": "coefficients"},
        ),
    ]
    outcome: Annotated[
        str, Meta(title="Outcome", description="If the formula has no left side.", extra={"form": "column"})
    ] = ""
    levels: Levels = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        model = self.model()
        levels.refuse_unfit(self.levels, model.columns())
        return model.columns()

    def check(self, schema: Schema) -> None:
        self.columns()
        design.check(self.model(), self.levels, schema)

    def steps_after(self, step: Step) -> int:
        return 0 if self._read(step).rows else 1

    def begin(self, schemas: Sequence[Schema], sites: int) -> Step:
        for schema in schemas:
            self.check(schema)
        categories = self._categories(schemas)
        self._weights(categories)
        blocks = (reals("rows", (3,), magnitude.MAX_ROWS, sites), Flags("unfit", (1,)))
        return Step("rows", blocks, encode_state(State(categories)))

    def encode(self, table: Table, step: Step) -> Contribution:
        model, state = self.model(), self._read(step)
        if set(state.categories) != set(design.categorical_factors(model, table.schema)):
            raise ProtocolViolation("the state of an assessment does not name the categories of its formula")
        used = design.complete(table, model)
        y = design.numbers(table, model.outcome, used)
        counted = np.array([used.sum(), table.rows - used.sum(), (y == 1).sum()], dtype=np.float64)
        if not state.rows:
            return fit(step, {"rows": counted, "unfit": np.array([bool(np.any((y != 0) & (y != 1)))])})
        weights = self._weights(state.categories)
        ones = np.ones((y.size, int(model.intercept)))
        eta = np.column_stack([ones, design.matrix(table, model, state.categories, used)]) @ weights
        eta = np.clip(np.nan_to_num(eta, nan=0.0), -_LOSS, _LOSS)
        p = 1 / (1 + np.exp(-eta))
        cell = np.minimum((p * CELLS).astype(np.int64), CELLS - 1)
        return fit(
            step,
            {
                "rows": counted,
                "counts": np.array(
                    [np.bincount(cell[y == kind], minlength=CELLS) for kind in (0, 1)], dtype=np.float64
                ),
                "predicted": np.bincount(cell, weights=p, minlength=CELLS),
                "losses": np.array([math.fsum((p - y) ** 2), math.fsum(np.logaddexp(0.0, eta) - y * eta)]),
            },
        )

    def advance(self, step: Step, total: Total) -> Step | AssessmentAnswer:
        state, outcome = self._read(step), self.model().outcome.text
        n, dropped, events = (round(number) for number in total.real("rows").tolist())
        if n == 0:
            raise Refused("no rows are complete in the columns of the formula")
        if not state.rows:
            if total.flag("unfit")[0]:
                raise Refused(f"the outcome '{outcome}' holds values other than 0 and 1")
            rows = float(n)
            blocks = (
                reals("rows", (3,), magnitude.MAX_ROWS, total.sites),
                reals("counts", (2, CELLS), rows, total.sites),
                reals("predicted", (CELLS,), rows, total.sites),
                reals("losses", (2,), (_LOSS + 1) * rows, total.sites),
            )
            return Step("predictions", blocks, encode_state(State(state.categories, rows)))
        if not 0 < events < n:
            raise Refused(f"the outcome '{outcome}' has one class only")
        counts, predicted = np.rint(total.real("counts")), total.real("predicted")
        auc, error, precision = _area(counts)
        brier, loss = (total.real("losses") / n).tolist()
        return AssessmentAnswer(
            formula=self.formula,
            n=n,
            events=events,
            expected=float(predicted.sum()),
            dropped=dropped,
            auc=auc,
            auc_std_error=error,
            auc_precision=precision,
            brier=brier,
            log_loss=loss,
            groups=tuple(
                Group(place / CELLS, (place + 1) / CELLS, int(without), int(with_), float(sum_ / (without + with_)))
                for place, (without, with_, sum_) in enumerate(zip(*counts, predicted, strict=True))
                if without + with_
            ),
            notes=(f"rows left out because they miss a value: {dropped}",) if dropped else (),
        )

    def model(self) -> Formula:
        return formula.parse(self.formula, self.outcome)

    def _categories(self, schemas: Sequence[Schema]) -> dict[str, tuple[str, ...]]:
        model, found = self.model(), {}
        for factor in model.factors():
            if any(design.categorical(factor, schema) for schema in schemas):
                found[factor.text] = levels.declared(factor.column, self.levels, schemas)
                if not found[factor.text]:
                    raise Refused(f"declare the categories of column '{factor.column}', as the model was fitted with")
        return found

    def _weights(self, categories: Mapping[str, tuple[str, ...]]) -> Array:
        """In the order of the design's columns; refuses coefficients of another model."""
        labels = design.names(self.model(), categories)
        for name in (*labels, *self.coefficients):
            if name not in self.coefficients or name not in labels:
                lacks = "has no coefficient" if name not in self.coefficients else "has no term for the coefficient"
                raise Refused(f"the model {lacks} '{name}'; its terms are {', '.join(labels)}")
        return np.array([self.coefficients[name] for name in labels])

    def _read(self, step: Step) -> State:
        state = messages.decode(step.state, State)
        if not 0 <= state.rows <= 2.0**60:
            raise ProtocolViolation("the state of an assessment is out of range")
        return state


def _area(counts: Array) -> tuple[float, float, float]:
    """(area, standard error, by how much ties can move it); `counts` (2, cells): others, then events."""
    others, events = counts
    n0, n1 = others.sum(), events.sum()
    below, above = np.cumsum(others) - others, events.sum() - np.cumsum(events)
    of_events = (below + others / 2) / n0  # of an event in each cell: the share of others that it beats
    of_others = (above + events / 2) / n1
    auc = float((events * of_events).sum() / n1)
    spread1 = float((events * (of_events - auc) ** 2).sum() / max(n1 - 1, 1))
    spread0 = float((others * (of_others - auc) ** 2).sum() / max(n0 - 1, 1))
    return auc, math.sqrt(spread1 / n1 + spread0 / n0), float((others * events).sum() / (2 * n0 * n1))


def _joined(groups: Sequence[Group], enough: Callable[[Group], bool]) -> tuple[Group, ...]:
    """Neighbours joined from the left until each is `enough`; what is left at the right joins those before it."""
    found: list[Group] = []
    open_: Group | None = None
    for group in groups:
        open_ = group if open_ is None else _both(open_, group)
        if enough(open_):
            found.append(open_)
            open_ = None
    while open_ is not None and found and not enough(open_):
        open_ = _both(found.pop(), open_)
    return (*found, open_) if open_ is not None else tuple(found)


def _both(one: Group, two: Group) -> Group:
    rows = [group.without + group.events for group in (one, two)]
    predicted = (rows[0] * one.predicted + rows[1] * two.predicted) / sum(rows)
    return Group(one.low, two.high, one.without + two.without, one.events + two.events, predicted)


def _shown(group: Group, rules: Rules) -> bool:
    return None not in (disclosure.shown(group.without, rules), disclosure.shown(group.events, rules))


def _rounded(group: Group, rules: Rules) -> Group:
    return replace(
        group,
        without=rules.round_to * round(group.without / rules.round_to),
        events=rules.round_to * round(group.events / rules.round_to),
    )


def _wilson(events: int, rows: int) -> tuple[float, float, float]:
    """(share, 95 % from, to)."""
    if rows == 0:
        return 0.0, 0.0, 1.0
    share, z2 = events / rows, _NORMAL * _NORMAL
    middle, half = share + z2 / (2 * rows), _NORMAL * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    return share, (middle - half) / (1 + z2 / rows), (middle + half) / (1 + z2 / rows)


def _curve(groups: Sequence[Group]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(1 - specificity, sensitivity) at each threshold, from the highest."""
    others, events = (np.cumsum([0, *(getattr(g, name) for g in reversed(groups))]) for name in ("without", "events"))
    return tuple((others / max(others[-1], 1)).tolist()), tuple((events / max(events[-1], 1)).tolist())


EXAMPLE = Example(
    job=Assessment(formula="ill ~ age", coefficients={"(Intercept)": -5.0, "age": 0.1}),
    tables={
        "a": numbers_table(ill=[0.0, 0.0, 1.0, 1.0], age=[20.0, 45.0, 40.0, 70.0]),
        "b": numbers_table(ill=[0.0, 1.0, 1.0, None], age=[30.0, 60.0, 80.0, 50.0]),
    },
    answer=AssessmentAnswer(
        formula="ill ~ age",
        n=7,
        events=4,
        expected=3.3775406687981455,
        dropped=1,
        auc=0.9166666666666666,
        auc_std_error=0.11785113019775793,
        auc_precision=0.0,
        brier=0.11174717003487407,
        log_loss=0.3502330120642831,
        groups=(
            Group(0.046875, 0.0478515625, 1, 0, 0.04742587317756678),
            Group(0.119140625, 0.1201171875, 1, 0, 0.11920292202211755),
            Group(0.2685546875, 0.26953125, 0, 1, 0.2689414213699951),
            Group(0.376953125, 0.3779296875, 1, 0, 0.3775406687981454),
            Group(0.73046875, 0.7314453125, 0, 1, 0.7310585786300049),
            Group(0.8798828125, 0.880859375, 0, 1, 0.8807970779778823),
            Group(0.9521484375, 0.953125, 0, 1, 0.9525741268224334),
        ),
        notes=("rows left out because they miss a value: 1",),
    ),
)
