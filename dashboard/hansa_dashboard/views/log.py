"""The entries of the log, and the check of its links."""

import pandas as pd
import streamlit as st

from hansa.errors import ProtocolViolation
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import LogEntry
from hansa_dashboard.session import Person
from hansa_dashboard.words import moment, plain, some, title

EVERYTHING = "all"
PROVES = (
    "This proves that no entry was changed, removed or put in without changing every digest after it. It does not "
    "prove that the hub never rewrote the whole of it or cut off its end: the hub alone writes this log, and nobody "
    "else has signed it yet. Compare the head with one that you wrote down earlier."
)


def show(hub: Hub, _person: Person) -> None:
    st.title("Log")
    size, head = queries.log_head(hub)
    st.write(
        f"{some(size, 'entry', 'entries')}. Each holds the digest of the one before; the newest digest is the head:"
    )
    st.code(head, language=None)
    if st.button("Check the links"):
        _check(hub)
    jobs = {job.run: f"{title(job.kind)}, {job.table}, {job.run[:8]}" for job in queries.jobs(hub, 500)}
    which, act, member, most = st.columns([3, 2, 2, 1])
    run = which.selectbox("Job", ["", *jobs], format_func=lambda run: jobs.get(run, EVERYTHING))
    limit = most.selectbox("Newest", [200, 1_000, 10_000])
    entries = queries.log(hub, limit, run)
    acts, members = sorted({entry.act for entry in entries}), sorted({entry.by for entry in entries})
    wanted_act = act.selectbox("Act", [EVERYTHING, *acts])
    wanted_member = member.selectbox("By", [EVERYTHING, *members])
    _table(
        [
            entry
            for entry in entries
            if wanted_act in (EVERYTHING, entry.act) and wanted_member in (EVERYTHING, entry.by)
        ]
    )


def _check(hub: Hub) -> None:
    try:
        size, head = queries.check_log(hub)
    except ProtocolViolation as violation:
        st.error(plain(f"The links do not hold: {violation}."))
        return
    st.success(f"The links of all {some(size, 'entry', 'entries')} hold, up to the head {head[:16]}…")
    st.caption(PROVES)


def _table(entries: list[LogEntry]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Number": [entry.number for entry in entries],
                "At": [moment(entry.at) for entry in entries],
                "Act": [entry.act for entry in entries],
                "By": [entry.by for entry in entries],
                "Job": [entry.run[:8] for entry in entries],
                "Digest": [f"{entry.digest[:16]}…" for entry in entries],
                "Details": [_details(entry.details) for entry in entries],
            }
        ),
        hide_index=True,
        height=520 if len(entries) > 14 else "auto",
        column_config={
            "Number": st.column_config.NumberColumn(width=70),
            "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150),
            "Job": st.column_config.TextColumn(width=90),
            "Details": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption(f"{some(len(entries), 'entry', 'entries')} shown, the newest first. The clock is the hub's.")


def _details(details: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in details.items())
