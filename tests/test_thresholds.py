"""The table of `secure-sum`, computed a second time: probabilities as products of fractions, not sums of binomials."""

from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np
import pytest
from scipy.stats import hypergeom

from hansa.errors import NotEnoughSites, Refused
from hansa.protocols.thresholds import HONEST, MAX_SITES, Floors, committee_of, degree_of, worst

PRIVATE, ALIVE = Fraction(1, 2**40), Fraction(1, 2**20)
# sites, corrupt: committee, threshold, degree, kept
TABLE = {
    (100, 10): (31, 21, 99, None),
    (200, 20): (47, 33, 199, None),
    (500, 50): (62, 44, 50, 31),
    (1000, 100): (69, 49, 54, 33),
    (1000, 200): (100, 75, 78, 52),
}
LARGE = [(sites, corrupt) for sites, corrupt in TABLE if sites > 200]


@lru_cache(maxsize=256)
def more_than(population: int, marked: int, drawn: int) -> list[Fraction]:
    """P[more than x of the drawn are marked] at place x: each chance from the one before by their ratio, then scaled
    so that all of them sum to one."""
    lowest, highest = max(0, drawn - (population - marked)), min(marked, drawn)
    chances = [Fraction(1)]
    for x in range(lowest, highest):
        ratio = Fraction((marked - x) * (drawn - x), (x + 1) * (population - marked - drawn + x + 1))
        chances.append(chances[-1] * ratio)
    whole = sum(chances)
    none = Fraction(0)
    chances = [none] * lowest + [chance / whole for chance in chances] + [none] * (drawn - highest)
    return [*list(accumulate(reversed(chances)))[-2::-1], none]


def least(population: int, marked: int, drawn: int, bound: Fraction) -> int:
    return next(x for x, chance in enumerate(more_than(population, marked, drawn)) if chance <= bound)


def committee_holds(sites: int, corrupt: int, size: int, threshold: int) -> bool:
    """Whether a committee of this size and threshold meets both bounds: literally what the table promises."""
    unlockable = 2 * threshold - size - 1  # with more corrupt than that, two survivor sets can be locked
    if unlockable < 0:
        return False
    private = more_than(sites, corrupt, size)
    unsafe = max(private[threshold - 1], private[min(unlockable, size)])
    quiet = more_than(sites, sites // 10, size)[size - threshold]
    return unsafe <= PRIVATE and quiet <= ALIVE


def degree_holds(sites: int, corrupt: int, degree: int, kept: int) -> bool:
    """Whether no site is alone: `kept` neighbours are left but for 2^-20, more than HONEST of them honest but 2^-40."""
    if not HONEST < kept <= degree:
        return False
    exposed = more_than(sites - 1, corrupt, degree)[kept - HONEST - 1] * sites
    lonely = more_than(sites - 1, sites // 10, degree)[degree - kept] * sites
    return exposed <= PRIVATE and lonely <= ALIVE


@pytest.mark.parametrize(("population", "marked", "drawn"), [(99, 10, 31), (499, 50, 50), (40, 30, 20), (999, 200, 78)])
def test_two_ways_to_compute_a_tail_agree_with_scipy(population: int, marked: int, drawn: int) -> None:
    exact = [float(chance) for chance in more_than(population, marked, drawn)]
    assert np.allclose(exact, hypergeom.sf(range(drawn + 1), population, marked, drawn), rtol=1e-9, atol=1e-290)
    for bits in (10, 20, 40, 60):
        assert worst(population, marked, drawn, bits) == least(population, marked, drawn, Fraction(1, 2**bits))
        thousandth = Fraction(1, 1000 * 2**bits)
        assert worst(population, marked, drawn, bits, 1000) == least(population, marked, drawn, thousandth)


@pytest.mark.parametrize(("sites", "corrupt"), TABLE)
def test_the_table_is_what_the_tails_give(sites: int, corrupt: int) -> None:
    committee, threshold, degree, kept = TABLE[sites, corrupt]
    floors = Floors.of(sites, corrupt, 3)
    assert (floors.committee, floors.threshold, floors.degree) == (committee, threshold, degree)
    assert floors.kept == (floors.survivors - 1 if kept is None else kept)
    sparse = -(-2 * sites // 3) if degree < sites - 1 else 0  # our own judgement, beside the table
    assert floors.survivors == max(threshold, corrupt + 2, sparse)
    assert committee_holds(sites, corrupt, committee, threshold)


@pytest.mark.parametrize(("sites", "corrupt"), TABLE)
def test_no_smaller_committee_and_no_other_threshold_meets_the_bounds(sites: int, corrupt: int) -> None:
    committee, threshold, *_ = TABLE[sites, corrupt]
    holding = {
        (size, shares)
        for size in range(1, committee + 1)
        for shares in range(1, size + 1)
        if committee_holds(sites, corrupt, size, shares)
    }
    assert holding == {(committee, threshold)}


@pytest.mark.parametrize(("sites", "corrupt"), LARGE)
def test_no_smaller_degree_and_no_other_kept_meets_the_bounds(sites: int, corrupt: int) -> None:
    *_, degree, kept = TABLE[sites, corrupt]
    assert kept is not None
    assert degree_holds(sites, corrupt, degree, kept)
    assert not degree_holds(sites, corrupt, degree, kept - 1)
    assert not degree_holds(sites, corrupt, degree, kept + 1)
    for fewer in range(HONEST, degree):
        assert not any(degree_holds(sites, corrupt, fewer, left) for left in range(1, fewer + 1))


@pytest.mark.parametrize(("sites", "corrupt"), [(51, -1), (75, 7), (60, -1), (137, 0), (201, -1), (211, 21), (333, 1)])
def test_what_lies_between_the_rows_meets_the_bounds_as_well(sites: int, corrupt: int) -> None:
    floors = Floors.of(sites, corrupt, 3)
    assert committee_holds(sites, floors.corrupt, floors.committee, floors.threshold)
    smaller = [committee_holds(sites, floors.corrupt, floors.committee - 1, t) for t in range(1, floors.committee)]
    assert not any(smaller)
    if sites > 200:
        assert degree_holds(sites, floors.corrupt, floors.degree, floors.kept)
        assert floors.degree * sites % 2 == 0
        fewer = floors.degree - 1 - sites % 2  # of an odd number of sites the degree is even
        assert not any(degree_holds(sites, floors.corrupt, fewer, left) for left in range(1, fewer + 1))


def test_three_sites_bear_no_drop_out_four_bear_one_seven_bear_two() -> None:
    bearable = [sites - Floors.of(sites, -1, 3).survivors for sites in range(3, 11)]
    assert bearable == [0, 1, 1, 2, 2, 2, 3, 3]


def test_up_to_fifty_everybody_is_everywhere_and_corruption_is_a_third() -> None:
    for sites in range(3, 51):
        corrupt = (sites - 1) // 3
        threshold = (sites + corrupt) // 2 + 1
        survivors = max(threshold, 3, corrupt + 2)
        assert Floors.of(sites, -1, 0) == Floors(corrupt, threshold, survivors, sites, sites - 1, survivors - 1)
        assert Floors.of(sites, -1, 3) == Floors.of(sites, corrupt, 3)


def test_two_survivor_sets_never_both_find_a_quorum_whatever_the_floors() -> None:
    """Among the committee: each honest member signs one set, each corrupt one both."""
    possible = 0
    for sites in (*range(3, 61), 100, 199, 200, 201, 300, 1000, MAX_SITES):
        for corrupt in (-1, 0, 1, 2, 5, 20):
            for minimum in (3, 10):
                try:
                    floors = Floors.of(sites, corrupt, minimum)
                except NotEnoughSites:
                    continue
                possible += 1
                bad = floors.corrupt if sites <= 50 else worst(sites, floors.corrupt, floors.committee, 40)
                assert 2 * floors.threshold > floors.committee + bad
                assert bad < floors.threshold <= floors.committee <= sites
                assert floors.survivors >= max(floors.threshold, minimum)
                assert floors.survivors - floors.corrupt >= 2
                assert floors.kept <= floors.degree < sites
    assert possible > 500


def test_more_corrupt_sites_never_need_fewer_members_or_neighbours() -> None:
    for sites in (60, 150, 250, 1000):
        sizes = [committee_of(sites, corrupt)[1] for corrupt in range(0, sites // 3, 7)]
        assert sizes == sorted(sizes)
        kept = [degree_of(sites, corrupt)[1] for corrupt in range(0, sites // 3, 7)]
        assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("sites", "corrupt", "minimum"), [(2, -1, 0), (3, 2, 3), (60, 59, 3), (60, 5, 61), (300, 280, 3)]
)
def test_a_roster_that_can_meet_no_floor_is_refused(sites: int, corrupt: int, minimum: int) -> None:
    with pytest.raises(NotEnoughSites):
        Floors.of(sites, corrupt, minimum)


def test_a_roster_that_is_too_large_is_refused() -> None:
    assert Floors.of(MAX_SITES, -1, 3).corrupt == (MAX_SITES - 1) // 3
    with pytest.raises(Refused, match="at most"):
        Floors.of(MAX_SITES + 1, -1, 3)


def test_what_may_vanish_is_never_more_than_what_leaves_a_total() -> None:
    assert [Floors.of(sites, -1, 3).borne(sites) for sites in (3, 4, 7, 10, 50)] == [0, 1, 2, 3, 16]
    assert [Floors.of(sites, sites // 10, 3).borne(sites) for sites in (51, 100, 500, 1000)] == [5, 10, 50, 100]


def test_noise_counts_on_no_corrupt_survivor_and_not_on_a_reader_of_the_answer() -> None:
    assert [Floors.of(sites, -1, 3).honest for sites in (3, 4, 7, 10)] == [2, 2, 3, 4]
    assert all(Floors.of(sites, -1, 3).honest >= 2 for sites in range(3, 200))
