"""Histograms and tables of counts."""

import json

import numpy as np
import pytest
from msgspec import to_builtins

from hansa.errors import Refused
from hansa.jobs import decode_answer, encode_answer, parse
from hansa.jobs.base import Table
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.histogram import FLOOR, Histogram, HistogramAnswer
from hansa.jobs.odds import CommonOdds, Odds
from hansa.jobs.table import Crosstab, TableAnswer
from hansa.privacy.differencing import refuse_revealing
from hansa.privacy.disclosure import Rules
from hansa.privacy.noise import Noise
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


# ---- odds ratios and strata ----

# Applicants to Berkeley in 1973 by admission, sex and department (Bickel, Hammel and O'Connell 1975), and rabbits by
# outcome, delay of an injection and dose of penicillin (Mantel 1963): R's UCBAdmissions, and its help of
# mantelhaen.test.
BERKELEY = {
    "A": ((512, 89), (313, 19)),
    "B": ((353, 17), (207, 8)),
    "C": ((120, 202), (205, 391)),
    "D": ((138, 131), (279, 244)),
    "E": ((53, 94), (138, 299)),
    "F": ((22, 24), (351, 317)),
}
RABBITS = {
    "1/8": ((0, 0), (6, 5)),
    "1/4": ((3, 0), (3, 6)),
    "1/2": ((6, 2), (0, 4)),
    "1": ((5, 6), (1, 0)),
    "4": ((2, 5), (0, 0)),
}
# What R 4 prints of mantelhaen.test: statistic with continuity correction, p, common odds ratio and its interval.
PRINTED = [
    (BERKELEY, 1.4269, 0.2323, 0.9046968, (0.7719074, 1.0603298)),
    (RABBITS, 3.9286, 0.04747, 7.0, (1.026713, 47.725133)),
]


def layered(tables: dict[str, tuple[tuple[int, ...], ...]], sites: int = 3) -> dict[str, Table]:
    """A row for each that is counted, dealt to the sites."""
    rows = [
        (stratum, "yn"[i], "mf"[j])
        for stratum, table in tables.items()
        for i, line in enumerate(table)
        for j, count in enumerate(line)
        for _ in range(count)
    ]
    declared = {"dept": tuple(tables), "admit": ("y", "n"), "sex": ("m", "f")}
    return {
        str(site): mixed_table(
            declared,
            dept=[row[0] for row in rows[site::sites]],
            admit=[row[1] for row in rows[site::sites]],
            sex=[row[2] for row in rows[site::sites]],
        )
        for site in range(sites)
    }


@pytest.mark.parametrize(("data", "statistic", "p", "ratio", "ends"), PRINTED, ids=["berkeley", "rabbits"])
def test_a_common_odds_ratio_is_what_rs_mantelhaen_test_prints(
    data: dict[str, tuple[tuple[int, ...], ...]], statistic: float, p: float, ratio: float, ends: tuple[float, float]
) -> None:
    answer = crosstab(layered(data), rows="admit", across="sex", strata="dept")
    assert isinstance(answer.common, CommonOdds) and isinstance(answer.strata, tuple)
    assert round(answer.common.statistic, 4) == statistic
    assert float(f"{answer.common.p:.4g}") == p
    assert answer.common.ratio == pytest.approx(ratio, abs=5e-8)
    assert answer.common.low == pytest.approx(ends[0], abs=5e-7)
    assert answer.common.high == pytest.approx(ends[1], abs=5e-7)
    assert {one.name: one.counts for one in answer.strata} == data
    assert answer.counts == tuple(map(tuple, np.array(list(data.values())).sum(axis=0).tolist()))


def test_an_odds_ratio_over_four_hospitals_equals_scipys() -> None:
    from scipy.stats import fisher_exact
    from scipy.stats.contingency import odds_ratio

    tables = hospitals()
    every = joined(tables)
    sex, angina = every.numbers("sex"), every.numbers("exang")
    counts = np.array([[int(((sex == i) & (angina == j)).sum()) for j in (0, 1)] for i in (0, 1)])
    answer = crosstab(tables, rows="sex", across="exang", odds="yes")
    assert isinstance(answer.odds, Odds)
    expected = odds_ratio(counts, kind="sample")
    assert answer.odds.ratio == pytest.approx(expected.statistic, rel=1e-14)
    assert (answer.odds.low, answer.odds.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-12)
    assert answer.odds.fisher_p == pytest.approx(fisher_exact(counts).pvalue, rel=1e-12)
    for many in ("cp", "hospital"):
        assert crosstab(tables, rows=many, across="exang", odds="yes").odds is None


def test_an_empty_cell_leaves_the_interval_open_and_an_empty_row_everything() -> None:
    half = crosstab(layered({"A": ((5, 0), (3, 4))}), rows="admit", across="sex", odds="yes").odds
    assert isinstance(half, Odds) and (half.ratio, half.low) == (None, None) and half.fisher_p == pytest.approx(8 / 99)
    none = crosstab(layered({"A": ((0, 5), (3, 4))}), rows="admit", across="sex", odds="yes").odds
    assert isinstance(none, Odds) and (none.ratio, none.high) == (0.0, None)
    assert crosstab(layered({"A": ((5, 6), (0, 0))}), rows="admit", across="sex", odds="yes").odds is None


def test_strata_that_tell_nothing_leave_the_common_odds_ratio_undefined() -> None:
    nothing = {"A": ((5, 6), (0, 0)), "B": ((0, 1), (0, 0)), "C": ((0, 0), (0, 0))}
    answer = crosstab(layered(nothing), rows="admit", across="sex", strata="dept")
    assert answer.common is None
    wide = crosstab(hospitals(), rows="cp", across="sex", strata="hospital")
    assert wide.common is None and isinstance(wide.strata, tuple) and len(wide.strata) == 4


def test_categories_of_a_table_in_strata_may_be_found_and_a_site_may_leave() -> None:
    tables = hospitals()
    job = Crosstab(rows="sex", across="exang", strata="fbs")
    answer = ask_while_leaving(job, tables, {1: "hungarian"})
    rest = joined({site: table for site, table in tables.items() if site != "hungarian"})
    assert isinstance(answer, TableAnswer) and isinstance(answer.strata, tuple)
    for one in answer.strata:
        kept = rest.numbers("fbs") == float(one.name)
        sex, angina = rest.numbers("sex")[kept], rest.numbers("exang")[kept]
        assert one.counts == tuple(tuple(int(((sex == i) & (angina == j)).sum()) for j in (0, 1)) for i in (0, 1))


def test_a_cell_that_is_left_out_of_a_stratum_is_left_out_of_the_sums_too() -> None:
    job = Crosstab(rows="admit", across="sex", strata="dept", odds="yes")
    exact = ask(job, layered(BERKELEY))
    assert isinstance(exact, TableAnswer)
    shown = exact.disclosed(Rules())
    assert isinstance(shown.strata, tuple)
    assert shown.strata[1].counts == ((353, 17), (207, None))
    assert (shown.strata[1].row_totals, shown.strata[1].n) == ((370, None), None)
    assert shown.counts == ((1198, 557), (1493, None))
    assert (shown.row_totals, shown.column_totals, shown.n) == ((1755, None), (2691, None), None)
    assert (shown.common, shown.odds, shown.chi_squared) == (None, None, None)
    assert exact.disclosed(Rules(minimum_cell=1)) == exact
    rounded = exact.disclosed(Rules(minimum_cell=1, round_to=5))
    assert rounded.common is None and isinstance(rounded.strata, tuple) and rounded.strata[0].counts[0] == (510, 90)


def test_a_table_in_strata_and_one_without_show_together_what_neither_does() -> None:
    strata, plain = Crosstab(rows="admit", across="sex", strata="dept"), Crosstab(rows="admit", across="sex")
    tables = layered(BERKELEY)
    one, other = ask(strata, tables), ask(plain, tables)
    first = strata.figures(one.disclosed(Rules()), one)
    assert len(first) == 23 + 1
    refuse_revealing(first, (), 10)
    with pytest.raises(Refused, match="would together show"):
        refuse_revealing(first, [plain.figures(other.disclosed(Rules()), other)], 10)


def test_what_is_not_asked_leaves_no_bytes_in_a_question_or_an_answer() -> None:
    plain = Crosstab(rows="sex", across="exang")
    assert set(to_builtins(plain)) == {"kind", "rows", "columns", "levels"}
    answer = json.loads(encode_answer(ask(plain, hospitals())))
    assert not {"odds", "strata", "common"} & set(answer)
    new = ask(Crosstab(rows="sex", across="exang", strata="hospital", odds="yes"), hospitals())
    assert decode_answer(encode_answer(new)) == new


@pytest.mark.parametrize("parameters", [{"strata": "z"}, {"odds": "yes"}])
def test_strata_and_odds_are_of_two_columns_and_not_under_noise(parameters: dict[str, str]) -> None:
    with pytest.raises(Refused, match="of a table of two columns"):
        parse("table", {"rows": "x", **parameters})
    two = parse("table", {"rows": "x", "columns": "y", **parameters})
    with pytest.raises(Refused, match="under noise a table has neither strata nor an odds ratio"):
        two.under_noise(Noise(10**6, 10**6))
    with pytest.raises(Refused, match="column 'x' is named twice"):
        parse("table", {"rows": "x", "columns": "y", "strata": "x"})
