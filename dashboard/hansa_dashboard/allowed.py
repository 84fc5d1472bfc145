"""Whether what a page shows is for the person who looks, and the sentence where it is not."""

import streamlit as st

from hansa.access import NOTHING, Action, Thing, authorise
from hansa.errors import Refused
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain


def admitted(person: Person, action: Action, thing: Thing = NOTHING) -> bool:
    try:
        authorise(person.viewer, action, thing)
    except Refused as refusal:
        st.info(plain(f"{refusal}."))
        return False
    return True


def own(person: Person) -> Thing:
    """What belongs to the person's own member, and concerns it."""
    return Thing(member=person.member, proposer=person.member)
