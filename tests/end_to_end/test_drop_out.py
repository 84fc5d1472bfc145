"""Processes are killed in mid-job: nothing hangs, nothing is lost, nothing counts twice."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa import jobs
from hansa.hub import queries
from hansa.hub.queries import JobDetail
from hansa.jobs import base
from hansa.jobs.regression.fitting import GlmAnswer
from tests.end_to_end.consortium import HOSPITALS, REGRESSION, Consortium, until
from tests.real_rows import HOSPITALS as NAMES
from tests.real_rows import Chance, split

pytestmark = pytest.mark.processes

AGE: dict[str, Any] = {"kind": "summary", "table": "heart", "parameters": {"columns": ["age"]}}
PARAMETERS = {
    "outcome": "y",
    "family": "binomial",
    "formula": "age + sex + trestbps + thalach + exang + oldpeak + factor(cp)",
}


def file_with_rules(folder: Path, rules: str) -> Path:
    """The demo's hospitals under other rules; who leaves may ask and be asked again."""
    text = HOSPITALS.read_text().replace("[site.policy]\n", "[site.policy]\nleast_difference = 1\n")
    text = text.replace('path = "', f'path = "{HOSPITALS.parent}/')
    file = folder / "consortium.toml"
    file.write_text(text.replace('name = "hearts"\n', f'name = "hearts"\nrules = {rules}\n', 1))
    return file


def warm(consortium: Consortium) -> None:
    """A site's first regression loads a library for formulas; on a busy machine that takes most of three seconds."""
    until("a first answer", lambda: consortium.ask(REGRESSION).code == 0)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """A round waits three seconds for a silent site."""
    folder = tmp_path_factory.mktemp("impatient")
    with Consortium(folder, file_with_rules(folder, "{ round_seconds = 3 }")) as running:
        warm(running)
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    folder = tmp_path_factory.mktemp("patient")
    with Consortium(folder, file_with_rules(folder, "{ round_seconds = 30 }")) as running:
        yield running


def hospital_rows(name: str) -> int:
    with (HOSPITALS.parent / f"{name}.csv").open() as file:
        return sum(1 for _ in csv.DictReader(file))


def pooled(sites: tuple[str, ...]) -> GlmAnswer:
    """The regression over the rows of `sites`, in this process."""
    columns: dict[str, list[float]] = {}
    of: list[str] = []
    for site in sites:
        with (HOSPITALS.parent / f"{site}.csv").open() as file:
            for row in csv.DictReader(file):
                of.append(site)
                for name, value in row.items():
                    columns.setdefault(name, []).append(float(value))
    tables = split({name: np.array(values) for name, values in columns.items()}, of, {"cp": ("1", "2", "3", "4")})
    answer = base.pooled(jobs.parse("glm", PARAMETERS), tables, Chance())
    assert isinstance(answer, GlmAnswer)
    return answer


def assert_equals_pooled(answer: dict[str, Any], sites: tuple[str, ...]) -> None:
    expected = pooled(sites)
    assert answer["n"] == sum(hospital_rows(site) for site in sites) == expected.n
    assert list(answer["coefficients"]) == list(expected.coefficients)
    for label, coefficient in expected.coefficients.items():
        assert answer["coefficients"][label]["estimate"] == pytest.approx(coefficient.estimate, rel=1e-6)
        assert answer["coefficients"][label]["std_error"] == pytest.approx(coefficient.std_error, rel=1e-6)
    assert answer["deviance"] == pytest.approx(expected.deviance, rel=1e-9)


def assert_each_step_once(consortium: Consortium, run: str) -> None:
    """The log holds every total once, in order, one release, and links that hold."""
    entries = list(reversed(queries.log(consortium.hub, 1000, run)))
    steps = [int(entry.details["step"]) for entry in entries if entry.act == "total opened"]
    assert steps == list(range(len(steps)))
    assert len(steps) > 5
    assert [entry.act for entry in entries].count("released") == 1
    assert [entry.act for entry in entries if entry.by == "hub"][-1] == "ended"
    size, _ = queries.check_log(consortium.hub)
    assert size >= len(entries)


def took_part(detail: JobDetail) -> tuple[str, ...]:
    return tuple(site.site for site in detail.sites if site.took_part)


def test_a_hospital_killed_in_mid_job_is_left_out_and_named_and_is_welcome_again(impatient: Consortium) -> None:
    asked, run = impatient.begin_up_to_step(REGRESSION, 3)
    impatient.kill("va")
    said = asked.ended()
    rest = ("cleveland", "hungarian", "switzerland")
    assert said.code == 0, said.err
    assert said.answer["status"] == "done"
    assert said.answer["participants"] == list(rest)
    assert len(said.answer["remarks"]) == 1
    assert "va is not in the answer" in said.answer["remarks"][0]
    assert "va is not in the answer" in " ".join(said.out.split())
    assert_equals_pooled(said.answer["answer"], rest)
    assert_each_step_once(impatient, run)

    said = impatient.ask({**AGE, "sites": list(rest)})
    assert said.code == 0, said.err
    assert said.answer["participants"] == list(rest)
    assert said.answer["remarks"] == []
    assert set(said.answer["bytes_per_site"]) == set(rest)

    impatient.start_by_hand("va")
    said = impatient.ask(AGE)
    assert said.code == 0, said.err
    assert said.answer["participants"] == list(NAMES)
    assert said.answer["answer"]["columns"]["age"]["count"] == 740
    assert "va has ended" in impatient.told()


def test_with_the_floor_at_four_a_killed_hospital_ends_the_job_as_not_enough_sites(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("four")
    with Consortium(folder, file_with_rules(folder, "{ minimum_sites = 4, round_seconds = 3 }")) as consortium:
        warm(consortium)
        asked, run = consortium.begin_up_to_step(REGRESSION, 2)
        consortium.kill("hungarian")
        said = asked.ended()
        assert said.code == 2
        assert said.answer["status"] == "not enough sites"
        assert said.answer["answer"] == {}
        assert said.answer["participants"] == []
        assert said.complaint.startswith("hansa: not enough sites: ")
        assert len(said.complaint.splitlines()) == 1
        assert took_part(consortium.detail(run)) == ()
        said = consortium.ask({**AGE, "sites": ["cleveland", "switzerland", "va"]})
        assert said.code == 2
        assert said.complaint == "hansa: 3 sites are named and at least 4 must take part"


def test_a_hospital_killed_in_mid_job_and_started_again_in_time_is_in_the_answer(patient: Consortium) -> None:
    asked, run = patient.begin_up_to_step(REGRESSION, 2)
    patient.kill("switzerland")
    patient.start_by_hand("switzerland")
    said = asked.ended()
    assert said.code == 0, said.err
    assert said.answer["participants"] == list(NAMES)
    assert said.answer["remarks"] == []
    assert_equals_pooled(said.answer["answer"], NAMES)
    assert_each_step_once(patient, run)


def test_a_hub_killed_in_mid_job_and_started_again_loses_nothing_and_counts_nothing_twice(patient: Consortium) -> None:
    asked, run = patient.begin_up_to_step(REGRESSION, 2)
    patient.kill("hub")
    before = patient.detail(run)
    assert before.view.status == "running"
    patient.start_by_hand("hub")
    said = asked.ended()
    assert said.code == 0, said.err
    assert said.answer["run"] == run
    assert said.answer["participants"] == list(NAMES)
    assert_equals_pooled(said.answer["answer"], NAMES)
    assert_each_step_once(patient, run)
    assert "hub has ended" in patient.told()
