"""Histograms and tables of counts."""

import numpy as np
import pytest

from hansa.errors import Refused
from hansa.jobs.base import Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.histogram import FLOOR, Histogram, HistogramAnswer
from hansa.jobs.table import Crosstab, TableAnswer
from tests.real_rows import ask, ask_while_leaving, dealt, hospitals, joined


def histogram(tables: dict[str, Table], **parameters: object) -> HistogramAnswer:
    answer = ask(Histogram(column="x", **parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, HistogramAnswer)
    return answer


def crosstab(tables: dict[str, Table], **parameters: object) -> TableAnswer:
    answer = ask(Crosstab(**parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, TableAnswer)
    return answer


@pytest.mark.parametrize("seed", range(6))
def test_a_histogram_counts_as_numpy_does_and_its_ends_show_no_extreme(seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = [chance.normal(50, 9, 400), chance.lognormal(3, 2, 400), chance.integers(0, 2, 90) * 1.0][seed % 3]
    answer = histogram(dealt({"x": values}, 3), bins=7)
    edges = np.array(answer.edges)
    assert list(answer.counts) == np.histogram(values, edges)[0].tolist()
    assert (answer.below, answer.above) == (int((values < edges[0]).sum()), int((values > edges[-1]).sum()))
    assert answer.below < FLOOR and answer.above < FLOOR
    assert answer.below + sum(answer.counts) + answer.above == answer.n == values.size


def test_a_narrow_column_far_from_zero_is_found() -> None:
    values = 1000 + np.linspace(0, 1, 500)
    answer = histogram(dealt({"x": values}, 2), bins=4)
    assert sum(answer.counts) == 500 and answer.edges[0] >= 960 and answer.edges[-1] <= 1040


def test_a_given_range_is_kept() -> None:
    answer = histogram(dealt({"x": [1.0, 2.0, 2.5, 3.0, 9.0]}, 2), bins=2, low=2, high=3)
    assert (answer.edges, answer.counts, answer.below, answer.above) == ((2.0, 2.5, 3.0), (1, 2), 1, 1)


def test_a_small_pool_gets_the_whole_range() -> None:
    answer = histogram(dealt({"x": [3.0, 4.0, 5.0]}, 2), bins=2)
    assert answer.edges == (-16.0, 0.0, 16.0)


@pytest.mark.parametrize("step", [1, 2])
def test_a_site_may_leave_a_histogram(step: int) -> None:
    tables = dealt({"x": np.arange(100.0)}, 4)
    answer = ask_while_leaving(Histogram(column="x"), tables, {step: "3"})
    assert isinstance(answer, HistogramAnswer)
    assert answer.n == 75 == sum(answer.counts) + answer.below + answer.above


@pytest.mark.parametrize(
    ("tables", "due"),
    [
        ({"a": mixed_table({"x": ("u",)}, x=["u"])}, "holds text"),
        ({"a": numbers_table(x=[None])}, "no rows have a number in column 'x'"),
        ({"a": numbers_table(z=[1.0])}, "no column 'x'"),
    ],
)
def test_what_has_no_histogram_is_refused(tables: dict[str, Table], due: str) -> None:
    with pytest.raises(Refused, match=due):
        histogram(tables)


def test_a_table_over_four_hospitals_equals_scipys_chi_squared() -> None:
    from scipy.stats import chi2_contingency

    tables = hospitals()
    answer = crosstab(tables, rows="hospital", across="cp")
    every = joined(tables)
    counts = [
        [int(((every.texts("hospital") == h) & (every.numbers("cp") == c)).sum()) for c in (1, 2, 3, 4)]
        for h in ("cleveland", "hungarian", "switzerland", "va")
    ]
    assert [list(row) for row in answer.counts] == counts
    assert answer.column_names == ("1", "2", "3", "4")
    expected = chi2_contingency(counts, correction=False)
    assert answer.chi_squared == pytest.approx(expected.statistic, rel=1e-12)
    assert answer.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert answer.df == expected.dof == 9
    assert answer.row_totals == (303, 261, 46, 130) and sum(answer.column_totals) == answer.n == 740


def test_one_column_gives_one_column_of_counts() -> None:
    answer = crosstab(dealt({"x": [3.0, 1.0, 3.0, -0.0, 0.0]}, 2), rows="x")
    assert answer.row_names == ("0", "1", "3") and answer.counts == ((2,), (1,), (2,))
    assert answer.chi_squared is None and answer.column_names == ()


def test_an_empty_category_leaves_chi_squared_undefined() -> None:
    tables = dealt({"x": [0.0, 1.0, 1.0], "z": [0.0, 1.0, 0.0]}, 2)
    answer = crosstab(tables, rows="x", across="z", levels={"x": ("0", "1", "2")})
    assert answer.counts == ((1, 0), (1, 1), (0, 0)) and answer.chi_squared is None and answer.p is None


def test_a_category_only_in_rows_that_are_left_out_is_no_category() -> None:
    tables = {"a": numbers_table(x=[1.0, 7.5, 2.0], z=[0.0, None, 1.0]), "b": numbers_table(x=[1.0], z=[1.0])}
    answer = crosstab(tables, rows="x", across="z")
    assert (answer.row_names, answer.missing) == (("1", "2"), 1)


@pytest.mark.parametrize(
    ("tables", "levels", "due"),
    [
        ({"a": mixed_table({"x": ()}, x=["u"])}, {}, "column 'x' of table 'made_up' holds text: declare"),
        ({"a": mixed_table({"x": ("v",)}, x=["u"])}, {}, "column 'x' .* a category that is not declared"),
        ({"a": numbers_table(x=[1.5])}, {}, "column 'x' .* declare its categories"),
        ({"a": numbers_table(x=[256.0])}, {}, "column 'x' .* declare its categories"),
        ({"a": numbers_table(x=[-1.0])}, {}, "column 'x' .* declare its categories"),
        ({"a": numbers_table(x=[7.0])}, {"x": ("1",)}, "column 'x' .* a category that is not declared"),
        ({"a": numbers_table(x=[None])}, {}, "no rows"),
        ({"a": numbers_table(z=[1.0])}, {}, "no column 'x'"),
    ],
)
def test_what_has_no_table_is_refused(tables: dict[str, Table], levels: dict[str, tuple[str, ...]], due: str) -> None:
    with pytest.raises(Refused, match=due) as refusal:
        crosstab(tables, rows="x", levels=levels)
    assert "'u'" not in str(refusal.value) and "1.5" not in str(refusal.value)
