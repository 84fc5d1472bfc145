"""The entries of the log, who cosigned them, and the check of their tree."""

import time

import pandas as pd
import streamlit as st

from hansa.errors import ProtocolViolation
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import LogEntry, LogState
from hansa_dashboard.session import Person
from hansa_dashboard.words import ago, moment, plain, some, title

EVERYTHING = "all"
PROVES = (
    "The tree was made anew from the entries in this hub's database, and every checkpoint that the hub signed is of "
    "it. It is the hub that says so. To be sure without it, export the log and run `hansa audit verify` elsewhere: "
    "that checks every signature, every member's cosignature, and that nobody's entries are left out."
)


def show(hub: Hub, person: Person) -> None:
    st.title("Log")
    state = queries.log_state(hub)
    st.write(f"{some(state.size, 'entry', 'entries')}, each signed by who acted. {standing(state)}")
    if state.witnesses:
        _witnesses(state)
    st.code(state.root, language=None)
    if st.button("Check the tree"):
        _check(hub)
    jobs = {job.run: f"{title(job.kind)}, {job.table}, {job.run[:8]}" for job in queries.jobs(hub, 500, person.viewer)}
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


def standing(state: LogState) -> str:
    """How much of the log is final, and what that rests on."""
    if not state.quorum:
        return "The charter is of Hansa 0.1 and names no witnesses: the hub alone vouches for this log."
    if state.final == state.size:
        return f"All of it is final: {state.quorum} of {len(state.witnesses)} members cosigned it."
    missing = some(state.size - state.final, "entry waits", "entries wait")
    return f"The first {state.final} are final; {missing} for the cosignatures of {state.quorum} members."


def _witnesses(state: LogState) -> None:
    now = time.time()
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [witness.site for witness in state.witnesses],
                "Cosigned up to": [witness.size for witness in state.witnesses],
                "Last heard": [ago(witness.at, now) for witness in state.witnesses],
                "Does not cosign, because": [plain(witness.refusal) for witness in state.witnesses],
            }
        ),
        hide_index=True,
    )


def _check(hub: Hub) -> None:
    try:
        size, root = queries.check_log(hub)
    except ProtocolViolation as violation:
        st.error(plain(f"The log does not hold: {violation}."))
        return
    st.success(f"The tree of all {some(size, 'entry', 'entries')} holds, up to the root {root[:16]}…")
    st.caption(PROVES)


def _table(entries: list[LogEntry]) -> None:
    """With a column for the log where some are of one that is over."""
    logs = {"Log": [entry.log for entry in entries]} if len({entry.log for entry in entries}) > 1 else {}
    st.dataframe(
        pd.DataFrame(
            {
                "Number": [entry.number for entry in entries],
                "At": [moment(entry.at) for entry in entries],
                "Act": [entry.act for entry in entries],
                "By": [entry.by for entry in entries],
                "Job": [entry.run[:8] for entry in entries],
                "Final": [entry.final for entry in entries],
                "Digest": [f"{entry.digest[:16]}…" for entry in entries],
                "Details": [_details(entry.details) for entry in entries],
                **logs,
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
    st.caption(f"{some(len(entries), 'entry', 'entries')} shown, the newest first. The clock is that of who acted.")


def _details(details: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in details.items())
