"""Real processes that kill themselves at their n-th commit, before or after it, and are started again."""

import time
from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy.orm import Session

from hansa.hub import actions, models, queries
from hansa.hub.models import Job
from hansa.messages import HUB
from hansa.plan import Question
from tests.chaos.asking import EVERYTHING, PERSON, SITES, wrong
from tests.chaos.consortium import Running, running
from tests.chaos.counting import count, open_all, still_open

pytestmark = pytest.mark.processes

DEATHS = ((HUB, "7 before"), (HUB, "31 after"), ("a", "6 after"), ("b", "13 before"))
PATIENCE = 120.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, actions.Hub]]:
    with running(tmp_path_factory.mktemp("c"), on_postgresql=False) as parties:
        hub = parties.start()
        actions.add_person(hub, PERSON, SITES[0], "correct horse battery")
        yield parties, hub


def finished(parties: Running, hub: actions.Hub, run: str) -> Job:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        parties.supervise()
        with Session(hub.reading) as db:
            job = db.get_one(Job, run)
        if job.status not in models.OPEN:
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


@pytest.mark.parametrize(("name", "death"), DEATHS)
def test_a_process_that_dies_at_a_commit_is_started_again_and_the_job_ends_right(
    up: tuple[Running, actions.Hub], name: str, death: str
) -> None:
    parties, hub = up
    process = parties.processes[name]
    process.plight, before = {"CHAOS_DIE_AT": death}, process.unbidden
    process.kill()
    process.start()
    process.plight = {}
    run = actions.propose(
        hub, PERSON, Question("table", "numbers", {"rows": "s"}, minimum_sites=3, disclosure=EVERYTHING)
    )
    job = finished(parties, hub, run)
    assert process.unbidden == before + 1, "it lived on"
    assert job.status == models.DONE, job.reason
    took_part = [site.site for site in getattr(queries.job(hub, run), "sites", ()) if site.took_part]
    assert took_part == list(SITES)
    assert wrong(msgspec.json.decode(job.answer or b""), took_part) == ""


def test_no_letter_was_lost_and_nothing_was_done_twice(up: tuple[Running, actions.Hub]) -> None:
    parties, _hub = up
    engines, deadline = open_all(parties.urls), time.monotonic() + PATIENCE
    while still_open(engines) and time.monotonic() < deadline:
        parties.supervise()
        time.sleep(0.1)
    found = count(engines)
    assert (found.lost, found.doubled, found.wrong, found.aside) == ([], [], [], 0)
    assert found.messages > 100
