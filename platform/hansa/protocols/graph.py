"""Who is whose neighbour, and who sits on the committee: picked by the beacon, the same at every party.

Neighbours are the edges of a random regular graph: `degree` stubs a site, paired by a permutation (the configuration
model; Bollobás 1980), then loops and double edges are switched against random edges (McKay and Wormald 1990) until
none is left. No step looks at a site's number but to compare it, so each site's neighbours are a uniform draw of the
others, as `thresholds` counts them. A random regular graph is taken rather than the ring of Bell et al. (CCS 2020)
because a hub that picks the dropped after it saw the graph can cut a ring at two places; that is our own judgement.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import count

import numpy as np

from hansa.crypto import prg
from hansa.crypto.keys import label

_WORD = 8


def _order(beacon: bytes, purpose: str, size: int) -> list[int]:
    """A permutation of 0 … size − 1: the order of `size` random words."""
    words = np.frombuffer(prg.stream(beacon, label(purpose), size * _WORD), dtype="<u8")
    return [int(place) for place in np.argsort(words, kind="stable")]


@lru_cache(maxsize=64)
def committee(beacon: bytes, sites: int, size: int) -> tuple[int, ...]:
    """The places of `size` of the `sites`, sorted."""
    return tuple(sorted(_order(beacon, "graph/committee", sites)[:size]))


@lru_cache(maxsize=8)
def neighbours(beacon: bytes, sites: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """For each site the places of its neighbours, sorted. `sites` · `degree` is even."""
    if degree == sites - 1:
        everybody = tuple(range(sites))
        return tuple(everybody[:place] + everybody[place + 1 :] for place in everybody)
    found: list[list[int]] = [[] for _ in range(sites)]
    for one, other in _edges(beacon, sites, degree):
        found[one].append(other)
        found[other].append(one)
    return tuple(tuple(sorted(row)) for row in found)


def _edges(beacon: bytes, sites: int, degree: int) -> list[tuple[int, int]]:
    """A pairing that can't be made simple, as may happen in small dense graphs, is given up for another."""
    for attempt in count():
        stubs = [place % sites for place in _order(beacon, f"graph/stubs {attempt}", sites * degree)]
        ends = list(zip(stubs[::2], stubs[1::2], strict=True))
        if _make_simple(ends, _choices(beacon, attempt, len(ends))):
            return ends
    raise AssertionError


@lru_cache(maxsize=8)
def peers(beacon: bytes, sites: int, degree: int, size: int) -> tuple[tuple[int, ...], ...]:
    """For each site the places it shares a secret with, sorted: its neighbours and the committee; for a member, all."""
    chosen = committee(beacon, sites, size)
    found = [set(row) | set(chosen) for row in neighbours(beacon, sites, degree)]
    for member in chosen:
        found[member] = set(range(sites))
    return tuple(tuple(sorted(row - {place})) for place, row in enumerate(found))


def _choices(beacon: bytes, attempt: int, limit: int) -> Iterator[int]:
    """Uniform numbers below `limit`, to within limit / 2^64: twenty for each edge, ten times what is needed."""
    words = prg.stream(beacon, label(f"graph/switches {attempt}"), 20 * limit * _WORD)
    return (int(word) % limit for word in np.frombuffer(words, dtype="<u8"))


def _make_simple(ends: list[tuple[int, int]], choices: Iterator[int]) -> bool:
    """Switches (a, b), (c, d) to (a, c), (b, d) until no edge is a loop and none is there twice; False if `choices`
    are spent before."""
    present: set[tuple[int, int]] = set()
    waiting = []
    for at, (one, other) in enumerate(ends):
        edge = (min(one, other), max(one, other))
        if one == other or edge in present:
            waiting.append(at)
        else:
            present.add(edge)
    broken = set(waiting)
    for partner in choices:
        if not waiting:
            return True
        at = waiting[-1]
        if partner in broken:
            continue
        (a, b), (c, d) = ends[at], ends[partner]
        first, second = (min(a, c), max(a, c)), (min(b, d), max(b, d))
        if a == c or b == d or first == second or first in present or second in present:
            continue
        present.discard((min(c, d), max(c, d)))
        present.update((first, second))
        ends[at], ends[partner] = (a, c), (b, d)
        broken.discard(waiting.pop())
    return not waiting
