"""The answer recomputed from its evidence, here and now; and how to do so without this hub."""

import streamlit as st

from hansa.errors import ProtocolViolation, Refused
from hansa.hub import job_detail
from hansa.hub.actions import Hub
from hansa.hub.job_detail import JobDetail, Recomputed
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain, some

ELSEWHERE = (
    "It is this hub that says so. To be sure without it, have the evidence written there, and recompute it anywhere "
    "with your own institution's charter:"
)


def show(hub: Hub, person: Person, detail: JobDetail) -> None:
    with st.expander("How to be sure of this answer"):
        if "see evidence" not in detail.may:
            st.write("The evidence is shown to auditors of the institutions that the job concerns; they can verify it.")
            return
        st.write(
            "Recomputes every total from what the sites signed, and the answer from the last total. It shows no site's "
            "numbers, and finds no site that lied about its own rows."
        )
        if st.button("Verify this answer"):
            _recompute(hub, person, detail.view.run)
        st.caption(ELSEWHERE)
        st.code(
            f"hansa audit evidence {detail.view.run} --out evidence.zip\n"
            "hansa audit replay --file evidence.zip --charter YOUR-OWN-CHARTER",
            language=None,
        )


def _recompute(hub: Hub, person: Person, run: str) -> None:
    try:
        with st.spinner("Recomputing"):
            found = job_detail.recompute(hub, run, person.viewer)
    except ProtocolViolation as violation:
        st.error(plain(f"It does not hold: {violation}."))
        return
    except Refused as refusal:
        st.error(plain(f"It can't be verified here: {refusal}."))
        return
    st.success(plain(says(found)))


def says(found: Recomputed) -> str:
    exact = "to the byte" if found.exact else "but for the last digits of numbers, as machines differ in them"
    signed = f"{some(found.signatures, 'signature holds', 'signatures hold')}"
    if found.chunks == found.of_chunks:
        totals = f"Every total of {some(found.steps, 'step')} was recomputed"
    else:
        totals = (
            f"{found.chunks} of {found.of_chunks} chunks of the totals, drawn by chance, were recomputed in "
            f"{some(found.steps, 'step')}"
        )
    return f"{totals}, {signed}, and the answer follows from the last total {exact}."
