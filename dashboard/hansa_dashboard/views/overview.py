"""What needs somebody, what is under way, what came out last, who is there. Refreshes itself."""

import time
from typing import Final

import pandas as pd
import streamlit as st

from hansa.hub import looking, queries
from hansa.hub.actions import Hub
from hansa.hub.looking import Silent, Which
from hansa.hub.queries import MemberView, Viewer
from hansa.hub.reviewing import LogState
from hansa_dashboard.refreshing import Turns
from hansa_dashboard.session import Person
from hansa_dashboard.views.jobs import row, rows
from hansa_dashboard.views.log import standing as standing_of_log
from hansa_dashboard.whereabouts import share, standing
from hansa_dashboard.words import ago, clock, plain, some

EVERY: Final = 5.0  # seconds
LATELY: Final = 7 * 86_400.0
OPEN_SHOWN, ENDED_SHOWN = 8, 5


def show(hub: Hub, person: Person) -> None:
    st.title("Overview")
    _board(hub, person, Turns())


@st.fragment(run_every=EVERY)
def _board(hub: Hub, person: Person, turns: Turns) -> None:
    viewer = turns.viewer(hub, person)
    if viewer is None:
        st.rerun()
    now = time.time()
    members, state, silent = queries.members(hub), queries.log_state(hub), looking.silent(hub)
    running = looking.count(hub, viewer, Which(state="open"))
    _figures(members, running, looking.count(hub, viewer), state)
    st.subheader("Needs attention")
    _attention(hub, viewer, silent, state, now)
    st.subheader("Open jobs")
    _open(hub, viewer, running, now)
    st.subheader("Last answers")
    last = looking.page(hub, viewer, Which(status="done"))[:ENDED_SHOWN]
    rows(last, "done", "There is no answer yet.")
    st.subheader("Members")
    _members(hub, members, now)
    st.subheader("Log")
    st.write(f"{some(state.size, 'entry', 'entries')}. {standing_of_log(state)} The root of the tree is")
    st.code(state.root, language=None)


def _figures(members: list[MemberView], running: int, jobs: int, state: LogState) -> None:
    seen = sum(member.seen_at is not None for member in members)
    figures = (
        ("Members seen", f"{seen} of {len(members)}"),
        ("Open jobs", f"{running:,}"),
        ("Jobs", f"{jobs:,}"),
        ("Log entries", f"{state.size:,}"),
    )
    with st.container(horizontal=True):
        for label, value in figures:
            st.metric(label, value, border=True, width=165)


def _attention(hub: Hub, viewer: Viewer, silent: list[Silent], state: LogState, now: float) -> None:
    """What waits for people first, then what went wrong, then who is away."""
    decide = looking.for_people(hub, viewer)
    badly = looking.ended_badly(hub, viewer, now - LATELY, ENDED_SHOWN)
    refusing = [witness for witness in state.witnesses if witness.refusal]
    if not (decide or badly or silent or refusing):
        st.caption("Nothing does.")
        return
    if decide:
        with st.container(border=True, gap="xsmall"):
            for job, until in decide:
                told = f"A person at {viewer.member} is to decide, until {clock(until)}: in the site's own console."
                row(job, "decide", plain(told))
    if badly:
        with st.container(border=True, gap="xsmall"):
            for job in badly:
                row(job, "badly", plain(f"Ended {ago(job.ended_at, now)}. {job.reason or 'No reason was given'}"))
    for site in silent:
        st.warning(plain(_silence(site, now)))
    for witness in refusing:
        st.warning(plain(f"{witness.site} does not cosign the log: {witness.refusal}"))


def _silence(site: Silent, now: float) -> str:
    if site.heard_at is None:
        return f"{site.site} was never heard."
    letters = some(site.letters, "letter", "letters")
    return f"{site.site} does not acknowledge {letters}; it last said anything else {ago(site.heard_at, now)}."


def _open(hub: Hub, viewer: Viewer, running: int, now: float) -> None:
    under_way = looking.under_way(hub, viewer, OPEN_SHOWN)
    if not under_way:
        st.caption("No job is open.")
        return
    with st.container(border=True, gap="xsmall"):
        for job, progress in under_way:
            row(job, "open", plain(f"{job.table}: {standing(progress, now)}"))
            done = share(progress)
            if done is not None:
                st.progress(done)
    if running > len(under_way):
        st.caption(f"These are the newest {len(under_way)} of {running}; the page of jobs has all.")


def _members(hub: Hub, members: list[MemberView], now: float) -> None:
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
