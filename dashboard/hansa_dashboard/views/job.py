"""One job: live while it is open, then its answer with all that a reader must know about it."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import actions, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail
from hansa.jobs import KINDS, decode_answer
from hansa_dashboard import drawing, session
from hansa_dashboard.session import Person
from hansa_dashboard.telling import hub_learns, protects, receives
from hansa_dashboard.words import badge, clock, listed, moment, plain, size, subject, title, took


def show(hub: Hub, person: Person) -> None:
    run = st.query_params.get("run", "")
    detail = queries.job(hub, run, person.viewer)
    if detail is None:
        st.title("Job")
        st.info("There is no such job at this hub, or it does not concern your institution.")
        return
    view = detail.view
    st.title(plain(title(view.kind)))
    about = subject(view.kind, detail.parameters)
    st.markdown(f"**{plain(about)}** in table **{plain(view.table)}**" if about else f"Table **{plain(view.table)}**")
    st.caption(f"Asked by {plain(view.person)} of {plain(view.proposer)}, {clock(view.created_at)}. Job {view.run}")
    if view.ended_at is None:
        if person.member == view.proposer and st.button("Cancel this job"):
            _cancel(hub, person, run)
        _live(hub, person, run)
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
        _answer(hub, person, detail)
    if detail.withheld:
        st.info(plain(f"The answer is for {listed(detail.recipients)}, for roles that read answers."))
    tabs = st.tabs(["Sites", "Timeline", "Who learned what", "Plan"])
    for tab, part in zip(tabs, (_sites, _timeline, _learned, _plan), strict=True):
        with tab:
            part(hub, detail)


@st.fragment(run_every=1)
def _live(hub: Hub, person: Person, run: str) -> None:
    """Refreshes itself, so it asks by itself whether the session is still good, and what the person may see now."""
    detail = queries.job(hub, run, queries.viewer(hub, person.name)) if session.still_good(hub) else None
    if detail is None or detail.view.ended_at is not None:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(detail.view.status)
        st.caption(plain(detail.view.step))
    _sites(hub, detail)
    _timeline(hub, detail)


def _cancel(hub: Hub, person: Person, run: str) -> None:
    try:
        actions.cancel(hub, person.name, run)
    except Refused as refusal:
        st.error(plain(f"Refused: {refusal}."))
        return
    st.rerun()


def _answer(hub: Hub, person: Person, detail: JobDetail) -> None:
    data = queries.answer_bytes(hub, detail.view.run, person.viewer) or b""
    for remark in detail.remarks:
        st.warning(plain(remark))
    try:
        picture = drawing.draw(decode_answer(data), subject(detail.view.kind, detail.parameters))
    except ProtocolViolation:
        st.info("This version has no table or plot for answers of this kind.")
        st.json(detail.answer)
        picture = None
    if picture is not None:
        _picture(picture)
    for note in detail.answer.get("notes", ()) if detail.answer else ():
        st.caption(f"Note: {plain(str(note))}.")
    st.caption(protects(detail.disclosure, detail.noise))
    with st.container(horizontal=True):
        name = f"hansa-{detail.view.kind}-{detail.view.run[:8]}"
        if picture is not None:
            st.download_button("Download CSV", drawing.csv(picture.table), f"{name}.csv", "text/csv", on_click="ignore")
        st.download_button("Download JSON", data, f"{name}.json", "application/json", on_click="ignore")


def _picture(picture: drawing.Picture) -> None:
    for place, (label, value) in zip(st.columns(max(4, len(picture.facts))), picture.facts, strict=False):
        place.metric(label, value)
    places = st.columns(min(2, len(picture.charts)))
    for index, chart in enumerate(picture.charts):
        places[index % 2].altair_chart(chart, width="stretch", key=f"plot {index}")
    st.dataframe(picture.table, hide_index=True, column_config=_formats(picture.table))


def _formats(table: pd.DataFrame) -> dict[str, Any]:
    numbers = table.select_dtypes("float").columns
    return {name: st.column_config.NumberColumn(format="%.6g") for name in numbers}


def _sites(_hub: Hub, detail: JobDetail) -> None:
    sites = detail.sites
    st.dataframe(
        pd.DataFrame(
            {
                "Site": [site.site for site in sites],
                "Stage": [site.stage for site in sites],
                "Consented": [site.consented for site in sites],
                "Reason": [site.reason for site in sites],
                "Letters, both ways": [size(site.bytes_moved) for site in sites],
                "Last change": [moment(site.changed_at) for site in sites],
            }
        ),
        hide_index=True,
        column_config={"Last change": st.column_config.DatetimeColumn(format="HH:mm:ss")},
    )


def _timeline(_hub: Hub, detail: JobDetail) -> None:
    """The newest first while the job is open, as told afterwards."""
    events = detail.timeline[::-1] if detail.view.ended_at is None else detail.timeline
    st.dataframe(
        pd.DataFrame(
            {
                "At": [moment(event.at) for event in events],
                "Site": [event.site or "hub" for event in events],
                "What": [event.text for event in events],
            }
        ),
        hide_index=True,
        column_config={
            "At": st.column_config.DatetimeColumn(format="HH:mm:ss.SSS", width=120),
            "Site": st.column_config.TextColumn(width=160),
            "What": st.column_config.TextColumn(width="large"),
        },
    )


def _learned(hub: Hub, detail: JobDetail) -> None:
    took_part = tuple(site.site for site in detail.sites if site.took_part)
    steps = [event.text for event in detail.timeline if not event.site and event.text.startswith("step ")]
    if not steps:
        st.write("No total was opened: nobody learned anything but who was asked what, and who answered.")
        return
    st.markdown(hub_learns(_corrupt(hub, detail)))
    if detail.view.kind in KINDS:
        st.markdown(f"- Beyond the answer, the totals tell **{plain(KINDS[detail.view.kind].learns)}**.")
    st.markdown(f"- The totals asked for: {plain(listed(steps))}.")
    st.markdown(f"- {receives(detail.recipients)}")
    if took_part:
        st.markdown(f"- The answer holds the numbers of {plain(listed(took_part))}.")


def _corrupt(hub: Hub, detail: JobDetail) -> int:
    """How many sites may collude with the hub, of those that the plan names."""
    try:
        return queries.floors(hub, len(detail.sites), detail.minimum_sites).corrupt
    except (Refused, NotEnoughSites):
        return 0


def _plan(_hub: Hub, detail: JobDetail) -> None:
    if detail.purpose:
        st.markdown(f"Purpose: **{plain(detail.purpose)}**.")
    st.markdown(f"Protection: **{plain(detail.protection)}**. Minimum sites: **{detail.minimum_sites}**. Parameters:")
    st.code(json.dumps(detail.parameters, indent=2, ensure_ascii=False), language="json")
    st.write("Digest of the plan, which proposer and participants signed:")
    st.code(detail.plan_digest, language=None)
    if detail.answer_digest:
        st.write("Digest of the answer, as the log holds it under “released”. It is the SHA-256 of the JSON file:")
        st.code(detail.answer_digest, language=None)
