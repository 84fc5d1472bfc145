"""Correlations over sites equal those of the pooled rows, to the last digits that float64 rows have."""

import math
from fractions import Fraction

import numpy as np
import pytest
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Table, encode_state
from hansa.jobs.centring import Scale
from hansa.jobs.correlation import Correlation, CorrelationAnswer, State
from hansa.jobs.example import mixed_table, numbers_table
from hansa.privacy.disclosure import Rules
from tests.real_rows import ask, ask_while_leaving, dealt, hospitals, joined

COLUMNS = ("age", "trestbps", "chol", "thalach", "oldpeak", "sex")


def correlation(tables: dict[str, Table], *columns: str) -> CorrelationAnswer:
    answer = ask(Correlation(of=columns), tables)
    assert isinstance(answer, CorrelationAnswer)
    return answer


def pooled(tables: dict[str, Table], columns: tuple[str, ...]) -> np.ndarray:
    every = joined(tables)
    return np.array([every.numbers(name) for name in columns])


def exact(x: list[float], y: list[float]) -> float:
    """r in rational arithmetic, but for the last root."""
    a, b = ([Fraction(one) for one in values] for values in (x, y))
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cross = sum(((one - mean_a) * (two - mean_b) for one, two in zip(a, b, strict=True)), Fraction(0))
    squares = sum((one - mean_a) ** 2 for one in a) * sum((two - mean_b) ** 2 for two in b)
    return math.copysign(math.sqrt(cross * cross / squares), cross)


def test_four_hospitals_agree_with_numpy_and_scipy() -> None:
    from scipy.stats import pearsonr

    tables = hospitals()
    values, answer = pooled(tables, COLUMNS), correlation(tables, *COLUMNS)
    assert answer.n == 740 and answer.missing == 0
    assert np.allclose(np.array(answer.matrix, dtype=float), np.corrcoef(values), rtol=0, atol=1e-13)
    assert np.allclose(answer.means, values.mean(axis=1), rtol=1e-14)
    assert np.allclose(answer.sds, values.std(axis=1, ddof=1), rtol=1e-13)
    assert answer.precision < 1e-12
    cov = np.cov(values)
    for pair in answer.pairs:
        i, j = COLUMNS.index(pair.first), COLUMNS.index(pair.second)
        expected = pearsonr(values[i], values[j])
        ends = expected.confidence_interval(0.95)
        assert pair.r == pytest.approx(expected.statistic, rel=1e-12)
        assert pair.p == pytest.approx(expected.pvalue, rel=1e-10)
        assert (pair.low, pair.high) == pytest.approx((ends.low, ends.high), rel=1e-12)
        assert pair.covariance == pytest.approx(cov[i, j], rel=1e-11)


@pytest.mark.parametrize("centre", [0.0, 1e7, 1e12, -3e15])
def test_columns_far_from_zero_lose_no_digit_that_their_rows_have(centre: float) -> None:
    chance = np.random.default_rng(7)
    x = chance.normal(size=60)
    y = 0.4 * x + chance.normal(size=60)
    x, y = x * 1e-3 + 5e-8 * centre, y * 4 + centre
    answer = correlation(dealt({"x": x, "y": y}, 3), "x", "y")
    r = answer.pairs[0].r
    assert r is not None
    assert abs(r - exact(x.tolist(), y.tolist())) <= answer.precision < 1e-13


def test_rows_that_miss_a_value_are_left_out_of_every_pair() -> None:
    tables = {
        "a": numbers_table(x=[1.0, 2.0, None, 9.0], y=[2.0, 1.0, 5.0, 4.0], z=[0.0, 1.0, 1.0, None]),
        "b": numbers_table(x=[3.0, 4.0], y=[5.0, 4.0], z=[1.0, 3.0]),
    }
    answer = correlation(tables, "x", "y", "z")
    assert (answer.n, answer.missing) == (4, 2)
    due = np.corrcoef([[1, 2, 3, 4], [2, 1, 5, 4], [0, 1, 1, 3]])
    assert np.allclose(np.array(answer.matrix, dtype=float), due, atol=1e-14)
    assert answer.pairs[0].low is not None


def test_a_constant_column_has_no_correlation_and_the_others_keep_theirs() -> None:
    tables = dealt({"x": [1.0, 2.0, 3.0, 5.0], "c": [0.1] * 4, "y": [4.0, 3.0, 3.0, 1.0]}, 2)
    answer = correlation(tables, "x", "c", "y")
    assert [pair.r is None for pair in answer.pairs] == [True, False, True]
    assert answer.matrix[1] == (None, None, None) and answer.sds[1] == 0.0
    assert "column 'c' is constant over these rows" in answer.notes


def test_columns_on_one_line_have_r_one_and_three_rows_no_interval() -> None:
    answer = correlation(dealt({"x": [1.0, 2.0, 4.0], "y": [-2.0, -4.0, -8.0]}, 3), "x", "y")
    (pair,) = answer.pairs
    assert pair.r == pytest.approx(-1.0, abs=1e-15) and pair.low is None
    assert pair.p == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_exact(step: int) -> None:
    tables = hospitals()
    answer = ask_while_leaving(Correlation(of=COLUMNS), tables, {step: "hungarian"})
    assert isinstance(answer, CorrelationAnswer)
    rest = {site: table for site, table in tables.items() if site != "hungarian"}
    assert answer.n == 740 - 261
    assert np.allclose(np.array(answer.matrix, dtype=float), np.corrcoef(pooled(rest, COLUMNS)), rtol=0, atol=1e-12)


BAD = {
    "text": ({"a": mixed_table({"y": ("u",)}, x=[1.0], y=["u"])}, "column 'y' of table 'made_up' holds text"),
    "no such column": ({"a": numbers_table(x=[1.0])}, "no column 'y'"),
    "two rows": ({"a": numbers_table(x=[1.0, 2.0], y=[3.0, 4.0])}, "only 2 rows miss none"),
    "all missing": ({"a": numbers_table(x=[1.0] * 5, y=[None] * 5)}, "only 0 rows miss none"),
    "infinite": ({"a": numbers_table(x=[1.0, 2.0, math.inf], y=[3.0, 4.0, 1.0])}, "infinite"),
}


@pytest.mark.parametrize(("tables", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_correlation_is_refused(tables: dict[str, Table], due: str) -> None:
    with pytest.raises(Refused, match=due):
        correlation(tables, "x", "y")


@pytest.mark.parametrize("columns", [("x",), ("x", "x"), tuple(f"x{place}" for place in range(33))])
def test_a_correlation_is_of_two_to_thirty_two_columns(columns: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match=r"2 to 32 columns|twice"):
        Correlation(of=columns).columns()


def test_a_state_out_of_range_is_refused_by_a_site() -> None:
    table = numbers_table(x=[1.0, 2.0], y=[3.0, 4.0])
    job = Correlation(of=("x", "y"))
    step = job.begin([table.schema], 1)
    for scale in (Scale(0, math.nan, 0), Scale(201), Scale(0, 0.0, -201)):
        lie = replace(step, state=encode_state(State(1, (scale, scale))))
        with pytest.raises(ProtocolViolation):
            job.encode(table, lie)


def test_few_rows_or_many_columns_for_them_are_not_released() -> None:
    answer = correlation(dealt({"x": range(11), "y": [one * one for one in range(11)]}, 2), "x", "y")
    assert answer.disclosed(Rules()).missing == 0
    with pytest.raises(Refused, match="rests on fewer than 12 rows"):
        answer.disclosed(Rules(minimum_cell=12))
    with pytest.raises(Refused, match="more than 10 parameters per hundred records"):
        answer.disclosed(Rules(parameters_percent=10))
    assert replace(answer, missing=4).disclosed(Rules()).missing is None


def test_what_it_shows_says_the_strongest_pair() -> None:
    exhibit = correlation(hospitals(), *COLUMNS).exhibit()
    assert "The strongest is" in exhibit.plots[0].says
    assert len(exhibit.sheets[0].rows) == 15
