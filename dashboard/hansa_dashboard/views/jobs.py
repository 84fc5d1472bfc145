"""The list of jobs, and the way from one of them to its page."""

from collections.abc import Sequence

import streamlit as st

from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobView
from hansa_dashboard.session import Person
from hansa_dashboard.words import badge, clock, plain, subject, title, took

HEADS = ("Job", "Table", "Asked by", "When", "Took", "Status")
WIDTHS = (4, 1.2, 1.5, 2, 1.5, 1.5)
AT_ONCE = 25
_GROUPS = {"All": None, "Open": True, "Ended": False}


def show(hub: Hub, person: Person) -> None:
    st.title("Jobs")
    chosen = st.segmented_control("Which", list(_GROUPS), default="All", label_visibility="collapsed")
    wanted = _GROUPS[chosen or "All"]
    found = [job for job in queries.jobs(hub, 500, person.viewer) if wanted is None or wanted == (job.ended_at is None)]
    pages = max(1, -(-len(found) // AT_ONCE))
    page = int(st.number_input("Page", 1, pages, 1, width=140)) if pages > 1 else 1
    rows(hub, found[(page - 1) * AT_ONCE : page * AT_ONCE], "list", "No job is here yet.")


def open_job(run: str) -> None:
    """Leaves for the page of one job. Streamlit knows a page by its address; `hub.py` says what stands there."""
    st.switch_page(st.Page(_elsewhere, title="Job", url_path="job"), query_params={"run": run})


def _elsewhere() -> None:
    """Never run: the page of this address is the one in `hub.py`."""


def rows(hub: Hub, jobs: Sequence[JobView], key: str, empty: str) -> None:
    """One line a job, its title leading to its page."""
    if not jobs:
        st.caption(empty)
        return
    with st.container(border=True, gap="small"):
        for place, head in zip(st.columns(WIDTHS), HEADS, strict=True):
            place.caption(head)
        asked = queries.parameters(hub, [job.run for job in jobs])
        for job in jobs:
            _row(job, subject(job.kind, asked.get(job.run, {})), key)


def _row(job: JobView, about: str, key: str) -> None:
    name, over, asker, when, length, status = st.columns(WIDTHS, vertical_alignment="center")
    if name.button(f"**{plain(title(job.kind))}**  {plain(about)}", key=f"{key}/{job.run}", type="tertiary"):
        open_job(job.run)
    length_text = took(job.created_at, job.ended_at) if job.ended_at else job.step or "open"
    texts = ((over, job.table), (asker, job.proposer), (when, clock(job.created_at)), (length, length_text))
    for place, text in texts:
        place.markdown(f":small[{plain(text)}]")
    with status:
        badge(job.status)
