"""How well a fitted model predicts, over sites: the same as over the pooled rows, and no small group is shown."""

import math

import numpy as np
import pytest

from hansa.errors import Refused
from hansa.jobs.assessment import Assessment, AssessmentAnswer
from hansa.jobs.base import Table
from hansa.jobs.example import numbers_table
from hansa.jobs.exhibit import Curves, Points
from hansa.jobs.glm import Glm
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.privacy.disclosure import Rules
from tests.real_rows import ask, ask_while_leaving, hospitals, joined, read, split

FORMULA = "y ~ age + sex + trestbps + thalach + exang + oldpeak + factor(cp) + hospital"
CP = {"cp": ("1", "2", "3", "4")}


def fitted(tables: dict[str, Table]) -> Assessment:
    answer = ask(Glm(formula=FORMULA, family="binomial", levels=CP), tables)
    assert isinstance(answer, GlmAnswer)
    found = {name: one.estimate for name, one in answer.coefficients.items()}
    return Assessment(formula=FORMULA, coefficients=found, levels=CP)


def assess(job: Assessment, tables: dict[str, Table]) -> AssessmentAnswer:
    answer = ask(job, tables)
    assert isinstance(answer, AssessmentAnswer)
    return answer


def by_pairs(tables: dict[str, Table], job: Assessment) -> dict[str, float]:
    """The same figures from the rows: the area as the share of pairs, with DeLong's error from its placements."""
    rows = joined(tables)
    eta = np.full(rows.rows, job.coefficients["(Intercept)"])
    for name, weight in job.coefficients.items():
        if name.startswith("factor(cp)"):
            eta += weight * (rows.numbers("cp") == float(name.removeprefix("factor(cp)")))
        elif name.startswith("hospital"):
            eta += weight * (rows.texts("hospital") == name.removeprefix("hospital"))
        elif name != "(Intercept)":
            eta += weight * rows.numbers(name)
    p, y = 1 / (1 + np.exp(-eta)), rows.numbers("y")
    beats = (p[y == 1][:, None] > p[y == 0]) + 0.5 * (p[y == 1][:, None] == p[y == 0])
    errors = [np.var(beats.mean(axis=axis), ddof=1) / beats.shape[1 - axis] for axis in (0, 1)]
    return {
        "auc": float(beats.mean()),
        "auc_std_error": math.sqrt(sum(errors)),
        "brier": float(((p - y) ** 2).mean()),
        "log_loss": float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean()),
        "expected": float(p.sum()),
    }


def test_figures_over_four_hospitals_are_those_of_the_pooled_rows() -> None:
    tables = hospitals()
    job = fitted(tables)
    found, due = assess(job, tables), by_pairs(tables, job)
    assert (found.n, found.events, found.dropped) == (740, int(joined(tables).numbers("y").sum()), 0)
    assert found.auc == pytest.approx(due["auc"], abs=found.auc_precision) and found.auc_precision < 1e-3
    assert found.auc_std_error == pytest.approx(due["auc_std_error"], rel=5e-3)
    assert [found.brier, found.log_loss] == pytest.approx([due["brier"], due["log_loss"]], rel=1e-12)
    # a logistic model with an intercept expects what it was fitted to
    assert found.expected == pytest.approx(due["expected"], rel=1e-12) == pytest.approx(found.events, rel=1e-9)
    assert sum(group.events for group in found.groups) == found.events


def test_a_site_that_leaves_is_not_in_the_figures() -> None:
    tables = hospitals()
    job = fitted(tables)
    rest = {name: table for name, table in tables.items() if name != "va"}
    for step in (0, 1):
        found = ask_while_leaving(job, tables, {step: "va"})
        assert isinstance(found, AssessmentAnswer)
        assert (found.n, found.auc, found.groups) == (610, *[getattr(assess(job, rest), f) for f in ("auc", "groups")])


def test_what_is_shown_holds_no_small_count_and_the_plots_follow_from_it() -> None:
    tables = hospitals()
    answer = assess(fitted(tables), tables)
    shown = answer.disclosed(Rules())
    assert 5 < len(shown.groups) < len(answer.groups)
    assert all(count == 0 or count >= 10 for group in shown.groups for count in (group.without, group.events))
    assert sum(group.without + group.events for group in shown.groups) == 740
    calibration, roc = shown.exhibit().plots
    assert isinstance(calibration, Points) and isinstance(roc, Curves)
    assert 5 <= len(calibration.xs) <= 10
    assert all(
        low <= y <= high for low, y, high in zip(calibration.lows, calibration.ys, calibration.highs, strict=True)
    )
    x, y = roc.lines[0].x, roc.lines[0].y
    area = sum((b - a) * (c + d) / 2 for a, b, c, d in zip(x, x[1:], y, y[1:], strict=False))
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0) and area == pytest.approx(answer.auc, abs=0.02)


def test_rounded_counts_are_rounded_in_the_groups() -> None:
    tables = hospitals()
    shown = assess(fitted(tables), tables).disclosed(Rules(round_to=5))
    assert all(group.without % 5 == group.events % 5 == 0 for group in shown.groups)


ROWS = numbers_table(y=[0.0, 1.0, 0.0, 1.0], x=[1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("table", "given", "words"),
    [
        (ROWS, {"coefficients": {"(Intercept)": 0.0}}, "has no coefficient 'x'; its terms are \\(Intercept\\), x"),
        (ROWS, {"coefficients": {"(Intercept)": 0.0, "x": 1.0, "z": 1.0}}, "no term for the coefficient 'z'"),
        (ROWS, {"formula": "y ~ factor(x)"}, "declare the categories of column 'x'"),
        (numbers_table(y=[0.0, 0.0], x=[1.0, 2.0]), {}, "'y' has one class only"),
        (numbers_table(y=[0.0, 2.0], x=[1.0, 2.0]), {}, "'y' holds values other than 0 and 1"),
        (numbers_table(y=[None, 1.0], x=[1.0, None]), {}, "no rows are complete"),
    ],
)
def test_what_has_no_answer_is_refused_in_a_sentence(table: Table, given: dict[str, object], words: str) -> None:
    job = Assessment(**{"formula": "y ~ x", "coefficients": {"(Intercept)": 0.0, "x": 1.0}, **given})  # type: ignore[arg-type]
    with pytest.raises(Refused, match=words):
        ask(job, {"a": table, "b": table})


def test_a_class_of_few_rows_is_not_released() -> None:
    rows = read("heart_disease_4hospitals.csv")
    keep = np.flatnonzero((rows["y"] == 0) | (np.cumsum(rows["y"] == 1) <= 9))
    few = {name: values[keep] for name, values in rows.items()}
    job = Assessment(formula="y ~ age", coefficients={"(Intercept)": -3.0, "age": 0.05})
    answer = assess(job, split(few, few["hospital"]))
    with pytest.raises(Refused, match="either class of the outcome rests on fewer than 10 rows"):
        answer.disclosed(Rules())


def test_predictions_beyond_what_a_float_holds_count_at_the_ends() -> None:
    job = Assessment(formula="y ~ x", coefficients={"(Intercept)": 0.0, "x": 1e6})
    found = assess(
        job, {"a": numbers_table(y=[0.0, 1.0], x=[-1e9, 1e9]), "b": numbers_table(y=[1.0, 0.0], x=[-1e9, 1e9])}
    )
    assert found.auc == 0.5 and found.log_loss == pytest.approx(20.0, rel=1e-9)
