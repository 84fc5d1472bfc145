"""One widget for each sort of field that a kind may have."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import streamlit as st

from hansa.jobs import Field, form
from hansa.jobs.base import Column

_ENDS = ("least", "largest")


def ask(kind: str, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Shows a kind's fields and gives what was filled in; `columns` are those that every participant declares."""
    found = {}
    for field in form(kind):
        value = _widget(field, f"{kind}/{field.name}", columns)
        if value not in (None, "", [], {}):
            found[field.name] = value
    return found


def describe(column: Column) -> str:
    if column.categories:
        return f"{column.name} ({len(column.categories)} categories)"
    return f"{column.name} ({column.type}{', ' + column.unit if column.unit else ''})"


def _widget(field: Field, key: str, columns: Mapping[str, Column]) -> Any:
    label = field.title if field.required or field.default else f"{field.title} (optional)"
    if field.type in _OF_COLUMNS:
        return _OF_COLUMNS[field.type](field, key, label, columns)
    if field.type in _ALONE:
        return _ALONE[field.type](field, key, label)
    value = st.text_input(label, field.default or "", key=key, help=field.description).strip()
    if field.type == "formula":
        st.caption("Columns: " + ", ".join(f"`{name}`" for name in columns if "`" not in name))
    return value


def _choice(field: Field, key: str, label: str) -> str | None:
    start = field.choices.index(field.default) if field.default in field.choices else None
    return st.selectbox(label, field.choices, start, key=key, help=field.description, placeholder="Choose one")


def _list(field: Field, key: str, label: str) -> list[Any]:
    start = [str(entry) for entry in field.default or ()]
    entries = st.multiselect(label, start, start, key=key, help=field.description, accept_new_options=True)
    return entries if field.type == "list" else [_read(entry) for entry in entries]


def _read(entry: str) -> float | str:
    """A number that was typed in; what is none stays text, which the kind refuses in a sentence."""
    try:
        return float(entry)
    except ValueError:
        return entry


def _coefficients(field: Field, key: str, label: str) -> dict[str, float | str]:
    """One a line, `age = 0.05`; a space or a tab will do for the sign, as in lines that are pasted from a table."""
    text = st.text_area(label, key=key, help=field.description, placeholder="(Intercept) = -6.7\nage = 0.05")
    lines = [line.replace("=", " ").split() for line in text.splitlines() if line.strip()]
    return {" ".join(words[:-1]): _read(words[-1]) for words in lines}


def _columns(field: Field, key: str, label: str, columns: Mapping[str, Column]) -> Any:
    def shown(name: str) -> str:
        return describe(columns[name])

    if field.type == "columns":
        return st.multiselect(label, list(columns), format_func=shown, key=key, help=field.description)
    return st.selectbox(
        label,
        list(columns),
        None,
        format_func=shown,
        key=key,
        help=field.description,
        placeholder="Choose a column",
    )


def _number(field: Field, key: str, label: str) -> float | int | None:
    """All of a widget's numbers must be whole, or none."""
    sort: Any = int if field.type == "integer" else float
    edges = (field.minimum, field.maximum)
    low, high, start = (  # each None, or a number of this sort
        None if number is None or abs(number) > 1e15 else sort(number) for number in (*edges, field.default)
    )
    value: float | int | None = st.number_input(
        label,
        min_value=low,
        max_value=high,
        value=start,
        step=1 if sort is int else None,
        format=None if sort is int else "%g",
        key=key,
        help=field.description,
        placeholder="Not given",
    )
    return value


def _levels(field: Field, key: str, label: str, columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Which columns, then the categories of each: those declared are there to choose, others may be typed."""
    chosen = st.multiselect(label, list(columns), key=key, help=field.description, placeholder="As the tables declare")
    return {
        name: st.multiselect(
            f"Categories of {name}, the first is the reference",
            list(columns[name].categories),
            list(columns[name].categories),
            key=f"{key}/{name}",
            accept_new_options=True,
        )
        for name in chosen
    }


def _ranges(field: Field, key: str, label: str, columns: Mapping[str, Column]) -> dict[str, list[float]]:
    """Which columns, then both ends of each; a column with an end that is not given has no range."""
    numeric = [name for name, column in columns.items() if column.type == "number"]
    chosen = st.multiselect(label, numeric, key=key, help=field.description, placeholder="Without noise, none")
    ends = {
        name: [st.number_input(f"{name}, {end}", value=None, format="%g", key=f"{key}/{name}/{end}") for end in _ENDS]
        for name in chosen
    }
    return {name: [low, high] for name, (low, high) in ends.items() if low is not None and high is not None}


_OF_COLUMNS: Final[Mapping[str, Callable[[Field, str, str, Mapping[str, Column]], Any]]] = {
    "column": _columns,
    "columns": _columns,
    "levels": _levels,
    "ranges": _ranges,
}
_ALONE: Final[Mapping[str, Callable[[Field, str, str], Any]]] = {
    "choice": _choice,
    "number": _number,
    "integer": _number,
    "list": _list,
    "numbers": _list,
    "coefficients": _coefficients,
}
