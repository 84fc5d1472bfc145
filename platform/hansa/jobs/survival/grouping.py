"""Which steps of a curve may be shown: rows enter, have their event or are censored in groups, never one by one.

A curve with all its steps is a list of its rows. So each running count (of entries, of events, of rows censored) is
shown as it was when last at least `minimum_cell` had been added to it, and never such that fewer than that (but some)
are left of its total. Neighbouring steps thereby become one, at the last event that it counts. Everything that is
shown (rows at risk, survival, errors, median) is computed from these counts alone, so it tells no more than they do.
The curve ends where fewer than the minimum are at risk: a last step that would stand there is left out, with all that
it counts, and so are rows at risk.
O'Keefe, Sparks, McAullay and Loong 2012 compare such ways to show survival.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from hansa.jobs.survival.curve import Counts
from hansa.privacy.disclosure import Rules

NOTHING: Final = Counts((), (), (), (), (), 0)


def running(counts: Sequence[int], total: int, minimum: int) -> list[int]:
    """A rising count that moves by 0 or at least `minimum`, and stays as far below `total` or is it."""
    shown, found = 0, []
    for count in counts:
        if count - shown >= minimum and (total - count >= minimum or count == total):
            shown = count
        found.append(shown)
    return found


def grouped(exact: Counts, marks: Sequence[float], rules: Rules) -> tuple[Counts, tuple[int | None, ...]] | None:
    """The counts that may be shown, and rows at risk at `marks`; None if none may. Exact if the minimum is 1."""
    least, size = rules.minimum_cell, len(exact.times)
    deaths, censored = sum(exact.events), exact.censored_before + sum(exact.censored)
    n = deaths + censored
    if 0 < n < least or 0 < deaths < least:
        return None
    few = 0 < censored < least
    left_out = least if few else censored  # too few to be told apart are counted as the minimum
    ended = np.cumsum([0, *exact.events])[:size]
    gone = exact.censored_before + np.cumsum([0, *exact.censored])[:size]
    entered = running((np.array(exact.at_risk, dtype=np.int64) + ended + gone).tolist(), n, least)
    came = [deaths + left_out if count == n else count for count in entered]
    left = running(gone.tolist(), censored, least)
    rows: list[tuple[int, int, int, int]] = []  # place, at risk, events, within
    known: dict[float, int] = {}
    past, waiting, first = 0, 0, 0
    for place, events in enumerate(exact.events):
        here = came[place] - past - left[place]
        if min(exact.at_risk[place], here) >= least:
            known[exact.times[place]] = _nearest(here, rules)
            if not events and not waiting:
                rows.append((place, here, 0, 0))
        if events and not waiting:
            first = place
        waiting += events
        rest = deaths - past - waiting
        at_risk, within = came[first] - past - left[first], left[place] - left[first]
        enough = waiting >= least and at_risk - within / 2 >= waiting and exact.at_risk[place] >= least
        if events and enough and (rest == 0 or rest >= least):
            rows.append((place, at_risk, waiting, within))
            past, waiting = past + waiting, 0
    if waiting:
        rows = [row for row in rows if row[0] < first]
        known = {time: count for time, count in known.items() if time <= exact.times[first]}
    return _rounded(exact, rows, [*left, left_out], rules), tuple(known.get(mark) for mark in marks)


def _nearest(count: int, rules: Rules) -> int:
    return rules.round_to * round(count / rules.round_to)


def _rounded(exact: Counts, rows: Sequence[tuple[int, int, int, int]], left: Sequence[int], rules: Rules) -> Counts:
    places = [place for place, *_ in rows]
    ends = [*(left[place] for place in places[1:]), left[-1]][: len(places)]
    between = [_nearest(end - left[place], rules) for place, end in zip(places, ends, strict=True)]
    return Counts(
        tuple(exact.times[place] for place in places),
        tuple(_nearest(at_risk, rules) for _, at_risk, _, _ in rows),
        tuple(_nearest(events, rules) for _, _, events, _ in rows),
        tuple(between),
        tuple(_nearest(within, rules) for *_, within in rows),
        _nearest(left[places[0]] if places else left[-1], rules),
    )
