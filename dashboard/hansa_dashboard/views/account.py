"""A person's own account: roles, password, one-time codes, and sessions elsewhere."""

import streamlit as st

from hansa.errors import Refused
from hansa.hub import accounts
from hansa.hub.actions import Hub
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain, some

_SECRET = "secret of codes"  # noqa: S105  # the name under which it waits until it is confirmed


def show(hub: Hub, person: Person) -> None:
    st.title("Your account")
    own = accounts.account(hub, person.name)
    whose = f"of **{plain(person.member)}**" if person.member else "and operates this hub"
    st.markdown(f"**{plain(own.name)}** {whose}. Roles: {plain(own.roles)}. Signs in with: {plain(own.signs_in)}.")
    st.caption(f"Open now: {some(own.sessions, 'session')}, this one among them.")
    if st.button("End all my sessions", help="On every machine, here too."):
        accounts.end_sessions(hub, person.name, person.name)
        st.rerun()
    if own.signs_in == "identity provider":
        st.info("Password and second factor are your identity provider's: change them there.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        _password(hub, person)
    with right:
        _codes(hub, person, own.signs_in == "password and code")


def _password(hub: Hub, person: Person) -> None:
    st.subheader("Password")
    st.caption("At least 12 characters. A new one ends every session.")
    with st.form("password", clear_on_submit=True):
        old = st.text_input("Password of now", type="password", autocomplete="current-password")
        new = st.text_input(
            "New password", type="password", autocomplete="new-password", help="At least 12 characters."
        )
        sent = st.form_submit_button("Change")
    if not sent:
        return
    try:
        accounts.change_password(hub, person.name, old, new)
    except Refused as refusal:
        st.error(plain(f"Refused: {refusal}."))
        return
    st.rerun()  # every session of before has ended


def _codes(hub: Hub, person: Person, on: bool) -> None:
    st.subheader("Codes from an app")
    if on:
        st.write("Signing in asks for a code. An administrator of your institution takes that off, if the app is lost.")
        return
    if _SECRET not in st.session_state:
        st.write("A second factor: six digits from an app on your phone, new every 30 seconds (RFC 6238).")
        if st.button("Set up"):
            st.session_state[_SECRET] = accounts.new_secret()
            st.rerun()
        return
    secret = st.session_state[_SECRET]
    written, address = accounts.written(hub, person.name, secret)
    st.write("Put this secret into the app, by hand or as an address:")
    st.code(written, language=None)
    st.code(address, language=None)
    with st.form("codes", clear_on_submit=True):
        code = st.text_input("The code that the app shows now", autocomplete="one-time-code")
        password = st.text_input("Your password", type="password", autocomplete="current-password")
        sent = st.form_submit_button("Turn on")
    if sent:
        try:
            accounts.enrol(hub, person.name, password, secret, code)
        except Refused as refusal:
            st.error(plain(f"Refused: {refusal}."))
            return
        del st.session_state[_SECRET]
        st.rerun()
