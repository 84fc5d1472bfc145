"""Jobs over one table at one site stand in line; nobody waits for ever, and nobody else waits at all."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.errors import Refused
from hansa.hub import actions, models, rounds
from hansa.hub.actions import Hub
from hansa.hub.line import CONSENT_SECONDS, HOLD_SECONDS, InLine, admitted
from hansa.hub.models import Job
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.messages import HUB, read_envelope
from hansa.plan import Question
from hansa_site.journal import Act, Run
from tests.test_world import check_right, took_part
from tests.world import EVERYTHING, PERSON, Faults, World

NOW = 1000.0
SITES = ("a", "b", "c")


def job(
    name: str, status: str = "waiting", table: str = "t", sites: tuple[str, ...] = SITES, since: float = 0
) -> InLine:
    """`since`: seconds ago."""
    return InLine(name, status, table, sites, None if status == "waiting" else NOW - since)


def turns(*line: InLine, now: float = NOW) -> list[str]:
    return admitted(line, now)


# The rule


def test_of_jobs_over_one_table_at_a_common_site_the_oldest_goes_first() -> None:
    assert turns(job("1"), job("2"), job("3")) == ["1"]
    assert turns(job("1"), job("2", sites=("c", "d", "e"))) == ["1"]


def test_jobs_over_other_tables_or_at_other_sites_do_not_wait() -> None:
    assert turns(job("1"), job("2", table="u"), job("3", sites=("d", "e", "f")), job("4")) == ["1", "2", "3"]
    assert turns(job("1", "running"), job("2", table="u"), job("3", sites=("d", "e", "f"))) == ["2", "3"]


@pytest.mark.parametrize("status", ["proposed", "setup", "running"])
def test_a_job_holds_its_place_for_a_minute(status: str) -> None:
    assert HOLD_SECONDS == 60
    assert turns(job("1", status, since=59.9), job("2")) == []
    assert turns(job("1", status, since=60), job("2")) == ["2"]


def test_a_job_that_waits_for_consents_holds_its_place_for_ten_seconds() -> None:
    assert CONSENT_SECONDS == 10
    assert turns(job("1", "consenting", since=9.9), job("2")) == []
    assert turns(job("1", "consenting", since=10), job("2")) == ["2"]


def test_no_later_job_passes_an_earlier_one_that_waits() -> None:
    held = job("1", "running", sites=("a",), since=1)
    assert turns(held, job("2", sites=("a", "b")), job("3", sites=("b", "c")), job("4", sites=("c", "d"))) == []
    assert turns(held, job("2", sites=("a", "b")), job("3", sites=("d", "e"))) == ["3"]


def test_eight_jobs_go_first_at_once_and_the_ninth_waits_though_its_table_is_free() -> None:
    running = [job(str(number), "running", sites=(f"s{number}",), since=1) for number in range(7)]
    waiting = [job(str(number), sites=(f"s{number}",)) for number in (7, 8)]
    assert turns(*running, *waiting) == ["7"]


def test_the_more_jobs_are_at_work_the_longer_they_hold_their_places() -> None:
    """Otherwise each that passes slows down all, more pass, and none ends."""
    for rounds_of_eight, holds in ((1, 60), (2, 120), (3, 240), (4, 480)):
        slow = [
            job(str(number), "running", sites=(f"s{number}",), since=9_999) for number in range(8 * rounds_of_eight)
        ]
        newest = [InLine(one.run, one.status, one.table, one.sites, NOW - holds + 0.1) for one in slow[-8:]]
        assert turns(*slow[:-8], *newest, job("new", sites=("z",)), now=NOW) == []
        assert turns(*slow[:-8], *newest, job("new", sites=("z",)), now=NOW + 0.2) == ["new"]


def test_a_job_for_which_a_person_decides_is_not_at_work() -> None:
    resting = [InLine(str(number), "consenting", "t", (f"s{number}",), NOW - 11, rests=True) for number in range(100)]
    assert turns(*resting, job("new")) == ["new"]


def test_a_clock_that_is_set_back_holds_nothing() -> None:
    assert turns(job("1", "running", since=-0.1), job("2")) == ["2"]
    assert turns(job("1", "running", since=0), job("2")) == []


def test_of_those_admitted_together_no_two_share_a_place() -> None:
    line = [job(str(number), table="tu"[number % 2], sites=SITES[number % 3 :]) for number in range(12)]
    assert turns(*line) == ["0", "1"]


# The line in a world


def ended(world: World, runs: list[str]) -> None:
    def over() -> bool:
        with Session(world.engines[HUB]) as db:
            query = select(func.count()).select_from(Job).where(Job.run.in_(runs), Job.ended_at.is_(None))
            return db.scalar(query) == 0

    world.run_until(over)


def asked(world: World, run: str) -> int:
    """Letters to others than the proposer that the hub has written in this run."""
    with Session(world.engines[HUB]) as db:
        query = select(func.count()).select_from(Outbox).where(Outbox.run == run, Outbox.kind == "ask-consent")
        return db.scalar(query) or 0


@pytest.mark.parametrize(
    ("jobs", "faults"),
    [(5, Faults()), pytest.param(3, Faults(drop=0.05, repeat=0.1, delay=0.3), marks=pytest.mark.slow)],
    ids=["quiet", "lossy"],
)
def test_jobs_proposed_at_once_over_one_table_end_in_the_order_of_their_proposals(
    tmp_path: Path, jobs: int, faults: Faults
) -> None:
    world = World(tmp_path, sites=3, faults=faults, rules=Rules(round_seconds=600))
    runs = [world.propose() for _ in range(jobs)]
    ended(world, runs)
    assert {world.job(run).status for run in runs} == {"done"}
    turns_came = [world.job(run).turn_at or 0.0 for run in runs]
    assert turns_came == sorted(turns_came)
    if not faults.drop:
        finished = [world.job(run).ended_at or 0.0 for run in runs]
        assert all(later > earlier for earlier, later in pairwise(finished))
    for run in runs:
        check_right(world, run)


@pytest.mark.slow
def test_a_job_whose_site_hangs_delays_a_job_at_other_sites_not_at_all(tmp_path: Path) -> None:
    def lasted(folder: Path, hangs: bool) -> float:
        folder.mkdir()
        world = World(folder, sites=6, rules=Rules(round_seconds=600))
        if hangs:
            world.kill("s5")
            stuck = world.propose(sites=("s0", "s4", "s5"))
            world.run_until(lambda: asked(world, stuck) == 3)
        started = world.now
        run = world.propose(sites=("s1", "s2", "s3"))
        assert world.finish(run).status == "done"
        return world.now - started

    assert lasted(tmp_path / "hangs", True) == pytest.approx(lasted(tmp_path / "quiet", False), abs=0.5)


def test_a_job_behind_one_whose_site_hangs_waits_a_few_seconds_and_no_more(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, rules=Rules(round_seconds=600))
    world.kill("s3")
    stuck = world.propose()
    quick = world.propose(sites=("s0", "s1", "s2"))
    assert world.finish(quick).status == "done"
    first, second = world.job(stuck).turn_at or 0.0, world.job(quick).turn_at or 0.0
    assert CONSENT_SECONDS <= second - first < CONSENT_SECONDS + 2
    assert world.job(stuck).status == "consenting"


def cancel(world: World, hub: Hub, run: str) -> None:
    actions.cancel(hub, PERSON, run)


def test_a_job_that_waits_for_its_turn_can_be_cancelled_and_never_asks_anybody(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=600))
    hub = world.hub()
    first, second, third = (world.propose() for _ in range(3))
    world.run_until(lambda: world.job(second).status == world.job(third).status == "waiting")
    assert world.job(first).status != "done"
    cancel(world, hub, second)
    ended(world, [first, third])
    assert [world.job(run).status for run in (first, second, third)] == ["done", "cancelled", "done"]
    assert (asked(world, second), asked(world, third)) == (0, 3)
    world.drain()
    for name in world.names:
        with Session(world.engines[name]) as db:
            assert db.get(Run, second) is None


def test_too_many_open_jobs_are_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, sites=3)
    hub = world.hub()
    monkeypatch.setattr(actions, "MOST_OPEN", 2)
    question = Question("summary", "numbers", {"columns": ["x"]}, disclosure=EVERYTHING)
    runs = [actions.propose(hub, PERSON, question) for _ in range(2)]
    with pytest.raises(Refused, match=f"2 jobs of '{world.names[0]}' are open: ask again when some have ended"):
        actions.propose(hub, PERSON, question)
    cancel(world, hub, runs[0])
    assert actions.propose(hub, PERSON, question) not in runs


# The end overtakes what it makes moot


def letters_of(world: World, site: str, run: str) -> Mapping[str, bytes]:
    """What the hub wrote to the site in this run, the last of each kind."""
    with Session(world.engines[HUB]) as db:
        rows = db.scalars(select(Outbox).where(Outbox.run == run, Outbox.receiver == site).order_by(Outbox.sequence))
        return {row.kind: row.data for row in rows}


def end(world: World, run: str) -> None:
    with Session(world.engines[HUB]) as db, db.begin():
        rounds.end(db, world.desks[HUB], db.get_one(Job, run), models.CANCELLED, "", world.now)


def work(world: World, site: str, *letters: bytes) -> list[str]:
    """The site gets these letters and works off what is ready; gives its acts since."""
    with Session(world.engines[site]) as db:
        before = db.scalar(select(func.max(Act.id))) or 0
    for letter in letters:
        world.sites[site].receive(letter, world.now)
    while world.sites[site].work(world.now):
        pass
    with Session(world.engines[site]) as db:
        assert db.scalar(select(func.count()).select_from(SetAside)) == 0
        return list(db.scalars(select(Act.text).where(Act.id > before).order_by(Act.id)))


def waiting(world: World, site: str) -> int:
    with Session(world.engines[site]) as db:
        return db.scalar(select(func.count()).select_from(Inbox).where(Inbox.done_at.is_(None))) or 0


def test_an_end_is_worked_off_before_the_letters_that_it_makes_moot(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4)
    run = world.propose()
    world.run_until(lambda: world.state("s1", run) is not None if world.job(run).status == "setup" else False)
    world.kill("s1")
    world.run_until(lambda: world.job(run).step == 1 or world.job(run).ended_at is not None)
    before = said(world, "s1", run)
    end(world, run)
    letters = letters_of(world, "s1", run)
    assert read_envelope(letters["end"])[0].sequence > read_envelope(letters["ask-consent"])[0].sequence + 1
    assert work(world, "s1", letters["end"]) == ["ended: cancelled"]  # though letters before it have not come
    with Session(world.engines["s1"]) as db:
        row = db.get_one(Run, run)
        assert (row.state, row.status) == (None, "ended: cancelled")
    with Session(world.engines[HUB]) as db:
        late = list(db.scalars(select(Outbox.data).where(Outbox.run == run, Outbox.receiver == "s1")))
    acts = work(world, "s1", *late)
    assert set(acts) <= {"a request for a job that this site takes no part in any more"}
    assert said(world, "s1", run) == before
    assert waiting(world, "s1") == 0


def said(world: World, site: str, run: str) -> int:
    with Session(world.engines[site]) as db:
        return db.scalar(select(func.count()).select_from(Outbox).where(Outbox.run == run)) or 0


def test_an_end_overtakes_letters_that_wait_in_the_same_inbox(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    world.run_until(lambda: asked(world, run) == 3)
    world.kill("s1")
    end(world, run)
    letters = letters_of(world, "s1", run)
    for letter in (letters["ask-consent"], letters["end"]):
        world.sites["s1"].receive(letter, world.now)
    assert work(world, "s1") == ["ended: cancelled"]
    assert said(world, "s1", run) == 0
    assert waiting(world, "s1") == 0


def test_a_question_that_arrives_after_its_end_leaves_no_consent(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    world.run_until(lambda: asked(world, run) == 3)
    world.kill("s1")
    end(world, run)
    letters = letters_of(world, "s1", run)
    assert work(world, "s1", letters["end"]) == ["ended: cancelled"]
    assert work(world, "s1", letters["ask-consent"]) == ["a question that had ended before it came"]
    assert said(world, "s1", run) == 0
    with Session(world.engines["s1"]) as db:
        assert db.get(Run, run) is None
    assert took_part(world, run) == []
