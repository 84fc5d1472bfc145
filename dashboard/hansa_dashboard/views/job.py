"""One job: live while it is open, then its answer with all that a reader must know about it."""

import streamlit as st

from hansa.errors import Refused
from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail
from hansa_dashboard.refreshing import Turns
from hansa_dashboard.session import Person
from hansa_dashboard.views import answer, live, told, verifying
from hansa_dashboard.words import badge, clock, listed, plain, subject, title, took

NOWHERE = "There is no such job at this hub, or it does not concern your institution."
_ASKED = "job to cancel"  # of which it was asked whether to cancel it


def show(hub: Hub, person: Person) -> None:
    run = st.query_params.get("run", "")
    detail = queries.job(hub, run, person.viewer)
    if detail is None:
        st.title("Job")
        st.info(NOWHERE)
        return
    view = detail.view
    st.title(plain(title(view.kind)))
    about = subject(view.kind, detail.parameters)
    st.markdown(f"**{plain(about)}** in table **{plain(view.table)}**" if about else f"Table **{plain(view.table)}**")
    st.caption(f"Asked by {plain(view.person)} of {plain(view.proposer)}, {clock(view.created_at)}. Job {view.run}")
    if view.ended_at is None:
        if "cancel" in detail.may:
            _cancel(hub, person, run)
        live.show(hub, person, run, Turns())
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(view.status)
        st.caption(f"after {took(view.created_at, view.ended_at)}")
    if view.reason:
        st.warning(plain(f"Reason: {view.reason}"))
    if detail.answer is not None:
        if st.session_state.get("answer read") != run:  # once a visit; the log has it once for ever
            actions.note_reading(hub, person.name, run)
            st.session_state["answer read"] = run
        answer.show(hub, person, detail)
    if detail.withheld:
        st.info(plain(f"The answer is for {listed(detail.recipients)}, for roles that read answers."))
    if detail.answer_digest:
        verifying.show(hub, person, detail)
    _told(hub, detail, view.ended_at)


def _told(hub: Hub, detail: JobDetail, ended: float) -> None:
    sites, timeline, learned, plan = st.tabs(["Sites", "Timeline", "Who learned what", "Plan"])
    with sites:
        told.sites(detail)
    with timeline:
        live.chart(detail, ended)
        told.events(detail)
    with learned:
        for line in told.learned(hub, detail):
            st.markdown(line)
    with plan:
        told.plan(detail)


def _cancel(hub: Hub, person: Person, run: str) -> None:
    """Asks once more: what is cancelled can't be gone on with."""
    if st.session_state.get(_ASKED) != run:
        if st.button("Cancel this job"):
            st.session_state[_ASKED] = run
            st.rerun()
        return
    st.warning("Every site then erases what it holds for this job, and it has no answer. It can only be asked anew.")
    with st.container(horizontal=True):
        sure, not_so = st.button("Yes, cancel it", type="primary"), st.button("No, let it go on")
    if not (sure or not_so):
        return
    st.session_state.pop(_ASKED)
    if sure:
        try:
            actions.cancel(hub, person.name, run)
        except Refused as refusal:
            st.error(plain(f"Refused: {refusal}."))
            return
    st.rerun()
