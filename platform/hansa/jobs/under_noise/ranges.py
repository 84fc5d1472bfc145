"""The public ends between which the numbers of a column are held under noise: declared, never read from the rows."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from hansa.errors import Refused
from hansa.jobs.base import Array, Table

NARROW = 2.0**-40  # of its own size: below that a float64 tells too few numbers apart

End = Annotated[float, Meta(ge=-1e38, le=1e38)]
Ends = tuple[End, End]
Ranges = Annotated[
    dict[str, Ends],
    Meta(
        title="Ranges",
        description="Needed under noise, and only there: the least and the largest that each number counts as.",
        extra={"form": "ranges"},
    ),
]


def refuse_unfit(ranges: Mapping[str, Ends], columns: Iterable[str]) -> None:
    """Refuses a range of a column that isn't asked about as a number, and one that is empty."""
    known = set(columns)
    for column, (low, high) in ranges.items():
        if column not in known:
            raise Refused(f"a range is given for column '{column}', which the question does not use as a number")
        if not high - low > NARROW * max(abs(low), abs(high), 1e-300):
            raise Refused(f"the range of column '{column}' does not end above its start, or is too narrow to tell")


def refuse_missing(ranges: Mapping[str, Ends], columns: Iterable[str]) -> None:
    for column in columns:
        if column not in ranges:
            raise Refused(f"under noise column '{column}' needs a range: the least and the largest it can count as")


def held(values: Array, ends: Ends) -> Array:
    """What lies beyond an end, infinite or not, counts as the end; missing numbers stay missing."""
    return np.asarray(np.clip(values, *ends), dtype=np.float64)


def held_table(table: Table, ranges: Mapping[str, Ends]) -> Table:
    columns = {name: held(table.numbers(name), ends) for name, ends in ranges.items()}
    return msgspec.structs.replace(table, columns={**table.columns, **columns})
