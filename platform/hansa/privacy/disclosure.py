"""Disclosure control: which figures of an answer are shown, coarsened, left out or refused. Every rule is here.

A plan states the rules of its job, so that every member signs them; a site takes part only if they are at least as
strict as its own policy's, and holds its own rows and the answer to them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from hansa.errors import Refused

Magnitudes = npt.NDArray[np.float64]  # a column's numbers; NaN where missing

Percent = Annotated[int, Meta(ge=1, le=100)]


class Rules(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`minimum_cell`: no count from 1 to below it is shown, nor what it could be computed from (1: all are shown).
    `round_to`: counts that are shown are rounded to a multiple of it (1: not). `parameters_percent`: a model has at
    most so many parameters per hundred records. `dominance_percent`: at no site may one row make up more of a column's
    sum (100: not looked at). `minimum_rows`: a site with fewer in the question takes no part.
    """

    version: Literal[1] = 1
    minimum_cell: Annotated[int, Meta(ge=1, le=10_000)] = 10
    round_to: Annotated[int, Meta(ge=1, le=1_000)] = 1
    parameters_percent: Percent = 33
    dominance_percent: Percent = 100
    minimum_rows: Annotated[int, Meta(ge=1, le=10**9)] = 3

    def laxer(self, wanted: "Rules") -> str:
        """Where these rules are laxer than those that are `wanted`, in a sentence; empty if nowhere."""
        if self.minimum_cell < wanted.minimum_cell:
            least = wanted.minimum_cell
            return f"counts below {least} are to be left out, and the plan shows those from {self.minimum_cell} on"
        if self.round_to % wanted.round_to:
            return f"counts are to be rounded to multiples of {wanted.round_to}, and the plan's to {self.round_to}"
        if self.parameters_percent > wanted.parameters_percent:
            return (
                f"a model may have {wanted.parameters_percent} parameters per hundred records, and the plan allows "
                f"{self.parameters_percent}"
            )
        if self.dominance_percent > wanted.dominance_percent:
            return (
                f"one row may make up {wanted.dominance_percent} % of a sum, and the plan allows "
                f"{self.dominance_percent} %"
            )
        if self.minimum_rows < wanted.minimum_rows:
            return f"a site is to have at least {wanted.minimum_rows} rows, and the plan takes {self.minimum_rows}"
        return ""


# ---- counts ----


class Crossed(Struct, frozen=True):
    """A table of counts as it may be shown; None where a figure is left out."""

    cells: tuple[tuple[int | None, ...], ...]
    row_totals: tuple[int | None, ...]
    column_totals: tuple[int | None, ...]
    total: int | None

    @property
    def whole(self) -> bool:
        return self.total is not None


def shown(count: int, rules: Rules) -> int | None:
    """A count that stands alone. Zero is shown: nobody is behind it."""
    return None if 0 < count < rules.minimum_cell else rules.round_to * round(count / rules.round_to)


def line(counts: Sequence[int], rules: Rules) -> tuple[tuple[int | None, ...], int | None]:
    """Counts in a row, and their total; without it if any of them is left out."""
    cells = tuple(shown(count, rules) for count in counts)
    return cells, None if None in cells else shown(sum(counts), rules)


def crossed(counts: Sequence[Sequence[int]], rules: Rules) -> Crossed:
    """A table with its totals. Secondary suppression: no total is shown that a left-out cell is part of, so no figure
    that is shown is a sum over one, and nothing in the table tells more of it than 1 ≤ cell < minimum."""
    cells = tuple(tuple(shown(count, rules) for count in row) for row in counts)
    row_totals = [None if None in row else shown(sum(plain), rules) for row, plain in zip(cells, counts, strict=True)]
    columns = list(zip(*cells, strict=True))
    plain_columns = list(zip(*counts, strict=True))
    column_totals = [
        None if None in column else shown(sum(plain), rules)
        for column, plain in zip(columns, plain_columns, strict=True)
    ]
    left_out = any(None in row for row in cells)
    total = None if left_out else shown(sum(map(sum, counts)), rules)
    return Crossed(cells, tuple(row_totals), tuple(column_totals), total)


def layered(layers: Sequence[Sequence[Sequence[int]]], rules: Rules) -> tuple[Crossed, tuple[Crossed, ...]]:
    """Tables of the same categories, one a stratum, and the table of their sums. Where a cell of any is left out, the
    sum of these cells is too, with every total that it is part of."""
    found = tuple(crossed(layer, rules) for layer in layers)
    plain = np.array(layers, dtype=np.int64).sum(axis=0)
    hidden = [
        [any(one.cells[i][j] is None for one in found) for j in range(plain.shape[1])] for i in range(plain.shape[0])
    ]
    whole, out = crossed(plain.tolist(), rules), [any(row) for row in zip(*hidden, strict=True)]
    cells = tuple(
        tuple(None if gone else cell for cell, gone in zip(*pair, strict=True))
        for pair in zip(whole.cells, hidden, strict=True)
    )
    summed = Crossed(
        cells,
        tuple(None if any(row) else total for total, row in zip(whole.row_totals, hidden, strict=True)),
        tuple(None if gone else total for total, gone in zip(whole.column_totals, out, strict=True)),
        None if any(out) else whole.total,
    )
    return summed, found


def note(rules: Rules, left_out: bool) -> tuple[str, ...]:
    """What a reader must know of the counts beside it."""
    found = [f"counts from 1 to {rules.minimum_cell - 1} are left out, and totals that hold them"] if left_out else []
    if rules.round_to > 1:
        found.append(f"counts are rounded to multiples of {rules.round_to}")
    return tuple(found)


# ---- models, means, rows of one site ----


def refuse_few(count: int, what: str, rules: Rules) -> None:
    """A figure over fewer rows than a cell must hold is not released."""
    if count < rules.minimum_cell:
        raise Refused(f"{what} rests on fewer than {rules.minimum_cell} rows, and is not released")


def refuse_rich(parameters: int, records: int, rules: Rules) -> None:
    """A model that has nearly as many parameters as records repeats them."""
    if 100 * parameters > rules.parameters_percent * records:
        most = rules.parameters_percent
        raise Refused(f"the model has more than {most} parameters per hundred records, and is not released")


def refuse_site(rows: int, columns: Mapping[str, Magnitudes], rules: Rules) -> None:
    """What a site asks of its own rows before it contributes. The sentence goes to others and says no number."""
    if rows < rules.minimum_rows:
        raise Refused("this site has fewer rows in the question than the plan's rules of disclosure ask of a site")
    for name, values in columns.items():
        sizes = np.abs(values[np.isfinite(values)])
        if rules.dominance_percent < 100 and 100 * sizes.max(initial=0) > rules.dominance_percent * sizes.sum():
            raise Refused(f"one row of this site makes up too much of the sum of column '{name}'")
