"""Name and password."""

import streamlit as st

from hansa.errors import Refused
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa_dashboard import session
from hansa_dashboard.words import plain, some


def show(hub: Hub) -> None:
    charter = queries.charter(hub)
    _, middle, _ = st.columns([1, 1.2, 1])
    with middle:
        st.title("Hansa")
        st.write(
            f"The consortium **{plain(charter.consortium)}**: {some(len(charter.members), 'institution')} that compute "
            "together without showing one another their rows."
        )
        with st.form("sign in", enter_to_submit=True):
            name = st.text_input("Name", autocomplete="username")
            password = st.text_input("Password", type="password", autocomplete="current-password")
            sent = st.form_submit_button("Sign in", type="primary", width="stretch")
        if sent:
            _try(hub, name.strip(), password)
        st.caption(
            "A session ends after 15 minutes without use, after 8 hours, or when this tab is closed or loaded again."
        )


def _try(hub: Hub, name: str, password: str) -> None:
    try:
        session.sign_in(hub, name, password)
    except Refused as refusal:
        st.error(plain(str(refusal)))
        return
    st.rerun()
