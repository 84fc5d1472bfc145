"""What the worlds found, kept as the events that show it."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub import models
from hansa.mail import boxes
from hansa.mail.boxes import Outbox
from hansa.messages import HUB
from tests.schedules.events import ClockJump, DeadlineFires, Heal, Partition, Refuses, Schedule, Until
from tests.schedules.network import World as FastWorld
from tests.schedules.parties import DONE
from tests.schedules.runner import judged
from tests.world import Faults, World

LONELY_NEXT = (
    *(Until("AwaitContributions"), Partition("a"), DeadlineFires(), Heal()),
    *(Until("AwaitShares"), Partition("b"), DeadlineFires(), Heal()),
)
DAY, HOUR = 86_400.0, 3_600.0
LATE_REFUSAL = Schedule(1, 4, 1, (Until("AwaitContributions"), Partition("d"), Refuses("d"), DeadlineFires(), Heal()))
SET_BACK = {
    "a reply is lost and its site's clock is set back": Schedule(
        1, 4, 1, (Until("AwaitContributions"), Partition("a"), Until("AwaitLocks"), ClockJump("a", -1), Heal())
    ),
    "a site is silent and the hub's clock is set back": Schedule(
        1, 4, 1, (Until("AwaitContributions"), Partition("a"), ClockJump("hub", -1), Until("AwaitLocks"))
    ),
}


def test_a_refusal_of_a_site_that_was_left_out_changes_nothing() -> None:
    """In the fast world; the next test asks the same of the product."""
    world = FastWorld(LATE_REFUSAL)
    world.play()
    assert (world.hub.store.status, judged(LATE_REFUSAL)) == (DONE, [])


def test_a_site_that_the_next_cohort_leaves_without_neighbours_is_not_asked_to_refuse() -> None:
    """A neighbour dropped out of the first sum, another did not open it: the site's own rule ended everybody's job."""
    assert judged(Schedule(0, 7, 2, LONELY_NEXT, large=True)) == []


def test_a_site_that_was_left_out_and_refuses_late_does_not_end_the_job_of_the_others(tmp_path: Path) -> None:
    """Three of four consent; the fourth is away until the time for that is over, and says no when it is back."""
    world = World(tmp_path, sites=4, seed=1, faults=Faults(delay=4.0))
    world.drain()
    world.kill("s3")
    run = world.propose()
    world.run_until(lambda: world.job(run).status == "setup")
    (tmp_path / "s3.csv").unlink()
    world.restart("s3")
    with Session(world.engines[HUB]) as db:
        asked = db.scalars(select(Outbox.data).where(Outbox.receiver == "s3", Outbox.kind == "ask-consent")).one()
    world.launch(HUB, "s3", asked)
    assert world.finish(run).status == models.DONE


@pytest.mark.parametrize("schedule", SET_BACK.values(), ids=SET_BACK.keys())
def test_a_clock_that_is_set_back_a_day_does_not_hold_a_job_up_for_a_day(schedule: Schedule) -> None:
    """The fast world keeps the product's rules for both: `boxes.due` and `Coordinator.tick`."""
    world = FastWorld(schedule)
    world.play()
    assert world.now < HOUR


def test_a_letter_is_sent_again_soon_though_the_clock_was_set_back_a_day() -> None:
    engine, now = create_engine("sqlite://"), 1_800_000_000.0
    boxes.Base.metadata.create_all(engine)
    with Session(engine) as db, db.begin():
        row = Outbox(receiver=HUB, run="0" * 32, sequence=0, kind="hello", data=b"", attempts=0, next_at=now)
        db.add(row)
        db.flush()
        boxes.posted(db, boxes.due(db, now), now, 0.5)
        assert boxes.due(db, now + HOUR)
        assert boxes.due(db, now - DAY + HOUR)


@pytest.mark.parametrize("off", [-DAY, DAY])
def test_a_further_worker_of_the_hub_whose_clock_is_a_day_off_ends_no_job(
    tmp_path: Path, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by chaos: the rounds that it opened were over at the ticker's next look, and no site had answered."""
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=300))
    true = world._turn

    def turn(run: str) -> None:
        world.now += off
        world.coordinator.turn(run, world.now)
        world.now -= off
        true(run)

    monkeypatch.setattr(world, "_turn", turn)
    run, began = world.propose(), world.now
    assert world.finish(run).status == "done", world.job(run).reason
    assert world.now < began + 60


def test_a_letter_received_while_the_hubs_clock_was_ahead_is_worked_off_though_its_ring_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by chaos: the ticker rings for letters that have rested, and one from tomorrow rested for a day."""
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=600))
    true = world.doors["s1"].receive
    monkeypatch.setattr(world.doors["s1"], "receive", lambda letters, now: (true(letters, now + DAY), set())[1])
    run, began = world.propose(), world.now
    assert world.finish(run).status == "done", world.job(run).reason
    assert world.now < began + 60


def test_a_hub_that_was_stopped_for_a_while_gives_open_rounds_their_time_again(tmp_path: Path) -> None:
    """Else it would close them at once, with replies unread in the mailboxes."""
    world = World(tmp_path, sites=3)
    run = world.propose()
    world.run_until(lambda: world.job(run).status == "running")
    world.now += 30  # beyond the round's twenty seconds
    world.coordinator.resume(world.now)
    assert world.job(run).deadline == world.now + world.charter.rules.round_seconds
    assert world.finish(run).status == models.DONE
