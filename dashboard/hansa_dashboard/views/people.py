"""A member's people at the hub: for its administrators, who let them in and end what they may do."""

import pandas as pd
import streamlit as st

from hansa.access import ROLES, Thing, may
from hansa.errors import Refused
from hansa.hub import accounts
from hansa.hub.accounts import Account
from hansa.hub.actions import Hub
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain

_GIVEN = [role for role in ROLES if role != "operator"]


def show(hub: Hub, person: Person) -> None:
    st.title("People")
    if not may(person.viewer, "manage people", Thing(member=person.member)):
        st.info("This page is for administrators: they let people of their institution in.")
        return
    st.write(
        f"Who of **{plain(person.member)}** may sign in at this hub. It decides nothing at your own site, where people "
        "have keys of their own (`hansa site add-person`)."
    )
    found = accounts.accounts(hub, person.name)
    st.dataframe(
        pd.DataFrame(
            {
                "Name": [one.name for one in found],
                "Roles": [one.roles for one in found],
                "Signs in with": [one.signs_in for one in found],
                "Open sessions": [one.sessions for one in found],
            }
        ),
        hide_index=True,
    )
    left, right = st.columns(2, gap="large")
    with left:
        _invite(hub, person)
    with right:
        _end(hub, person, [one for one in found if one.name != person.name])


def _invite(hub: Hub, person: Person) -> None:
    st.subheader("Let somebody in")
    by_provider = st.toggle("Signs in at the identity provider")
    with st.form("let in", clear_on_submit=True):
        name = st.text_input("Name", max_chars=32, help="Small letters, digits, dot, hyphen.").strip()
        roles = st.multiselect("Roles", _GIVEN, ["analyst"])
        subject = st.text_input("Issuer, a space, and the subject there").strip() if by_provider else ""
        sent = st.form_submit_button("Let in" if by_provider else "Make an invitation")
    if not sent:
        return
    try:
        if by_provider:
            accounts.tie(hub, person.name, name, person.member, ", ".join(roles), subject)
            st.success(plain(f"{name} may sign in at the identity provider."))
            return
        token = accounts.invite(hub, person.name, name, person.member, ", ".join(roles))
    except Refused as refusal:
        st.error(plain(f"Refused: {refusal}."))
        return
    st.success(plain(f"Give {name} this token in a way that only {name} sees. It is shown once, and good for a day:"))
    st.code(token, language=None)
    st.caption("It is used at the sign-in page, under “I was invited, and have a token”.")


def _end(hub: Hub, person: Person, others: list[Account]) -> None:
    st.subheader("End or mend")
    if not others:
        st.caption("Nobody else of your institution is here.")
        return
    with st.form("end"):
        name = st.selectbox("Who", [one.name for one in others])
        ends = st.form_submit_button("End all sessions")
        takes_off = st.form_submit_button("Take the second factor off", help="For who lost the app with the codes.")
        sure = st.checkbox("Yes, this person may not sign in any more")
        removes = st.form_submit_button("Remove the person")
    try:
        if ends:
            st.success(f"Ended: {accounts.end_sessions(hub, person.name, name)}.")
        elif takes_off:
            accounts.take_off_second(hub, person.name, name)
            st.success("Taken off.")
        elif removes and not sure:
            st.info("Say first that you are sure.")
        elif removes:
            accounts.remove(hub, person.name, name)
            st.rerun()
    except Refused as refusal:
        st.error(plain(f"Refused: {refusal}."))
