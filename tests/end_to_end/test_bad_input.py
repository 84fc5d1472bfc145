"""What can't work is one sentence that says what and where, exit code 2, and the consortium goes on."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.consortium import HOSPITALS, Consortium, Said, run_once, toml

pytestmark = pytest.mark.processes

AGE: dict[str, Any] = {"kind": "summary", "table": "heart", "parameters": {"columns": ["age"]}}


def regression(formula: str, **more: object) -> dict[str, Any]:
    return {"kind": "glm", "table": "heart", "parameters": {"family": "binomial", "formula": formula}, **more}


def summary(*columns: str, **more: object) -> dict[str, Any]:
    return {"kind": "summary", "table": "heart", "parameters": {"columns": list(columns)}, **more}


def assert_one_sentence(said: Said, *words: str) -> None:
    """Exit code 2; one line on standard error, with these words, and nothing of Python's."""
    assert said.code == 2, said.err
    lines = said.complaint.splitlines()
    assert len(lines) == 1, said.err
    sentence = lines[0]
    assert sentence.startswith("hansa: "), sentence
    assert 20 < len(sentence) < 500, sentence
    for wrong in ("Traceback", ".py", "Error(", "object at 0x", "msgspec", "polars", "sqlalchemy", "site-packages"):
        assert wrong not in sentence
    for word in words:
        assert word in sentence, f"'{word}' is not in: {sentence}"


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """The four hospitals, each with a column that is 7 everywhere, one that is twice the age, and one of text."""
    folder = tmp_path_factory.mktemp("bad")
    sites = []
    for name in ("cleveland", "hungarian", "switzerland", "va"):
        with (HOSPITALS.parent / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        with (folder / f"{name}.csv").open("w", newline="") as file:
            more = ["seven", "twice", "note", "ill", "well"]
            writer = csv.DictWriter(file, [*rows[0], *more])
            writer.writeheader()
            for row in rows:
                twice = 2 * float(row["age"]) + 1
                writer.writerow({**row, "seven": 7, "twice": twice, "note": "seen", "ill": 1, "well": 0})
        sites.append({"name": name, "table": [{"name": "heart", "path": f"{name}.csv"}]})
    path = folder / "consortium.toml"
    path.write_text(f'name = "bad"\nsite = {toml(sites)}\n')
    with Consortium(folder, path) as running:
        yield running


QUESTIONS: dict[str, tuple[Mapping[str, object], tuple[str, ...]]] = {
    "unknown column": (summary("age", "shoe_size"), ("cleveland", "heart", "shoe_size")),
    "unknown column in a formula": (regression("y ~ age + shoe_size"), ("cleveland", "heart", "shoe_size")),
    "unknown kind": ({**AGE, "kind": "horoscope"}, ("horoscope", "summary", "glm")),
    "unknown table": ({**AGE, "table": "lungs"}, ("lungs",)),
    "no member": (summary("age", sites=["cleveland", "va", "lausanne"]), ("lausanne", "member")),
    "a site twice": (summary("age", sites=["cleveland", "va", "va"]), ("sites", "twice")),
    "unknown parameter": ({**AGE, "parameters": {"columns": ["age"], "colour": "red"}}, ("colour", "columns")),
    "missing parameter": ({**AGE, "parameters": {}}, ("summary", "columns")),
    "unknown key": ({**AGE, "colour": "red"}, ("colour", "parameters")),
    "text for a number": (
        {**AGE, "kind": "glm", "parameters": {"family": "binomial", "formula": "y ~ age", "max_iterations": "ten"}},
        ("max_iterations", "whole number"),
    ),
    "number out of range": (
        {**AGE, "kind": "glm", "parameters": {"family": "binomial", "formula": "y ~ age", "max_iterations": 0}},
        ("max_iterations", "at least 2"),
    ),
    "a column of text": (summary("note"), ("note", "text", "heart")),
    "an outcome of text": (regression("note ~ age"), ("note", "text")),
    "no formula": (regression("y ~ ~ age"), ("formula",)),
    "an open bracket": (regression("y ~ (age"), ("formula",)),
    "python in the formula": (regression("y ~ __import__('os').system('id')"), ("formula",)),
    "a call in the formula": (regression("y ~ eval(age)"), ("formula", "eval")),
    "no protection": (summary("age", protection="none"), ("none", "masked")),
    "minimum too large": (summary("age", minimum_sites=9), ("4 sites", "9")),
    "minimum too small": (summary("age", minimum_sites=2), ("minimum_sites", "3")),
    "two sites only": (summary("age", sites=["cleveland", "va"]), ("2 sites", "3")),
}

ENDINGS: dict[str, tuple[Mapping[str, object], tuple[str, ...]]] = {
    "every patient is ill": (regression("ill ~ age"), ("ill",)),
    "no patient is ill": (regression("well ~ age"), ("well",)),
    "a constant column": (regression("y ~ age + seven"), ("seven",)),
    "columns that depend on each other": (regression("y ~ age + twice"), ("twice",)),
    "an outcome that is not yes or no": (regression("num ~ age"), ("num",)),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_plan_that_can_t_work_is_refused_before_any_site_is_asked(consortium: Consortium, name: str) -> None:
    plan, words = QUESTIONS[name]
    said = consortium.ask(plan)
    assert_one_sentence(said, *words)
    assert said.answer == {}


@pytest.mark.parametrize("name", ENDINGS)
def test_numbers_that_have_no_answer_end_the_job_as_refused(consortium: Consortium, name: str) -> None:
    plan, words = ENDINGS[name]
    said = consortium.ask(plan)
    assert_one_sentence(said, "refused", *words)
    assert said.answer["status"] == "refused"
    assert said.answer["reason"] in said.complaint
    assert said.answer["answer"] == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"kind = \n", ("not a TOML file", "line 1")),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe", ("can't be read",)),
        (b"", ("kind",)),
        (None, ("no file",)),
    ],
)
def test_a_plan_that_is_no_toml_file_is_refused_with_its_name(
    consortium: Consortium, tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    plan = tmp_path / "question.toml"
    if content is not None:
        plan.write_bytes(content)
    assert_one_sentence(consortium.ask(plan), "question.toml", *words)


def test_after_all_of_this_a_good_plan_still_works(consortium: Consortium) -> None:
    said = consortium.ask(regression("y ~ age"))
    assert said.code == 0, said.err
    assert said.answer["participants"] == ["cleveland", "hungarian", "switzerland", "va"]
    assert said.answer["answer"]["n"] == 740


ROWS = "y,age\n" + "".join(f"{row % 2},{40 + row}\n" for row in range(30))
TABLES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe\0\1\2", ("c.csv", "not a CSV file")),
    "binary without zeros": (b"\xff\xfe\xfd,\x80\x81\n\x93\x94\x95\n", ("c.csv", "not a CSV file")),
    "empty": (b"", ("c.csv",)),
    "blank lines": (b"\n\n\n", ("rows",)),
    "header only": (b"y,age\n", ("rows", "no rows")),
    "ragged": (b"y,age\n1,2,3,4\n5\n", ("c.csv", "not a CSV file")),
    "a name twice": (b"y,y\n1,2\n", ("twice",)),
}


def write_three(
    folder: Path, third: bytes | None = None, more: str = "", names: tuple[str, ...] = ("a", "b", "c")
) -> Path:
    """Sites a, b and c with a table `rows` each; c's file holds `third`."""
    sites = [{"name": name, "table": [{"name": "rows", "path": f"{name}.csv"}]} for name in names]
    for name in names:
        (folder / f"{name}.csv").write_text(ROWS)
    if third is not None:
        (folder / "c.csv").write_bytes(third)
    file = folder / "consortium.toml"
    file.write_text(f'name = "three"\nsite = {toml(sites)}\n{more}')
    return file


def write_plan(folder: Path) -> Path:
    plan = folder / "plan.toml"
    plan.write_text('kind = "summary"\ntable = "rows"\n[parameters]\ncolumns = ["age"]\n')
    return plan


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_can_t_be_read_is_named_with_its_site_and_nothing_is_started(tmp_path: Path, name: str) -> None:
    content, words = TABLES[name]
    said = run_once(tmp_path, write_three(tmp_path, content), write_plan(tmp_path))
    assert_one_sentence(said, "c: ", *words)
    assert said.answer == {}


def test_a_table_whose_file_is_not_there_is_named_with_its_site(tmp_path: Path) -> None:
    file = write_three(tmp_path)
    (tmp_path / "c.csv").unlink()
    assert_one_sentence(run_once(tmp_path, file, write_plan(tmp_path)), "c: ", "no file", "c.csv")


@pytest.mark.parametrize("simulate", [False, True])
def test_one_row_in_all_is_too_few_and_is_said_so(tmp_path: Path, simulate: bool) -> None:
    file = write_three(tmp_path, b"y,age\n1,50\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("y,age\nNA,NA\n")
    said = run_once(tmp_path, file, write_plan(tmp_path), *(["--simulate"] if simulate else []))
    assert_one_sentence(said, "refused", "row")
    assert said.answer["status"] == "refused"


CONSORTIA: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "two sites": ({"names": ("a", "b")}, ("2 members", "three")),
    "a name twice": ({"names": ("a", "b", "b")}, ("two sites are named 'b'",)),
    "no name for a site": ({"names": ("a", "b", "Big Hospital")}, ("Big Hospital", "site name")),
    "the hub's name": ({"names": ("a", "b", "hub")}, ("hub", "site name")),
    "unknown key": ({"more": 'colour = "red"\n'}, ("consortium.toml", "colour")),
    "unknown rule": ({"more": "rules = { colour = 3 }\n"}, ("rules", "colour")),
    "text for a number": ({"more": 'rules = { round_seconds = "long" }\n'}, ("rules", "round_seconds")),
    "a floor too low": ({"more": "rules = { minimum_sites = 1 }\n"}, ("rules", "minimum_sites")),
    "no TOML": ({"more": "what is this"}, ("consortium.toml", "line 3")),
}


@pytest.mark.parametrize(("name", "simulate"), [("two sites", True), *((name, False) for name in CONSORTIA)])
def test_a_consortium_that_can_t_be_is_refused_before_anything_is_started(
    tmp_path: Path, name: str, simulate: bool
) -> None:
    how, words = CONSORTIA[name]
    file = write_three(tmp_path, **how)
    said = run_once(tmp_path, file, write_plan(tmp_path), *(["--simulate"] if simulate else []))
    assert_one_sentence(said, *words)
    assert said.answer == {}


def test_a_consortium_s_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert_one_sentence(run_once(tmp_path, tmp_path / "nowhere.toml", write_plan(tmp_path)), "no file", "nowhere.toml")


def test_a_column_that_one_site_never_filled_in_is_missing_there_and_no_text(tmp_path: Path) -> None:
    file = write_three(tmp_path, b"y,age\n1,NA\n0,\n1,NA\n")
    said = run_once(tmp_path, file, write_plan(tmp_path), "--simulate")
    assert said.code == 0, said.err
    assert said.answer["answer"]["columns"]["age"]["count"] == 60
    assert said.answer["answer"]["columns"]["age"]["missing"] is None  # three are too few to be shown
    assert any("counts from 1 to 9 are left out" in note for note in said.answer["answer"]["notes"])


SIMULATED = (
    "unknown column",
    "unknown kind",
    "unknown table",
    "no member",
    "minimum too large",
    "two sites only",
    "no protection",
)


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulated_question_is_refused_in_the_same_words(consortium: Consortium, tmp_path: Path, name: str) -> None:
    plan, words = QUESTIONS[name]
    file = tmp_path / "plan.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in plan.items()))
    assert_one_sentence(run_once(tmp_path, consortium.folder / "consortium.toml", file, "--simulate"), *words)
