"""One widget for each sort of field that a kind may have."""

from collections.abc import Mapping
from typing import Any

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
    sort = field.type
    if sort in ("column", "columns"):
        return _columns(field, key, label, columns)
    if sort in ("levels", "ranges"):
        return (_levels if sort == "levels" else _ranges)(field, key, label, columns)
    if sort == "choice":
        start = field.choices.index(field.default) if field.default in field.choices else None
        return st.selectbox(label, field.choices, start, key=key, help=field.description, placeholder="Choose one")
    if sort in ("number", "integer"):
        return _number(field, key, label)
    if sort in ("list", "numbers"):
        start = [str(entry) for entry in field.default or ()]
        entries = st.multiselect(label, start, start, key=key, help=field.description, accept_new_options=True)
        return entries if sort == "list" else [_read(entry) for entry in entries]
    if sort == "coefficients":
        text = st.text_area(label, key=key, help=field.description, placeholder="(Intercept) = -6.7\nage = 0.05")
        return dict(_coefficient(line) for line in text.splitlines() if line.strip())
    value = st.text_input(label, field.default or "", key=key, help=field.description).strip()
    if sort == "formula":
        st.caption("Columns: " + ", ".join(f"`{name}`" for name in columns if "`" not in name))
    return value


def _read(entry: str) -> float | str:
    """A number that was typed in; what is none stays text, which the kind refuses in a sentence."""
    try:
        return float(entry)
    except ValueError:
        return entry


def _coefficient(line: str) -> tuple[str, float | str]:
    """A name and its number, `age = 0.05`; spaces or a tab will do for the sign, as when lines of a table are pasted."""
    name, sign, number = (
        line.strip().rpartition("=") if "=" in line else line.strip().replace("\t", " ").rpartition(" ")
    )
    return (name.strip(), _read(number.strip())) if sign else (line.strip(), "")


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
    whole = field.type == "integer"
    low, high = (None if edge is None or abs(edge) > 1e15 else edge for edge in (field.minimum, field.maximum))
    value: float | int | None = st.number_input(
        label,
        min_value=int(low) if whole and low is not None else low,
        max_value=int(high) if whole and high is not None else high,
        value=field.default,
        step=1 if whole else None,
        format=None if whole else "%g",
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
