"""Whether the tables of several institutions describe a column alike. Schemas are public, so this reads no row."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hansa.errors import Refused
from hansa.jobs.base import Column, Schema

_SHOWN = 20  # categories in one finding


class Finding(Struct, frozen=True):
    """Where tables differ about a column, in a few words that name no table."""

    column: str
    about: Literal["missing", "type", "unit", "categories"]
    says: Annotated[str, Meta(max_length=6000)]


def described(column: str, schemas: Sequence[Schema]) -> list[Column]:
    """What the tables that have the column say of it; refuses one that no table has."""
    found = [one for schema in schemas for one in schema.columns if one.name == column]
    if not found:
        raise Refused(f"no table has a column '{column}'")
    return found


def findings(column: str, schemas: Sequence[Schema]) -> tuple[Finding, ...]:
    said = described(column, schemas)
    found = []
    if len(said) < len(schemas):
        found.append(Finding(column, "missing", f"{len(schemas) - len(said)} of {len(schemas)} tables lack it"))
    for about in ("type", "unit"):
        values = [str(getattr(one, about)) for one in said]
        if len(set(values)) > 1:
            each = (f"{value or 'none'} in {values.count(value)}" for value in dict.fromkeys(values))
            found.append(Finding(column, about, f"{', '.join(each)} of {len(said)} tables"))
    every = dict.fromkeys(name for one in said for name in one.categories)
    some = [name for name in every if not all(name in one.categories for one in said)]
    if some:
        more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
        listed = ", ".join(f"'{name}'" for name in some[:_SHOWN])
        found.append(Finding(column, "categories", f"not declared by every table: {listed}{more}"))
    return tuple(found)


def type_of(column: str, schemas: Sequence[Schema]) -> Literal["number", "text"] | None:
    """The type that every table gives the column; None where one lacks it or gives another."""
    said = described(column, schemas)
    types = {one.type for one in said}
    return said[0].type if len(said) == len(schemas) and len(types) == 1 else None
