"""What an auditor takes away: the export, and the record of processing activities. Made when asked for."""

import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import verifying
from hansa.hub.actions import Hub
from hansa.hub.reviewing import LogState
from hansa_dashboard.allowed import admitted, own
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain


def show(hub: Hub, person: Person, state: LogState) -> None:
    if not admitted(person, "review", own(person)):
        return
    st.subheader("The log")
    st.write(
        "As one archive: every entry, the tree, the charter, the checkpoints. What entries commit to beside them, and "
        "the evidence of releases, is in it for the jobs that concern your institution; of the others it is left out, "
        "as if it were erased. Unpack it, and run `hansa audit verify` on the folder."
    )
    if st.button("Prepare the export", key="audit/export"):
        _export(hub, person, state)
    st.subheader("Record of processing activities")
    st.write(
        "GDPR, article 30(1), as far as the log knows it: controllers, processing, categories of data, recipients, "
        "measures. It says what the controllers still have to add. It is made from an export that is verified first."
    )
    if st.button("Prepare the record", key="audit/record"):
        _record(hub, person)
    st.caption("The Five Safes RO-Crate of a job is prepared beside its story (above, A job).")


def _export(hub: Hub, person: Person, state: LogState) -> None:
    try:
        with st.spinner("Exporting"):
            data = verifying.export(hub, person.viewer)
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.error(plain(f"Not exported: {refusal}."))
        return
    name = f"hansa-log-{state.size}.zip"
    st.download_button("Download the export", data, name, "application/zip", on_click="ignore")


def _record(hub: Hub, person: Person) -> None:
    try:
        with st.spinner("Exporting and verifying"):
            record = verifying.record(hub, person.viewer)
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.error(plain(f"Not made: {refusal}."))
        return
    with st.container(horizontal=True):
        st.download_button("As text", record.markdown, "hansa-record.md", "text/markdown", on_click="ignore")
        st.download_button("As JSON", record.json, "hansa-record.json", "application/json", on_click="ignore")
