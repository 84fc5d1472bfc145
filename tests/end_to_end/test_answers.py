"""Processes that only exchange letters get what R and NIST say of the pooled rows."""

import csv
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.consortium import HOSPITALS, REGRESSION, Consortium, Said, command, run_once, toml, write_toml
from tests.real_rows import DATA, read_json

pytestmark = pytest.mark.processes

REFERENCE, CERTIFIED = read_json("reference_R.json"), read_json("numacc_constructed.json")
SITES = ("cleveland", "hungarian", "switzerland", "utrecht", "va")
THREE = ("cleveland", "hungarian", "switzerland")
QUESTIONS: dict[str, dict[str, Any]] = {
    "heart4_glm": {
        "kind": "glm",
        "table": "heart",
        "parameters": {
            "family": "binomial",
            "outcome": "y",
            "formula": "age + sex + trestbps + thalach + exang + oldpeak + factor(cp)",
        },
    },
    "heart4_gauss": {
        "kind": "glm",
        "table": "heart",
        "parameters": {"family": "gaussian", "formula": "thalach ~ age + sex + exang"},
    },
    "randhie_poisson": {
        "kind": "glm",
        "table": "visits",
        "parameters": {
            "family": "poisson",
            "formula": "mdvis ~ lncoins + idp + lpi + fmde + physlm + disea + hlthg + hlthf + hlthp",
        },
    },
    "NumAcc": {
        "kind": "summary",
        "table": "digits",
        "parameters": {"columns": list(CERTIFIED)},
        "disclosure": {"minimum_cell": 1, "minimum_rows": 1},  # one of them has three rows
    },
}


def write_rows(path: Path, rows: list[dict[str, str]]) -> dict[str, str]:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return {"name": path.stem.split()[0], "path": path.name}


def digits() -> list[dict[str, str]]:
    """NumAcc1 to NumAcc4 side by side; the first has three rows only, and misses the others."""
    longest = max(len(one["values"]) for one in CERTIFIED.values())
    return [
        {name: one["values"][row] if row < len(one["values"]) else "" for name, one in CERTIFIED.items()}
        for row in range(longest)
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sites: four hold a hospital each, five a fifth of randhie (row i mod 5), three a third of NumAcc."""
    folder = tmp_path_factory.mktemp("rows")
    with (DATA / "heart_disease_4hospitals.csv").open() as hearts, (DATA / "randhie.csv").open() as visits:
        heart, visit, digit = list(csv.DictReader(hearts)), list(csv.DictReader(visits)), digits()
    sites = []
    for place, site in enumerate(SITES):
        tables = [write_rows(folder / f"visits {site}.csv", visit[place :: len(SITES)])]
        if own := [row for row in heart if row["hospital"] == site]:
            tables.append(write_rows(folder / f"heart {site}.csv", own))
        if site in THREE:
            tables.append(write_rows(folder / f"digits {site}.csv", digit[place :: len(THREE)]))
        policy = {"disclosure": {"minimum_cell": 1, "minimum_rows": 1}}
        sites.append({"name": site, "table": tables, "policy": policy})
    path = folder / "consortium.toml"
    path.write_text(f'name = "answers"\nsite = {toml(sites)}\n')
    return path


@pytest.fixture(scope="module")
def consortium(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with Consortium(tmp_path_factory.mktemp("up"), file) as running:
        yield running


@pytest.fixture(scope="module")
def answers(consortium: Consortium) -> dict[str, Said]:
    return {name: consortium.ask(question) for name, question in QUESTIONS.items()}


def numbers_in(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def assert_as_in_r(answer: dict[str, Any], name: str) -> None:
    expected = REFERENCE[name]
    assert list(answer["coefficients"]) == list(expected["coef"])
    for label, coefficient in answer["coefficients"].items():
        assert coefficient["estimate"] == pytest.approx(expected["coef"][label], rel=1e-6)
        assert coefficient["std_error"] == pytest.approx(expected["se"][label], rel=1e-6)
    for figure in ("n", "df", "deviance", "null_deviance", "aic", "dispersion"):
        assert answer[figure] == pytest.approx(expected[figure], rel=1e-6)
    assert answer["converged"] is True


def test_four_hospitals_get_r_s_logistic_regression_and_the_json_holds_what_is_promised(tmp_path: Path) -> None:
    said = run_once(tmp_path, HOSPITALS, REGRESSION)
    assert said.code == 0, said.err
    assert {"kind", "status", "answer", "participants", "seconds", "bytes_per_site", "audit"} <= set(said.answer)
    assert (said.answer["kind"], said.answer["status"]) == ("glm", "done")
    assert said.answer["participants"] == ["cleveland", "hungarian", "switzerland", "va"]
    assert set(said.answer["bytes_per_site"]) == set(said.answer["participants"])
    assert all(size > 0 for size in said.answer["bytes_per_site"].values())
    assert said.answer["seconds"] > 0
    assert set(said.answer["audit"]) == {"size", "head", "final"}
    assert said.answer["audit"]["size"] > 0 and len(bytes.fromhex(said.answer["audit"]["head"])) == 32
    assert_as_in_r(said.answer["answer"], "heart4_glm")
    assert "cleveland, hungarian, switzerland, va" in " ".join(said.out.split())
    for shown in (0.624796386529624, 0.113949745987045, 628.384872705169):
        assert any(math.isclose(number, shown, rel_tol=1e-5) for number in numbers_in(said.out))
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("name", ["heart4_glm", "heart4_gauss", "randhie_poisson"])
def test_processes_get_what_r_gets_on_the_pooled_rows(answers: dict[str, Said], name: str) -> None:
    said = answers[name]
    assert said.code == 0, said.err
    assert len(said.answer["participants"]) == (5 if name == "randhie_poisson" else 4)
    assert_as_in_r(said.answer["answer"], name)


def moments(values: list[str]) -> tuple[Fraction, Fraction]:
    """Mean and variance, without any rounding, of the float64 that the texts become."""
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact, Fraction()) / len(exact)
    return mean, sum(((value - mean) ** 2 for value in exact), Fraction()) / (len(exact) - 1)


@pytest.mark.parametrize("name", list(CERTIFIED))
def test_mean_and_deviation_are_right_to_the_precision_that_is_declared_with_them(
    answers: dict[str, Said], name: str
) -> None:
    figures, certified = answers["NumAcc"].answer["answer"]["columns"][name], CERTIFIED[name]
    mean, variance = moments(certified["values"])
    assert figures["count"] == certified["n"]
    assert abs(Fraction(figures["mean"]) - mean) <= Fraction(figures["mean_precision"])
    assert abs(Fraction(figures["variance"]) - variance) <= Fraction(figures["variance_precision"])
    assert figures["mean_precision"] < 1e-14 * float(certified["mean"])
    assert figures["variance_precision"] < 1e-12 * float(variance)


@pytest.mark.parametrize(
    ("name", "mean_digits", "sd_digits"),
    [("NumAcc1", 15, 15), ("NumAcc2", 14, 14), ("NumAcc3", 14, 9), ("NumAcc4", 14, 8)],
)
def test_nist_s_certified_digits_are_there_as_far_as_a_float64_holds_the_rows(
    answers: dict[str, Said], name: str, mean_digits: int, sd_digits: int
) -> None:
    figures = answers["NumAcc"].answer["answer"]["columns"][name]
    for figure, certified, digits_due in (("mean", "mean", mean_digits), ("sd", "sd", sd_digits)):
        true = float(CERTIFIED[name][certified])
        error = abs(figures[figure] - true) / true
        assert error == 0 or -math.log10(error) >= digits_due


@pytest.mark.parametrize("name", list(CERTIFIED))
def test_mean_deviation_and_declared_precision_are_in_the_printed_text(answers: dict[str, Said], name: str) -> None:
    figures, text = answers["NumAcc"].answer["answer"]["columns"][name], answers["NumAcc"].out
    shown = numbers_in(text)
    for figure, close in (("count", 0.0), ("mean", 1e-9), ("sd", 1e-4)):
        assert any(math.isclose(number, figures[figure], rel_tol=close) for number in shown), (
            f"{figure} of {name}, {figures[figure]}, is not in\n{text}"
        )
    bound = figures["mean_precision"]
    assert any(bound <= number <= 2 * bound for number in shown), f"no bound as wide as {bound} is in\n{text}"


@pytest.mark.parametrize("name", ["heart4_glm", "randhie_poisson", "NumAcc"])
def test_one_process_without_letters_gets_the_same_numbers(
    file: Path, answers: dict[str, Said], tmp_path: Path, name: str
) -> None:
    plan = write_toml(tmp_path / "plan.toml", QUESTIONS[name])
    said = run_once(tmp_path, file, plan, "--simulate")
    assert said.code == 0, said.err
    assert said.answer["answer"] == answers[name].answer["answer"]
    assert said.answer["participants"] == answers[name].answer["participants"]
    assert set(answers[name].answer) == set(said.answer)


def test_the_links_of_the_log_hold_after_all_of_these_questions(
    consortium: Consortium, answers: dict[str, Said], tmp_path: Path
) -> None:
    said = command(tmp_path, "audit", "check", "--home", consortium.home / "hub")
    assert said.code == 0, said.err
    size = int(said.out.split()[0])
    assert size >= max(one.answer["audit"]["size"] for one in answers.values())
