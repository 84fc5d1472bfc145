"""The opened hub, and who is signed in at it.

The gate let the browser in by the token in its cookie; the page reads the same cookie, and asks of the hub on every
run, and in every part that refreshes itself, whether the session is still good and which roles the person has now.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import Viewer
from hansa_dashboard import gate
from hansa_dashboard.hub_doors import NAME

_OF = "whose state"


class Person(NamedTuple):
    """Who is signed in; `viewer` with the roles of this very run of the page."""

    name: str
    member: str
    viewer: Viewer


@st.cache_resource(show_spinner=False)
def open_hub(home: str) -> Hub:
    return Hub(Path(home))


def the_hub() -> Hub:
    """The hub whose home the page was started for."""
    return open_hub(os.environ["HANSA_HOME"])


def token() -> bytes | None:
    return gate.token_in(st.context.cookies, NAME)


def person(hub: Hub) -> Person | None:
    """Who is signed in; notes the use of the session. What was filled in by somebody else is forgotten."""
    given = token()
    found = actions.who(hub, given) if given is not None else None
    if given is None or found is None:
        st.session_state.clear()
        return None
    whose = sha256(given).digest()
    if st.session_state.setdefault(_OF, whose) != whose:
        st.session_state.clear()
        st.session_state[_OF] = whose
    return Person(*found, queries.viewer(hub, found[0]))


def still_good(hub: Hub) -> bool:
    """For what refreshes itself: a page left open must not keep its session alive."""
    given = token()
    return given is not None and queries.session_holds(hub, given)


def holding(hub: Hub) -> Callable[[], bool]:
    """`still_good` for what is made later, by another thread, when somebody asks for it."""
    given = token()
    return lambda: given is not None and queries.session_holds(hub, given)


def sign_out(hub: Hub) -> None:
    """Ends the session for every tab; the gate then takes the cookie away."""
    given = token()
    if given is not None:
        actions.sign_out(hub, given)
