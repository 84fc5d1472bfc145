"""What several releases over one table show together: counts that none of them shows alone.

Two histograms whose bins end at 50 and at 51 tell, subtracted, how many are fifty; a table that counts fewer categories
than the one before tells of those that it leaves out. A site holds the answer that it is asked to release to all that
it has agreed to before over the same sites, and refuses one with which a count from 1 to below the minimum could be
computed. What stays hidden is only what is hidden in every such combination that is looked at:

* Of a column of numbers, every interval between two ends of released intervals. An interval whose count is shown ties
  its two ends together; between ends that are tied, directly or by way of others, every count can be computed, and the
  smallest are those between neighbours.
* Of categories, every cell that the tables together tell apart, and what is left of each shown count without the cells
  of another table that lie in it. Whether such a count follows from those that are shown is a question of linear
  algebra; it is answered modulo a prime, in which a count that follows is found for certain.

Not looked at: models, means and quantiles; counts over other sites (`hansa_site/differing.py`); how many rows miss
something, from one question to another.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.errors import Refused

End = tuple[float, int]  # where an interval begins or ends: 0 before the number itself, 1 after it
LEFT, RIGHT = (-math.inf, 0), (math.inf, 1)
_PRIME = 2**31 - 1  # no product of two residues leaves 64 bits
MOST_WORK = 2 * 10**9  # steps of the elimination
TOGETHER = "this answer and one that was released before would together show a count below"


class Span(Struct, frozen=True):
    """How many rows have a number between two ends of a column."""

    column: str
    low: End
    high: End
    count: int


class Cell(Struct, frozen=True):
    """How many rows have these categories. With `outside`, how many do not have one of `names` in each column."""

    columns: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]  # of each column; one alone, if not `outside`
    count: int
    outside: bool = False


Figure = Span | Cell


def refuse_revealing(new: Sequence[Figure], before: Iterable[Sequence[Figure]], minimum: int) -> None:
    """Refuses `new`, the counts that an answer shows, if with those of answers `before` it tells of fewer rows than
    `minimum`. Counts are exact ones, also where rounded ones are shown."""
    earlier = list(before)
    for column in {figure.column for figure in new if isinstance(figure, Span)}:
        _refuse_spans([one for figures in (new, *earlier) for one in _spans(figures, column)], minimum)
    asked = {column for figure in new if isinstance(figure, Cell) for column in figure.columns}
    tables = [_cells(figures) for figures in (new, *earlier)]
    related = [cells for cells in tables if cells and asked & set(cells[0].columns)]
    if len(related) > 1:
        _refuse_cells(related, minimum)


def _spans(figures: Sequence[Figure], column: str) -> list[Span]:
    return [figure for figure in figures if isinstance(figure, Span) and figure.column == column]


def _cells(figures: Sequence[Figure]) -> list[Cell]:
    return [figure for figure in figures if isinstance(figure, Cell)]


# ---- numbers ----


def _refuse_spans(spans: Sequence[Span], minimum: int) -> None:
    ties: dict[End, list[tuple[End, int]]] = {}
    for span in spans:
        ties.setdefault(span.low, []).append((span.high, span.count))
        ties.setdefault(span.high, []).append((span.low, -span.count))
    seen: set[End] = set()
    for start in ties:
        if start not in seen:
            below = _tied(start, ties)  # rows below each end, counted from `start`
            seen |= below.keys()
            ends = sorted(below)
            if any(0 < below[high] - below[low] < minimum for low, high in pairwise(ends)):
                raise Refused(f"{TOGETHER} {minimum}")


def _tied(start: End, ties: Mapping[End, Sequence[tuple[End, int]]]) -> dict[End, int]:
    found, waiting = {start: 0}, [start]
    while waiting:
        end = waiting.pop()
        for other, count in ties[end]:
            if other not in found:
                found[other] = found[end] + count
                waiting.append(other)
    return found


# ---- categories ----


def _refuse_cells(tables: Sequence[Sequence[Cell]], minimum: int) -> None:
    """`tables` of which each has columns in common with the first."""
    universe = _universe(tables)
    atoms = list(product(*universe.values()))
    figures = [cell for cells in tables for cell in cells]
    if len(figures) ** 2 * len(atoms) > MOST_WORK:
        raise Refused("too many tables over these columns were released before to tell what they would show together")
    rows = np.array([_held(cell, universe, atoms) for cell in figures], dtype=np.int64)
    counts = np.array([cell.count for cell in figures], dtype=np.int64)
    targets = np.unique(np.vstack([np.eye(len(atoms), dtype=np.int64), _rests(tables, rows)]), axis=0)
    follows, values = _follow(rows, counts, targets[targets.any(axis=1)])
    if (follows & (values > 0) & (values < minimum)).any():
        raise Refused(f"{TOGETHER} {minimum}")


def _universe(tables: Sequence[Sequence[Cell]]) -> dict[str, tuple[str | None, ...]]:
    """Of each column the categories that any table names, and None for all else."""
    names: dict[str, set[str]] = {}
    for cells in tables:
        for cell in cells:
            for column, said in zip(cell.columns, cell.names, strict=True):
                names.setdefault(column, set()).update(said)
    return {column: (None, *sorted(said)) for column, said in names.items()}


def _held(cell: Cell, universe: Mapping[str, object], atoms: Sequence[tuple[str | None, ...]]) -> list[bool]:
    places = [list(universe).index(column) for column in cell.columns]
    inside = [all(atom[place] in said for place, said in zip(places, cell.names, strict=True)) for atom in atoms]
    return [not one for one in inside] if cell.outside else inside


def _rests(tables: Sequence[Sequence[Cell]], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of each shown count what is left without the cells of one table, which are disjoint, that lie in it."""
    found, start = [], 0
    for cells in tables:
        of_table = rows[start : start + len(cells)]
        start += len(cells)
        inside = (of_table[None, :, :] <= rows[:, None, :]).all(axis=2)  # [figure, cell of the table]
        found.append(rows - np.clip(inside @ of_table, 0, rows))
    return np.vstack(found)


def _follow(
    rows: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which targets are combinations of the rows, and then their counts: Gauss and Jordan modulo the prime."""
    matrix = np.column_stack([rows, counts]) % _PRIME
    wanted = np.column_stack([targets, np.zeros(len(targets), dtype=np.int64)])
    top = 0
    for place in range(rows.shape[1]):
        (found,) = np.nonzero(matrix[top:, place])
        if not found.size:
            continue
        matrix[[top, top + found[0]]] = matrix[[top + found[0], top]]
        matrix[top] = matrix[top] * pow(int(matrix[top, place]), -1, _PRIME) % _PRIME
        others = matrix[top + 1 :]
        others[:] = (others - others[:, place, None] * matrix[top] % _PRIME) % _PRIME
        wanted = (wanted - wanted[:, place, None] * matrix[top] % _PRIME) % _PRIME
        top += 1
        if top == len(matrix):
            break
    return np.all(wanted[:, :-1] == 0, axis=1), np.asarray(-wanted[:, -1] % _PRIME, dtype=np.int64)
