"""The graph and the committee that a beacon picks: well-formed, the same everywhere, and without favourites."""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pytest
from scipy.stats import chi2

from hansa.protocols import graph

Graph = Sequence[Sequence[int]]
SHAPES = [(201, 40), (201, 74), (210, 41), (500, 50), (1000, 54), (1000, 115), (213, 198), (7, 2), (8, 3), (13, 6)]


def beacon(number: int) -> bytes:
    return sha256(b"beacon" + number.to_bytes(8, "big")).digest()


def reached(rows: Graph, there: set[int]) -> set[int]:
    """Whom one of those who are `there` reaches over them."""
    found, waiting = set(), [min(there)]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting.extend(there.intersection(rows[place]) - found)
    return found


def fits(counts: Sequence[int], expected: float, shrink: float = 1.0) -> bool:
    """Whether counts differ from one expectation by no more than chance does, at one in ten thousand on each side.

    `shrink` is the variance of a count over that of independent draws, 1 − share drawn: who is drawn without
    replacement leaves less to chance.
    """
    statistic = sum((count - expected) ** 2 for count in counts) / (expected * shrink)
    return bool(1e-4 < chi2.cdf(statistic, len(counts) - 1) < 1 - 1e-4)


@pytest.mark.parametrize(("sites", "degree"), SHAPES)
def test_the_graph_is_simple_symmetric_and_regular(sites: int, degree: int) -> None:
    rows = graph.neighbours(beacon(1), sites, degree)
    assert len(rows) == sites
    for place, row in enumerate(rows):
        assert len(row) == len(set(row)) == degree
        assert list(row) == sorted(row)
        assert place not in row
        assert 0 <= row[0] <= row[-1] < sites
        assert all(place in rows[other] for other in row)


@pytest.mark.parametrize("sites", [3, 50, 200])
def test_a_complete_graph_joins_everybody(sites: int) -> None:
    rows = graph.neighbours(beacon(1), sites, sites - 1)
    assert all(set(row) == set(range(sites)) - {place} for place, row in enumerate(rows))


def test_one_beacon_gives_one_graph_and_committee_whoever_asks() -> None:
    """Known answers: another machine or version that draws otherwise can't share a session with this one."""
    graph.neighbours.cache_clear()
    graph.committee.cache_clear()
    assert graph.committee(beacon(1), 100, 5) == COMMITTEE
    assert graph.neighbours(beacon(1), 12, 3)[:3] == NEIGHBOURS
    whole = repr(graph.neighbours(beacon(1), 500, 50)).encode()
    assert sha256(whole).hexdigest() == DIGEST


COMMITTEE = (53, 66, 84, 86, 94)
NEIGHBOURS = ((1, 3, 7), (0, 2, 6), (1, 7, 9))
DIGEST = "7f841a946297148d3f3d5a9536952428e666bd24ed662cada70f80435c08e524"


def test_the_graph_and_the_committee_change_with_the_beacon() -> None:
    graphs = {graph.neighbours(beacon(number), 210, 40) for number in range(20)}
    committees = {graph.committee(beacon(number), 210, 48) for number in range(20)}
    assert len(graphs) == len(committees) == 20
    flipped = bytes([beacon(0)[0] ^ 1]) + beacon(0)[1:]
    one, two = graph.neighbours(beacon(0), 210, 40), graph.neighbours(flipped, 210, 40)
    shared = sum(len(set(a) & set(b)) for a, b in zip(one, two, strict=True)) / (210 * 40)
    assert 0.1 < shared < 0.3  # 40 of 209 by chance


def test_committee_and_graph_of_one_beacon_are_drawn_apart() -> None:
    """Members have no more edges among each other than anybody: expected are 60 · 59 / 2 · 40 / 209."""
    counts = []
    for number in range(30):
        chosen = graph.committee(beacon(number), 210, 60)
        rows = graph.neighbours(beacon(number), 210, 40)
        counts.append(sum(len(set(chosen) & set(rows[place])) for place in chosen) // 2)
    assert abs(np.mean(counts) - 60 * 59 / 2 * 40 / 209) < 10


@pytest.mark.parametrize(("sites", "size"), [(51, 27), (100, 31), (210, 48)])
def test_a_committee_is_sorted_of_its_size_and_uniform(sites: int, size: int) -> None:
    runs, seen = 2000, Counter[int]()
    for number in range(runs):
        chosen = graph.committee(beacon(number), sites, size)
        assert len(chosen) == size
        assert list(chosen) == sorted(set(chosen))
        seen.update(chosen)
    assert set(seen) == set(range(sites))
    assert fits([seen[place] for place in range(sites)], runs * size / sites, 1 - (size - 1) / (sites - 1))


def test_two_places_of_a_committee_are_drawn_independently() -> None:
    runs, sites, size = 3000, 20, 6
    seen = Counter[tuple[int, int]]()
    for number in range(runs):
        chosen = graph.committee(beacon(number), sites, size)
        seen.update((one, two) for one in chosen for two in chosen if one < two)
    rate = size * (size - 1) / (sites * (sites - 1))
    counts = np.array([seen[one, two] for two in range(sites) for one in range(two)])
    assert np.all(np.abs(counts - runs * rate) < 5 * np.sqrt(runs * rate * (1 - rate)))


@pytest.mark.parametrize(("sites", "degree", "runs"), [(16, 5, 1200), (30, 14, 600)])
def test_over_many_beacons_every_edge_is_as_likely_as_every_other(sites: int, degree: int, runs: int) -> None:
    """Also at about half of all edges, where many have to be switched: no job has more below a complete graph."""
    seen = Counter[tuple[int, int]]()
    for number in range(runs):
        for place, row in enumerate(graph.neighbours(beacon(number), sites, degree)):
            seen.update((place, other) for other in row if place < other)
    rate = degree / (sites - 1)
    counts = np.array([seen[one, two] for two in range(sites) for one in range(two)])
    assert counts.sum() == runs * sites * degree // 2
    assert np.all(np.abs(counts - runs * rate) < 5 * np.sqrt(runs * rate * (1 - rate)))


@pytest.mark.parametrize("watched", [0, 200])
def test_the_neighbours_of_any_one_site_are_a_uniform_draw_of_the_others(watched: int) -> None:
    sites, degree, runs = 201, 40, 200
    seen = Counter[int]()
    for number in range(runs):
        seen.update(graph.neighbours(beacon(number), sites, degree)[watched])
    counts = [seen[place] for place in range(sites) if place != watched]
    assert sum(counts) == runs * degree
    assert fits(counts, runs * degree / (sites - 1), 1 - (degree - 1) / (sites - 2))


def test_how_many_of_a_corrupt_part_are_neighbours_is_hypergeometric() -> None:
    """What `thresholds` counts: mean and variance of the corrupt neighbours of a site, over sites and beacons."""
    sites, degree, corrupt, runs = 201, 40, 50, 120
    counts = []
    for number in range(runs):
        rows = graph.neighbours(beacon(number), sites, degree)
        counts += [sum(other < corrupt for other in row) for row in rows[corrupt:]]
    share = corrupt / (sites - 1)
    variance = degree * share * (1 - share) * (sites - 1 - degree) / (sites - 2)
    assert abs(np.mean(counts) - degree * share) < 0.1
    assert abs(np.var(counts) / variance - 1) < 0.05


@pytest.mark.parametrize(("sites", "degree"), [(201, 40), (500, 50), (1000, 54)])
def test_the_graph_stays_connected_when_a_tenth_drops_out(sites: int, degree: int) -> None:
    chance = np.random.default_rng(sites)
    for number in range(10):
        rows = graph.neighbours(beacon(number), sites, degree)
        there = set(chance.permutation(sites)[: sites - sites // 10].tolist())
        assert reached(rows, there) == there


@pytest.mark.parametrize(("sites", "degree", "size"), [(60, 59, 32), (210, 40, 48)])
def test_peers_are_the_neighbours_and_the_committee_on_both_sides(sites: int, degree: int, size: int) -> None:
    chosen = set(graph.committee(beacon(3), sites, size))
    rows, found = graph.neighbours(beacon(3), sites, degree), graph.peers(beacon(3), sites, degree, size)
    for place, row in enumerate(found):
        due = set(range(sites)) if place in chosen else set(rows[place]) | chosen
        assert list(row) == sorted(due - {place})
        assert all(place in found[other] for other in row)
