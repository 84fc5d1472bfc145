"""Up to where each member's reviewers have read the log, and what nobody there has read since."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hansa.hub import reviewing
from hansa.hub.actions import Hub
from hansa.hub.reviewing import LogState, SignOff
from hansa_dashboard.session import Person
from hansa_dashboard.words import clock, listed, moment, plain, some


def show(hub: Hub, person: Person, _state: LogState) -> None:
    found = reviewing.sign_offs(hub)
    st.write(
        "A sign-off is an entry of the member's own, signed by its site: somebody there has read the log so far. It is "
        "given at the site, in its console or with `hansa site review`, and nowhere else: nobody can sign off here."
    )
    _table(found)
    for one in found:
        if one.site == person.member:
            st.markdown(f"Your institution, {plain(one.site)}: {_sentence(one)}")
    false = [one.site for one in found if one.number is not None and not one.of_this_log]
    if false:
        st.error(
            plain(
                f"What {listed(false)} signed off is not what lies here: size or root of the sign-off are not those of "
                "this log. Compare copies of the log (above, Comparison), and ask there."
            )
        )
    st.caption("What a reviewer noted is committed to by the entry, and goes with the export.")


def _sentence(one: SignOff) -> str:
    if one.number is None:
        return f"it has not signed off yet; {some(one.unread, 'entry is', 'entries are')} unread."
    if not one.unread:
        return "it has read all of it."
    since = "" if one.since is None else f", the first of {clock(one.since)}"
    unread = some(one.unread, "entry is", "entries are")
    return f"it has read {some(one.size, 'entry', 'entries')}; {unread} unread{since}."


def _table(found: Sequence[SignOff]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [one.site for one in found],
                "Read up to": [one.size for one in found],
                "Signed off": [None if one.at is None else moment(one.at) for one in found],
                "By": [one.person or ("not named" if one.number is not None else "") for one in found],
                "Unread": [one.unread for one in found],
                "Unread since": [None if one.since is None else moment(one.since) for one in found],
                "Entry": pd.array([one.number for one in found], dtype="Int64"),
                "Of this log": [one.of_this_log if one.number is not None else None for one in found],
            }
        ),
        hide_index=True,
        column_config={
            "Signed off": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "Unread since": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
    )
