"""The opened hub, and the sign-in.

The token lives in the memory of one browser tab's session: a new tab or a reload asks for the password again, and
nothing is kept in a cookie. Whether it is still good is asked of the hub on every run of the script.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import Viewer

_TOKEN = "token"  # noqa: S105  # the name under which it is kept
_HASHING = threading.BoundedSemaphore(2)  # a password's hash takes 64 MiB: not more than two at a time


class Person(NamedTuple):
    """Who is signed in; `viewer` with the roles of this very run of the page."""

    name: str
    member: str
    viewer: Viewer


@st.cache_resource(show_spinner=False)
def open_hub(home: str) -> Hub:
    return Hub(Path(home))


def the_hub() -> Hub:
    """The hub whose home `hansa dashboard` was started for."""
    return open_hub(os.environ["HANSA_HOME"])


def person(hub: Hub) -> Person | None:
    """Who is signed in; notes the use of the session."""
    token = st.session_state.get(_TOKEN)
    found = actions.who(hub, token) if token else None
    if found is None:
        st.session_state.pop(_TOKEN, None)
        return None
    return Person(*found, queries.viewer(hub, found[0]))


def still_good(hub: Hub) -> bool:
    """For what refreshes itself: a page left open must not keep its session alive."""
    token = st.session_state.get(_TOKEN)
    return token is not None and queries.session_holds(hub, token)


def holding(hub: Hub) -> Callable[[], bool]:
    """`still_good` for what is made later, by another thread, when somebody asks for it."""
    token = st.session_state.get(_TOKEN)
    return lambda: token is not None and queries.session_holds(hub, token)


def sign_in(hub: Hub, name: str, password: str) -> None:
    with _HASHING:
        token, _, _ = actions.sign_in(hub, name, password)
    st.session_state[_TOKEN] = token


def sign_out(hub: Hub) -> None:
    token = st.session_state.get(_TOKEN)
    st.session_state.clear()
    if token is not None:
        actions.sign_out(hub, token)
