"""Who looks at the console now. Asked anew on every run of the script, and of every part of it that runs by itself."""

import os
import time
from pathlib import Path

import streamlit as st

from hansa.access import Action, Person, Thing, may
from hansa_dashboard import gate
from hansa_dashboard.at_site.doors import SiteDoors, doors_of
from hansa_site import showing
from hansa_site.showing import OpenedSite

_WHO = "who"  # was here when this tab last ran


def doors() -> SiteDoors:
    """Of the site whose home `hansa site console` was started for."""
    return doors_of(Path(os.environ["HANSA_SITE_HOME"]))


def token() -> bytes:
    """What the browser's cookie holds; empty where it is none of ours."""
    return gate.token_in(st.context.cookies, doors().name) or b""


def now() -> float:
    return time.time()


def person(site: OpenedSite) -> Person | None:
    """With the roles of this very run; notes the use of the session. What a tab holds of one person is not for the
    next: where another has signed in meanwhile, it is forgotten."""
    name = doors().who(token())
    if st.session_state.get(_WHO, name) != name:
        st.session_state.clear()
    if name is None:
        return None
    st.session_state[_WHO] = name
    return showing.person(site, name)


def still_good() -> bool:
    """For what refreshes itself: a page left open must not keep its session alive."""
    return doors().holds(token())


def sign_out() -> None:
    doors().sign_out(token())


def allowed(site: OpenedSite, person: Person, action: Action) -> bool:
    """Whether to show a button for it; the door asks again."""
    return may(person, action, Thing(member=site.name))
