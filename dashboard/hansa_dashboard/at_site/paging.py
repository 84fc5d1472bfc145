"""Long lists, a page at a time, and how their moments are written."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

T = TypeVar("T")
MOMENT = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150)
NUMBER = st.column_config.NumberColumn(format="localized")


def paged(key: str, at_once: int, fetch: Callable[[int, int], list[T]], label: str = "Page") -> list[T]:
    """What stands on the page that is chosen; nothing to choose is shown where all of it fits. `fetch` gives so many
    after so many."""
    page = int(st.session_state.get(key) or 1)
    found = fetch(at_once, (page - 1) * at_once)
    if page > 1 or len(found) == at_once:
        st.number_input(label, min_value=1, value="min", step=1, width=140, key=key)
    return found
