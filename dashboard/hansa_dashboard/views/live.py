"""A job that is open, once a second: where it is, how long it may take, what everybody was doing."""

import time

import streamlit as st

from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail
from hansa_dashboard.drawing.timeline import timeline
from hansa_dashboard.refreshing import Turns
from hansa_dashboard.session import Person
from hansa_dashboard.views import told
from hansa_dashboard.whereabouts import left, share, standing
from hansa_dashboard.words import badge, plain


@st.fragment(run_every=1)
def show(hub: Hub, person: Person, run: str, turns: Turns) -> None:
    viewer = turns.viewer(hub, person)
    detail = None if viewer is None else queries.job(hub, run, viewer)
    if detail is None or detail.view.ended_at is not None:
        st.rerun()
    now = time.time()
    _standing(detail, now)
    told.sites(detail)
    chart(detail, now)
    told.events(detail)


def _standing(detail: JobDetail, now: float) -> None:
    says = standing(detail.progress, now)
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(detail.view.status)
        st.markdown(plain(f"{says[:1].upper()}{says[1:]}."), width="content")
    done, rest = share(detail.progress), left(detail.progress, now)
    if done is not None:
        st.progress(done)
    if rest:
        st.caption(plain(rest))


def chart(detail: JobDetail, now: float) -> None:
    plot = timeline(detail, now)
    if plot is not None:
        st.caption(plain(plot.says))
        st.altair_chart(plot.chart, width="stretch", key="timeline", alt=plot.says)
