"""What columns hold over all tables, where tables differ, and nothing of any one of them."""

import math

import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs.base import Column, Schema, Step, Table, encode_state
from hansa.jobs.checks import Checked
from hansa.jobs.drift import SIXTEENTH, part
from hansa.jobs.example import mixed_table, numbers_table
from hansa.jobs.histogram import Histogram
from hansa.jobs.quality import Quality, State
from hansa.jobs.quality_answer import QualityAnswer
from hansa.jobs.summary import Summary, SummaryAnswer
from hansa.privacy.differencing import refuse_revealing
from hansa.privacy.disclosure import Rules
from hansa.simulator import simulate
from tests.real_rows import Chance, ask, ask_while_leaving, dealt, hospitals, joined


def quality(tables: dict[str, Table], *columns: str, **parameters: object) -> QualityAnswer:
    answer = ask(Quality(of=columns, **parameters), tables)  # type: ignore[arg-type]
    assert isinstance(answer, QualityAnswer)
    return answer


def of(answer: QualityAnswer, column: str) -> Checked:
    return next(one for one in answer.columns if one.column == column)


def described(*columns: Column) -> Schema:
    return Schema("rows", columns)


# ---- what columns hold ----


def test_four_hospitals_have_the_figures_of_their_summary_and_the_counts_of_their_rows() -> None:
    tables = hospitals()
    every = joined(tables)
    columns = ("age", "chol", "oldpeak", "sex")
    answer = quality(tables, *columns, "hospital", ranges={"chol": (100.0, 400.0)})
    summary = ask(Summary(of=columns), tables)
    assert isinstance(summary, SummaryAnswer)
    for name in columns:
        one, values, figures = of(answer, name), every.numbers(name), summary.columns[name]
        assert (one.n, one.missing, one.unusable) == (740, 0, 0)
        assert (one.whole, one.zero) == (int((values == values.round()).sum()), int((values == 0).sum()))
        assert one.mean == pytest.approx(figures.mean, rel=1e-15)
        assert one.sd == pytest.approx(figures.sd, rel=1e-14)
        assert one.quantiles == figures.quantiles
    chol = every.numbers("chol")
    assert (of(answer, "chol").below, of(answer, "chol").above) == (int((chol < 100).sum()), int((chol > 400).sum()))
    assert of(answer, "age").below is UNSET
    hospital = of(answer, "hospital")
    assert (hospital.undeclared, hospital.blanks, hospital.unseen, hospital.mean) == (0, 0, (), UNSET)
    assert answer.findings == () and answer.rows == 740


def test_odd_texts_are_counted_and_never_told() -> None:
    names = ("north", "south", "west")
    tables = {
        "a": mixed_table({"ward": names}, ward=["north", "north ", None, "NORTH"]),
        "b": mixed_table({"ward": names}, ward=[" south", "south", "south", "\tsouth"]),
    }
    answer = quality(tables, "ward")
    one = of(answer, "ward")
    assert (one.n, one.missing, one.undeclared, one.blanks, one.unseen) == (7, 1, 4, 3, ("west",))
    assert "NORTH" not in str(answer)


def test_text_that_nobody_declares_is_only_counted() -> None:
    one = of(quality({"a": mixed_table({"ward": ()}, ward=["x", "y ", None])}, "ward"), "ward")
    assert (one.n, one.missing, one.blanks, one.undeclared, one.unseen) == (2, 1, 1, UNSET, UNSET)


def test_numbers_with_declared_categories_are_held_against_them() -> None:
    schema = described(Column("grade", "number", categories=("1", "2", "3")))
    table = Table(schema, 5, {"grade": np.array([1.0, 2.0, 2.5, math.nan, math.inf])})
    one = of(quality({"a": table}, "grade"), "grade")
    assert (one.n, one.missing, one.unusable, one.undeclared, one.unseen) == (3, 1, 1, 1, ("3",))


def test_infinite_numbers_are_a_finding_and_not_in_the_mean() -> None:
    tables = {"a": numbers_table(x=[1.0, math.inf, 3.0]), "b": numbers_table(x=[None, -math.inf, 5.0, 1e40])}
    one = of(quality(tables, "x", ranges={"x": (2.0, 4.0)}), "x")
    assert (one.n, one.missing, one.unusable, one.below, one.above, one.mean) == (3, 1, 3, 1, 1, 3.0)


def test_columns_that_are_empty_constant_or_of_one_row_are_no_reason_to_refuse() -> None:
    tables = dealt({"none": [math.nan] * 6, "flat": [0.1] * 6, "one": [4.0, *[math.nan] * 5]}, 3)
    answer = quality(tables, "none", "flat", "one")
    none, flat, one = (of(answer, name) for name in ("none", "flat", "one"))
    assert (none.n, none.missing, none.mean, none.sd, none.quantiles) == (0, 6, None, None, None)
    assert flat.sd == 0.0 and flat.mean == pytest.approx(0.1, rel=1e-15)
    assert (one.n, one.mean, one.sd) == (1, 4.0, None)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_site_that_leaves_before_any_step_leaves_the_rest_exact(step: int) -> None:
    tables = hospitals()
    answer = ask_while_leaving(Quality(of=("age", "chol", "hospital")), tables, {step: "cleveland"})
    assert isinstance(answer, QualityAnswer)
    rest = joined({site: table for site, table in tables.items() if site != "cleveland"})
    for name in ("age", "chol"):
        one, values = of(answer, name), rest.numbers(name)
        assert one.n == values.size == 437
        assert (one.mean, one.sd) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1), rel=1e-12))
    assert of(answer, "hospital").unseen == ("cleveland",)


# ---- where tables differ ----


def test_tables_that_differ_about_a_column_are_told_and_columns_that_some_lack_have_no_figures() -> None:
    a = described(
        Column("age", "number", "years"), Column("ward", "text", categories=("n", "s")), Column("chol", "number"),
        Column("code", "number"),
    )  # fmt: skip
    b = described(
        Column("age", "number", "months"), Column("ward", "text", categories=("s", "w")), Column("code", "text")
    )
    tables = {
        "a": Table(a, 2, {"age": np.array([50.0, 60.0]), "ward": np.array(["n", "s"], dtype=object),
                          "chol": np.array([1.0, 2.0]), "code": np.array([1.0, 2.0])}),
        "b": Table(b, 1, {"age": np.array([700.0]), "ward": np.array(["w"], dtype=object),
                          "code": np.array(["x"], dtype=object)}),
    }  # fmt: skip
    answer = quality(tables, "age", "ward", "chol", "code")
    assert [(one.column, one.about, one.says) for one in answer.findings] == [
        ("age", "unit", "years in 1, months in 1 of 2 tables"),
        ("ward", "categories", "not declared by every table: 'n', 'w'"),
        ("chol", "missing", "1 of 2 tables lack it"),
        ("code", "type", "number in 1, text in 1 of 2 tables"),
    ]
    assert [one.column for one in answer.columns] == ["age", "ward"]
    assert (of(answer, "ward").undeclared, of(answer, "ward").unseen) == (0, ())
    assert answer.exhibit().sheets[-1].title == "Where tables differ"
    found = simulate(Quality(of=("age", "ward", "chol", "code")), {**tables, "c": tables["b"]}, Chance())
    assert isinstance(found.answer, QualityAnswer) and found.answer.rows == 4


def test_when_no_column_is_everywhere_there_are_findings_and_no_figures() -> None:
    answer = quality({"a": numbers_table(x=[1.0]), "b": numbers_table(y=[1.0])}, "x", "y")
    assert answer.columns == () and len(answer.findings) == 2 and answer.exhibit().plots == ()


# ---- drift ----


@pytest.mark.parametrize("column", ["age", "chol", "thalach"])
def test_drift_between_four_hospitals_is_an_analysis_of_variance_with_hospitals_as_groups(column: str) -> None:
    from scipy.stats import f_oneway

    tables = hospitals()
    drift = of(quality(tables, column, drift="yes"), column).drift
    assert drift
    parts = [table.numbers(column) for table in tables.values()]
    expected = f_oneway(*parts)
    assert abs(drift.f - expected.statistic) <= drift.f_precision < 0.06 + 0.001 * drift.f
    assert drift.p == pytest.approx(expected.pvalue, rel=0.3)
    assert (drift.df_between, drift.df_within) == (3, 736)


def test_a_tables_part_of_the_drift_is_told_in_sixteenths() -> None:
    values = np.array([1.0, 2.0, 4.0])
    told = part(values, (3.0, 2.0))
    assert told % SIXTEENTH == 0 and abs(told - 3 * ((7 / 3 - 3) / 2) ** 2) <= SIXTEENTH / 2
    step = Quality(of=("x",), drift="yes").begin([numbers_table(x=[1.0]).schema] * 4, 4)
    assert step.name == "magnitudes"


def test_drift_is_told_between_four_tables_or_more() -> None:
    tables = dealt({"x": np.arange(30.0)}, 3)
    with pytest.raises(Refused, match="drift is told between 4 tables or more"):
        quality(tables, "x", drift="yes")
    four = {**tables, "3": numbers_table(x=[])}
    four["3"] = replace(four["3"], schema=tables["0"].schema)
    assert of(quality(four, "x", drift="yes"), "x").drift is None
    left = ask_while_leaving(Quality(of=("age",), drift="yes"), hospitals(), {4: "va"})
    assert isinstance(left, QualityAnswer) and of(left, "age").drift is None


def test_a_table_that_leaves_before_the_drift_moves_the_mean_and_nothing_else() -> None:
    from scipy.stats import f_oneway

    tables = dealt({"x": np.random.default_rng(5).normal(10, 2, 600)}, 5)
    tables["4"] = replace(tables["4"], columns={"x": tables["4"].numbers("x") + 3})
    answer = ask_while_leaving(Quality(of=("x",), drift="yes"), tables, {4: "4"})
    assert isinstance(answer, QualityAnswer)
    drift = of(answer, "x").drift
    expected = f_oneway(*(table.numbers("x") for site, table in tables.items() if site != "4"))
    assert drift and abs(drift.f - expected.statistic) <= drift.f_precision
    assert of(answer, "x").n == 480


# ---- what may be shown ----


def test_small_counts_their_complements_and_what_would_tell_them_are_left_out() -> None:
    x = [0.0] * 12 + [1.0] * 15 + [2.5] * 20 + [700.0] * 3 + [math.nan] * 4
    tables = {"a": numbers_table(x=x, y=[1.0] * 54, z=[1.0] * 50 + [1.5] * 4)}
    answer = quality(tables, "x", "y", "z", ranges={"x": (0.5, 100.0)})
    shown = answer.disclosed(Rules())
    one = of(shown, "x")
    assert (one.missing, one.n, one.above) == (None, None, None)  # n: 54 rows less those that miss it
    assert (one.whole, one.below) == (30, 12)
    assert one.mean == of(answer, "x").mean
    assert (of(shown, "y").n, of(shown, "y").whole, shown.rows) == (54, 54, 54)
    assert of(shown, "z").whole is None  # four are not
    assert "counts from 1 to 9 are left out, and totals that hold them" in shown.notes
    bars = shown.exhibit().plots[0]
    assert "left out" in bars.says
    refuse_revealing(Quality(of=("x", "y", "z")).figures(shown, answer), (), 10)
    few = quality({"a": numbers_table(x=[1.0] * 5 + [math.nan] * 15)}, "x").disclosed(Rules())
    assert (of(few, "x").n, of(few, "x").mean, of(few, "x").quantiles) == (None, None, None)
    with pytest.raises(Refused, match="what the columns hold rests on fewer than 60 rows"):
        answer.disclosed(Rules(minimum_cell=60))


def test_counts_within_a_range_and_a_histogram_released_before_are_held_against_each_other() -> None:
    tables = {"a": numbers_table(x=[float(place) for place in range(1, 101)])}
    job, other = Quality(of=("x",), ranges={"x": (50.0, 100.0)}), Histogram(column="x", bins=2, low=0.0, high=90.0)
    answer, bins = ask(job, tables), Histogram(column="x", bins=2, low=0.0, high=110.0)
    one, two = ask(other, tables), ask(bins, tables)
    refuse_revealing(job.figures(answer, answer), [other.figures(one, one)[:1]], 5)
    with pytest.raises(Refused, match="would together show"):
        refuse_revealing(job.figures(answer, answer), [bins.figures(two, two)], 6)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("parameters", "due"),
    [
        ({"of": ("x", "x")}, "twice"),
        ({"of": ("x",), "ranges": {"y": (0.0, 1.0)}}, "a range is given for column 'y'"),
        ({"of": ("w",), "ranges": {"w": (0.0, 1.0)}}, "a range is given for column 'w', which holds text"),
        ({"of": ("q",)}, "no table has a column 'q'"),
    ],
)
def test_what_has_no_report_is_refused(parameters: dict[str, object], due: str) -> None:
    with pytest.raises(Refused, match=due):
        ask(Quality(**parameters), {"a": mixed_table({"w": ("u",)}, x=[1.0], w=["u"])})  # type: ignore[arg-type]


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(Refused, match="no table has a row"):
        quality({"a": numbers_table(x=[])}, "x")


def test_a_state_that_asks_for_more_than_the_question_is_refused_by_a_site() -> None:
    table, job = mixed_table({"w": ("u",)}, x=[1.0], w=["u"]), Quality(of=("x", "w"))
    step = job.begin([table.schema], 1)
    good = State(0, (), (0,), (1,), ((), ("u",)))
    lies = [
        replace(good, numbers=(0, 0), names=((), (), ())),
        replace(good, numbers=(5,)),
        replace(good, names=((),)),
        replace(good, turn=4),
        replace(good, numbers=(), texts=(0,), names=((),), turn=3),
        replace(good, names=((), ("u", "u"))),
    ]
    for lie in lies:
        with pytest.raises(ProtocolViolation):
            job.encode(table, Step(step.name, step.blocks, encode_state(lie)))
