"""Means and variances to the last digit, and quantiles in brackets that never show a row."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.errors import Refused
from hansa.jobs.base import Table
from hansa.jobs.brackets import FLOOR, PERCENT
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.summary import Figures, Summary, SummaryAnswer
from tests.real_rows import ask, ask_while_leaving, dealt, hospitals, joined, read_json


def figures(tables: dict[str, Table], column: str = "x") -> Figures:
    answer = ask(Summary(of=(column,)), tables)
    assert isinstance(answer, SummaryAnswer)
    return answer.columns[column]


def exact(values: list[float]) -> tuple[Fraction, Fraction]:
    """Mean and variance in rational arithmetic."""
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers) / len(numbers)
    return mean, sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)


def check_precision(values: list[float], found: Figures) -> None:
    mean, variance = exact(values)
    assert abs(Fraction(found.mean) - mean) <= Fraction(found.mean_precision)
    assert abs(Fraction(found.variance) - variance) <= Fraction(found.variance_precision)


def check_brackets(values: list[float], found: Figures) -> None:
    ordered = sorted(values)
    for percent in PERCENT:
        bracket = found.quantiles[f"{percent}%"]
        quantile = ordered[-(-percent * len(ordered) // 100) - 1]
        assert bracket.low <= quantile < bracket.high
        held = sum(bracket.low <= value < bracket.high for value in ordered)
        assert held >= min(FLOOR, len(ordered))


@pytest.mark.parametrize("name", ["NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4"])
def test_nist_numacc_over_three_sites_has_its_certified_digits(name: str) -> None:
    certified = read_json("numacc_constructed.json")[name]
    values = [float(value) for value in certified["values"]]
    found = figures(dealt({"x": values}, 3))
    assert found.mean == pytest.approx(float(certified["mean"]), rel=1e-15)
    assert found.sd == pytest.approx(float(certified["sd"]), rel=1e-8)
    assert found.sd == pytest.approx(math.sqrt(exact(values)[1]), rel=1e-14)
    check_precision(values, found)
    check_brackets(values, found)


def test_four_hospitals_agree_with_r() -> None:
    tables = hospitals()
    for site, expected in read_json("reference_R.json")["heart4_by"].items():
        found = figures({site: tables[site]}, "age")
        assert found.count == expected["n"]
        assert found.mean == pytest.approx(expected["mean_age"], rel=1e-13)
        assert found.variance == pytest.approx(expected["var_age"], rel=1e-13)
    for column in ("age", "thalach", "oldpeak", "sex"):
        values = joined(tables).numbers(column).tolist()
        found = figures(tables, column)
        check_precision(values, found)
        check_brackets(values, found)
        assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-13)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    values=st.lists(
        st.one_of(
            st.floats(-1e30, 1e30), st.floats(-1e-30, 1e-30), st.integers(0, 3).map(float), st.floats(1e9, 1e9 + 1)
        ),
        min_size=2,
        max_size=80,
    ),
    sites=st.integers(1, 4),
)
def test_the_declared_precision_and_the_brackets_hold_for_any_numbers(values: list[float], sites: int) -> None:
    found = figures(dealt({"x": values}, sites))
    check_precision(values, found)
    check_brackets(values, found)
    assert found.count == len(values)


def test_a_constant_column_has_no_variance() -> None:
    for constant in (0.0, 0.1, -1e9 / 3):
        found = figures(dealt({"x": [constant] * 31}, 3))
        assert found.variance == 0.0 == found.sd
        assert found.mean == pytest.approx(constant, abs=found.mean_precision)


def test_a_pool_of_nine_shows_only_the_magnitude() -> None:
    found = figures(dealt({"x": [float(number) for number in range(1, 10)]}, 2))
    assert {(bracket.low, bracket.high) for bracket in found.quantiles.values()} == {(-16.0, 16.0)}


def test_missing_numbers_are_counted_and_left_out() -> None:
    found = figures({"a": numbers_table(x=[1.0, None, 3.0]), "b": numbers_table(x=[None, 5.0])})
    assert (found.count, found.missing, found.mean) == (3, 2, 3.0)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_exact(step: int) -> None:
    tables = hospitals()
    answer = ask_while_leaving(Summary(of=("age", "chol")), tables, {step: "cleveland"})
    assert isinstance(answer, SummaryAnswer)
    rest = joined({site: table for site, table in tables.items() if site != "cleveland"})
    for column in ("age", "chol"):
        check_precision(rest.numbers(column).tolist(), answer.columns[column])
        check_brackets(rest.numbers(column).tolist(), answer.columns[column])


BAD = {
    "text": ({"a": mixed_table({"x": ("u",)}, x=["u"])}, "column 'x' of table 'made_up' holds text"),
    "no such column": ({"a": numbers_table(z=[1.0])}, "no column 'x'"),
    "no rows": ({"a": numbers_table(x=[]), "b": numbers_table(x=[None])}, "no rows have a number in column 'x'"),
    "one row": ({"a": numbers_table(x=[4.0]), "b": numbers_table(x=[None])}, "only one row has a number"),
    "infinite": ({"a": numbers_table(x=[4.0, math.inf])}, "infinite"),
}


@pytest.mark.parametrize(("tables", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_summary_is_refused(tables: dict[str, Table], due: str) -> None:
    with pytest.raises(Refused, match=due):
        ask(Summary(of=("x",)), tables)
