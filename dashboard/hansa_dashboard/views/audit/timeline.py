"""One job as the log tells it: who signed what, and when."""

from collections import Counter
from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import reviewing, verifying
from hansa.hub.actions import Hub
from hansa.hub.reviewing import LogEntry, LogState
from hansa_dashboard.session import Person
from hansa_dashboard.views.audit.said import says
from hansa_dashboard.words import moment, plain, some

SIGNED = {
    "proposal signed": "Question",
    "consent given": "Consent",
    "refused": "Refusal",
    "contributed": "Numbers",
    "locked": "Survivors",
    "unmasked": "Masks",
    "release agreed": "Release",
    "release seen": "Answer",
}
PHASES = {
    "asked": ("proposal asked", "proposal signed", "consent asked"),
    "consented": ("consent given",),
    "refused": ("refused", "decision refused"),
    "computed": ("setup complete", "contributed", "survivors locked", "locked", "unmasked", "total opened"),
    "released": ("release agreed", "figures seen", "released", "release seen", "answer read"),
}
NAMED = ("person", "plan", "answer", "step", "sites", "status", "session", "total", "header", "survivors", "shares")
OTHER = "ended, or beside it"
COLOURS = ("#2a7f9e", "#4f9d69", "#c0504d", "#8a949e", "#b8862b", "#9069a8")  # read on white and on near-black
SHORT = 24  # characters of a digest


def show(hub: Hub, person: Person, _state: LogState) -> None:
    given = st.query_params.get("run", "")
    asked = st.text_input("Job", given, max_chars=32, key="audit/story", help="Its id, or how that begins.")
    run = asked.strip().lower()
    if not run:
        st.caption("Name a job: every job's page shows its id, and so does every entry that belongs to one.")
        return
    try:
        entries = reviewing.story(hub, run)
    except Refused as refusal:
        st.error(plain(f"{refusal}."))
        return
    if not entries:
        st.info("The log tells of no job whose id begins so, or of several.")
        return
    run = entries[0].run
    waits = sum(not entry.final for entry in entries)
    final = "all of them final" if not waits else f"{waits} of them not final yet"
    st.write(f"Job {run}: {some(len(entries), 'entry', 'entries')}, {final}.")
    if len(entries) == reviewing.MOST_OF_JOB:
        st.caption(f"The job has more entries: these are the first {len(entries):,}.")
    st.altair_chart(chart(entries), width="stretch", key="audit/chart")
    st.subheader("Who signed what")
    st.dataframe(signed(entries), hide_index=True)
    st.caption("How many entries of each sort a member signed with its own key; a job of two steps has two of some.")
    st.subheader("Entry by entry")
    _table(entries)
    _crate(hub, person, run)


def signed(entries: Sequence[LogEntry]) -> pd.DataFrame:
    """A row a member, a column for each sort of entry that members sign in a job."""
    members = sorted({entry.by for entry in entries} - {"hub"})
    counts = Counter((entry.by, entry.act) for entry in entries)
    there = {act: name for act, name in SIGNED.items() if any(counts[member, act] for member in members)}
    columns = {name: [counts[member, act] for member in members] for act, name in there.items()}
    return pd.DataFrame({"Member": members, **columns})


def chart(entries: Sequence[LogEntry]) -> alt.Chart:
    """A line for each author; a mark where it acted."""
    phases = {act: phase for phase, acts in PHASES.items() for act in acts}
    table = pd.DataFrame(
        {
            "at": [moment(entry.at) for entry in entries],
            "by": [entry.by for entry in entries],
            "act": [entry.act for entry in entries],
            "entry": [entry.number for entry in entries],
            "phase": [phases.get(entry.act, OTHER) for entry in entries],
        }
    )
    order = ["hub", *sorted(set(table["by"]) - {"hub"})]
    legend = alt.Legend(orient="bottom", columns=2)
    made: alt.Chart = (
        alt.Chart(table)
        .mark_point(filled=True, size=70, opacity=0.75)
        .encode(
            x=alt.X("at:T", title="by the author's clock"),
            y=alt.Y("by:N", sort=order, title=None),
            shape=alt.Shape("phase:N", title=None, scale=alt.Scale(domain=[*PHASES, OTHER]), legend=legend),
            color=alt.Color("phase:N", title=None, scale=alt.Scale(domain=[*PHASES, OTHER], range=list(COLOURS))),
            tooltip=["entry", "by", "act", alt.Tooltip("at:T", format="%Y-%m-%d %H:%M:%S.%L")],
        )
        .properties(height=alt.Step(28))
    )
    return made


def _table(entries: Sequence[LogEntry]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Number": [entry.number for entry in entries],
                "At": [moment(entry.at) for entry in entries],
                "By": [entry.by for entry in entries],
                "What": [says(entry.act) for entry in entries],
                "Of": [_of(entry) for entry in entries],
                "Final": [entry.final for entry in entries],
            }
        ),
        hide_index=True,
        height=420 if len(entries) > 11 else "auto",
        column_config={
            "Number": st.column_config.NumberColumn(width=70),
            "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss.SSS", width=180),
            "What": st.column_config.TextColumn(width="medium"),
            "Of": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption("People stand under the pseudonyms of the log. What digests name is in the export and in the evidence.")


def _of(entry: LogEntry) -> str:
    """Pseudonym, digests and the like, each short enough for a line."""
    found = [(name, entry.details[name]) for name in NAMED if name in entry.details]
    return "; ".join(f"{name} {value[:SHORT]}{'…' if len(value) > SHORT else ''}" for name, value in found)


def _crate(hub: Hub, person: Person, run: str) -> None:
    if not verifying.may_see_evidence(hub, person.viewer, run):
        return
    st.subheader("As a package")
    st.write(
        "A Five Safes RO-Crate: plan, answer, evidence, who signed off, and the head of the log that vouches for it. "
        "It is made from an export that is verified first, and the answer is in it if it can be recomputed."
    )
    if not st.button("Prepare the RO-Crate", key="audit/crate"):
        return
    try:
        with st.spinner("Exporting, verifying and recomputing"):
            data = verifying.crate(hub, person.viewer, run)
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.error(plain(f"Not made: {refusal}."))
        return
    name = f"hansa-job-{run[:8]}-crate.zip"
    st.download_button("Download the RO-Crate", data, name, "application/zip", on_click="ignore")
