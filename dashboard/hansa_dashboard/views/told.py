"""What is told of a job besides its answer: its sites, its timeline, who learned what, its plan."""

import json

import pandas as pd
import streamlit as st

from hansa.errors import NotEnoughSites, Refused
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail
from hansa.jobs import KINDS
from hansa_dashboard.telling import hub_learns, receives
from hansa_dashboard.words import listed, moment, plain, size


def sites(detail: JobDetail) -> None:
    found = detail.sites
    st.dataframe(
        pd.DataFrame(
            {
                "Site": [site.site for site in found],
                "Stage": [site.stage for site in found],
                "Consented": [site.consented for site in found],
                "Reason": [site.reason for site in found],
                "Letters, both ways": [size(site.bytes_moved) for site in found],
                "Last change": [moment(site.changed_at) for site in found],
            }
        ),
        hide_index=True,
        column_config={"Last change": st.column_config.DatetimeColumn(format="HH:mm:ss")},
    )


def events(detail: JobDetail) -> None:
    """The newest first while the job is open, as told afterwards."""
    found = detail.timeline[::-1] if detail.view.ended_at is None else detail.timeline
    st.dataframe(
        pd.DataFrame(
            {
                "At": [moment(event.at) for event in found],
                "Site": [event.site or "hub" for event in found],
                "What": [event.text for event in found],
            }
        ),
        hide_index=True,
        column_config={
            "At": st.column_config.DatetimeColumn(format="HH:mm:ss.SSS", width=120),
            "Site": st.column_config.TextColumn(width=160),
            "What": st.column_config.TextColumn(width="large"),
        },
    )


def learned(hub: Hub, detail: JobDetail) -> list[str]:
    """Who learned what, a line of Markdown each."""
    steps = [event.text for event in detail.timeline if not event.site and event.text.startswith("step ")]
    if not steps:
        return ["No total was opened: nobody learned anything but who was asked what, and who answered."]
    lines = [hub_learns(_corrupt(hub, detail))]
    if detail.view.kind in KINDS:
        lines.append(f"- Beyond the answer, the totals tell **{plain(KINDS[detail.view.kind].learns)}**.")
    lines.append(f"- The totals asked for: {plain(listed(steps))}.")
    lines.append(f"- {receives(detail.recipients)}")
    took_part = [site.site for site in detail.sites if site.took_part]
    if took_part:
        lines.append(f"- The answer holds the numbers of {plain(listed(took_part))}.")
    return lines


def _corrupt(hub: Hub, detail: JobDetail) -> int:
    """How many sites may collude with the hub, of those that the plan names."""
    try:
        return queries.floors(hub, len(detail.sites), detail.minimum_sites).corrupt
    except (Refused, NotEnoughSites):
        return 0


def plan(detail: JobDetail) -> None:
    if detail.purpose:
        st.markdown(f"Purpose: **{plain(detail.purpose)}**.")
    st.markdown(f"Protection: **{plain(detail.protection)}**. Minimum sites: **{detail.minimum_sites}**. Parameters:")
    st.code(json.dumps(detail.parameters, indent=2, ensure_ascii=False), language="json")
    st.write("Digest of the plan, which proposer and participants signed:")
    st.code(detail.plan_digest, language=None)
    if detail.answer_digest:
        st.write("Digest of the answer, as the log holds it under “released”. It is the SHA-256 of the JSON file:")
        st.code(detail.answer_digest, language=None)
