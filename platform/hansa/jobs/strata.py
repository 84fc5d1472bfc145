"""Tables of counts one beside the other: one for each category of a third column."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from hansa.jobs.base import Array
from hansa.privacy.differencing import Cell
from hansa.privacy.disclosure import Crossed


class Stratum(Struct, frozen=True, kw_only=True):
    """The counts of the rows that have one category of the third column."""

    name: str
    counts: tuple[tuple[int | None, ...], ...]
    row_totals: tuple[int | None, ...]
    column_totals: tuple[int | None, ...]
    n: int | None

    @classmethod
    def of(cls, name: str, counts: Array) -> "Stratum":
        return cls(
            name=name,
            counts=whole(counts),
            row_totals=tuple(map(int, counts.sum(axis=1))),
            column_totals=tuple(map(int, counts.sum(axis=0))),
            n=int(counts.sum()),
        )

    @classmethod
    def shown(cls, name: str, layer: Crossed) -> "Stratum":
        return cls(
            name=name,
            counts=layer.cells,
            row_totals=layer.row_totals,
            column_totals=layer.column_totals,
            n=layer.total,
        )


def plain(counts: Sequence[Sequence[int | None]]) -> list[list[int]]:
    return [[count or 0 for count in row] for row in counts]


def whole(counts: Array) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in counts)


def cells(
    asked: tuple[str, ...], names: tuple[tuple[str, ...], ...], shown: Sequence[Stratum], exact: Sequence[Stratum]
) -> list[Cell]:
    """The counts that are shown, of which all totals are sums."""
    found = []
    for one, true in zip(shown, exact, strict=True):
        for (i, j), count in np.ndenumerate(np.array(one.counts, dtype=object)):
            if count is not None:
                place = (names[0][i],), (names[1][j],), (true.name,)
                found.append(Cell(asked, place, true.counts[i][j] or 0))
    return found
