"""What is counted of a column's rows to judge their quality, and what of it may be shown."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import levels, magnitude
from hansa.jobs.base import Array, Table
from hansa.jobs.brackets import Bracket
from hansa.jobs.drift import Drift
from hansa.jobs.under_noise.ranges import Ends
from hansa.privacy import disclosure
from hansa.privacy.differencing import LEFT, RIGHT, Cell, Figure, Span, refuse_revealing
from hansa.privacy.disclosure import Rules

CHECKS = ("missing", "unusable", "whole", "zero", "below", "above", "undeclared", "blanks")
_LIMIT = math.ldexp(1.0, 4 * (magnitude.HIGHEST + 1))

Count = int | UnsetType | None


class Checked(Struct, frozen=True, kw_only=True):
    """Of a column over all tables. A field is None where its figure is left out, and not there at all where it says
    nothing about a column like this.

    `n` values are neither missing nor unusable: infinite, or beyond 10^39. `undeclared`: values that are none of the
    declared categories. `blanks`: texts that begin or end with a blank. `unseen`: declared categories without a row.
    """

    column: str
    type: str
    n: int | None
    missing: int | None
    unusable: Count = UNSET
    whole: Count = UNSET
    zero: Count = UNSET
    below: Count = UNSET
    above: Count = UNSET
    undeclared: Count = UNSET
    blanks: Count = UNSET
    unseen: tuple[str, ...] | UnsetType = UNSET
    mean: float | UnsetType | None = UNSET
    mean_precision: float | UnsetType | None = UNSET
    sd: float | UnsetType | None = UNSET
    quantiles: dict[str, Bracket] | UnsetType | None = UNSET
    drift: Drift | UnsetType | None = UNSET


def usable(values: Array) -> npt.NDArray[np.bool_]:
    """Which numbers a total can hold: neither missing nor infinite, nor beyond 10^39."""
    return np.isfinite(values) & (np.abs(values) < _LIMIT)


def tallied(table: Table, column: str, type_: str, names: Sequence[str], ends: Ends | None) -> Array:
    """The counts of `CHECKS`, in their order; what does not apply to the column is zero."""
    if table.schema.column(column).type != type_:
        raise ProtocolViolation(f"column '{column}' is asked about as one of {type_}, which it is not")
    found = dict.fromkeys(CHECKS, 0)
    there = ~levels.missing(table, column)
    found["missing"] = table.rows - int(there.sum())
    if type_ == "number":
        numbers = table.numbers(column)
        there &= usable(numbers)
        known = numbers[there]
        found["unusable"] = table.rows - found["missing"] - known.size
        found["whole"] = int((known == np.floor(known)).sum())
        found["zero"] = int((known == 0).sum())
        if ends is not None:
            found["below"], found["above"] = int((known < ends[0]).sum()), int((known > ends[1]).sum())
    else:
        texts = [str(text) for text in table.texts(column)[there]]
        found["blanks"] = sum(text != text.strip() for text in texts)
    if names:
        found["undeclared"] = int((there & ~levels.declares(table, column, names)).sum())
    return np.array([found[check] for check in CHECKS], dtype=np.float64)


def seen(table: Table, column: str, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the declared categories have a row."""
    codes = levels.codes(table, column, names, levels.declares(table, column, names))
    return np.bincount(codes, minlength=len(names)) > 0


# ---- what may be shown ----


def shown(one: Checked, ends: Ends | None, rules: Rules) -> Checked:
    """A count is left out with its complement: where few rows are not whole, how many are is not shown either. `n` is
    left out beside a left-out count of missing values, since another column may tell how many rows there are."""
    n, missing, unusable = one.n or 0, disclosure.shown(one.missing or 0, rules), _plain(one.unusable)
    kept = disclosure.shown(unusable, rules)
    rests = {check: _part(getattr(one, check), n, rules) for check in CHECKS[2:]}
    if one.whole is not UNSET and 0 < _plain(one.whole) - _plain(one.zero) < rules.minimum_cell:
        rests["zero"] = None
    few = 0 < n < rules.minimum_cell
    found = replace(
        one,
        n=None if missing is None or kept is None else disclosure.shown(n, rules),
        missing=missing,
        unusable=one.unusable if one.unusable is UNSET else kept,
        **rests,
        **({} if one.mean is UNSET or not few else dict.fromkeys(("mean", "mean_precision", "sd", "quantiles"))),
        drift=one.drift if one.drift is UNSET or not few else None,
    )
    for check in ("zero", "below", "above"):  # what they tell together, and of rows within the range
        try:
            refuse_revealing(figures(found, one, ends, (), only=check), (), rules.minimum_cell)
        except Refused:
            found = replace(found, **{check: None})
    return found


def figures(
    seen_: Checked, exact: Checked, ends: Ends | None, names: Sequence[str], only: str = "above"
) -> list[Figure]:
    """The counts that are shown of a column; of zero, below and above those up to `only`."""
    found: list[Figure] = []
    whole = not _plain(exact.unusable)  # numbers beyond every total lie on the line too
    places = {"zero": ((0.0, 0), (0.0, 1))}
    if ends is not None:
        places |= {"below": (LEFT, (ends[0], 0)), "above": ((ends[1], 1), RIGHT)}
    if exact.type == "number" and whole:
        if seen_.n is not None:
            found.append(Span(exact.column, LEFT, RIGHT, exact.n or 0))
        for check, (low, high) in places.items():
            if isinstance(getattr(seen_, check), int):
                found.append(Span(exact.column, low, high, _plain(getattr(exact, check))))
            if check == only:
                break
    if names and isinstance(seen_.undeclared, int) and isinstance(seen_.missing, int):
        rest = _plain(exact.undeclared) + (exact.missing or 0) + _plain(exact.unusable)
        found.append(Cell((exact.column,), (tuple(names),), rest, outside=True))
    return found


def _plain(count: Count) -> int:
    return count if isinstance(count, int) else 0


def _part(count: Count, whole: int, rules: Rules) -> Count:
    if isinstance(count, UnsetType):
        return UNSET
    told = disclosure.shown(count or 0, rules)
    return None if disclosure.shown(max(whole - (count or 0), 0), rules) is None else told
