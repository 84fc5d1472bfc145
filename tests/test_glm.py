"""Regression over sites equals R's on the pooled rows, and says in a sentence when there is none."""

from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from scipy.stats import gamma, t

from hansa.errors import Refused
from hansa.jobs import base
from hansa.jobs.base import Answer, Step, Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.glm import Glm
from hansa.jobs.regression.fitting import GlmAnswer
from tests.real_rows import HOSPITALS, Chance, ask, ask_while_leaving, dealt, hospitals, joined, read, read_json, split

Family = Literal["gaussian", "binomial", "poisson", "gamma"]
REFERENCE = read_json("reference_R.json")


def fit(tables: dict[str, Table], formula: str, family: Family, **parameters: Any) -> GlmAnswer:
    answer = ask(Glm(formula=formula, family=family, **parameters), tables)
    assert isinstance(answer, GlmAnswer)
    return answer


def step_names(job: Glm, tables: dict[str, Table]) -> list[str]:
    names = []
    step: Step | Answer = job.begin([table.schema for table in tables.values()], len(tables))
    while isinstance(step, Step):
        names.append(step.name)
        vectors = [base.to_ring(step, job.encode(table, step), Chance(site)) for site, table in tables.items()]
        step = job.advance(step, base.from_ring(step, np.sum(vectors, axis=0, dtype=np.uint64), len(vectors)))
    return names


def rows_of(name: str) -> dict[str, Table]:
    if name.startswith("heart4"):
        return hospitals()
    if name == "fair_logit":
        fair = read("fair.csv")
        return dealt({**fair, "aff": (fair["affairs"] > 0) * 1.0}, 3)
    return dealt(read("randhie.csv"), 5)


@pytest.mark.parametrize("name", ["heart4_glm", "heart4_glm_hospital", "heart4_gauss", "fair_logit", "randhie_poisson"])
def test_sites_together_get_what_r_gets_on_the_pooled_rows(name: str) -> None:
    expected = REFERENCE[name]
    found = fit(rows_of(name), " ".join(expected["formula"].split()), expected["family"])
    assert list(found.coefficients) == list(expected["coef"])
    for label, coefficient in found.coefficients.items():
        assert coefficient.estimate == pytest.approx(expected["coef"][label], rel=1e-10)
        # R takes standard errors at its last but one iterate, so its own are good to about 1e-7
        assert coefficient.std_error == pytest.approx(expected["se"][label], rel=1e-6 if "hospital" in name else 1e-7)
    for figure in ("n", "df", "deviance", "null_deviance", "aic", "dispersion"):
        if figure in expected:
            assert getattr(found, figure) == pytest.approx(expected[figure], rel=1e-12)
    assert found.converged and found.dropped == 0 and found.precision < 1e-10


def test_the_categories_may_come_from_the_question() -> None:
    tables = {
        site: msgspec.structs.replace(
            table,
            schema=msgspec.structs.replace(
                table.schema,
                columns=tuple(msgspec.structs.replace(column, categories=()) for column in table.schema.columns),
            ),
        )
        for site, table in hospitals().items()
    }
    formula = "y ~ age + sex + trestbps + thalach + exang + oldpeak + factor(cp) + hospital"
    found = fit(tables, formula, "binomial", levels={"hospital": HOSPITALS, "cp": ("1", "2", "3", "4")})
    for label, expected in REFERENCE["heart4_glm_hospital"]["coef"].items():
        assert found.coefficients[label].estimate == pytest.approx(expected, rel=1e-10)
    with pytest.raises(Refused, match="column 'hospital' of table 'rows' holds text: declare its categories"):
        fit(tables, formula, "binomial")


# NIST StRD Longley, where many regression programs lose most digits; the columns are nearly dependent.
LONGLEY = {
    "y": "60323 61122 60171 61187 63221 63639 64989 63761 66019 67857 68169 66513 68655 69564 69331 70551",
    "x1": "83 88.5 88.2 89.5 96.2 98.1 99 100 101.2 104.6 108.4 110.8 112.6 114.2 115.7 116.9",
    "x2": "234289 259426 258054 284599 328975 346999 365385 363112 397469 419180 442769 444546 482704 502601 518173 "
    "554894",
    "x3": "2356 2325 3682 3351 2099 1932 1870 3578 2904 2822 2936 4681 3813 3931 4806 4007",
    "x4": "1590 1456 1616 1650 3099 3594 3547 3350 3048 2857 2798 2637 2552 2514 2572 2827",
    "x5": "107608 108632 109773 110929 112075 113270 115094 116219 117388 118734 120445 121950 123366 125368 127852 "
    "130081",
    "x6": " ".join(str(year) for year in range(1947, 1963)),
}
CERTIFIED = (-3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359,
             -0.0511041056535807, 1829.15146461355)  # fmt: skip


def test_longley_over_two_sites_has_its_certified_digits() -> None:
    columns = {name: [float(number) for number in numbers.split()] for name, numbers in LONGLEY.items()}
    found = fit(dealt(columns, 2), "y ~ x1 + x2 + x3 + x4 + x5 + x6", "gaussian")
    estimates = [coefficient.estimate for coefficient in found.coefficients.values()]
    assert estimates == pytest.approx(CERTIFIED, rel=1e-11)
    assert found.dispersion**0.5 == pytest.approx(304.854073561965, rel=1e-11)
    assert found.coefficients["x6"].std_error == pytest.approx(455.478499142212, rel=1e-11)


def pooled_fit(x: np.ndarray, y: np.ndarray, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and standard errors by iterated least squares (QR) on all rows: a second way to the same."""
    beta = np.zeros(x.shape[1])
    if family == "gaussian":
        beta = np.linalg.lstsq(x, y, rcond=None)[0]
        spread = ((y - x @ beta) ** 2).sum() / (len(y) - x.shape[1])
        return beta, np.sqrt(spread * np.diag(np.linalg.inv(x.T @ x)))
    if family in ("poisson", "gamma"):
        beta = np.linalg.lstsq(x, np.log(y + 0.1), rcond=None)[0]
    spread = 1.0
    for _ in range(60):
        eta = x @ beta
        mu = 1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta)
        slope, weight = {"binomial": (mu * (1 - mu),) * 2, "poisson": (mu, mu), "gamma": (mu, np.ones(len(y)))}[family]
        root = np.sqrt(weight)
        beta = np.linalg.lstsq(x * root[:, None], root * (eta + (y - mu) / slope), rcond=None)[0]
    if family == "gamma":
        spread = ((y / np.exp(x @ beta) - 1) ** 2).sum() / (len(y) - x.shape[1])
    return beta, np.sqrt(spread * np.diag(np.linalg.inv((x.T * weight) @ x)))


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson", "gamma"])
@pytest.mark.parametrize("intercept", [True, False])
def test_functions_products_and_models_without_intercept_equal_the_pooled_fit(family: Family, intercept: bool) -> None:
    chance = np.random.default_rng(7)
    a, b, c = chance.normal(1e4, 50, 300), chance.lognormal(0, 1, 300), chance.integers(1, 4, 300) * 1.0
    eta = (a - 1e4) / 80 + 0.4 * np.log(b) - 0.3 * (c == 2)
    outcome = {
        "gaussian": 1e6 + 1e3 * eta + chance.normal(0, 300, 300),
        "binomial": (chance.random(300) < 1 / (1 + np.exp(-eta))) * 1.0,
        "poisson": chance.poisson(np.exp(eta)) * 1.0,
        "gamma": chance.gamma(2.0, np.exp(eta) / 2) + 1e-9,
    }[family]
    scaled = a if intercept else a / 1e4
    dummies = [(c == level) * 1.0 for level in ((2, 3) if intercept else (1, 2, 3))]
    ones = [np.ones(300)] if intercept else []
    x = np.column_stack([*ones, scaled, np.log(b), *dummies, scaled * np.log(b)])
    text = f"y ~ a + log(b) + C(c) + a:log(b) {'' if intercept else '- 1'}"
    found = fit(dealt({"y": outcome, "a": scaled, "b": b, "c": c}, 4), text, family)
    if intercept:  # the uncentred reference loses digits that the standardised one keeps
        x[:, 1] -= 1e4
        x[:, -1] = x[:, 1] * x[:, 2]
        found_again = fit(dealt({"y": outcome, "a": a - 1e4, "b": b, "c": c}, 4), text, family)
        assert found_again.deviance == pytest.approx(found.deviance, rel=1e-9)
        found = found_again
    beta, errors = pooled_fit(x, outcome, family)
    estimates = [coefficient.estimate for coefficient in found.coefficients.values()]
    assert np.allclose(estimates, beta, rtol=1e-7, atol=1e-9 * np.abs(beta).max())
    assert np.allclose([value.std_error for value in found.coefficients.values()], errors, rtol=1e-6)


def charges() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(11)
    age, ill = chance.uniform(20, 80, 400), (chance.random(400) < 0.4) * 1.0
    return {"age": age, "ill": ill, "y": chance.gamma(1.5, 1000 * np.exp(0.02 * age + 0.6 * ill))}


def test_a_gamma_regression_has_the_deviances_and_the_likelihood_of_its_rows() -> None:
    rows = charges()
    found = fit(dealt(rows, 3), "y ~ age + ill", "gamma")
    b = [found.coefficients[name].estimate for name in ("(Intercept)", "age", "ill")]
    y, mu = rows["y"], np.exp(b[0] + b[1] * rows["age"] + b[2] * rows["ill"])
    assert found.deviance == pytest.approx(2 * ((y - mu) / mu - np.log(y / mu)).sum(), rel=1e-11)
    assert found.null_deviance == pytest.approx(-2 * np.log(y / y.mean()).sum(), rel=1e-11)
    shape = len(y) / found.deviance  # of R's logLik
    assert found.aic == pytest.approx(-2 * gamma.logpdf(y, shape, scale=mu / shape).sum() + 8, rel=1e-11)
    assert found.dispersion == pytest.approx(((y / mu - 1) ** 2).sum() / 397, rel=1e-11)
    assert found.coefficients["age"].p == pytest.approx(2 * t.sf(abs(found.coefficients["age"].z), 397), rel=1e-9)


def test_a_gamma_outcome_is_above_zero_and_one_that_is_far_off_is_come_to_by_halves() -> None:
    with pytest.raises(Refused, match="holds values other than numbers above 0, which a gamma regression needs"):
        fit(dealt({"x": [1.0, 2, 3, 4], "y": [1.0, 0, 2, 1]}, 2), "y ~ x", "gamma")
    x = np.linspace(0, 1, 60)
    y = np.where(x == 0, 1e6, np.where(np.arange(60) % 2, 0.8, 1.2))  # one row far above all others leads astray
    tables = dealt({"x": x, "y": y}, 3)
    job = Glm(formula="y ~ x", family="gamma", max_iterations=100)
    assert any("halved" in name for name in step_names(job, tables))
    found = fit(tables, "y ~ x", "gamma")
    rest = y / np.exp(found.coefficients["(Intercept)"].estimate + found.coefficients["x"].estimate * x) - 1
    assert [rest.sum(), rest @ x] == pytest.approx([0, 0], abs=1e-9)  # where the likelihood is highest


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson", "gamma"])
def test_robust_errors_are_those_of_the_pooled_rows_and_who_leaves_is_not_in_them(family: Family) -> None:
    rows = charges()
    outcome = {"gaussian": rows["y"], "gamma": rows["y"], "poisson": np.floor(rows["y"] / 1000)}
    rows["y"] = outcome.get(family, (rows["y"] > 3000) * 1.0)
    tables = dealt(rows, 4)
    job = Glm(formula="y ~ age + ill", family=family, errors="robust")
    for leaving in ({}, {4: "2"}):
        found = ask_while_leaving(job, tables, leaving)
        assert isinstance(found, GlmAnswer) and found.errors == "robust"
        here = joined({site: table for site, table in tables.items() if site not in leaving.values()})
        y, x = here.numbers("y"), np.column_stack([np.ones(here.rows), here.numbers("age"), here.numbers("ill")])
        eta = x @ [one.estimate for one in found.coefficients.values()]
        mu = eta if family == "gaussian" else 1 / (1 + np.exp(-eta)) if family == "binomial" else np.exp(eta)
        weight = {"binomial": mu * (1 - mu), "poisson": mu}.get(family, np.ones(y.size))
        rest = (y - mu) / mu if family == "gamma" else y - mu
        bread = np.linalg.inv((x.T * weight) @ x)
        due = np.sqrt(np.diag(bread @ ((x.T * rest**2) @ x) @ bread))
        assert [one.std_error for one in found.coefficients.values()] == pytest.approx(due.tolist(), rel=1e-7)


def test_a_question_and_an_answer_without_robust_errors_keep_their_bytes() -> None:
    job = Glm(formula="y ~ age", family="gaussian")
    assert b"errors" not in msgspec.json.encode(job) and not job.robust
    assert b'"errors"' not in msgspec.json.encode(fit(hospitals(), "thalach ~ age", "gaussian"))


def test_rows_that_miss_a_value_are_left_out_and_counted() -> None:
    chance = np.random.default_rng(3)
    x, y = chance.normal(0, 1, 60), chance.normal(0, 1, 60)
    x[5] = y[9] = y[10] = np.nan
    found = fit(dealt({"x": x, "y": y, "z": np.full(60, np.nan)}, 3), "y ~ x", "gaussian")
    whole = ~np.isnan(x + y)
    again = fit(dealt({"x": x[whole], "y": y[whole]}, 2), "y ~ x", "gaussian")
    assert (found.n, found.dropped) == (57, 3) and "3" in found.notes[0]
    assert found.coefficients["x"].estimate == pytest.approx(again.coefficients["x"].estimate, rel=1e-12)


@pytest.mark.parametrize("step", range(1, 9))
def test_whoever_leaves_at_whichever_step_the_rest_get_their_own_fit(step: int) -> None:
    tables = hospitals()
    formula = "y ~ age + sex + exang + factor(cp)"
    answer = ask_while_leaving(Glm(formula=formula, family="binomial"), tables, {step: "hungarian"})
    assert isinstance(answer, GlmAnswer)
    rest = {site: table for site, table in tables.items() if site != "hungarian"}
    expected = fit(rest, formula, "binomial")
    assert answer.n == expected.n
    for label, coefficient in answer.coefficients.items():
        assert coefficient.estimate == pytest.approx(expected.coefficients[label].estimate, rel=1e-9)
        assert coefficient.std_error == pytest.approx(expected.coefficients[label].std_error, rel=1e-8)
    assert (answer.deviance, answer.null_deviance, answer.aic) == pytest.approx(
        (expected.deviance, expected.null_deviance, expected.aic), rel=1e-11
    )


@pytest.mark.parametrize(("family", "formula"), [("gaussian", "thalach ~ age + exang"), ("poisson", "num ~ age + sex")])
def test_sites_may_leave_any_family_one_after_another(family: Family, formula: str) -> None:
    tables = hospitals()
    answer = ask_while_leaving(Glm(formula=formula, family=family), tables, {2: "va", 4: "hungarian"})
    assert isinstance(answer, GlmAnswer)
    expected = fit({site: tables[site] for site in ("cleveland", "switzerland")}, formula, family)
    for label, coefficient in answer.coefficients.items():
        assert coefficient.estimate == pytest.approx(expected.coefficients[label].estimate, rel=1e-9)


def test_a_poisson_step_that_leaps_too_far_is_halved() -> None:
    x = np.concatenate([np.zeros(200), np.linspace(0, 1, 40) ** 8])
    y = np.rint(np.exp(9 * x))
    job, tables = Glm(formula="y ~ x", family="poisson"), dealt({"x": x, "y": y}, 3)
    names = step_names(job, tables)
    assert any("halved" in name for name in names), names
    found = fit(tables, "y ~ x", "poisson")
    beta, _ = pooled_fit(np.column_stack([np.ones(240), x]), y, "poisson")
    assert found.coefficients["x"].estimate == pytest.approx(beta[1], rel=1e-9)


def test_an_outcome_given_apart_is_the_same_question() -> None:
    tables = hospitals()
    assert fit(tables, "age + sex", "binomial", outcome="y").aic == fit(tables, "y ~ age + sex", "binomial").aic


def test_p_values_come_from_t_for_gaussian_and_from_normal_else() -> None:
    from scipy.stats import norm, t

    tables = hospitals()
    linear = fit(tables, "thalach ~ age", "gaussian").coefficients["age"]
    logistic = fit(tables, "y ~ age", "binomial").coefficients["age"]
    assert linear.p == pytest.approx(2 * t.sf(abs(linear.z), 738), rel=1e-9)
    assert logistic.p == pytest.approx(2 * norm.sf(abs(logistic.z)), rel=1e-9)


def test_a_numeric_column_with_declared_categories_needs_no_looking() -> None:
    rows = read("heart_disease_4hospitals.csv")
    names = ("4", "1", "2", "3")
    tables = split(rows, rows["hospital"], {"hospital": HOSPITALS, "cp": names})
    found = fit(tables, "y ~ C(cp)", "binomial")
    assert list(found.coefficients) == ["(Intercept)", "C(cp)1", "C(cp)2", "C(cp)3"]
    every = joined(tables)
    share = every.numbers("y")[every.numbers("cp") == 4].mean()
    assert found.coefficients["(Intercept)"].estimate == pytest.approx(np.log(share / (1 - share)), rel=1e-10)


N = 24
X = [float(n % 7) for n in range(N)]
YES_NO = [float(n % 3 == 0) for n in range(N)]
COUNTS = [float(n % 5) for n in range(N)]

REFUSALS: dict[str, tuple[dict[str, Any], str, Family, str]] = {
    "no parse": ({"y": YES_NO, "x": X}, "y ~ x +", "binomial", "does not parse"),
    "no column": ({"y": YES_NO, "x": X}, "y ~ x + w", "binomial", "no column 'w'"),
    "no rows": ({"y": [None] * N, "x": X}, "y ~ x", "binomial", "no rows are complete"),
    "no rows for categories": ({"y": [None] * N, "x": X}, "y ~ C(x)", "binomial", "no rows are complete"),
    "few rows": ({"y": YES_NO[:3], "x": X[:3]}, "y ~ x + exp(x)", "binomial", "no more complete rows than the 3 coef"),
    "all no": ({"y": [0.0] * N, "x": X}, "y ~ x", "binomial", "outcome 'y' has one class only"),
    "all yes": ({"y": [1.0] * N, "x": X}, "y ~ x", "binomial", "outcome 'y' (has one class only|is constant)"),
    "a two": ({"y": [2.0, *YES_NO[1:]], "x": X}, "y ~ x", "binomial", "'y' holds values other than 0 and 1"),
    "negative": ({"y": [-1.0, *COUNTS[1:]], "x": X}, "y ~ x", "poisson", "'y' holds values other than counts"),
    "half": ({"y": [0.5, *COUNTS[1:]], "x": X}, "y ~ x", "poisson", "'y' holds values other than counts"),
    "no counts": ({"y": [0.0] * N, "x": X}, "y ~ x", "poisson", "'y' is constant"),
    "flat outcome": ({"y": [0.1] * N, "x": X}, "y ~ x", "gaussian", "the outcome 'y' is constant"),
    "zeros": ({"y": YES_NO, "x": X, "w": [0.0] * N}, "y ~ x + w", "binomial", "column 'w' is constant"),
    "constant": ({"y": YES_NO, "x": X, "w": [0.1] * N}, "y ~ x + w", "binomial", "column 'w' is constant"),
    "dependent": (
        {"y": YES_NO, "x": X, "w": [1e6 + 3 * x for x in X]}, "y ~ x + w", "binomial", "column 'w' depends linearly"
    ),
    "dependent products": (
        {"y": COUNTS, "x": [float(n % 2) for n in range(N)], "g": YES_NO}, "y ~ C(x):C(g)", "poisson", "depends"
    ),
    "one category": ({"y": YES_NO, "x": [3.0] * N}, "y ~ C(x)", "binomial", r"'C\(x\)' has one category only"),
    "separated": ({"y": [float(x > 3) for x in X], "x": X}, "y ~ x", "binomial", "did not converge in .* by 'x'"),
    "nearly separated": (
        {"y": [*YES_NO[:-3], 1.0, 1.0, 1.0], "g": [0.0] * (N - 3) + [1.0] * 3}, "y ~ g", "binomial", "did not converge"
    ),
    "zero counts in a group": (
        {"y": [*COUNTS[:-3], 0.0, 0.0, 0.0], "g": [0.0] * (N - 3) + [1.0] * 3}, "y ~ g", "poisson", "did not converge"
    ),
    "exact": ({"y": [2 * x + 1 for x in X], "x": X}, "y ~ x", "gaussian", "follows exactly"),
    "log of zero": ({"y": YES_NO, "x": X}, "y ~ log(x)", "binomial", r"'log\(x\)' has no finite value"),
    "halves as categories": ({"y": YES_NO, "x": [x / 2 for x in X]}, "y ~ C(x)", "binomial", "declare its categories"),
    "too many columns": ({"y": YES_NO, "x": [float(n) for n in range(N)]}, "y ~ C(x)", "binomial", "no more complete"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "formula", "family", "due"), REFUSALS.values(), ids=list(REFUSALS))
def test_what_has_no_regression_is_refused_in_one_sentence(
    columns: dict[str, Any], formula: str, family: Family, due: str
) -> None:
    with pytest.raises(Refused, match=due) as refusal:
        fit(dealt(columns, 3), formula, family)
    sentence = str(refusal.value)
    assert "\n" not in sentence and ". " not in sentence and not sentence.endswith(".")


def test_a_hundred_iterations_do_not_hide_separation() -> None:
    columns = {"y": [float(x > 3) for x in X], "x": X}
    with pytest.raises(Refused, match="did not converge"):
        fit(dealt(columns, 2), "y ~ x", "binomial", max_iterations=100)


def test_a_declared_category_that_no_row_has_is_named() -> None:
    table = mixed_table({"h": ("u", "v", "w")}, y=[0.0, 1.0, 0.0, 1.0, 1.0], h=["u", "u", "v", "v", "v"])
    with pytest.raises(Refused, match="column 'hw' is constant"):
        fit({"a": table}, "y ~ h", "binomial")


@pytest.mark.parametrize("formula", ["y ~ log(h)", "h ~ y", "y ~ h"])
def test_text_where_it_has_no_meaning_is_refused(formula: str) -> None:
    table = mixed_table({"h": ()}, y=[0.0, 1.0], h=["u", "v"])
    with pytest.raises(Refused, match=r"column 'h'.* holds text"):
        fit({"a": table}, formula, "binomial")


def test_text_here_and_numbers_there_is_refused() -> None:
    tables = {
        "a": mixed_table({"h": ("1", "2")}, y=[0.0, 1.0], h=["1", "2"]),
        "b": numbers_table(y=[0.0, 1.0], h=[1.0, 2.0]),
    }
    with pytest.raises(Refused, match="text in one table and numbers in another"):
        fit(tables, "y ~ h", "binomial")


def test_categories_of_a_column_used_as_a_number_are_refused() -> None:
    with pytest.raises(Refused, match="column 'x', which the formula uses as a number"):
        fit(dealt({"y": YES_NO, "x": X}, 2), "y ~ x", "binomial", levels={"x": ("0", "1")})
