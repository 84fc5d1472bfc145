"""Quantiles in intervals that hold them, and never fewer rows than they must."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import parse
from hansa.jobs.base import Table, encode_state
from hansa.jobs.brackets import Divided
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.quantiles import Of, Quantiles, QuantilesAnswer, State
from hansa.privacy.differencing import refuse_revealing
from hansa.privacy.disclosure import Rules
from tests.real_rows import ask, ask_while_leaving, dealt, hospitals, joined

DECILES = tuple(place / 10 for place in range(1, 10))


def quantiles(tables: dict[str, Table], *columns: str, **parameters: object) -> QuantilesAnswer:
    answer = ask(Quantiles(of=columns, **parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, QuantilesAnswer)
    return answer


def check(one: Of, values: np.ndarray, rows: int = 10) -> None:
    """Each interval holds R's type 1 quantile, says truly how many rows it holds, and not fewer than it must."""
    ordered = np.sort(values)
    assert one.n == ordered.size
    for quantile in one.quantiles:
        assert quantile.low is not None and quantile.high is not None
        due = ordered[math.ceil(Fraction(repr(quantile.at)) * ordered.size) - 1]
        assert quantile.low <= due < quantile.high
        held = int(((quantile.low <= ordered) & (ordered < quantile.high)).sum())
        assert quantile.rows == held >= min(rows, ordered.size)


def test_deciles_over_four_hospitals_lie_in_their_intervals_as_numpy_finds_them() -> None:
    tables = hospitals()
    answer = quantiles(tables, "age", "chol", "thalach", at=DECILES)
    for one in answer.of:
        values = joined(tables).numbers(one.column)
        check(one, values)
        type_1 = np.quantile(values, DECILES, method="inverted_cdf")
        assert all(q.low <= due < q.high for q, due in zip(one.quantiles, type_1, strict=True))  # type: ignore[operator]
    age = next(one for one in answer.of if one.column == "age")
    assert all(q.high - q.low <= 1 for q in age.quantiles)  # type: ignore[operator]  # one year of age
    assert answer.missing == {"age": 0, "chol": 0, "thalach": 0}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(
        st.one_of(st.floats(-1e30, 1e30), st.integers(0, 3).map(float), st.floats(1e9, 1e9 + 1)),
        min_size=1,
        max_size=90,
    ),
    sites=st.integers(1, 4),
    at=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5, unique=True),
    rows=st.integers(10, 30),
)
def test_the_intervals_hold_for_any_numbers(values: list[float], sites: int, at: list[float], rows: int) -> None:
    answer = quantiles(dealt({"x": values}, sites), "x", at=tuple(at), rows=rows)
    check(answer.of[0], np.array(values), rows)


def test_a_decimal_is_taken_as_it_is_written() -> None:
    """0.07 * 100 is a little more than 7 in float64, and the row of rank 8 is not the quantile."""
    values = np.repeat(np.arange(100.0), 10)
    (one,) = quantiles(dealt({"x": values}, 2), "x", at=(0.07,), rows=10).of
    check(one, values)
    assert one.quantiles[0].low is not None and one.quantiles[0].low <= 6.0 < one.quantiles[0].high  # type: ignore[operator]


def test_an_interval_as_narrow_as_was_asked_is_not_divided() -> None:
    values = np.random.default_rng(1).normal(size=4000)
    (wide,) = quantiles(dealt({"x": values}, 3), "x", at=(0.5,), precision=0.5).of
    (narrow,) = quantiles(dealt({"x": values}, 3), "x", at=(0.5,)).of
    check(wide, values)
    check(narrow, values)
    width, least = (one.quantiles[0].high - one.quantiles[0].low for one in (wide, narrow))  # type: ignore[operator]
    assert 0.25 < width <= 0.5 and least < 0.02
    assert narrow.quantiles[0].rows is not None and 10 <= narrow.quantiles[0].rows < 20


def test_groups_have_quantiles_of_their_own() -> None:
    tables = hospitals()
    answer = quantiles(tables, "age", "chol", by="sex", at=(0.1, 0.5))
    every = joined(tables)
    assert [(one.column, one.group) for one in answer.of] == [("age", "0"), ("age", "1"), ("chol", "0"), ("chol", "1")]
    for one in answer.of:
        check(one, every.numbers(one.column)[every.numbers("sex") == float(one.group)])


def test_a_declared_group_without_rows_has_no_quantiles() -> None:
    tables = {
        "a": mixed_table({"g": ("u", "v")}, x=[1.0, 2.0, None], g=["u", "u", "v"]),
        "b": mixed_table({"g": ("u", "v")}, x=[3.0], g=[None]),
    }
    answer = quantiles(tables, "x", by="g", at=(0.5,))
    assert [(one.n, len(one.quantiles)) for one in answer.of] == [(2, 1), (0, 0)]
    assert answer.missing == {"x": 2}


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_right(step: int) -> None:
    tables = hospitals()
    job = Quantiles(of=("age", "chol"), at=(0.05, 0.5, 0.9))
    answer = ask_while_leaving(job, tables, {step: "cleveland"})
    assert isinstance(answer, QuantilesAnswer)
    rest = joined({site: table for site, table in tables.items() if site != "cleveland"})
    for one in answer.of:
        check(one, rest.numbers(one.column))


def test_a_constant_column_and_a_site_of_two_rows() -> None:
    tables = {"a": numbers_table(x=[0.1] * 40), "b": numbers_table(x=[0.1, 0.1])}
    (one,) = quantiles(tables, "x", at=(0.01, 0.5)).of
    check(one, np.full(42, 0.1))
    assert all(q.high - q.low < 1e-12 for q in one.quantiles)  # type: ignore[operator]


# ---- what may be shown ----


def test_of_intervals_that_overlap_no_count_is_shown_whose_difference_is_small() -> None:
    values = np.concatenate([np.arange(200.0), np.random.default_rng(2).normal(100, 3, 300)])
    job = Quantiles(of=("x",), at=tuple(place / 100 for place in range(40, 60)))
    answer = ask(job, dealt({"x": values}, 3))
    assert isinstance(answer, QuantilesAnswer)
    shown = answer.disclosed(Rules())
    counts = [quantile.rows for quantile in shown.of[0].quantiles]
    assert None in counts and any(counts)
    assert all(quantile.low is not None for quantile in shown.of[0].quantiles)
    refuse_revealing(job.figures(shown, answer), (), 10)
    with pytest.raises(Refused):
        refuse_revealing(job.figures(answer, answer), (), 10)
    other = Quantiles(of=("x",), at=(0.5,), rows=17)
    later = ask(other, dealt({"x": values}, 3))
    with pytest.raises(Refused, match="would together show"):
        refuse_revealing(other.figures(later, later), [job.figures(shown, answer)], 40)


def test_what_rests_on_few_rows_is_left_out_or_refused() -> None:
    tables = {
        "a": mixed_table({"g": ("u", "v")}, x=[float(place) for place in range(40)], g=["u"] * 33 + ["v"] * 7),
        "b": mixed_table({"g": ("u", "v")}, x=[None] * 4, g=["u"] * 4),
    }
    answer = quantiles(tables, "x", by="g", at=(0.5,)).disclosed(Rules())
    assert [(one.group, one.n, len(one.quantiles)) for one in answer.of] == [("u", 33, 1), ("v", None, 0)]
    assert answer.missing == {"x": None}
    assert "counts from 1 to 9 are left out, and totals that hold them" in answer.notes
    narrow = quantiles(tables, "x", at=(0.5,)).disclosed(Rules(minimum_cell=30))
    assert (narrow.of[0].quantiles[0].low, narrow.of[0].quantiles[0].rows) == (None, None)
    assert narrow.exhibit().plots == ()
    with pytest.raises(Refused, match="the quantiles of column 'x' rests on fewer than 41 rows"):
        quantiles(tables, "x").disclosed(Rules(minimum_cell=41))


# ---- what is refused ----

BAD = {
    "text": ({"a": mixed_table({"x": ("u",)}, x=["u"])}, {}, "column 'x' of table 'made_up' holds text"),
    "no such column": ({"a": numbers_table(z=[1.0])}, {}, "no column 'x'"),
    "no rows": ({"a": numbers_table(x=[]), "b": numbers_table(x=[None])}, {}, "no rows have a number in column 'x'"),
    "infinite": ({"a": numbers_table(x=[4.0, math.inf])}, {}, "infinite"),
    "one quantile twice": ({"a": numbers_table(x=[4.0])}, {"at": (0.5, 0.5)}, "a quantile is named twice"),
    "one column twice": ({"a": numbers_table(x=[4.0])}, {"by": "x"}, "a column is named twice"),
    "a trailing blank": (
        {"a": mixed_table({"g": ("u",)}, x=[4.0], g=["u "])},
        {"by": "g"},
        "column 'g' .* a category that is not declared",
    ),
    "many": (
        {"a": mixed_table({"g": tuple(f"g{place}" for place in range(200))}, x=[4.0], g=["g1"])},
        {"by": "g", "at": tuple(place / 20 for place in range(1, 20))},
        "is for 3800 quantiles, and 1024",
    ),
}


@pytest.mark.parametrize(("tables", "parameters", "due"), BAD.values(), ids=list(BAD))
def test_what_has_no_quantiles_is_refused(tables: dict[str, Table], parameters: dict[str, object], due: str) -> None:
    with pytest.raises(Refused, match=due):
        quantiles(tables, "x", **parameters)


@pytest.mark.parametrize("at", [[0], [1.0], ["half"], []])
def test_a_probability_lies_between_nought_and_one(at: list[object]) -> None:
    with pytest.raises(Refused, match="'at' of 'quantiles' is due as a list of numbers"):
        parse("quantiles", {"columns": ["x"], "at": at})


def test_a_state_out_of_range_is_refused_by_a_site() -> None:
    table, job = numbers_table(x=[1.0]), Quantiles(of=("x",), at=(0.5,))
    step, all_rows = job.begin([table.schema], 1), ("all rows",)
    for state in (
        State(1, all_rows, (4,), ()),
        State(1, all_rows, (4,), (Divided(0.0, math.nan, 1),)),
        State(1, all_rows, (4,), (Divided(0.0, 1.0, 32),)),
        State(1, all_rows, (4,), (Divided(1.0, 0.0, 1),)),
        State(1, ("u",), (4,), (Divided(0.0, 1.0, 1),)),
        State(0, ()),
    ):
        with pytest.raises(ProtocolViolation):
            job.encode(table, replace(step, state=encode_state(state)))
