"""The log, for whoever reads it: entries, a job's story, sign-offs, verification, comparison, downloads."""

from collections.abc import Callable, Mapping

import streamlit as st

from hansa.hub import reviewing
from hansa.hub.actions import Hub
from hansa.hub.reviewing import LogState
from hansa_dashboard.allowed import admitted
from hansa_dashboard.session import Person
from hansa_dashboard.views.audit import comparison, downloads, entries, sign_offs, timeline, verification
from hansa_dashboard.words import some

Part = Callable[[Hub, Person, LogState], None]
PARTS: Mapping[str, Part] = {
    "Entries": entries.show,
    "A job": timeline.show,
    "Sign-offs": sign_offs.show,
    "Verification": verification.show,
    "Comparison": comparison.show,
    "Downloads": downloads.show,
}


def show(hub: Hub, person: Person) -> None:
    st.title("Audit")
    if not admitted(person, "see log"):
        return
    state = reviewing.log_state(hub)
    st.write(f"{some(state.size, 'entry', 'entries')}, each signed by who acted. {standing(state)}")
    first = "A job" if st.query_params.get("run") else "Entries"
    st.session_state.setdefault("audit/part", first)
    chosen = st.segmented_control("Part", list(PARTS), label_visibility="collapsed", key="audit/part")
    PARTS[chosen or first](hub, person, state)


def standing(state: LogState) -> str:
    """How much of the log is final, and what that rests on."""
    if not state.quorum:
        return "The charter is of Hansa 0.1 and names no witnesses: the hub alone vouches for this log."
    if state.final == state.size:
        return f"All of it is final: {state.quorum} of {len(state.witnesses)} members cosigned it."
    missing = some(state.size - state.final, "entry waits", "entries wait")
    return f"The first {state.final} are final; {missing} for the cosignatures of {state.quorum} members."
