"""What the page draws from an answer, without a browser."""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from hansa.jobs import EXAMPLES, decode_answer, encode_answer
from hansa.jobs.base import Answer, NoiseAdded
from hansa.jobs.exhibit import Bars, Curves, Exhibit, Heat, Intervals, Line, Points, Sheet
from hansa.jobs.regression.fitting import Coefficient, GlmAnswer
from hansa.jobs.table import TableAnswer
from hansa_dashboard import drawing, files
from hansa_dashboard.drawing import declared


def regression(family: str = "binomial", df: int = 9, notes: tuple[str, ...] = ()) -> GlmAnswer:
    return GlmAnswer(
        family=family,  # type: ignore[arg-type]  # one of the three
        formula="ill ~ age",
        coefficients={"(Intercept)": Coefficient(-30.0, 5.0, -6.0, 0.001), "age": Coefficient(0.5, 0.25, 2.0, 0.046)},
        n=12,
        dropped=1,
        df=df,
        deviance=10.0,
        null_deviance=16.0,
        aic=14.0,
        dispersion=1.0,
        iterations=5,
        converged=True,
        precision=1e-9,
        notes=notes,
    )


def marks(spec: Mapping[str, Any]) -> list[str]:
    inner = list(spec.get("layer", ()))
    own = [spec["mark"]["type"]] if "mark" in spec else []
    return own + [mark for part in inner for mark in marks(part)]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_of_the_catalogue_has_a_table_a_plot_and_facts(kind: str) -> None:
    picture = drawing.draw(decode_answer(encode_answer(EXAMPLES[kind].answer)), "age")
    assert len(picture.table) > 0
    assert marks(picture.plots[0].chart.to_dict())
    assert all(label and value for label, value in picture.facts)
    assert all(plot.says.endswith(".") for plot in picture.plots)


def test_the_interval_of_a_regression_is_normal_but_students_for_a_linear_one() -> None:
    normal = drawing.draw(regression(), "").table.set_index("term")
    student = drawing.draw(regression("gaussian", df=10), "").table.set_index("term")
    assert normal.loc["age", "95 % from"] == pytest.approx(0.5 - 1.959964 * 0.25, abs=1e-6)
    assert normal.loc["age", "95 % to"] == pytest.approx(0.5 + 1.959964 * 0.25, abs=1e-6)
    assert student.loc["age", "95 % to"] == pytest.approx(0.5 + 2.228139 * 0.25, abs=1e-6)
    assert "z" in normal.columns
    assert "t" in student.columns


def test_the_intercept_stands_in_the_table_and_not_in_the_plot() -> None:
    picture = drawing.draw(regression(), "")
    assert list(picture.table["term"]) == ["(Intercept)", "age"]
    assert "(Intercept)" not in json.dumps(picture.plots[0].chart.to_dict())


def test_a_regression_on_the_intercept_alone_still_has_a_plot() -> None:
    alone = regression()
    only = GlmAnswer(
        **{name: getattr(alone, name) for name in alone.__struct_fields__ if name != "coefficients"},
        coefficients={"(Intercept)": alone.coefficients["(Intercept)"]},
    )
    assert "(Intercept)" in json.dumps(drawing.draw(only, "").plots[0].chart.to_dict())


def test_a_histogram_has_a_bar_from_edge_to_edge_for_every_count() -> None:
    picture = drawing.draw(EXAMPLES["histogram"].answer, "age")
    assert picture.table.to_dict("list") == {
        "from": [20.0, 30.0, 40.0, 50.0],
        "to": [30.0, 40.0, 50.0, 60.0],
        "count": [2, 2, 1, 2],
    }
    assert ("Below", "1") in picture.facts
    assert picture.plots[0].chart.to_dict()["encoding"]["x"]["title"] == "age"


def test_a_table_of_two_columns_has_its_totals_and_a_heat_map_with_numbers() -> None:
    picture = drawing.draw(EXAMPLES["table"].answer, "hospital and ill")
    assert picture.table.to_numpy().tolist() == [["north", 3, 1, 4], ["south", 1, 3, 4], ["total", 4, 4, 8]]
    assert marks(picture.plots[0].chart.to_dict()) == ["rect", "text"]
    assert ("Chi-squared", "2") in picture.facts


def test_a_table_of_one_column_has_bars_and_shares() -> None:
    one = TableAnswer(
        row_names=("a", "b"),
        column_names=(),
        counts=((3,), (1,)),
        row_totals=(3, 1),
        column_totals=(4,),
        n=4,
        missing=0,
    )
    picture = drawing.draw(one, "ward")
    assert picture.table["share"].tolist() == [0.75, 0.25]
    assert marks(picture.plots[0].chart.to_dict()) == ["bar"]


def test_a_category_that_is_called_total_keeps_its_own_column() -> None:
    crossed = TableAnswer(
        row_names=("a",),
        column_names=("total", ""),
        counts=((3, 1),),
        row_totals=(4,),
        column_totals=(3, 1),
        n=4,
        missing=0,
    )
    table = drawing.draw(crossed, "").table
    assert table.shape == (2, 4)
    assert table.iloc[0].tolist() == ["a", 3, 1, 4]


def test_a_summary_has_one_row_and_one_plot_a_column() -> None:
    picture = drawing.draw(EXAMPLES["summary"].answer, "age")
    assert picture.table.loc[0, "50%"] == "-256 to 256"
    assert len(picture.plots) == 1
    assert marks(picture.plots[0].chart.to_dict()) == ["rule", "bar", "tick"]


def test_columns_whose_names_mean_something_to_vega_are_shown_as_they_are() -> None:
    answer = EXAMPLES["summary"].answer
    renamed = type(answer)(columns={"a.b[0]": answer.columns["age"]})  # type: ignore[attr-defined, call-arg]
    assert "a.b[0]" in json.dumps(drawing.draw(renamed, "").plots[0].chart.to_dict())


def test_csv_disarms_what_a_spreadsheet_would_run_and_leaves_numbers_alone() -> None:
    table = pd.DataFrame({"term": ["=cmd()", "age"], "estimate": [-0.5, np.nan]})
    assert files.csv(table).decode().splitlines() == ["term,estimate", "'=cmd(),-0.5", "age,"]


def test_an_answer_whose_kind_declares_no_tables_is_shown_field_by_field() -> None:
    class Strange(Answer, frozen=True, tag="strange", kw_only=True):
        how_odd: float

    picture = drawing.draw(Strange(how_odd=0.5), "")
    assert picture.table.to_dict("list") == {"figure": ["how odd"], "value": ["0.5"]}
    assert picture.plots == ()


# ---- what is left out ----


def test_a_count_that_is_left_out_is_marked_and_is_not_drawn_as_zero() -> None:
    hidden = replace(EXAMPLES["histogram"].answer, counts=(12, None, 30, None), n=None)  # type: ignore[call-overload]
    picture = drawing.draw(hidden, "age")
    band, bars = picture.plots[0].chart.to_dict()["layer"]
    data = picture.plots[0].chart.to_dict()["datasets"]
    assert [row["from"] for row in data[band["data"]["name"]]] == [30.0, 50.0]
    assert {row["count"] for row in data[band["data"]["name"]]} == {"left out"}
    assert [row["count"] for row in data[bars["data"]["name"]]] == [12, 30]
    assert "2 of the 4 intervals are left out" in picture.plots[0].says
    assert ("Rows with a number", "not shown") in picture.facts
    assert files.csv(picture.table).decode().splitlines()[1:3] == ["20.0,30.0,12", "30.0,40.0,"]


def test_a_cell_of_a_heat_map_that_is_left_out_says_so_in_words() -> None:
    hidden = replace(EXAMPLES["table"].answer, counts=((30, None), (12, 30)), n=None, row_totals=(None, 42))  # type: ignore[call-overload]
    picture = drawing.draw(hidden, "hospital and ill")
    spec = picture.plots[0].chart.to_dict()
    assert marks(spec) == ["rect", "text", "rect", "text"]
    assert spec["layer"][3]["encoding"]["text"] == {"value": "left out"}
    assert "1 of the 4 cells are left out" in picture.plots[0].says
    assert picture.table.iloc[0].isna().tolist() == [False, False, True, True]


def test_bars_of_categories_that_are_left_out_say_so_in_words() -> None:
    one = TableAnswer(
        row_names=("a", "b"), column_names=(), counts=((30,), (None,)), row_totals=(30, None), column_totals=(None,),
        n=None, missing=0,
    )  # fmt: skip
    picture = drawing.draw(one, "ward")
    assert marks(picture.plots[0].chart.to_dict()) == ["bar", "text"]
    assert picture.table["share"].isna().all()


# ---- what carries noise ----

NOISE = NoiseAdded(epsilon=1.0, delta=1e-6, unit="row", id_column="", rows_per_person=1, deviations={"cells": 10.0})


def test_every_noisy_count_of_a_histogram_has_the_interval_of_its_noise_and_may_be_below_zero() -> None:
    noisy = replace(EXAMPLES["histogram"].answer, counts=(40, -7, 30, 0), noise=NOISE, std_error=10.0, n_std_error=30.0)  # type: ignore[call-overload]
    picture = drawing.draw(noisy, "age")
    assert marks(picture.plots[0].chart.to_dict()) == ["rect", "rule"]
    assert picture.table["noise, 95 % from"].tolist() == pytest.approx([20.4, -26.6, 10.4, -19.6], abs=0.001)
    assert picture.table["noise, 95 % to"].tolist() == pytest.approx([59.6, 12.6, 49.6, 19.6], abs=0.001)
    assert "± 19.6 rows" in picture.plots[0].says
    assert ("Rows with a number", "9 ± 58.8") in picture.facts
    assert ("Below", "1 ± 19.6") in picture.facts


def test_noisy_tables_of_one_column_and_of_two_say_how_loud_their_noise_is() -> None:
    one = TableAnswer(
        row_names=("a", "b"), column_names=(), counts=((30,), (-2,)), row_totals=(30, -2), column_totals=(28,), n=28,
        missing=0, noise=NOISE, std_error=10.0, n_std_error=14.0,
    )  # fmt: skip
    picture = drawing.draw(one, "ward")
    assert marks(picture.plots[0].chart.to_dict()) == ["bar", "rule"]
    assert picture.table["noise, 95 % to"].tolist() == pytest.approx([49.6, 17.6], abs=0.001)
    two = replace(EXAMPLES["table"].answer, noise=NOISE, std_error=10.0, n_std_error=20.0, chi_squared=None)  # type: ignore[call-overload]
    crossed = drawing.draw(two, "hospital and ill")
    assert "± 19.6 rows is the 95 % interval" in crossed.plots[0].says
    hints = [hint["field"] for hint in crossed.plots[0].chart.to_dict()["layer"][0]["encoding"]["tooltip"]]
    assert hints[-2:] == ["noise, 95 % from", "noise, 95 % to"]


def test_a_noisy_mean_has_a_band_and_the_table_the_standard_errors_of_its_noise() -> None:
    figures = replace(EXAMPLES["summary"].answer.columns["age"], count_error=5.0, mean_error=2.0, variance_error=9.0)  # type: ignore[attr-defined]
    noisy = replace(EXAMPLES["summary"].answer, columns={"age": figures}, noise=NOISE)  # type: ignore[call-overload]
    picture = drawing.draw(noisy, "age")
    spec = picture.plots[0].chart.to_dict()
    assert marks(spec) == ["rect", "rule", "bar", "tick"]
    band = spec["datasets"][spec["layer"][0]["data"]["name"]]
    assert (band[0]["from"], band[0]["to"]) == pytest.approx((60 - 3.919928, 60 + 3.919928), abs=1e-5)
    assert picture.table.loc[0, "noise in mean, standard error"] == 2.0


def test_a_regression_under_noise_says_that_its_intervals_hold_the_noise() -> None:
    noisy = replace(regression(), noise=NOISE)
    spec = json.dumps(drawing.draw(noisy, "").plots[0].chart.to_dict())
    assert "noise included" in spec
    assert "noise included" not in json.dumps(drawing.draw(regression(), "").plots[0].chart.to_dict())


# ---- what a kind declares ----

AT_RISK = Sheet("at risk", ("group", "0", "10"), (("treated", 216, None), ("not", 215, 160)))
DECLARED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "curves": (
        Curves(
            says="Survival.", x="weeks", y="survival [share]", stairs=True, y_range=(0.0, 1.0), beneath=AT_RISK,
            lines=(
                Line("treated", (0.0, 4.0, 10.0), (1.0, 0.9, 0.8), (1.0, 0.8, 0.7), (1.0, 0.95, 0.9)),
                Line("not", (0.0, 5.0, 10.0), (1.0, 0.8, 0.6)),
            ),
        ),
        ("weeks", "survival [share]", "at risk", "treated", "216", "160", "–"),
    ),
    "a forest": (
        Intervals(
            says="Hazard ratios.", x="hazard ratio", labels=("age", "sex.male"), estimates=(0.94, 1.4),
            lows=(0.9, 0.8), highs=(0.99, 2.4), null=1.0, log=True,
        ),
        ("hazard ratio", "age", "sex.male"),
    ),
    "bars": (Bars(says="Gain.", x="gain", labels=("age", "chol"), values=(3.0, None)), ("gain", "chol", "left out")),
    "a heat map": (
        Heat(says="r.", rows=("a", "b.c"), columns=("a", "b.c"), values=((1.0, -0.5), (None, 1.0)), diverging=True),
        ("b.c", "−0.5"),
    ),
    "points": (
        Points(says="Calibration.", x="expected: share", y="observed", xs=(0.1, 0.5), ys=(0.2, 0.4), lows=(0.1, 0.3),
               highs=(0.3, 0.5), diagonal=True),
        ("expected: share", "observed"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARED)
def test_what_a_kind_declares_is_drawn_with_its_words_and_left_out_figures_marked(name: str) -> None:
    plot, words = DECLARED[name]
    drawn = declared.picture(Exhibit((), (AT_RISK,), (plot,)))
    texts = {"".join(one.itertext()) for one in ElementTree.fromstring(files.svg(drawn.plots[0].chart)).iter()}
    assert set(words) <= texts
    assert drawn.plots[0].says == plot.says


def test_a_sheet_is_a_table_of_whole_numbers_numbers_and_text_and_the_others_stand_below() -> None:
    other = Sheet("fit", ("figure", "value"), (("deviance", 1.5), ("p", None)))
    picture = declared.picture(Exhibit((("Rows", "431"),), (AT_RISK, other)))
    assert [str(kind) for kind in picture.table.dtypes] == ["object", "Int64", "Int64"]
    assert picture.table["10"].isna().tolist() == [True, False]
    ((title, below),) = picture.more
    assert (title, str(below["value"].dtype)) == ("fit", "float64")
    assert picture.facts == (("Rows", "431"),)


# ---- pictures as files ----


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_plot_can_be_had_as_png_and_as_svg_without_a_network(kind: str) -> None:
    chart = drawing.draw(EXAMPLES[kind].answer, "age").plots[0].chart
    image = files.png(chart)
    assert image.startswith(b"\x89PNG") and int.from_bytes(image[16:20], "big") > 2 * files.WIDTH
    drawn = files.svg(chart)
    assert drawn.startswith("<svg") and "<script" not in drawn


def test_a_name_that_is_an_address_is_drawn_as_text_and_fetched_by_nobody() -> None:
    one = TableAnswer(
        row_names=("http://127.0.0.1:9/x.png", "<image href='http://127.0.0.1:9/y.png'/>"), column_names=(),
        counts=((30,), (20,)), row_totals=(30, 20), column_totals=(50,), n=50, missing=0,
    )  # fmt: skip
    drawn = files.svg(drawing.draw(one, "ward").plots[0].chart)
    elements = list(ElementTree.fromstring(drawn).iter())
    assert not [one for one in elements if one.tag.endswith("image")]
    assert not [name for one in elements for name in one.attrib if name.endswith("href")]


def test_a_table_in_strata_has_each_of_them_and_what_two_by_two_tell() -> None:
    from hansa.jobs.table import Crosstab
    from tests.real_rows import ask, hospitals

    answer = ask(Crosstab(rows="sex", across="exang", strata="hospital", odds="yes"), hospitals())
    picture = drawing.draw(decode_answer(encode_answer(answer)), "sex and exang")
    facts = dict(picture.facts)
    assert facts["Odds ratio"].count(" to ") == 1 and "Common odds ratio" in facts and "p over strata" in facts
    ((title, strata),) = picture.more
    assert title == "Strata" and len(strata) == 16 and strata["count"].sum() == 740
