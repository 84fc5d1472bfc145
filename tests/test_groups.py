"""Tests of means: certified digits of NIST, scipy on the pooled rows, groups that are thin or absent."""

import math
from fractions import Fraction

import numpy as np
import pytest
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.anova import Anova, AnovaAnswer
from hansa.jobs.base import Answer, Job, Table, encode_state
from hansa.jobs.centring import Scale
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.groups import State
from hansa.jobs.t_tests import TTest, TTestAnswer
from hansa.jobs.table import Crosstab
from hansa.privacy.differencing import refuse_revealing
from hansa.privacy.disclosure import Rules
from tests.real_rows import ask, ask_while_leaving, hospitals, joined, read_json, split

ARMS = ("drug", "placebo")


def anova(tables: dict[str, Table], column: str = "x", by: str = "g", **parameters: object) -> AnovaAnswer:
    answer = ask(Anova(column=column, by=by, **parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, AnovaAnswer)
    return answer


def t_test(tables: dict[str, Table], column: str = "x", **parameters: object) -> TTestAnswer:
    answer = ask(TTest(column=column, **parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, TTestAnswer)
    return answer


def arms(*rows: tuple[str | None, float | None]) -> Table:
    return mixed_table({"arm": ARMS}, x=[value for _, value in rows], arm=[arm for arm, _ in rows])


# ---- NIST StRD, analysis of variance ----


def simon_lesage(leading: str, replicates: int) -> list[tuple[int, str]]:
    """Simon and Lesage 1989, as NIST lists it: nine treatments, tenths of 4, 3, 5, 3, 5 …, each row one off in turn."""
    rows = []
    for treatment in range(1, 10):
        tenths = 4 if treatment == 1 else 3 if treatment % 2 == 0 else 5
        for place in range(replicates):
            rows.append((treatment, f"{leading}.{tenths + (0 if place == 0 else -1 if place % 2 else 1)}"))
    return rows


def nist(name: str) -> list[tuple[int, str]]:
    if name.startswith("SmLs"):
        number = int(name[-1]) - 1
        return simon_lesage(("1", "1000000", "1000000000000")[number // 3], (21, 201, 2001)[number % 3])
    return [(int(group), text) for group, text in read_json("nist_anova.json")[name]["rows"]]


def sums(rows: list[tuple[int, Fraction]]) -> tuple[Fraction, Fraction]:
    """Sums of squares between and within groups in rational arithmetic."""
    of: dict[int, list[Fraction]] = {}
    for group, value in rows:
        of.setdefault(group, []).append(value)
    mean = sum(value for _, value in rows) / Fraction(len(rows))
    means = {group: sum(values) / Fraction(len(values)) for group, values in of.items()}
    between = sum((len(of[group]) * (means[group] - mean) ** 2 for group in of), Fraction(0))
    return between, sum(((value - means[group]) ** 2 for group, value in rows), Fraction(0))


# Certified digits that are reached of sums of squares, F, R-squared and residual sd, at the least of them. The rows of
# SmLs04 to 09 are no float64 numbers: what they lose when they are read, before any computation, is the limit.
DIGITS = {
    "SiRstv": 12.5,
    "AtmWtAg": 9.5,
    "SmLs01": 14,
    "SmLs02": 14,
    "SmLs03": 14,
    "SmLs04": 9.5,
    "SmLs05": 9.5,
    "SmLs06": 9.5,
    "SmLs07": 3.5,
    "SmLs08": 3.5,
    "SmLs09": 3.5,
}


@pytest.mark.parametrize("name", DIGITS)
def test_nists_data_over_three_sites_have_their_certified_digits(name: str) -> None:
    certified, rows = read_json("nist_anova.json")[name], nist(name)
    columns = {"x": np.array([float(text) for _, text in rows]), "g": np.array([float(group) for group, _ in rows])}
    found = anova(split(columns, [place % 3 for place in range(len(rows))]))
    assert (found.df_between, found.df_within) == (certified["df_between"], certified["df_within"])
    due = {field: float(certified[field]) for field in certified if field not in ("rows", "df_between", "df_within")}
    reached = min(-math.log10(max(abs(getattr(found, field) / value - 1), 1e-16)) for field, value in due.items())
    assert reached >= DIGITS[name]
    between, within = sums([(group, Fraction(float(text))) for group, text in rows])
    assert abs(Fraction(found.ss_between) - between) <= Fraction(found.ss_between_precision)
    assert abs(Fraction(found.ss_within) - within) <= Fraction(found.ss_within_precision)
    f = float(between / found.df_between / (within / found.df_within))
    assert abs(found.f - f) <= found.f_precision
    assert found.f == pytest.approx(f, rel=1e-12)


# ---- real rows ----


def by_sex(column: str) -> tuple[np.ndarray, np.ndarray]:
    every = joined(hospitals())
    return tuple(every.numbers(column)[every.numbers("sex") == sex] for sex in (0, 1))  # type: ignore[return-value]


@pytest.mark.parametrize("variances", ["unequal", "equal"])
@pytest.mark.parametrize("column", ["age", "chol", "thalach"])
def test_a_t_test_over_four_hospitals_equals_scipys(column: str, variances: str) -> None:
    from scipy.stats import ttest_ind

    women, men = by_sex(column)
    expected = ttest_ind(women, men, equal_var=variances == "equal")
    answer = t_test(hospitals(), column, by="sex", variances=variances)
    assert [(group.name, group.n) for group in answer.groups] == [("0", women.size), ("1", men.size)]
    assert answer.t == pytest.approx(expected.statistic, rel=1e-12)
    assert answer.df == pytest.approx(expected.df, rel=1e-12)
    assert answer.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert (answer.low, answer.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-11)
    assert answer.difference == pytest.approx(women.mean() - men.mean(), rel=1e-11)
    assert answer.groups[1].sd == pytest.approx(men.std(ddof=1), rel=1e-13)
    assert answer.t_precision < 1e-12


def test_a_mean_against_a_number_equals_scipys() -> None:
    from scipy.stats import ttest_1samp

    tables = hospitals()
    expected = ttest_1samp(joined(tables).numbers("age"), 54.0)
    answer = t_test(tables, "age", mu=54.0)
    assert (answer.t, answer.p, answer.df) == pytest.approx(
        (expected.statistic, expected.pvalue, expected.df), rel=1e-11
    )
    assert (answer.low + 54, answer.high + 54) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-12)
    assert [group.name for group in answer.groups] == ["all rows"]


def test_an_analysis_of_variance_over_four_hospitals_equals_scipys() -> None:
    from scipy.stats import f_oneway

    tables = hospitals()
    every = joined(tables)
    parts = [every.numbers("thalach")[every.numbers("cp") == pain] for pain in (1, 2, 3, 4)]
    answer = anova(tables, "thalach", "cp")
    expected = f_oneway(*parts)
    assert (answer.f, answer.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
    welch = f_oneway(*parts, equal_var=False)
    assert answer.welch is not None
    assert (answer.welch.f, answer.welch.p) == pytest.approx((welch.statistic, welch.pvalue), rel=1e-10)
    assert (answer.df_between, answer.df_within) == (3, 736)
    assert 0 < answer.eta_squared < 1


def test_two_groups_of_equal_variance_have_f_equal_to_the_square_of_t() -> None:
    squared = t_test(hospitals(), "chol", by="sex", variances="equal").t ** 2
    assert anova(hospitals(), "chol", "sex").f == pytest.approx(squared, rel=1e-12)


def test_hospitals_themselves_may_be_the_groups() -> None:
    tables = hospitals()
    answer = anova(tables, "age", "hospital")
    assert [(group.name, group.n) for group in answer.groups] == [(site, table.rows) for site, table in tables.items()]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_exact(step: int) -> None:
    from scipy.stats import f_oneway, ttest_ind

    tables = hospitals()
    rest = joined({site: table for site, table in tables.items() if site != "cleveland"})
    chol, sex, cp = (rest.numbers(name) for name in ("chol", "sex", "cp"))
    answer = ask_while_leaving(TTest(column="chol", by="sex"), tables, {step: "cleveland"})
    assert isinstance(answer, TTestAnswer)
    expected = ttest_ind(chol[sex == 0], chol[sex == 1], equal_var=False)
    assert (answer.t, answer.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
    several = ask_while_leaving(Anova(column="chol", by="cp"), tables, {step: "cleveland"})
    assert isinstance(several, AnovaAnswer)
    assert several.f == pytest.approx(f_oneway(*(chol[cp == one] for one in (1, 2, 3, 4))).statistic, rel=1e-10)


# ---- thin, absent, constant ----


def test_one_group_may_be_absent_at_a_site_and_another_hold_two_rows() -> None:
    tables = {"a": arms(("drug", 1.0), ("drug", 2.0), ("drug", 4.0)), "b": arms(("placebo", 3.0), ("placebo", 8.0))}
    answer = t_test(tables, by="arm")
    assert [(group.n, group.mean) for group in answer.groups] == [(3, pytest.approx(7 / 3)), (2, 5.5)]
    assert answer.t == pytest.approx((7 / 3 - 5.5) / math.sqrt((7 / 3) / 3 + 12.5 / 2), rel=1e-14)


def test_a_declared_group_without_rows_is_told_and_left_out() -> None:
    tables = {
        "a": mixed_table({"g": ("u", "v", "w")}, x=[1.0, 2.0, 4.0, 7.0, None], g=["u", "u", "v", "v", "w"]),
        "b": mixed_table({"g": ("u", "v", "w")}, x=[3.0, None], g=["v", "u"]),
    }
    answer = anova(tables)
    assert [group.name for group in answer.groups] == ["u", "v"]
    assert answer.notes == ("rows left out because they miss a value: 2", "no rows have category 'w'")
    assert t_test(tables, by="g").t == pytest.approx(-(14 / 3 - 1.5) / math.sqrt(0.25 / 1 + (13 / 3) / 3), rel=1e-13)


def test_a_group_of_one_row_has_no_sd_and_leaves_welchs_test_undefined() -> None:
    tables = {"a": numbers_table(x=[1.0, 2.0, 4.0], g=[0.0, 0.0, 1.0]), "b": numbers_table(x=[5.0, 7.0], g=[2.0, 2.0])}
    answer = anova(tables)
    assert answer.groups[1].sd is None and answer.groups[1].low is None and answer.welch is None
    assert answer.exhibit().plots[0].says.startswith("The mean of x in each of 3 groups")
    one = {"a": arms(("drug", 1.0), ("drug", 3.0), ("placebo", 7.0))}
    assert t_test(one, by="arm", variances="equal").df == 1


def test_a_group_far_from_the_others_costs_no_digit() -> None:
    chance = np.random.default_rng(3)
    x = np.concatenate([chance.normal(0, 1e-3, 40), chance.normal(1e9, 1e-3, 40)])
    columns = {"x": x, "g": np.repeat([0.0, 1.0], 40)}
    answer = anova(split(columns, [place % 3 for place in range(80)]))
    _, within = sums([(int(g), Fraction(one)) for g, one in zip(columns["g"].tolist(), x.tolist(), strict=True)])
    assert answer.ss_within == pytest.approx(float(within), rel=1e-13)


BAD: dict[str, tuple[Job, dict[str, Table], str]] = {
    "text": (TTest(column="arm"), {"a": arms(("drug", 1.0))}, "column 'arm' of table 'made_up' holds text"),
    "one group": (
        TTest(column="x", by="arm"),
        {"a": arms(("drug", 1.0), ("drug", 2.0))},
        "1 categories .* two",
    ),
    "three groups": (
        TTest(column="x", by="g"),
        {"a": numbers_table(x=[1.0, 2.0, 3.0], g=[0.0, 1.0, 2.0])},
        "3 categories of column 'g' have rows, and a t-test compares two",
    ),
    "one row of a group": (
        TTest(column="x", by="arm"),
        {"a": arms(("drug", 1.0), ("drug", 3.0)), "b": arms(("placebo", 2.0))},
        "group 'placebo' has too few rows",
    ),
    "one row": (TTest(column="x"), {"a": numbers_table(x=[1.0])}, "too few rows with a number in column 'x'"),
    "constant": (
        TTest(column="x", by="arm"),
        {"a": arms(("drug", 0.1), ("drug", 0.1)), "b": arms(("placebo", 0.3), ("placebo", 0.3))},
        "column 'x' is constant in each group",
    ),
    "all missing": (TTest(column="x", by="arm"), {"a": arms(("drug", None), (None, 2.0))}, "no rows have a number"),
    "one group of several": (Anova(column="x", by="g"), {"a": numbers_table(x=[1.0, 2.0], g=[1.0, 1.0])}, "nothing to"),
    "a row each": (
        Anova(column="x", by="g"),
        {"a": numbers_table(x=[1.0, 2.0], g=[1.0, 2.0])},
        "has one row",
    ),
    "constant groups": (
        Anova(column="x", by="g"),
        {"a": numbers_table(x=[1.0, 1.0, 2.0, 2.0], g=[1.0, 1.0, 2.0, 2.0])},
        "constant in each group",
    ),
    "infinite": (Anova(column="x", by="g"), {"a": numbers_table(x=[1.0, math.inf], g=[1.0, 2.0])}, "infinite"),
    "a trailing blank": (
        Anova(column="x", by="arm"),
        {"a": arms(("drug ", 1.0), ("placebo", 2.0))},
        "column 'arm' .* a category that is not declared",
    ),
    "no categories": (
        Anova(column="x", by="g"),
        {"a": mixed_table({"g": ()}, x=[1.0], g=["u"])},
        "declare its categories",
    ),
    "one column twice": (Anova(column="x", by="x"), {"a": numbers_table(x=[1.0])}, "twice"),
    "a number and groups": (TTest(column="x", by="g", mu=1.0), {"a": numbers_table(x=[1.0], g=[1.0])}, "one of them"),
}


@pytest.mark.parametrize(("job", "tables", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_test_is_refused(job: Job, tables: dict[str, Table], due: str) -> None:
    with pytest.raises(Refused, match=due):
        ask(job, tables)


def test_a_state_that_names_no_groups_or_others_is_refused_by_a_site() -> None:
    table, scale = numbers_table(x=[1.0, 2.0], g=[0.0, 1.0]), Scale(4, 1.0, 4)
    step = Anova(column="x", by="g").begin([table.schema], 1)
    for state in (State(1, ()), State(1, ("0", "0"), (scale, scale)), State(2, ("0", "1"), (scale,))):
        with pytest.raises(ProtocolViolation):
            Anova(column="x", by="g").encode(table, replace(step, state=encode_state(state)))
    with pytest.raises(ProtocolViolation):
        TTest(column="x").encode(table, replace(step, state=encode_state(State(1, ("0",), (scale,)))))


# ---- what may be shown ----


@pytest.mark.parametrize("job", [TTest(column="age", by="sex"), Anova(column="age", by="cp")])
def test_a_group_of_few_rows_is_not_released(job: Job) -> None:
    answer: Answer = ask(job, hospitals())
    shown = answer.disclosed(Rules(round_to=5))
    assert "counts are rounded to multiples of 5" in shown.notes
    with pytest.raises(Refused, match=r"the mean of group '.' rests on fewer than 400 rows"):
        answer.disclosed(Rules(minimum_cell=400))


def test_a_table_of_the_groups_and_the_test_together_show_how_many_miss_the_number() -> None:
    x = [float(place) for place in range(60)]
    arm = [ARMS[place % 2] for place in range(60)]
    some: list[float | None] = [None if place in (3, 7, 9) else value for place, value in enumerate(x)]
    tables = {"a": mixed_table({"arm": ARMS}, x=some, arm=arm)}
    test, table = TTest(column="x", by="arm"), Crosstab(rows="arm")
    one, other = ask(test, tables), ask(table, tables)
    shown = test.figures(one.disclosed(Rules()), one)
    assert [figure.count for figure in shown] == [30, 27]
    refuse_revealing(shown, [test.figures(one, one)[:2]], 10)
    with pytest.raises(Refused, match="would together show a count below 10"):
        refuse_revealing(shown, [table.figures(other, other)], 10)


def test_what_they_show_is_the_means_and_the_table_of_squares() -> None:
    test = t_test(hospitals(), "age", by="sex").exhibit()
    assert test.sheets[0].rows[0][0] == "0" and len(test.plots) == 2
    several = anova(hospitals(), "age", "cp").exhibit()
    assert [row[0] for row in several.sheets[1].rows] == ["between groups", "within groups", "Welch"]
    assert "The highest is" in several.plots[0].says
