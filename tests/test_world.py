"""Jobs in a world that misbehaves: right, or ended with a reason; never wrong, never hanging."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub.models import EntryRow
from hansa.mail.boxes import Inbox, SetAside
from hansa.messages import HUB
from hansa_site.journal import Run
from tests.seeds import seeds
from tests.world import Faults, World

BAD_DAY = Faults(drop=0.15, repeat=0.2, delay=3.0)


def total_of(world: World, run: str) -> float:
    """The sum of everybody's number, from the answer's mean."""
    column = msgspec.json.decode(world.job(run).answer or b"{}")["columns"]["x"]
    return float(column["mean"]) * float(column["count"])


def took_part(world: World, run: str) -> list[str]:
    return [site for site, part in world.participants(run).items() if part.stage == "took part"]


def check_right(world: World, run: str) -> None:
    """The answer holds exactly the numbers of those who are said to be in it."""
    expected = sum(world.values[site] for site in took_part(world, run))
    assert total_of(world, run) == pytest.approx(expected, rel=1e-9)


def test_a_quiet_world_gives_the_total_of_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    assert world.finish(run).status == "done"
    assert took_part(world, run) == world.names
    check_right(world, run)


@pytest.mark.parametrize("seed", seeds(4))
def test_letters_may_be_lost_repeated_reordered_and_late(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, faults=BAD_DAY, rules=Rules(round_seconds=600))
    run = world.propose()
    assert world.finish(run).status == "done"
    assert took_part(world, run) == world.names
    check_right(world, run)
    assert world.counts.dropped and world.counts.repeated


@pytest.mark.parametrize("seed", seeds(2))
def test_after_the_last_fault_every_letter_is_acknowledged_and_applied_once(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, faults=BAD_DAY, rules=Rules(round_seconds=600))
    world.finish(world.propose())
    world.faults = Faults()
    world.drain()
    for name in [HUB, *world.names]:
        with Session(world.engines[name]) as db:
            assert db.scalar(select(func.count()).select_from(Inbox).where(Inbox.done_at.is_(None))) == 0
            assert db.scalar(select(func.count()).select_from(SetAside)) == 0


@pytest.mark.parametrize("letters", range(4, 120, 14))
def test_any_one_of_four_may_vanish_at_any_time(tmp_path: Path, letters: int) -> None:
    world = World(tmp_path, seed=letters)
    run = world.propose()
    victim = world.names[1 + letters % 3]
    start = world.counts.letters
    world.run_until(lambda: world.counts.letters >= start + letters or bool(world.job(run).ended_at))
    world.kill(victim)
    job = world.finish(run)
    assert job.status == "done", job.reason
    assert set(took_part(world, run)) >= set(world.names) - {victim}
    check_right(world, run)


def test_a_vanished_site_ends_the_job_where_the_floor_is_everybody(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose(minimum_sites=4)
    world.kill(world.names[2])
    job = world.finish(run)
    assert job.status == "not enough sites"
    assert "4 are needed" in job.reason


def test_two_of_four_vanishing_end_the_job_and_show_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    start = world.counts.letters
    world.run_until(lambda: world.counts.letters >= start + 40)
    world.kill(world.names[2])
    world.kill(world.names[3])
    job = world.finish(run)
    assert job.status == "not enough sites"
    assert job.answer is None


@pytest.mark.parametrize("seed", seeds(3))
def test_parties_may_be_restarted_at_any_time(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, rules=Rules(round_seconds=600), faults=Faults(drop=0.05, delay=0.5))
    run = world.propose()
    for _ in range(40):
        for _ in range(world.chance.randrange(12)):
            world.step()
        name = world.chance.choice([HUB, *world.names])
        world.kill(name)
        for _ in range(world.chance.randrange(6)):
            world.step()
        world.restart(name)
    assert world.finish(run).status == "done"
    assert took_part(world, run) == world.names
    check_right(world, run)


def test_a_job_that_waits_for_a_dead_site_does_not_hold_up_another(tmp_path: Path) -> None:
    world = World(tmp_path, sites=5)
    world.kill("s4")
    waiting = world.propose()
    quick = world.propose(sites=("s0", "s1", "s2", "s3"))
    assert world.finish(quick).status == "done"
    assert world.job(waiting).status == "consenting"
    assert world.finish(waiting).status == "done"
    check_right(world, waiting)


def test_after_a_job_no_site_keeps_a_seed_or_a_state(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    world.finish(run)
    world.drain()
    world.step()
    for name in world.names:
        with Session(world.engines[name]) as db:
            row = db.get_one(Run, run)
            assert row.state is None
            assert row.status == "ended: done"
    assert world.job(run).state is None
    assert world.job(run).session is None


def test_every_release_and_survivor_set_is_in_the_log(tmp_path: Path) -> None:
    world = World(tmp_path)
    run = world.propose()
    world.finish(run)
    world.drain()
    with Session(world.engines[HUB]) as db:
        log = b"".join(db.scalars(select(EntryRow.data)))
    for act in (
        b"proposal signed",
        b"consent given",
        b"setup complete",
        b"survivors locked",
        b"total opened",
        b"released",
    ):
        assert act in log
