"""The protocol in a world of faults and lies (tests/schedules): clean as it is, and every planted bug is found."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.crypto import prg
from hansa.protocols import graph
from hansa.protocols.secure_sum import Lock
from hansa.protocols.thresholds import Floors
from tests.schedules import events
from tests.schedules.boxes import Answered, Totalled
from tests.schedules.events import CrashAfterPersist, DeadlineFires, Deliver, Schedule, Until, draw
from tests.schedules.judge import Judge
from tests.schedules.lies import HUB_LIES, MEMBER_LIES
from tests.schedules.network import World
from tests.schedules.parties import DONE
from tests.schedules.planted import PLANTED, Planted
from tests.schedules.runner import first_failure, judged, main, run, shortened

CLEAN, ENOUGH = 300, 60


def names(planted: Planted) -> str:
    return planted.name


def test_three_hundred_schedules_lose_nothing_double_nothing_and_total_exactly() -> None:
    tally = run(draw(seed) for seed in range(CLEAN))
    assert not tally.failed, tally.failed[0]
    assert (tally.schedules, tally.lost, tally.doubled, tally.wrong) == (CLEAN, 0, 0, 0)
    assert tally.ends[DONE] > CLEAN / 2


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), chance=st.randoms(use_true_random=False))
def test_whatever_hypothesis_draws_loses_nothing_doubles_nothing_and_totals_exactly(
    seed: int, chance: random.Random
) -> None:
    assert judged(draw(seed, chance=chance)) == []


@pytest.mark.parametrize("planted", PLANTED, ids=names)
def test_a_planted_bug_is_found_and_the_product_is_clean_on_the_same_seeds(planted: Planted) -> None:
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        found = first_failure(planted.schedules(ENOUGH))
    assert found is not None
    tried, schedule, _broken = found
    assert judged(schedule) == []
    if planted.lie:
        assert first_failure(draw(seed, planted.lie) for seed in range(tried)) is None


@pytest.mark.parametrize("lie", [*HUB_LIES, *MEMBER_LIES])
def test_every_lie_is_told_and_does_no_harm(lie: str) -> None:
    told = 0
    for seed in range(12):
        world = World(draw(seed, lie))
        world.play()
        assert Judge(world).broken() == []
        liars = [event for event in world.schedule.events if getattr(event, "lie", "") == lie]
        told += sum(world.hub.lied if lie in HUB_LIES else world.sites[liar.site].lying is None for liar in liars)
        if told >= 2:
            return
    raise AssertionError("never told")


def test_a_third_of_the_schedules_are_large() -> None:
    drawn = [draw(seed) for seed in range(CLEAN)]
    assert CLEAN / 4 < sum(schedule.large for schedule in drawn) < CLEAN / 2
    assert sum(schedule.chunks > 1 for schedule in drawn) > CLEAN / 10


def test_without_events_every_job_is_done_over_everybody() -> None:
    for sites, large, chunks in ((3, False, 1), (4, False, 2), (6, False, 1), (7, True, 1), (9, True, 2)):
        world = World(Schedule(0, sites, 3, (), large, chunks))
        world.play()
        assert (world.hub.store.status, Judge(world).broken()) == (DONE, [])
        assert len(world.hub.store.active) == sites


def test_in_a_large_session_two_sites_are_off_the_committee_and_two_are_no_neighbours() -> None:
    world = World(Schedule(1, 7, 2, (), large=True))
    world.play()
    session = next(note.state.session for note in world.notes if isinstance(note, Totalled))
    with world.schedule.conditions():
        assert len(session.committee) == 5
        assert {len(session.neighbours(site)) for site in world.names} == {4}
    locked = {note.site for note in world.notes if isinstance(note, Answered) and isinstance(note.request, Lock)}
    assert locked == set(session.committee)


def test_floors_and_graph_are_the_products_again_after_a_schedule() -> None:
    before = Floors.of, graph.neighbours, prg.CHUNK_BYTES
    with pytest.raises(KeyError), Schedule(1, 7, 1, (), large=True, chunks=2).conditions():
        assert Floors.of(7, -1, 3).degree == 4
        raise KeyError
    assert before == (Floors.of, graph.neighbours, prg.CHUNK_BYTES)


def test_a_schedule_is_its_text_and_plays_the_same_again() -> None:
    for seed in range(40):
        schedule = draw(seed)
        written = repr(schedule)
        again = eval(written, {name: getattr(events, name) for name in dir(events)})
        assert again == schedule == draw(seed)
    first, second = World(schedule), World(again)
    first.play(), second.play()
    assert [type(note) for note in first.notes] == [type(note) for note in second.notes]
    assert (first.counts, first.hub.store.status) == (second.counts, second.hub.store.status)


def test_a_failing_schedule_is_shortened_to_what_it_needs() -> None:
    planted = next(planted for planted in PLANTED if planted.name == "the timer of a round closes whichever is open")
    stale = (Until("AwaitLocks"), Deliver(3), DeadlineFires(stale=1), Deliver(5), CrashAfterPersist("b"))
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        short = shortened(Schedule(1, 4, 2, stale))
        assert judged(short)
    assert DeadlineFires(stale=1) in short.events
    assert len(short.events) < len(stale)
    assert judged(short) == judged(replace(short, events=())) == []


def test_the_printout_names_the_seed_and_the_events_of_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "5", "--seed", "3"]) == 0
    assert "wrong" in capsys.readouterr().out
    planted = next(planted for planted in PLANTED if planted.name == "both ends of an edge add")
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        assert main(["--schedules", "5", "--seed", "3"]) == 1
    printed = capsys.readouterr().out
    assert "seed 3 fails" in printed
    assert "Schedule(seed=3" in printed
