"""The log in pages, under filters, and one entry with its receipt."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import inf

import pandas as pd
import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import log_pages, reviewing, tables, verifying
from hansa.hub.actions import Hub
from hansa.hub.log_pages import EVERYTHING, Mark, Wanted
from hansa.hub.reviewing import EntryDetail, LogEntry, LogState, Page
from hansa.jobs import KINDS
from hansa_dashboard.session import Person
from hansa_dashboard.views.audit.said import says
from hansa_dashboard.views.jobs import open_job
from hansa_dashboard.words import begins, clock, listed, moment, plain, some, title

ALL = "all"
_TRAIL, _TURN = "audit/trail", "audit/turn"
_PAYLOADS = {
    "none": "It commits to nothing beside it.",
    "kept": "What it commits to beside it (a plan, a reason, a note) is kept, and goes with the export.",
    "erased": "What it committed to beside it was erased.",
}


def show(hub: Hub, person: Person, _state: LogState) -> None:
    wanted = _filters(hub)
    number = _beginning() if wanted == EVERYTHING else None
    trail = _trail(wanted, number)
    start = trail[-1] if trail else None if number is None else reviewing.mark_of(hub, number)
    try:
        page = reviewing.page(hub, wanted, start)
    except Refused as refusal:
        st.error(plain(f"{refusal}."))
        return
    _turn(page, trail)
    chosen = _table(page.entries)
    st.caption(_sentence(page, wanted))
    _one(hub, person, chosen)


def _filters(hub: Hub) -> Wanted:
    with st.expander("Filters", icon=":material/filter_alt:"):
        by, act, run = st.columns(3)
        table, kind, times = st.columns(3)
        who = by.selectbox("By", [ALL, *reviewing.authors(hub)], key="audit/by")
        what = act.selectbox("Act", [ALL, *reviewing.ACTS], key="audit/act")
        job = run.text_input("Job", max_chars=32, key="audit/run", help="Its id, or how that begins.")
        known = tables.names(hub)
        over = table.selectbox("Table", [ALL, *known], key="audit/table", accept_new_options=True)
        of_kind = kind.selectbox(
            "Kind", [ALL, *KINDS], key="audit/kind", format_func=lambda name: ALL if name == ALL else title(name)
        )
        with times.container(horizontal=True):
            since = st.date_input("Since", None, key="audit/since")
            until = st.date_input("Until", None, key="audit/until", help="With this day. By the clock of who acted.")
    return Wanted(
        by=_named(who),
        act=_named(what),
        since=0.0 if since is None else begins(since),
        until=inf if until is None else begins(until + timedelta(days=1)),
        run=job.strip().lower(),
        table=_named(over),
        kind=_named(of_kind),
    )


def _named(chosen: str | None) -> str:
    return "" if chosen in (None, ALL) else str(chosen)


def _beginning() -> int | None:
    return st.number_input(
        "From entry", 0, value=None, step=1, width=160, key="audit/from", placeholder="the newest", help="And down."
    )


def _trail(wanted: Wanted, number: int | None) -> list[Mark]:
    """Where the pages begin that were turned since the filters last changed: the last is the one to show."""
    kept, trail = st.session_state.get(_TRAIL, (None, []))
    if kept != (wanted, number):
        trail = []
        _go(wanted, number, trail)
    return list(trail)


def _go(wanted: Wanted, number: int | None, trail: Sequence[Mark]) -> None:
    st.session_state[_TRAIL] = ((wanted, number), list(trail))
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1  # another table: no row of it is chosen yet


def _turn(page: Page, trail: Sequence[Mark]) -> None:
    (wanted, number), _ = st.session_state[_TRAIL]
    older = [*trail, page.older] if page.older is not None else trail
    with st.container(horizontal=True):
        for label, to, there in (
            ("Newest", [], bool(trail)),
            ("Newer", trail[:-1], bool(trail)),
            ("Older", older, page.older is not None),
        ):
            st.button(label, disabled=not there, on_click=_go, args=(wanted, number, to), key=f"audit/{label}")


def _table(entries: Sequence[LogEntry]) -> LogEntry | None:
    """With a column for the log where some are of one that is over; gives the entry whose row is chosen."""
    logs = {"Log": [entry.log for entry in entries]} if len({entry.log for entry in entries}) > 1 else {}
    shown = pd.DataFrame(
        {
            "Number": [entry.number for entry in entries],
            "At": [moment(entry.at) for entry in entries],
            "Act": [entry.act for entry in entries],
            "By": [entry.by for entry in entries],
            "Job": [entry.run[:8] for entry in entries],
            "Final": [entry.final for entry in entries],
            "Details": [details(entry.details) for entry in entries],
            **logs,
        }
    )
    event = st.dataframe(
        shown,
        hide_index=True,
        height=520 if len(entries) > 14 else "auto",
        column_config={
            "Number": st.column_config.NumberColumn(width=70),
            "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150),
            "Job": st.column_config.TextColumn(width=90),
            "Details": st.column_config.TextColumn(width="large"),
        },
        on_select="rerun",
        selection_mode="single-row",
        key=f"audit/entries {st.session_state[_TURN]}",
    )
    rows = [row for row in event["selection"]["rows"] if row < len(entries)]
    return entries[rows[0]] if rows else None


def details(found: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in found.items())


def _sentence(page: Page, wanted: Wanted) -> str:
    """How many are shown and match, and in which order."""
    if page.count is None:
        of = ""
    elif wanted != EVERYTHING and page.count > log_pages.COUNTED:
        of = f" of more than {log_pages.COUNTED:,}"
    else:
        of = f" of {page.count:,}"
    if wanted.table or wanted.kind:
        order = "the job that was proposed last first"
    elif wanted.run or (wanted.since <= 0 and wanted.until == inf):
        order = "the newest first"
    else:
        order = "in the order of their authors' clocks, the newest first"
    short = ""
    if page.older is not None and len(page.entries) < 100:
        short = " Few match, and the search stopped here: Older goes on."
    return f"{some(len(page.entries), 'entry', 'entries')}{of}, {order}. The clock is that of who acted.{short}"


# ---- one entry ----


def _one(hub: Hub, person: Person, chosen: LogEntry | None) -> None:
    number = st.number_input(
        "Open entry", 0, value=None, step=1, width=160, key="audit/entry", placeholder="its number", help="Or its row."
    )
    if chosen is None and number is None:
        return
    found = reviewing.entry(hub, chosen.number, chosen.log) if chosen else reviewing.entry(hub, int(number or 0))
    if found is None:
        st.info(f"The log has no entry {number}.")
        return
    with st.container(border=True):
        _shown(hub, person, found)


def _shown(hub: Hub, person: Person, found: EntryDetail) -> None:
    entry = found.entry
    who = "The hub" if entry.by == "hub" else f"The member **{plain(entry.by)}**"
    st.subheader(f"Entry {entry.number}")
    st.markdown(f"{who} {says(entry.act)}. By its own clock that was {clock(entry.at)}.")
    st.markdown(f"It is number {found.sequence} of its author's own entries. {_signature(found)}")
    for name, value in entry.details.items():
        st.markdown(f"- {plain(name)}: {plain(value)}")
    st.markdown(_PAYLOADS[found.payload])
    st.markdown(_cover(found))
    st.caption("Its leaf in the tree, SHA-256 with a zero byte before the entry (RFC 6962):")
    st.code(entry.digest, language=None, wrap_lines=True)
    with st.container(horizontal=True):
        if entry.run and st.button("Open its job", key=f"audit/job {entry.number}"):
            open_job(entry.run)
        _receipt(hub, person, entry)


def _signature(found: EntryDetail) -> str:
    if not found.signed_under:
        return "**Its signature holds under no version of the charter that is here.**"
    key = "the hub's key" if found.entry.by == "hub" else "the key with which this member gives its word"
    return f"Its signature is by {key}, as version {found.signed_under} of the charter names it."


def _cover(found: EntryDetail) -> str:
    if not found.covered:
        return "No checkpoint covers it yet."
    times = [f"{plain(site)} ({clock(at)})" for site, at in found.cosigned]
    who = listed(times) or "nobody yet"
    final = "" if found.entry.final else f" It is not final: {found.quorum} members must cosign."
    return f"The checkpoint of {found.covered} entries covers it, cosigned by {who}.{final}"


def _receipt(hub: Hub, person: Person, entry: LogEntry) -> None:
    """It is small and made at once."""
    try:
        data = verifying.receipt(hub, person.viewer, entry.number, entry.log)
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.caption(plain(f"No receipt: {refusal}."))
        return
    name = f"hansa-entry-{entry.number}.tlog-proof"
    st.download_button("Receipt", data, name, "text/plain", on_click="ignore", icon=":material/receipt_long:")
