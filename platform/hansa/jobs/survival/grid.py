"""Times in intervals of one width, so that sites can add up what happened in each.

Interval k is ((k-1)·width, k·width], and what ends in it ends at its right end; interval 0 is the time 0 itself. Who
enters at `start` is at risk from the first right end after it. With whole numbers and a width of 1 nothing is rounded.
A time within 1e-9 of a right end, relatively, is taken for it (0.3 is three times 0.1).
"""

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from hansa.errors import Refused
from hansa.jobs import levels
from hansa.jobs.base import Array, Schema, Table

MOST = 4096  # intervals
_SAME = 1e-9

Mask = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.int64]

TimeColumn = Annotated[
    str, Meta(title="Time", description="Until the event or the end of follow-up, from 0.", extra={"form": "column"})
]
EventColumn = Annotated[
    str, Meta(title="Event", description="1 if the event was seen at that time, else 0.", extra={"form": "column"})
]
StartColumn = Annotated[
    str | None,
    Meta(title="Start", description="When a row comes under observation, if later than 0.", extra={"form": "column"}),
]
Width = Annotated[
    float,
    Meta(
        title="Width of an interval",
        description="Times are rounded up to multiples of it; 1 keeps whole numbers as they are.",
        ge=1e-30,
        le=1e30,
    ),
]
Horizon = Annotated[
    Annotated[float, Meta(ge=1e-30, le=1e30)] | None,
    Meta(title="Horizon", description="Follow-up ends here; empty: with the longest time."),
]


class Axis(Struct, frozen=True):
    """The parameters that say what a time is. `horizon` is a multiple of `width`."""

    time: str
    event: str
    start: str | None
    width: float
    horizon: float | None

    def columns(self) -> tuple[str, ...]:
        own = (self.time, self.event) if self.start is None else (self.time, self.event, self.start)
        if len(set(own)) != len(own):
            raise Refused("time, event and start are not columns of their own")
        if self.horizon is not None:
            cells = self.horizon / self.width
            if abs(cells - round(cells)) > _SAME * max(1.0, cells) or round(cells) < 1:
                raise Refused("the horizon is not a multiple of the width of an interval")
            if round(cells) > MOST:
                raise Refused(f"there are more than {MOST} intervals up to the horizon; choose a greater width")
        return own

    @property
    def last(self) -> int:
        """The last interval that may be asked about."""
        return MOST if self.horizon is None else round(self.horizon / self.width)

    def check(self, schema: Schema) -> None:
        for name in self.columns():
            if schema.column(name).type != "number":
                raise Refused(f"column '{name}' of table '{schema.table}' holds text where numbers are due")

    def time_of(self, cell: int) -> float:
        return cell * self.width

    def note(self) -> str:
        kept = ", which leaves whole numbers as they are" if self.width == 1 else ""
        return f"times are rounded up to multiples of {self.width:g}{kept}"


class Followed(Struct, frozen=True):
    """Rows: at risk in the intervals `entry` < k ≤ `exit`; `died` in interval `exit`."""

    entry: Cells
    exit: Cells
    died: Mask


def complete(table: Table, axis: Axis, others: tuple[str, ...]) -> Mask:
    """The rows that miss nothing, and come under observation before the horizon."""
    missing = [levels.missing(table, column) for column in (*axis.columns(), *others)]
    used = ~np.any(missing, axis=0)
    if axis.start is not None:
        used &= _entry(table, axis) < axis.last
    return np.asarray(used, dtype=np.bool_)


def follow(table: Table, axis: Axis, used: Mask) -> Followed:
    """Of the rows `used`. Never fails, whatever they hold: `unfit` says what is wrong with them."""
    cells, event = _cells(table.numbers(axis.time)[used], axis.width, up=True), table.numbers(axis.event)[used]
    died = (event == 1) & (cells <= axis.last) & (cells >= 0)
    end = np.clip(cells, 0, axis.last)
    return Followed(np.minimum(_entry(table, axis)[used], end - 1), end, died)


def _entry(table: Table, axis: Axis) -> Cells:
    """Interval -1 is before all of them. NaN counts as that."""
    if axis.start is None:
        return np.full(table.rows, -1, dtype=np.int64)
    return _cells(np.nan_to_num(table.numbers(axis.start), nan=-1.0), axis.width, up=False)


def _cells(values: Array, width: float, up: bool) -> Cells:
    with np.errstate(over="ignore"):
        places = values / width
    whole = np.rint(places)
    with np.errstate(invalid="ignore"):
        near = np.abs(places - whole) <= _SAME * np.maximum(1.0, np.abs(places))
    cells = np.where(near, whole, np.ceil(places) if up else np.floor(places))
    return np.clip(cells, -1, MOST + 1).astype(np.int64)


UNFIT = 4


def unfit(table: Table, axis: Axis, used: Mask) -> Mask:
    """(4,) what some row has: a bad time, a bad event, a bad start, a time beyond all intervals."""
    time, event = table.numbers(axis.time)[used], table.numbers(axis.event)[used]
    start = np.zeros_like(time) if axis.start is None else table.numbers(axis.start)[used]
    late = start >= time if axis.start is not None else np.zeros_like(time, dtype=np.bool_)
    beyond = axis.horizon is None and np.any(_cells(time, axis.width, up=True) > MOST)
    flags = (
        np.any((time < 0) | ~np.isfinite(time)),
        np.any((event != 0) & (event != 1)),
        np.any((start < 0) | late),
        beyond,
    )
    return np.array(flags, dtype=np.bool_)


def refuse_unfit(flags: Mask, axis: Axis) -> None:
    if flags[0]:
        raise Refused(f"the time '{axis.time}' is negative or infinite in some row")
    if flags[1]:
        raise Refused(f"the event '{axis.event}' holds values other than 0 and 1")
    if flags[2]:
        raise Refused(f"the start '{axis.start}' is negative in some row, or not before the time '{axis.time}'")
    if flags[3]:
        raise Refused(
            f"times reach beyond {MOST} intervals of width {axis.width:g}; choose a greater width or a horizon"
        )


def nice(last: int, most: int = 7) -> tuple[int, ...]:
    """At most `most` intervals from 0 on, evenly apart by 1, 2 or 5 times a power of ten."""
    apart = 1
    while last // apart + 1 > most:
        power = 10 ** int(math.log10(apart) + _SAME)
        apart = {1: 2, 2: 5, 5: 10}[apart // power] * power
    return tuple(range(0, last + 1, apart))


def plausible(time: str, start: str | None, width: float, column: str) -> tuple[float, float]:
    """Of rows that are invented: times over forty intervals, all followed from zero on."""
    if column == time:
        return width / 2, 40 * width
    return (0.0, 0.0) if column == start else (0.0, 1.0)
