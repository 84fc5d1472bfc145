"""What the page draws from an answer, without a browser."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hansa.errors import ProtocolViolation
from hansa.jobs import EXAMPLES, decode_answer, encode_answer
from hansa.jobs.base import Answer
from hansa.jobs.regression.fitting import Coefficient, GlmAnswer
from hansa.jobs.table import TableAnswer
from hansa_dashboard import drawing


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
    assert marks(picture.charts[0].to_dict())
    assert all(label and value for label, value in picture.facts)


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
    assert "(Intercept)" not in json.dumps(picture.charts[0].to_dict())


def test_a_regression_on_the_intercept_alone_still_has_a_plot() -> None:
    alone = regression()
    only = GlmAnswer(
        **{name: getattr(alone, name) for name in alone.__struct_fields__ if name != "coefficients"},
        coefficients={"(Intercept)": alone.coefficients["(Intercept)"]},
    )
    assert "(Intercept)" in json.dumps(drawing.draw(only, "").charts[0].to_dict())


def test_a_histogram_has_a_bar_from_edge_to_edge_for_every_count() -> None:
    picture = drawing.draw(EXAMPLES["histogram"].answer, "age")
    assert picture.table.to_dict("list") == {
        "from": [20.0, 30.0, 40.0, 50.0],
        "to": [30.0, 40.0, 50.0, 60.0],
        "count": [2, 2, 1, 2],
    }
    assert ("Below", "1") in picture.facts
    assert picture.charts[0].to_dict()["encoding"]["x"]["title"] == "age"


def test_a_table_of_two_columns_has_its_totals_and_a_heat_map_with_numbers() -> None:
    picture = drawing.draw(EXAMPLES["table"].answer, "hospital and ill")
    assert picture.table.to_numpy().tolist() == [["north", 3, 1, 4], ["south", 1, 3, 4], ["total", 4, 4, 8]]
    assert marks(picture.charts[0].to_dict()) == ["rect", "text"]
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
    assert marks(picture.charts[0].to_dict()) == ["bar"]


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
    assert len(picture.charts) == 1
    assert marks(picture.charts[0].to_dict()) == ["rule", "bar", "tick"]


def test_columns_whose_names_mean_something_to_vega_are_shown_as_they_are() -> None:
    answer = EXAMPLES["summary"].answer
    renamed = type(answer)(columns={"a.b[0]": answer.columns["age"]})  # type: ignore[attr-defined, call-arg]
    assert "a.b[0]" in json.dumps(drawing.draw(renamed, "").charts[0].to_dict())


def test_csv_disarms_what_a_spreadsheet_would_run_and_leaves_numbers_alone() -> None:
    table = pd.DataFrame({"term": ["=cmd()", "age"], "estimate": [-0.5, np.nan]})
    assert drawing.csv(table).decode().splitlines() == ["term,estimate", "'=cmd(),-0.5", "age,"]


def test_an_answer_of_no_known_kind_is_refused() -> None:
    class Strange(Answer, frozen=True, tag="strange"):
        pass

    with pytest.raises(ProtocolViolation, match="Strange"):
        drawing.draw(Strange(), "")
