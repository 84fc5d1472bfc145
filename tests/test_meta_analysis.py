"""Effects combined over sites are what the formulas give on each site's own fit, and no site's fit is shown."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from hansa.errors import Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Array, Step, Table
from hansa.jobs.glm import Glm
from hansa.jobs.meta_analysis import FEWEST, MetaAnalysis
from hansa.jobs.regression.combined import MetaAnalysisAnswer
from hansa.jobs.regression.fitting import GlmAnswer
from hansa.privacy.disclosure import Rules
from tests.real_rows import Chance, ask, ask_while_leaving, dealt, read, split

LOGIT = "affair ~ rate_marriage + age + yrs_married + C(religious)"
LINEAR = "affairs ~ rate_marriage + age + children"
LEVELS = {"religious": ("1", "2", "3", "4")}


def women(sites: int) -> dict[str, Table]:
    """Fair's rows, dealt so that the sites differ a little."""
    rows = read("fair.csv")
    rows["affair"] = (rows["affairs"] > 0) * 1.0
    young = rows["age"] < 25
    return split(rows, [(row + 3 * (row % 4 == 0) * few) % sites for row, few in enumerate(young.tolist())])


def combine(tables: dict[str, Table], **parameters: Any) -> MetaAnalysisAnswer:
    answer = ask(MetaAnalysis(**parameters), tables)
    assert isinstance(answer, MetaAnalysisAnswer)
    return answer


def alone(table: Table, **parameters: Any) -> GlmAnswer:
    answer = ask(Glm(**parameters), {"alone": table})
    assert isinstance(answer, GlmAnswer)
    return answer


def der_simonian_laird(estimates: Array, errors: Array) -> dict[str, float]:
    weights = 1 / errors**2
    fixed = (weights * estimates).sum() / weights.sum()
    q, df = (weights * (estimates - fixed) ** 2).sum(), estimates.size - 1
    tau2 = max(0.0, (q - df) / (weights.sum() - (weights**2).sum() / weights.sum()))
    random = 1 / (errors**2 + tau2)
    return {
        "fixed": fixed,
        "fixed_error": weights.sum() ** -0.5,
        "random": (random * estimates).sum() / random.sum(),
        "random_error": random.sum() ** -0.5,
        "tau2": tau2,
        "q": q,
        "i2": max(0.0, (q - df) / q),
        "p": chi2.sf(q, df),
    }


@pytest.mark.parametrize(("family", "formula"), [("binomial", LOGIT), ("gaussian", LINEAR)])
@pytest.mark.parametrize("sites", [5, 9])
def test_sites_together_get_what_the_formulas_give_on_each_sites_own_fit(family: Any, formula: str, sites: int) -> None:
    tables = women(sites)
    declared = LEVELS if family == "binomial" else {}
    found = combine(tables, formula=formula, family=family, levels=declared)
    fits = [alone(table, formula=formula, family=family, levels=declared).coefficients for table in tables.values()]
    assert (found.sites, found.without, found.n) == (sites, 0, 6366)
    assert list(found.coefficients) == list(fits[0])
    for name, one in found.coefficients.items():
        due = der_simonian_laird(
            np.array([own[name].estimate for own in fits]), np.array([own[name].std_error for own in fits])
        )
        got = {
            "fixed": one.fixed.estimate, "fixed_error": one.fixed.std_error, "random": one.random.estimate,
            "random_error": one.random.std_error, "tau2": one.tau2, "q": one.q, "i2": one.i2, "p": one.p,
        }  # fmt: skip
        assert got == pytest.approx(due, rel=1e-7, abs=1e-12)
    assert any(one.tau2 > 0 for one in found.coefficients.values())


SOME = (1, 2, 4, 5, 6, 7, 8)


def made_up(number: int) -> Table:
    x = [float((7 * row + number) % 11) for row in range(30)]
    y = [float((one + 6 * math.sin(row * (number + 1))) > 5) for row, one in enumerate(x)]
    return dealt({"x": x, "y": y}, 1)["0"]


WITHOUT = {
    "one class only": {"x": [float(row) for row in range(30)], "y": [0.0] * 30},
    "separated": {"x": [float(row) for row in range(30)], "y": [float(row > 15) for row in range(30)]},
    "a constant column": {"x": [4.0] * 30, "y": [float(row % 2) for row in range(30)]},
    "two rows": {"x": [1.0, 2.0], "y": [0.0, 1.0]},
    "not 0 and 1": {"x": [float(row) for row in range(30)], "y": [float(row % 3) for row in range(30)]},
}


@pytest.mark.parametrize("columns", WITHOUT.values(), ids=list(WITHOUT))
def test_a_site_without_a_fit_contributes_nothing_and_is_counted(columns: dict[str, list[float]]) -> None:
    tables = {str(number): made_up(number) for number in SOME[:6]}
    plain = combine(tables, formula="y ~ x", family="binomial")
    found = combine({**tables, "other": dealt(columns, 1)["0"]}, formula="y ~ x", family="binomial")
    assert (plain.sites, plain.without, found.sites, found.without) == (6, 0, 6, 1)
    assert found.coefficients["x"].random.estimate == pytest.approx(plain.coefficients["x"].random.estimate, rel=1e-10)


def test_fewer_than_five_fits_are_not_combined() -> None:
    tables = {str(number): made_up(number) for number in SOME[: FEWEST - 1]}
    with pytest.raises(Refused, match="fewer than 5 sites have a fit of their own"):
        combine({**tables, "other": dealt(WITHOUT["two rows"], 1)["0"]}, formula="y ~ x", family="binomial")


def test_no_sum_is_asked_twice_so_no_difference_tells_a_leavers_estimate() -> None:
    """Where the sites don't differ (τ² = 0), both weights are the same, and the last step holds zeros."""
    tables = {str(number): made_up(number) for number in SOME}
    job = MetaAnalysis(formula="y ~ x", family="binomial")
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step) and step.name != "random effects":
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    assert isinstance(step, Step)
    now: Any = job._read(step)
    for table in tables.values():
        sums = np.array(job.encode(table, step)["sums"])
        assert ((sums[0] == 0) == (np.array(now.tau2) == 0)).all()
    assert 0.0 in now.tau2


@pytest.mark.parametrize("step", [1, 2])
def test_a_site_may_leave_before_any_step(step: int) -> None:
    tables = women(7)
    job = MetaAnalysis(formula=LINEAR, family="gaussian")
    found = ask_while_leaving(job, tables, {step: "3"})
    assert isinstance(found, MetaAnalysisAnswer)
    rest = combine({site: table for site, table in tables.items() if site != "3"}, formula=LINEAR, family="gaussian")
    if step == 1:
        assert found == rest
    else:
        assert found.sites == 7 and "a site left: the random effects rest on 6 of the 7 sites" in found.notes
    with pytest.raises(Refused, match="fewer than 5"):
        ask_while_leaving(job, women(5), {step: "3"})


def test_an_answer_over_small_sites_or_with_many_parameters_is_not_released() -> None:
    found = combine(women(5), formula=LINEAR, family="gaussian", minimum_rows=20)
    assert found.disclosed(Rules()) == found
    with pytest.raises(Refused, match="a site's own fit rests on fewer than 21 rows, and is not released"):
        found.disclosed(Rules(minimum_cell=21))
    few = combine({str(number): made_up(number) for number in SOME[:6]}, formula="y ~ x", family="binomial")
    with pytest.raises(Refused, match="parameters per hundred records"):
        few.disclosed(Rules(parameters_percent=6))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "undeclared": ({"formula": "affairs ~ C(religious)"}, "needs at least two declared categories"),
    "no outcome": ({"formula": "~ age"}, "no outcome"),
    "no such column": ({"formula": "affairs ~ horoscope"}, "no column 'horoscope'"),
    "strangers": ({"formula": "affairs ~ age", "levels": {"x": ("a", "b")}}, "column 'x'"),
}


@pytest.mark.parametrize(("parameters", "due"), BAD.values(), ids=list(BAD))
def test_what_can_not_be_combined_is_refused(parameters: dict[str, Any], due: str) -> None:
    with pytest.raises(Refused, match=due):
        combine(women(5), family="gaussian", **parameters)


def test_infinite_numbers_are_refused() -> None:
    tables = {str(number): made_up(number) for number in SOME[:5]}
    tables["inf"] = dealt({"x": [math.inf] * 12, "y": [0.0, 1.0] * 6}, 1)["0"]
    with pytest.raises(Refused, match="infinite"):
        combine(tables, formula="y ~ x", family="binomial")
