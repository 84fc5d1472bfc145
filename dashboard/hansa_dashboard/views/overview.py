"""What stands where: members, open jobs, last answers, the log."""

import time

import pandas as pd
import streamlit as st

from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa_dashboard.session import Person
from hansa_dashboard.views.jobs import rows
from hansa_dashboard.views.log import standing
from hansa_dashboard.words import ago, some


def show(hub: Hub, person: Person) -> None:
    st.title("Overview")
    members, jobs, state = queries.members(hub), queries.jobs(hub, who=person.viewer), queries.log_state(hub)
    running = [job for job in jobs if job.ended_at is None]
    done = [job for job in jobs if job.status == "done"]
    now = time.time()
    seen = sum(member.seen_at is not None for member in members)
    for place, (label, value) in zip(
        st.columns(4),
        (
            ("Members seen", f"{seen} of {len(members)}"),
            ("Open jobs", str(len(running))),
            ("Answers", str(len(done))),
            ("Log entries", str(state.size)),
        ),
        strict=True,
    ):
        place.metric(label, value, border=True)
    st.subheader("Open jobs")
    rows(hub, running, "open", "No job is open.")
    st.subheader("Last answers")
    rows(hub, done[:5], "done", "There is no answer yet.")
    st.subheader("Members")
    _members(hub, members, now)
    st.subheader("Log")
    st.write(f"{some(state.size, 'entry', 'entries')}; {standing(state)} The root of the tree is")
    st.code(state.root, language=None)


def _members(hub: Hub, members: list[queries.MemberView], now: float) -> None:
    waiting = queries.letters_waiting(hub)
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [member.site for member in members],
                "Site last said hello": [ago(member.seen_at, now) for member in members],
                "Version": [member.version for member in members],
                "Tables": [", ".join(schema.table for schema in member.tables) for member in members],
                "Letters on their way": [waiting.get(member.site, 0) for member in members],
            }
        ),
        hide_index=True,
    )
