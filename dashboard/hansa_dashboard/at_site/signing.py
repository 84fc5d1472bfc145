"""The one form that binds: it asks for the passphrase of the person's key, for one signature, and forgets it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import streamlit as st

from hansa.access import Person
from hansa.errors import Refused
from hansa_dashboard.at_site import session
from hansa_dashboard.words import plain
from hansa_site import doing
from hansa_site.doing import Act
from hansa_site.showing import OpenedSite

PASSPHRASE = "Passphrase of your key"  # noqa: S105  # a label
HANDED_IN = (
    "Signed and handed in. The site's process does not answer: it works this off as soon as it runs, within an hour; "
    "after that it counts for nothing."
)
_TOLD = "told"  # what came of the last act
_TOLD_SECONDS = 15.0  # a page that watches something draws itself anew at any moment, and may not sweep it away
_REASON_CHARACTERS = 400


class Wish(NamedTuple):
    """What was pressed, with what was typed beside it."""

    label: str
    reason: str
    passphrase: str


def ask(key: str, labels: Sequence[str], reason: str = "") -> Wish | None:
    """The form, with a button a label, the first as the main one; what was pressed in this very run. The field of the
    passphrase is another one after each press, so it is empty, and what stood in it is held nowhere."""
    turn = st.session_state.setdefault(f"{key}/turn", 0)
    with st.form(key, enter_to_submit=False):  # Enter must not decide
        said = st.text_input(reason, max_chars=_REASON_CHARACTERS, key=f"{key}/reason") if reason else ""
        passphrase = st.text_input(
            PASSPHRASE, type="password", key=f"{key}/passphrase/{turn}", autocomplete="current-password"
        )
        with st.container(horizontal=True):
            pressed = [
                label
                for place, label in enumerate(labels)
                if st.form_submit_button(label, type="secondary" if place else "primary", key=f"{key}/{label}")
            ]
    if not pressed:
        return None
    st.session_state[f"{key}/turn"] = turn + 1
    return Wish(pressed[0], said.strip(), passphrase)


def carry_out(site: OpenedSite, person: Person, make: Callable[[], Act], wish: Wish, done: str) -> bool:
    """Signs, hands in, and waits for the site's process; whether it counts by now. What came of it is told at the head
    of the page, when that is run again."""
    try:
        with st.spinner("Signing; the site's process looks at it …"):
            signed = sign(site, person, make(), wish)
            worked_off = doing.hand_in(site.home, signed, session.now())
        tell("success" if worked_off else "warning", done if worked_off else HANDED_IN)
        return worked_off
    except Refused as refusal:
        tell("error", sentence(refusal))
        return False


def sign(site: OpenedSite, person: Person, act: Act, wish: Wish) -> doing.Signed:
    """Opens the person's key with what was typed, for this one signature."""
    passphrase = wish.passphrase.encode(errors="replace")
    return session.doors().trying(person.name, lambda: doing.sign(site.home, act, session.now(), passphrase=passphrase))


def tell(sort: str, text: str) -> None:
    """At the head of this page, in its runs of the next seconds."""
    st.session_state[_TOLD] = (sort, text, st.context.url, session.now() + _TOLD_SECONDS)


def told() -> None:
    sort, text, where, until = st.session_state.get(_TOLD, ("", "", None, 0.0))
    if text and where == st.context.url and session.now() < until:
        {"success": st.success, "warning": st.warning, "error": st.error}[sort](plain(text))
    else:
        st.session_state.pop(_TOLD, None)


def sentence(refusal: Refused) -> str:
    return f"Refused: {refusal}."
