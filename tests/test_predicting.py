"""A fitted model on a site's own rows: the numbers that the fit means, a row a row, and nothing that was not meant."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hansa.cli.site import app
from hansa.errors import Refused
from hansa.jobs import encode_answer
from hansa.jobs.base import Answer
from hansa.jobs.cox import Cox
from hansa.jobs.example import mixed_table
from hansa.jobs.glm import Glm
from hansa.jobs.summary import Summary
from hansa.jobs.survival.cox_answer import CoxAnswer
from hansa_site import predicting
from hansa_site.settings import TableSource
from tests.real_rows import ask, dealt, hospitals, joined, read

HEART = Path(__file__).parent / "data" / "heart_disease_4hospitals.csv"
CATEGORIES = {"cp": ("1", "2", "3", "4")}


def written(tmp_path: Path, answer: Answer, source: TableSource) -> list[dict[str, str]]:
    (tmp_path / "answer.json").write_bytes(encode_answer(answer))
    predicting.predict(source, tmp_path, tmp_path / "answer.json", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("family", "outcome"), [("binomial", "y"), ("poisson", "num"), ("gaussian", "thalach")])
def test_a_regression_predicts_what_its_score_says(tmp_path: Path, family: str, outcome: str) -> None:
    tables = hospitals()
    job = Glm(formula=f"{outcome} ~ age + sqrt(trestbps) + factor(cp)", family=family, levels=CATEGORIES)  # type: ignore[arg-type]
    found = written(tmp_path, ask(job, tables), TableSource("heart", str(HEART), categories=CATEGORIES))
    means = np.array([float(row["prediction"]) for row in found])
    assert means.size == 740
    # the score of the intercept is zero: predictions add up to the outcome
    assert means.sum() == pytest.approx(joined(tables).numbers(outcome).sum(), rel=1e-9)


def test_a_cox_regression_predicts_hazard_ratios(tmp_path: Path) -> None:
    rows = read("rossi.csv")
    answer = ask(Cox(time="week", event="arrest", width=1, formula="fin + age + prio"), dealt(rows, 3))
    assert isinstance(answer, CoxAnswer)
    found = answer.predict(joined(dealt(rows, 1)))
    b = [answer.coefficients[name].estimate for name in ("fin", "age", "prio")]
    due = np.exp(b[0] * rows["fin"] + b[1] * rows["age"] + b[2] * rows["prio"])
    assert found["hazard ratio"].tolist() == pytest.approx(due.tolist(), rel=1e-12)


def test_a_row_that_misses_a_value_has_no_prediction() -> None:
    table = mixed_table(
        {"ward": ("north", "south")}, y=[1.0, 2, 3, 5, 4], x=[1.0, 2, 3, 4, 5], ward=["north", "south"] * 2 + ["north"]
    )
    answer = ask(Glm(formula="y ~ x + ward", family="gaussian"), {"a": table})
    rows = mixed_table({"ward": ("north", "south")}, x=[1.0, None, 3.0], ward=["north", "south", None])
    found = answer.predict(rows)["prediction"]
    assert np.isnan(found).tolist() == [False, True, True]


def test_categories_other_than_the_models_are_refused() -> None:
    table = mixed_table(
        {"ward": ("north", "south")}, y=[1.0, 2, 3, 5, 4], x=[1.0, 2, 3, 4, 5], ward=["north", "south"] * 2 + ["north"]
    )
    answer = ask(Glm(formula="y ~ x + ward", family="gaussian"), {"a": table})
    for names, words in (
        (("south", "north"), "this table means the columns"),
        ((), "declare the categories of column 'ward'"),
    ):
        with pytest.raises(Refused, match=words):
            answer.predict(mixed_table({"ward": names}, x=[1.0], ward=["north"]))


def test_a_summary_is_no_model(tmp_path: Path) -> None:
    answer = ask(Summary(of=("age",)), hospitals())
    with pytest.raises(Refused, match="is no model, and predicts nothing"):
        written(tmp_path, answer, TableSource("heart", str(HEART)))


def test_the_command_writes_a_private_file_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        f'name = "a"\nmailbox = ""\ndatabase = "sqlite:///x"\n[[table]]\nname = "heart"\npath = "{HEART}"\n'
    )
    (tmp_path / "answer.json").write_bytes(encode_answer(ask(Glm(formula="y ~ age", family="binomial"), hospitals())))
    out, common = tmp_path / "out.csv", ["predict", "--home", str(tmp_path)]
    said = CliRunner().invoke(app, [*common, str(tmp_path / "answer.json"), "heart", "--out", str(out)])
    assert said.exit_code == 0 and "740 rows in the order of the table" in said.output
    assert out.stat().st_mode & 0o777 == 0o600
    (tmp_path / "none.json").write_text('{"kind": "glm"}')
    said = CliRunner().invoke(app, [*common, str(tmp_path / "none.json"), "heart", "--out", str(out)])
    assert isinstance(said.exception, Refused) and "holds no answer of a kind that is known here" in str(said.exception)
