"""Times, sizes and other people's text, written so that they can be shown."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from hansa.jobs import KINDS, Field, form

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_COLOURS = {"done": "green", "refused": "red", "failed": "red", "not enough sites": "orange", "cancelled": "gray"}


def plain(text: str) -> str:
    """`text` as Markdown that means just these characters: a member's words make no link and load no picture."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def bare(text: str) -> str:
    """The characters that a line of our own Markdown shows: without the marks of a list, of bold, of `plain`."""
    return _ESCAPED.sub(r"\1", text.removeprefix("- ").replace("**", ""))


def title(kind: str) -> str:
    return KINDS[kind].title if kind in KINDS else kind


def subject(kind: str, parameters: Mapping[str, Any]) -> str:
    """What a job is about, in a few words: its formula, or the columns it names."""
    fields = form(kind) if kind in KINDS else ()
    if any(field.type == "formula" for field in fields):
        return _formula(fields, parameters)
    found: list[str] = []
    for field in fields:
        value = parameters.get(field.name)
        if field.type in ("column", "columns") and value:
            found += [value] if isinstance(value, str) else value
    return (", ".join(found[:4]) + " …") if len(found) > 4 else listed(found)


def _formula(fields: tuple[Field, ...], parameters: Mapping[str, Any]) -> str:
    """The formula, with the outcome before it where that is a parameter of its own."""
    given = {
        field.type: str(parameters.get(field.name) or "") for field in fields if field.type in ("formula", "column")
    }
    formula, outcome = given["formula"], given.get("column", "")
    return formula if "~" in formula or not outcome else f"{outcome} ~ {formula}"


def clock(at: float | None) -> str:
    """A moment in the reader's own time zone."""
    return "" if at is None else f"{datetime.fromtimestamp(at, _zone()):%Y-%m-%d %H:%M:%S}"


def moment(at: float) -> datetime:
    """A moment in the reader's zone, for tables that sort."""
    return datetime.fromtimestamp(at, _zone())


def begins(day: date) -> float:
    """The first moment of a day in the reader's own time zone."""
    return datetime.combine(day, time.min, _zone()).timestamp()


def ago(at: float | None, now: float) -> str:
    if at is None:
        return "not yet"
    seconds = max(0, round(now - at))
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago" if seconds >= 5 else "just now"


def took(start: float, end: float) -> str:
    seconds = max(0.0, end - start)
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def size(count: int) -> str:
    number = float(count)
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def some(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def badge(status: str) -> None:
    """The status of a job; blue while it is open."""
    st.badge(status, color=_COLOURS.get(status, "blue"))  # type: ignore[arg-type]  # a colour by its name


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
