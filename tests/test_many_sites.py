"""Sums of more sites than sit on the committee: sixty in a complete graph, 210 in a sparse one."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hansa.errors import NotEnoughSites
from hansa.protocols.base import Message, RingBits
from hansa.protocols.key_setup import Session
from hansa.protocols.secure_sum import Contribute, Lock, Summed, Unmask, Waiting
from hansa.protocols.survivors import edges
from tests.protocol_runs import SUM, Drop, Hooks, Parties, agreed, others, plain, silent

few = settings(derandomize=True, database=None, deadline=None, max_examples=5, suppress_health_check=[*HealthCheck])
SPARSE = (210, 21)


def members(session: Session, count: int, start: int = 0) -> list[str]:
    return list(session.committee)[start : start + count]


def off(session: Session, count: int, start: int = 0) -> list[str]:
    return [site for site in session.roster if site not in session.committee][start : start + count]


def leaving(**rounds: list[str]) -> Drop:
    """Who vanishes in which round, by its name in small letters."""
    return lambda asked, site: site in rounds.get(asked.__name__.lower(), ())


def right(parties: Parties, summed: Summed) -> None:
    assert summed.vector().tolist() == plain(parties.vectors, summed.survivors)


@pytest.mark.parametrize("ring", [64, 32])
def test_sixty_sites_of_whom_half_are_the_committee_have_the_right_total(ring: RingBits) -> None:
    parties, session = agreed(60, ring=ring)
    assert (len(session.committee), session.floors.threshold) == (32, 26)
    summed = parties.total(session)
    assert summed.survivors == summed.active == parties.sites
    right(parties, summed)
    assert all(isinstance(parties.states[site], Waiting) for site in parties.sites)


@pytest.mark.parametrize("ring", [64, 32])
def test_steps_follow_each_other_while_members_and_others_leave_in_every_round(ring: RingBits) -> None:
    """Whoever is off the committee learns of each survivor set from the next receipt alone."""
    parties, session = agreed(60, ring=ring)
    first = Hooks(leaving(contribute=[*members(session, 1), *off(session, 2)], lock=members(session, 1, 1)))
    summed = parties.total(session, 0, hooks=first)
    right(parties, summed)
    assert len(summed.survivors) == 57
    assert len(summed.active) == 56
    second = Hooks(leaving(lock=members(session, 1, 2), unmask=members(session, 1, 3)))
    summed = parties.total(session, 1, summed, second)
    right(parties, summed)
    assert (len(summed.survivors), len(summed.active)) == (56, 54)
    third = Hooks(leaving(contribute=[*members(session, 1, 4), *off(session, 1, 2)], unmask=members(session, 1, 5)))
    summed = parties.total(session, 2, summed, third)
    right(parties, summed)
    assert (len(summed.survivors), len(summed.active)) == (52, 51)
    last = parties.total(session, 3, summed)
    right(parties, last)
    assert last.survivors == summed.active == others(parties.sites, *parties.gone)
    with pytest.raises(NotEnoughSites):  # 26 members are left, as many as must open a total
        parties.total(session, 4, last, Hooks(silent(Unmask, *members(session, 1, 6))))


def test_a_site_off_the_committee_that_vanishes_after_it_contributed_is_in_the_total_and_in_the_next_cohort() -> None:
    parties, session = agreed(60)
    quiet = off(session, 3)
    summed = parties.total(session, hooks=Hooks(leaving(lock=quiet, unmask=quiet)))
    assert summed.survivors == summed.active == parties.sites
    again = parties.total(session, 1, summed, Hooks(silent(Contribute, *quiet)))
    assert again.survivors == others(parties.sites, *quiet)
    right(parties, again)


@few
@given(st.data())
def test_whoever_of_sixty_vanishes_the_total_is_over_the_survivors_or_there_is_none(data: st.DataObject) -> None:
    parties, session = agreed(60)
    floors, committee = session.floors, session.committee
    rate = data.draw(st.sampled_from([2, 5, 10]))
    places = data.draw(st.lists(st.sampled_from([*[None] * rate, *SUM]), min_size=60, max_size=60))
    leaves: dict[str, type[Message] | None] = dict(zip(parties.sites, places, strict=True))
    stay = [site for site in parties.sites if leaves[site] is not Contribute]
    locking = [site for site in stay if site in committee and leaves[site] is not Lock]
    opening = [site for site in locking if leaves[site] is not Unmask]
    hooks = Hooks(lambda asked, site: leaves[site] is asked)
    if len(stay) < floors.survivors or len(opening) < floors.threshold:
        with pytest.raises(NotEnoughSites):
            parties.total(session, hooks=hooks)
        return
    summed = parties.total(session, hooks=hooks)
    assert list(summed.survivors) == stay
    assert list(summed.active) == [site for site in stay if site not in committee or site in opening]
    right(parties, summed)


@pytest.mark.parametrize(("round_", "spare"), [(Contribute, 0), (Contribute, 1), (Lock, 0), (Unmask, 0)])
def test_as_many_members_as_the_threshold_open_a_total_and_one_fewer_do_not(round_: type[Message], spare: int) -> None:
    parties, session = agreed(60)
    bearable = len(session.committee) - session.floors.threshold
    twin = parties.copy()
    right(parties, parties.total(session, hooks=Hooks(silent(round_, *members(session, bearable, spare)))))
    with pytest.raises(NotEnoughSites):
        twin.total(session, hooks=Hooks(silent(round_, *members(session, bearable + 1, spare))))


# A sparse graph


def test_210_sites_with_forty_neighbours_each_bear_a_tenth_that_leaves_and_go_on() -> None:
    parties, session = agreed(*SPARSE)
    floors = session.floors
    assert (floors.degree, floors.kept, floors.committee, floors.threshold) == (40, 25, 48, 34)
    gone = [*members(session, 5), *off(session, 12)]
    hooks = Hooks(leaving(contribute=gone, lock=members(session, 2, 5), unmask=members(session, 2, 7)))
    summed = parties.total(session, hooks=hooks)
    assert summed.survivors == others(parties.sites, *gone)
    assert len(summed.active) == 210 - 21
    right(parties, summed)
    again = parties.total(session, 1, summed, Hooks(silent(Contribute, *off(session, 1, 12))))
    assert len(again.survivors) == 188
    right(parties, again)


def test_a_site_that_keeps_too_few_neighbours_is_left_out_by_the_hub_and_the_others_go_on() -> None:
    parties, session = agreed(*SPARSE)
    lonely = off(session, 1)[0]
    gone = session.neighbours(lonely)[: session.floors.degree - session.floors.kept + 1]
    assert len(edges(session, set(others(parties.sites, *gone)), lonely)) == session.floors.kept - 1
    summed = parties.total(session, hooks=Hooks(silent(Contribute, *gone)))
    assert summed.survivors == others(parties.sites, lonely, *gone)
    right(parties, summed)


def test_a_site_that_keeps_just_enough_neighbours_stays() -> None:
    parties, session = agreed(*SPARSE)
    site = off(session, 1)[0]
    gone = session.neighbours(site)[: session.floors.degree - session.floors.kept]
    summed = parties.total(session, hooks=Hooks(silent(Contribute, *gone)))
    assert summed.survivors == others(parties.sites, *gone)
    right(parties, summed)
