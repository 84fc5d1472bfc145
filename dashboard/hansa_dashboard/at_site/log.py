"""This institution in the hub's log: its entries with their receipts, what it cosigned, alarms, and sign-offs."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa.errors import Refused
from hansa_dashboard.at_site import session, signing
from hansa_dashboard.at_site.paging import MOMENT, paged
from hansa_dashboard.at_site.session import allowed
from hansa_dashboard.words import ago, clock, moment, plain, some
from hansa_site import doing, showing
from hansa_site.showing import EntryView, OpenedSite

AT_ONCE = 50
SIGN_OFF = "Sign off the log"
_NOTE_CHARACTERS = 10_000


def show(site: OpenedSite, person: Person) -> None:
    st.title("Log")
    signing.told()
    _alarms(site)
    _head(site)
    _entries(site)
    _reviews(site, person)


def _alarms(site: OpenedSite) -> None:
    found = showing.alarms(site)
    open_ = [alarm for alarm in found if alarm.closed_at is None]
    for alarm in open_:
        st.error(plain(f"Alarm {alarm.number}, since {clock(alarm.at)}: {alarm.text}."))
    if open_:
        st.markdown(
            "Tell the other members by telephone, and compare heads with theirs (`hansa audit compare`). "
            "`hansa site alarms --close` closes an alarm once it is settled."
        )
    closed = [alarm for alarm in found if alarm.closed_at is not None]
    if closed:
        with st.expander(f"{some(len(closed), 'alarm')} that {'is' if len(closed) == 1 else 'are'} over"):
            lines = [f"- {clock(one.at)} to {clock(one.closed_at)}: {plain(one.text)}" for one in closed]
            st.markdown("\n".join(lines))


def _head(site: OpenedSite) -> None:
    head, (count, without) = showing.head(site), showing.counts(site)
    if head is None:
        st.info("The hub has shown no checkpoint of its log yet, so this site has cosigned nothing.")
        return
    final = f" Up to entry {head.final} it is final: enough members cosigned it." if head.final else ""
    st.markdown(
        f"This site cosigned the hub's log **{plain(head.log)}** up to **{head.size}** entries, "
        f"{ago(head.at, session.now())}.{final} Of its own {some(count, 'entry', 'entries')}, "
        f"{some(without, 'waits', 'wait')} for a receipt. The root of the tree, to compare with other members:"
    )
    st.code(head.root, language=None)


def _entries(site: OpenedSite) -> None:
    st.subheader("What this institution entered")
    found = paged("entries", AT_ONCE, lambda most, after: showing.entries(site, most, after))
    if not found:
        st.caption("Nothing more has been entered.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Entry": [entry.sequence for entry in found],
                "At": [moment(entry.at) for entry in found],
                "Act": [entry.act for entry in found],
                "Job": [entry.run[:8] for entry in found],
                "Number in the log": ["no receipt yet" if one.number is None else str(one.number) for one in found],
                "Details": ["; ".join(f"{name}: {text}" for name, text in one.details.items()) for one in found],
                "Says, and the log does not show it": [entry.says for entry in found],
            }
        ),
        hide_index=True,
        column_config={"At": MOMENT},
    )
    _receipt(site, found)


def _receipt(site: OpenedSite, found: list[EntryView]) -> None:
    given = {f"{entry.sequence}: {entry.act}": entry for entry in found if entry.number is not None}
    chosen = st.selectbox("Receipt of entry", list(given), None, placeholder="Choose one", format_func=str)
    if chosen is None:
        return
    entry = given[chosen]
    try:
        proof = showing.receipt(site, entry.sequence, entry.log)
    except Refused as refusal:
        st.error(plain(f"{refusal}."))
        return
    name = f"{site.name}-entry-{entry.sequence}.tlog-proof"
    st.download_button("Download the receipt", proof, name, "application/octet-stream", on_click="ignore")
    st.caption("A C2SP tlog-proof: it shows to anybody that the entry is in the log, whatever the hub says later.")


def _reviews(site: OpenedSite, person: Person) -> None:
    st.subheader("Sign-offs")
    if allowed(site, person, "review"):
        st.markdown(
            "Enters that you read the log as far as this site has cosigned it. The log shows your pseudonym, the size "
            "and a commitment to your note; the note itself goes to the hub, which keeps it."
        )
        note = st.text_area("What you found", max_chars=_NOTE_CHARACTERS, key="review note", height=120)
        wish = signing.ask("review", [SIGN_OFF])
        if wish is not None:
            make = lambda: doing.signing_off(site.home, person.name, note)  # noqa: E731
            signing.carry_out(site, person, make, wish, "The log is signed off.")
            st.rerun()
    else:
        st.caption("Auditors sign off the log.")
    for one in showing.reviews(site):
        how = (
            f", which counts for nothing: {one.refusal}" if one.refusal else "" if one.done else ", not worked off yet"
        )
        st.markdown(f"**{plain(one.person)}**, {clock(one.at)}, up to entry {one.size}{plain(how)}: {plain(one.note)}")
