"""For who runs the hub: its processes, letters on their way, what was set aside, the line of jobs."""

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hansa.errors import Refused
from hansa.hub import operating, queries
from hansa.hub.actions import Hub
from hansa.hub.operating import Aside, InLine, Lane, Operations
from hansa_dashboard import session
from hansa_dashboard.allowed import admitted
from hansa_dashboard.session import Person
from hansa_dashboard.words import ago, moment, plain, size, some, took

EVERY = 5.0  # seconds between two looks
_MARKS = {"ok": ":material/check_circle:", "note": ":material/info:", "wrong": ":material/error:"}


def show(hub: Hub, person: Person) -> None:
    st.title("Operations")
    if not admitted(person, "operate"):
        return
    st.write("What runs, what waits and what was set aside. Of a question nothing is shown but that it is there.")
    _live(hub, person)
    st.subheader("A look at everything")
    st.write(
        "What `hansa hub status` finds: home, keys, certificates, database, every broker and mailbox, the log. A "
        "broker that is silent takes five seconds."
    )
    if st.button("Look now"):
        _findings(hub, person)


@st.fragment(run_every=EVERY)
def _live(hub: Hub, person: Person) -> None:
    """Refreshes itself, so it asks by itself whether the session is still good, and what the person may see now."""
    if not session.still_good(hub):
        st.rerun()
    now = time.time()
    try:
        found = operating.operations(hub, queries.viewer(hub, person.name), now)
    except Refused:
        st.rerun()
    _figures(found)
    st.subheader("Letters")
    _lanes(found.lanes, now)
    st.subheader("Jobs in line")
    _line(found.line, now)
    st.subheader("Letters set aside")
    _aside(found.aside)


def _figures(found: Operations) -> None:
    figures = (
        ("Processes", str(found.processes)),
        ("Letters waiting", str(sum(lane.waiting for lane in found.lanes))),
        ("Open jobs", str(sum(found.open.values()))),
        ("Free on the disk", size(found.free)),
        ("Database", "a server's" if found.database is None else size(found.database)),
        ("Hansa", found.version),
    )
    with st.container(horizontal=True):
        for label, value in figures:
            st.metric(label, value, border=True, width=165)
    if not found.processes:
        st.error("The hub does not run on this home: nothing is sent, and no job goes on. `systemctl start hansa-hub`")
    elif not found.leads:
        st.error("Only further workers run: the process that sends letters does not. `systemctl start hansa-hub`")


def _lanes(lanes: Sequence[Lane], now: float) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Site": [lane.site for lane in lanes],
                "Waiting for it": [lane.waiting for lane in lanes],
                "Sent so often": [lane.attempts for lane in lanes],
                "For at least": [took(0.0, lane.at_least) if lane.at_least else "" for lane in lanes],
                "From it, not worked off": [lane.unread for lane in lanes],
                "The oldest": [ago(lane.since, now) if lane.since is not None else "" for lane in lanes],
                "Last said hello": [ago(lane.seen_at, now) for lane in lanes],
                "Version": [lane.version or "not heard yet" for lane in lanes],
            }
        ),
        hide_index=True,
    )
    for lane in lanes:
        if lane.apart:
            st.warning(plain(f"{lane.site}: {lane.apart}."))
    st.caption("A letter waits until its receiver has acknowledged it. A site that says hello sets the counting back.")


def _line(jobs: Sequence[InLine], now: float) -> None:
    if not jobs:
        st.caption("No job is open.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Place": list(range(1, len(jobs) + 1)),
                "Job": [job.run[:8] for job in jobs],
                "Status": [_status(job) for job in jobs],
                "Since": [ago(job.since, now) if job.since is not None else "" for job in jobs],
                "Sites": [job.sites for job in jobs],
            }
        ),
        hide_index=True,
        height=320 if len(jobs) > 8 else "auto",
    )


def _status(job: InLine) -> str:
    if job.rests:
        return f"{job.status}, a person decides"
    return "its turn has come" if job.due else job.status


def _aside(letters: Sequence[Aside]) -> None:
    if not letters:
        st.caption("None.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "At": [moment(letter.at) for letter in letters],
                "Came by": [letter.came_by for letter in letters],
                "Not believed, because": [letter.reason for letter in letters],
            }
        ),
        hide_index=True,
        column_config={
            "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150),
            "Not believed, because": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption(f"The newest first, at most {operating.MOST_ASIDE}. They changed nothing.")


def _findings(hub: Hub, person: Person) -> None:
    with st.spinner("Trying every broker"):
        found = operating.findings(hub, person.viewer, time.time())
    wrong = sum(one.mark == "wrong" for one in found)
    if wrong:
        st.error(f"{some(wrong, 'thing is', 'things are')} wrong.")
    else:
        st.success("Nothing is wrong.")
    for one in sorted(found, key=lambda one: ("wrong", "note", "ok").index(one.mark)):
        mend = f" To mend it: {plain(one.mend)}." if one.mend else ""
        st.markdown(f"{_MARKS[one.mark]} **{plain(one.about)}**: {plain(one.says)}.{mend}")
