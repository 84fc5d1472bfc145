"""Which features the columns mean, the same at the hub and at every site.

A numeric column is one feature. A column with declared categories is one feature for each of them, 1 where a row has
it and 0 where it has another (one-hot, in the order of the declaration). A missing value is NaN in all of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hansa.errors import Refused
from hansa.jobs import levels
from hansa.jobs.base import Array, Schema, Table

MOST_FEATURES = 256


class Feature(Struct, frozen=True):
    column: str
    category: str | None = None

    @property
    def name(self) -> str:
        return self.column if self.category is None else f"{self.column}={self.category}"


def layout(columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> tuple[Feature, ...]:
    """In the order of the columns; refuses more than `MOST_FEATURES`."""
    found: list[Feature] = []
    for column in columns:
        names: Sequence[str | None] = categories.get(column, (None,))
        found += [Feature(column, name) for name in names]
    if len(found) > MOST_FEATURES:
        raise Refused(f"the columns mean more than {MOST_FEATURES} features, one for each category")
    return tuple(found)


def categorical(columns: Sequence[str], own: Mapping[str, object], schema: Schema) -> tuple[str, ...]:
    """The columns that hold categories: text, and those to which the question gives categories."""
    return tuple(column for column in columns if column in own or schema.column(column).type == "text")


def matrix(
    table: Table, columns: Sequence[str], categories: Mapping[str, tuple[str, ...]], used: npt.NDArray[np.bool_]
) -> Array:
    """(used rows, features); NaN where missing."""
    parts: list[Array] = []
    for column in columns:
        if column not in categories:
            parts.append(table.numbers(column)[used][:, None])
            continue
        names = categories[column]
        known = used & ~levels.missing(table, column)
        block = np.full((table.rows, len(names)), np.nan)
        codes = levels.codes(table, column, names, known)
        block[known] = np.equal.outer(codes, np.arange(len(names)))
        parts.append(block[used])
    return np.column_stack(parts)
