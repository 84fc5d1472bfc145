"""The tiny made-up tables of the examples that every kind ends with."""

from collections.abc import Sequence

import numpy as np

from hansa.jobs.base import Column, Schema, Table


def numbers_table(**columns: Sequence[float | None]) -> Table:
    """A table of numeric columns; None is missing."""
    return mixed_table({}, **columns)


def mixed_table(
    categories: dict[str, tuple[str, ...]], /, **columns: Sequence[float | None] | Sequence[str | None]
) -> Table:
    """As `numbers_table`; the columns named in `categories` are text with those declared."""
    schema = Schema(
        "made_up",
        tuple(
            Column(name, "text", categories=categories[name]) if name in categories else Column(name, "number")
            for name in columns
        ),
    )
    arrays = {
        name: np.array(values, dtype=object if name in categories else np.float64) for name, values in columns.items()
    }
    return Table(schema, len(next(iter(columns.values()))), arrays)
