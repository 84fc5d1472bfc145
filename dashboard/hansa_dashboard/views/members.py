"""The members, their fingerprints, and the charter that they signed."""

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from hansa.hub import consortium, queries
from hansa.hub.actions import Hub
from hansa.hub.consortium import CharterVersion, MemberCard
from hansa_dashboard.allowed import admitted
from hansa_dashboard.session import Person
from hansa_dashboard.words import ago, clock, listed, moment, plain, some


def show(hub: Hub, person: Person) -> None:
    st.title("Members and charter")
    if not admitted(person, "see log"):
        return
    charter, cards = queries.charter(hub), consortium.member_cards(hub)
    st.write(
        f"**{plain(charter.consortium)}**: {some(len(cards), 'institution')} under version {charter.version} of their "
        "charter. What changes it is signed by the members; the hub only carries it."
    )
    _members(cards)
    _fingerprints(hub, cards)
    st.subheader("Rules")
    for about, sentence in consortium.rules(charter):
        st.markdown(f"- **{about}.** {plain(sentence)}")
    st.subheader("Versions of the charter")
    _versions(consortium.versions(hub))
    _downloads(hub, charter.version)


def _members(cards: Sequence[MemberCard]) -> None:
    now = time.time()
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [card.site for card in cards],
                "Institution": [card.name for card in cards],
                "In the charter": [_does(card) for card in cards],
                "Last said hello": [ago(card.seen_at, now) for card in cards],
                "Version": [card.version or "not heard yet" for card in cards],
                "Cosigned up to": pd.array([card.cosigned for card in cards], dtype="Int64"),
            }
        ),
        hide_index=True,
    )
    for card in cards:
        if card.apart:
            st.warning(plain(f"{card.site}: {card.apart}."))
        if card.refusal:
            st.error(plain(f"{card.site} does not cosign the log: {card.refusal}"))


def _does(card: MemberCard) -> str:
    return "signs charters" if card.cosigned is None else "signs charters, cosigns the log"


def _fingerprints(hub: Hub, cards: Sequence[MemberCard]) -> None:
    with st.expander("Fingerprints, to be read aloud"):
        st.write(
            "Twelve words that stand for all the keys of a party. Ask its people for theirs by telephone, and compare: "
            "what this page shows is what the hub says. The digits are the same, for who shares no language."
        )
        st.markdown(f"**The hub**  \n{plain(consortium.hub_fingerprint(hub))}")
        for card in cards:
            st.markdown(f"**{plain(card.site)}** ({plain(card.name)})  \n{plain(card.words)}  \n{plain(card.digits)}")


def _versions(found: Sequence[CharterVersion]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Version": [one.version for one in found],
                "Members": [one.members for one in found],
                "Signed by": [f"{listed(one.signed)} ({one.due} must)" for one in found],
                "Of the version before": [_passed(one) for one in found],
                "In force since": [None if one.adopted is None else moment(one.adopted) for one in found],
                "Digest": [one.digest for one in found],
            }
        ),
        hide_index=True,
        column_config={"In force since": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
    )
    if len(found) == consortium.MOST_VERSIONS:
        st.caption(f"The newest {consortium.MOST_VERSIONS}; the export holds all of them.")
    for one in found:
        if one.changes:
            since = "" if one.adopted is None else f", in force since {clock(one.adopted)}"
            with st.expander(f"What version {one.version} changed{since}"):
                for change in one.changes:
                    st.markdown(f"- {plain(change)}")
    st.caption(
        "The signatures were looked at for this page. A draft of the next version travels as a file between the hub's "
        "operator and the sites: until enough members signed it, the hub keeps none."
    )


def _passed(one: CharterVersion) -> str:
    return "" if one.passed is None else f"{listed(one.passed)} ({one.passing} must)"


def _downloads(hub: Hub, version: int) -> None:
    text, signed = consortium.charter_in_text(hub), consortium.signed_charter(hub)
    with st.container(horizontal=True):
        st.download_button("Charter in words", text, f"charter-{version}.toml", "text/plain", on_click="ignore")
        mime = "application/octet-stream"
        st.download_button("Charter as signed", signed, f"charter-{version}", mime, on_click="ignore")
    st.caption("The signed file is the one that lies in every site's home: the two must be the same, byte for byte.")
