"""Copies of the log that somebody brings, held to each other and to this hub's own."""

from collections.abc import Sequence

import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import comparing
from hansa.hub.actions import Hub
from hansa.hub.comparing import Compared, Upload
from hansa.hub.reviewing import LogState
from hansa_dashboard.allowed import admitted, own
from hansa_dashboard.session import Person
from hansa_dashboard.words import plain

MOST_COPIES = 2
ABOUT = (
    "One log, or two stories? A copy is a checkpoint, as `hansa site head` writes it at a site, or an export in a ZIP "
    "archive, as this page gives it. The copies are held to each other and to the log that lies here."
)
HERE = (
    "This comparison was made by the hub whose log it judges. Between two members it is made without the hub: "
    "`hansa audit compare A B --charter YOUR-OWN-CHARTER`."
)


def show(hub: Hub, person: Person, _state: LogState) -> None:
    if not admitted(person, "review", own(person)):
        return
    st.write(ABOUT)
    files = st.file_uploader(
        "One or two copies",
        accept_multiple_files=True,
        max_upload_size=comparing.MOST_ARCHIVE // 2**20,
        key="audit/copies",
        help="A checkpoint of at most 1 MB, or an archive of at most 8 MB.",
    )
    with_own = st.checkbox("Hold them to this hub's own log too", True, key="audit/own")
    if not st.button("Compare", type="primary", disabled=not files):
        return
    if len(files) > MOST_COPIES:
        st.error("Two copies at a time are enough.")
        return
    if len(files) == 1 and not with_own:
        st.error("One copy is compared with nothing: bring another, or hold it to this hub's own log.")
        return
    try:
        with st.spinner("Comparing"):
            uploads = [Upload(file.name, file.getvalue()) for file in files]
            found = comparing.compare(hub, person.viewer, uploads, with_own)
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.error(plain(f"Not compared: {refusal}."))
        return
    _shown(found)


def _shown(found: Sequence[Compared]) -> None:
    for place, pair in enumerate(found):
        if pair.found is None:
            st.warning(plain(f"Nobody can tell: {pair.sentence}."))
        elif pair.found.outcome in ("forked", "lost"):
            st.error(plain(f"{pair.sentence[:1].upper()}{pair.sentence[1:]}."))
            _evidence(pair.found.fork, place)
        else:
            st.success(plain(f"One log: {pair.sentence}."))
    st.caption(HERE)


def _evidence(fork: bytes | None, place: int) -> None:
    if fork is None:
        return
    st.download_button(
        "Download the evidence",
        fork,
        "hansa-fork.json",
        "application/json",
        on_click="ignore",
        key=f"audit/fork {place}",
    )
    st.caption("It proves the fork to whoever has the charter: `hansa audit fork FILE --charter YOUR-OWN-CHARTER`.")
