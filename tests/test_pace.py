"""Where a job is, how long its rounds took, and no more said of the time left than that tells."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.hub import actions, models, queries
from hansa.hub.models import RoundRow
from hansa.hub.pace import Progress, RoundTook
from hansa.hub.queries import JobDetail
from hansa.jobs import EXAMPLES
from hansa.jobs.glm import Glm
from hansa.jobs.histogram import Histogram
from hansa.jobs.table import Crosstab
from hansa.messages import HUB
from hansa.plan import Question
from hansa.privacy.noise import Noise
from hansa_dashboard import lanes
from hansa_dashboard.drawing.timeline import timeline
from hansa_dashboard.whereabouts import left, share, standing
from tests.test_deciding import PERSON_DECIDES, People
from tests.world import EVERYTHING, World

CLOSED = ["agreeing on keys"] * 4 + ["computing", "confirming who takes part", "opening the total"] * 4
COUNTS = Question("histogram", "numbers", {"column": "x", "low": 0, "high": 30}, disclosure=EVERYTHING)
SUMMARY = Question("summary", "numbers", {"columns": ["x"]}, disclosure=EVERYTHING)


def detail(world: World, run: str) -> JobDetail:
    hub = world.hub()
    try:
        found = queries.job(hub, run)
    finally:
        hub.engine.dispose()
        hub.reading.dispose()
    assert found is not None
    return found


NAMES = ("s0", "s1", "s2", "s3")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobDetail:
    """A summary of all that has its answer."""
    world = World(tmp_path_factory.mktemp("world"))
    run = world.ask(SUMMARY)
    assert world.finish(run).status == models.DONE
    return detail(world, run)


def test_every_closed_round_leaves_how_long_it_took_and_who_replied_when(finished: JobDetail) -> None:
    rounds = finished.rounds
    assert [one.stage for one in rounds] == [*CLOSED, "looking at the answer"]
    assert [one.number for one in rounds] == list(range(1, len(rounds) + 1))
    assert [one.step for one in rounds[4:-1]] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for one in rounds:
        assert set(one.replied) == set(NAMES)
        assert all(0 <= after <= one.closed_at - one.opened_at + 0.001 for after in one.replied.values())


def test_a_site_that_is_silent_replied_to_no_round_that_it_let_pass(tmp_path: Path) -> None:
    world = World(tmp_path, sites=5)
    run = world.ask(SUMMARY)
    world.run_until(lambda: world.job(run).status == "running" and world.job(run).step == 1)
    world.kill("s4")
    assert world.finish(run).status == models.DONE
    found = detail(world, run)
    late = [one for one in found.rounds if "s4" not in one.replied]
    assert late and late[0].closed_at - late[0].opened_at >= world.charter.rules.round_seconds
    bars = [bar for bar in lanes.bars(found, 0.0) if bar.lane == "s4"]
    assert next(bar.text for bar in bars if bar.doing == lanes.GONE).startswith("silent while ")
    assert "Silent or out: s4." in timeline(found, 0.0).says  # type: ignore[union-attr]


def test_what_rounds_took_is_erased_with_the_job(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.ask(COUNTS)
    world.finish(run)
    hub = world.hub()
    actions.erase(hub, run)
    with Session(world.engines[HUB]) as db:
        assert db.scalars(select(RoundRow)).all() == []
    hub.engine.dispose()
    hub.reading.dispose()


def test_progress_follows_a_job_from_its_signature_to_its_release(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.ask(SUMMARY)
    seen: list[Progress] = []
    while world.job(run).status in models.OPEN:
        now = detail(world, run).progress
        if not seen or (now.status, now.step, now.round) != (seen[-1].status, seen[-1].step, seen[-1].round):
            seen.append(now)
        world.step()
    statuses = list(dict.fromkeys(one.status for one in seen))
    assert [status for status in models.OPEN if status in statuses] == statuses
    assert seen[0].waits_for == ("s0",)
    running = [one for one in seen if one.status == "running"]
    assert {(one.round, one.rounds) for one in running} == {(1, 3), (2, 3), (3, 3)}
    assert {one.step: one.steps_after for one in running} == {1: 3, 2: 2, 3: 1, 4: 0}
    assert {one.name for one in running} == {"magnitudes", "sums", "spreads", "moments"}
    assert all(one.asked == 4 and one.answered + len(one.waits_for) == 4 for one in running)
    assert [one.seconds_a_step is None for one in running if one.round == 1] == [True, False, False, False]
    for one in seen:
        assert standing(one, world.now) and "None" not in standing(one, world.now)


def test_a_person_who_decides_is_named_with_a_time_and_drawn_as_such(tmp_path: Path) -> None:
    people = People(tmp_path, PERSON_DECIDES)
    run = people.world.propose()
    people.until_waiting(run, *people.world.names)
    people.world.run_until(lambda: detail(people.world, run).progress.person_until is not None)
    found = detail(people.world, run)
    assert found.progress.status == "consenting"
    assert "a person decides, until 20" in standing(found.progress, people.world.now)
    assert lanes.PERSON in {bar.doing for bar in lanes.bars(found, people.world.now)}


# ---- sentences ----

RUNNING = Progress(
    status="running", step=2, name="means", round=1, rounds=3, asked=4, answered=3, waits_for=("south",),
    closes_at=112.0, opened_at=99.0,
)  # fmt: skip


def test_a_running_job_says_its_step_its_round_who_is_missing_and_when_the_round_closes() -> None:
    assert standing(RUNNING, 100.0) == (
        "step 2 (means), round 1 of 3, computing; 3 of 4 replies are in, 1 is missing, of south; this closes in 12 s "
        "at the latest"
    )
    assert standing(replace(RUNNING, sending=("south",)), 100.0).endswith("or later as long as numbers keep coming in")
    assert standing(RUNNING, 113.0).endswith("its time is over, and the hub is to close it")
    assert "the hub is at work" in standing(replace(RUNNING, waits_for=(), answered=4), 100.0)


def test_the_time_left_is_the_pace_so_far_times_the_steps_that_are_known_to_follow() -> None:
    known = replace(RUNNING, steps_after=2, seconds_a_step=6.0)
    assert left(known, 100.0) == ("2 steps follow. At the pace so far, 6.0 s a step, the totals take about 17 s more.")
    assert left(replace(known, seconds_a_step=None), 100.0).endswith("nothing can be said of how long they take.")
    assert left(replace(known, steps_after=0, seconds_a_step=3.0), 100.0).startswith("This is the last step.")


def test_of_a_kind_that_iterates_no_time_left_is_claimed() -> None:
    said = left(replace(RUNNING, seconds_a_step=6.0), 100.0)
    assert said == (
        "How many steps follow is not known ahead: it depends on what the totals say. Each took 6.0 s so far."
    )
    assert share(RUNNING) is None
    assert left(replace(RUNNING, status="releasing"), 100.0) == ""


def test_the_share_that_is_done_grows_from_round_to_round_and_never_reaches_one_before_the_release() -> None:
    shares = [
        share(replace(RUNNING, step=step, round=round_, steps_after=4 - step))
        for step in (1, 2, 3, 4)
        for round_ in (1, 2, 3)
    ]
    known = [one for one in shares if one is not None]
    assert known == sorted(known) and len(set(known)) == 12 and known[0] == 0 and known[-1] < 1
    assert share(replace(RUNNING, status="releasing", step=4, round=1, steps_after=0)) == 1.0


def test_kinds_say_how_many_steps_follow_where_that_is_known_ahead_and_else_nothing() -> None:
    def steps(job: object, kind: str) -> int | None:
        schemas = [table.schema for table in EXAMPLES[kind].tables.values()]
        return job.steps_after(job.begin(schemas, len(schemas)))  # type: ignore[attr-defined, no-any-return]

    noise = Noise(10**6, 10**6)
    ranged = Histogram(column="age", bins=4, low=20.0, high=60.0)
    logistic = Glm(formula="ill ~ age", family="binomial", ranges={"age": (0.0, 100.0)})
    assert steps(ranged, "histogram") == 0
    assert steps(Histogram(column="age"), "histogram") is None
    assert steps(EXAMPLES["summary"].job, "summary") == 3
    assert steps(Crosstab(rows="hospital", levels={"hospital": ("north", "south")}), "table") == 0
    assert steps(Crosstab(rows="ill"), "table") == 1
    assert steps(EXAMPLES["glm"].job, "glm") is None
    assert steps(ranged.under_noise(noise), "histogram") == 0
    assert steps(logistic.under_noise(noise), "glm") == 3


# ---- lanes ----


def test_lanes_are_drawn_for_the_hub_and_every_site_and_bars_lie_within_the_job(finished: JobDetail) -> None:
    found = finished
    bars = lanes.bars(found, 0.0)
    assert {bar.lane for bar in bars} == {"hub", *NAMES} == set(lanes.lanes(found))
    assert {bar.doing for bar in bars} == {lanes.WAITS, lanes.AGREES, lanes.KEYS, lanes.COMPUTES, lanes.OPENS}
    assert all(found.view.created_at <= bar.start <= bar.end <= (found.view.ended_at or 0) + 0.001 for bar in bars)
    assert sum(bar.doing == lanes.COMPUTES for bar in bars if bar.lane == "s1") == 4
    assert [bar.text for bar in bars if bar.lane == "hub" and bar.doing == lanes.COMPUTES] == [
        f"step {number}" for number in (1, 2, 3, 4)
    ]


def test_of_very_many_rounds_the_newest_are_drawn_and_the_sentence_says_so(finished: JobDetail) -> None:
    last = finished.rounds[-2]
    many = tuple(
        RoundTook(number, 3, "computing", last.opened_at, last.closed_at, last.replied) for number in range(900)
    )
    long = replace(finished, rounds=many)
    assert len(lanes.bars(long, 0.0)) < 2 * lanes.MOST
    assert "Of 900 rounds the newest 300 are drawn." in timeline(long, 0.0).says  # type: ignore[union-attr]


@pytest.mark.parametrize(("seconds", "unit"), [(30.0, "seconds"), (600.0, "minutes"), (36_000.0, "hours")])
def test_the_axis_has_a_unit_that_suits_the_length_of_the_job(finished: JobDetail, seconds: float, unit: str) -> None:
    asked = replace(finished, view=replace(finished.view, ended_at=None), rounds=(), timeline=())
    plot = timeline(asked, asked.view.created_at + seconds)
    assert plot is not None
    assert plot.chart.to_dict()["encoding"]["x"]["title"] == f"{unit} after it was asked"


def test_a_wait_that_would_leave_the_rest_no_width_is_told_and_not_drawn(finished: JobDetail) -> None:
    early = replace(finished.view, created_at=finished.view.created_at - 86_400.0)
    plot = timeline(replace(finished, view=early), 0.0)
    assert plot is not None and "is not drawn" in plot.says
    assert "is not drawn" not in timeline(finished, 0.0).says  # type: ignore[union-attr]


def test_of_a_job_that_has_ended_nothing_is_said_to_go_on(finished: JobDetail) -> None:
    assert (standing(finished.progress, 0.0), left(finished.progress, 0.0), share(finished.progress)) == ("", "", None)
