"""The list of jobs, and the way from one of them to its page."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import streamlit as st
from msgspec.structs import astuple

from hansa.hub import looking, queries
from hansa.hub.actions import Hub
from hansa.hub.looking import AT_ONCE, JobView, Which
from hansa.jobs import KINDS
from hansa_dashboard.session import Person
from hansa_dashboard.words import badge, clock, plain, some, subject, title, took

_STATES: Final[dict[str, Literal["all", "open", "ended"]]] = {"All": "all", "Open": "open", "Ended": "ended"}


def show(hub: Hub, person: Person) -> None:
    st.title("Jobs")
    which = _filter(hub)
    count = looking.count(hub, person.viewer, which)
    pages, above = max(1, -(-count // AT_ONCE)), st.container()
    key = "/".join(("jobs page", *astuple(which)))  # another list has a page of its own, and begins at the first
    page = st.pagination(pages, key=key, persist_state="session") if pages > 1 else 1
    with above:
        found = looking.page(hub, person.viewer, which, page)
        if found:
            first = (page - 1) * AT_ONCE + 1
            st.caption(f"{first} to {first + len(found) - 1} of {some(count, 'job')}, the newest first")
        rows(found, "list", "No job is here yet." if which == looking.ALL else "No job is like that.")


def _filter(hub: Hub) -> Which:
    chosen = st.segmented_control(
        "Which", list(_STATES), default="All", label_visibility="collapsed", key="jobs state", persist_state="session"
    )
    members = queries.members(hub)
    tables = sorted({schema.table for member in members for schema in member.tables})
    with st.container(horizontal=True):
        return Which(
            _STATES[chosen or "All"],
            _one_of("Kind", list(KINDS), title),
            _one_of("Table", tables),
            _one_of("Status", list(looking.STATUSES)),
            _one_of("Member", [member.site for member in members]),
            st.text_input("Job begins with", max_chars=32, width=170, key="jobs run", persist_state="session").strip(),
        )


def _one_of(label: str, options: list[str], name: Callable[[str], str] = str) -> str:
    """One of the options, or any: empty."""
    found = st.selectbox(
        label,
        ["", *options],
        format_func=lambda option: name(option) if option else "any",
        width=170,
        key=f"jobs {label}",
        persist_state="session",
    )
    return found or ""


def open_job(run: str) -> None:
    """Leaves for the page of one job. Streamlit knows a page by its address; `hub.py` says what stands there."""
    st.switch_page(st.Page(_elsewhere, title="Job", url_path="job"), query_params={"run": run})


def _elsewhere() -> None:
    """Never run: the page of this address is the one in `hub.py`."""


def rows(jobs: Sequence[JobView], key: str, empty: str) -> None:
    """A job's title leads to its page; below it, what a list has room for. Reads well on a phone, too."""
    if not jobs:
        st.caption(empty)
        return
    with st.container(border=True, gap="xsmall"):
        for job in jobs:
            row(job, key, _about(job))


def row(job: JobView, key: str, below: str) -> None:
    """`below` is Markdown."""
    about = subject(job.kind, job.parameters)
    with st.container(gap=None):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            label = f"**{plain(title(job.kind))}**  {plain(about)}"
            if st.button(label, key=f"{key}/{job.run}", type="tertiary"):
                open_job(job.run)
            badge(job.status)
        st.caption(below)


def _about(job: JobView) -> str:
    length = f"took {took(job.created_at, job.ended_at)}" if job.ended_at else job.step
    parts = [f"table {job.table}", f"asked by {job.proposer}", clock(job.created_at).rpartition(":")[0], length]
    return plain(" · ".join(part for part in parts if part))
