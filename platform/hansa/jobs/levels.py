"""The categories of a column: declared by the institutions or by the question, never read from text in the
rows.

A whole number from 0 to `LARGEST` may be a category without being declared: sites say for each of them
whether a row has it (flags: any site, not which and not how many). Text is a category only if it is declared,
because asking for "any text" would be asking for the rows. Numbers are written as R does: 2.0 is "2".
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from hansa.errors import Refused
from hansa.jobs.base import Schema, Table

LARGEST = 255
MOST = 256  # categories of one column

Names = Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(min_length=1, max_length=MOST)]
Known = Annotated[tuple[str, ...], Meta(max_length=MOST)]  # empty while they are being looked for
Levels = Annotated[
    dict[str, Names],
    Meta(
        title="Categories",
        description="Of a column, the first is the reference. Needed for text that no table declares.",
        extra={"form": "levels"},
    ),
]


def refuse_unfit(levels: Mapping[str, tuple[str, ...]], columns: Sequence[str]) -> None:
    """Refuses categories of a column that isn't asked about, and a category named twice."""
    for column, names in levels.items():
        if column not in columns:
            raise Refused(f"categories are given for column '{column}', which the question does not use as such")
        if len(set(names)) != len(names):
            raise Refused(f"the categories of column '{column}' name one of them twice")


def check(column: str, own: Mapping[str, tuple[str, ...]], schema: Schema) -> None:
    """Refuses a column that isn't there, and text whose categories nobody declares."""
    found = schema.column(column)
    if found.type == "text" and column not in own and not found.categories:
        raise Refused(f"column '{column}' of table '{schema.table}' holds text: declare its categories")


def declared(column: str, own: Mapping[str, tuple[str, ...]], schemas: Sequence[Schema]) -> tuple[str, ...]:
    """The question's own categories, or what the tables declare, joined in their order; empty unless all do."""
    if column in own:
        return own[column]
    lists = [schema.column(column).categories for schema in schemas]
    if not all(lists):
        return ()
    names = dict.fromkeys(name for listed in lists for name in listed)
    if len(names) > MOST:
        raise Refused(f"column '{column}' has more than {MOST} categories")
    return tuple(names)


def presence(table: Table, column: str, used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which whole numbers 0…LARGEST occur in the rows `used`."""
    values = table.numbers(column)[used]
    values = values[~np.isnan(values)]
    if np.any((values < 0) | (values > LARGEST) | (values != np.floor(values))):
        raise Refused(
            f"column '{column}' of table '{table.schema.table}' holds numbers other than whole ones from 0 "
            f"to {LARGEST}: declare its categories"
        )
    return np.bincount(values.astype(np.int64), minlength=LARGEST + 1) > 0


def found(total: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The categories that `presence` found in the pool, in the order of the numbers."""
    return tuple(str(number) for number in np.flatnonzero(total))


def missing(table: Table, column: str) -> npt.NDArray[np.bool_]:
    if table.schema.column(column).type == "number":
        return np.isnan(table.numbers(column))
    return np.array([value is None for value in table.texts(column)], dtype=np.bool_)


def declares(table: Table, column: str, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which rows hold one of `names`: what `codes` has a place for."""
    if table.schema.column(column).type == "number":
        values, inverse = np.unique(table.numbers(column) + 0.0, return_inverse=True)
        known = np.array([f"{value:.15g}" in names for value in values], dtype=np.bool_)
        return known[inverse.reshape(-1)] & ~missing(table, column)
    return np.array([value is not None and str(value) in names for value in table.texts(column)], dtype=np.bool_)


def codes(table: Table, column: str, names: Sequence[str], used: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The place in `names` of each of the rows `used`, none of which may be missing."""
    if table.schema.column(column).type == "number":
        values, inverse = np.unique(table.numbers(column)[used] + 0.0, return_inverse=True)
        texts = [f"{value:.15g}" for value in values]
    else:
        words = [str(word) for word in table.texts(column)[used]]
        texts = sorted(set(words))
        at = {text: index for index, text in enumerate(texts)}
        inverse = np.array([at[word] for word in words], dtype=np.int64)
    place = {name: index for index, name in enumerate(names)}
    if any(text not in place for text in texts):
        raise Refused(f"column '{column}' of table '{table.schema.table}' holds a category that is not declared")
    lookup = np.array([place[text] for text in texts], dtype=np.int64)
    return lookup[inverse.reshape(-1)]
