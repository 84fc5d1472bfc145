"""The log held to itself in place: the hub's own look at its tree, and the verdict of the verifier over an export."""

import time

import pandas as pd
import streamlit as st

from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import reviewing, verifying
from hansa.hub.actions import Hub
from hansa.hub.reviewing import LogState
from hansa.verify.verdict import Verdict
from hansa_dashboard.allowed import admitted, own
from hansa_dashboard.session import Person
from hansa_dashboard.words import ago, listed, plain, some

PROVES = (
    "The tree was made anew from the entries in this hub's database, and every checkpoint that the hub signed is of "
    "it. It is the hub that says so. To be sure without it, export the log and run `hansa audit verify` elsewhere: "
    "that checks every signature, every member's cosignature, and that nobody's entries are left out."
)
HERE = (
    "This was computed on the hub's machine, from an export that was deleted again. Whoever must not believe the hub "
    "downloads the export and runs `hansa audit verify` on a machine of their own; it recomputes the answers too, "
    "which was not done here."
)
SHOWN = 50  # findings


def show(hub: Hub, person: Person, state: LogState) -> None:
    if state.witnesses:
        st.subheader("Who cosigns")
        _witnesses(state)
    st.caption("The root of the tree:")
    st.code(state.root, language=None, wrap_lines=True)
    st.subheader("The tree")
    if state.size > reviewing.MOST_CHECKED:
        st.write(f"A tree of more than {reviewing.MOST_CHECKED:,} entries is checked at the hub: `hansa audit check`.")
    elif st.button("Check the tree"):
        _check(hub)
    st.subheader("Everything")
    if admitted(person, "review", own(person)):
        _verify(hub, person)


def _witnesses(state: LogState) -> None:
    now = time.time()
    st.dataframe(
        pd.DataFrame(
            {
                "Member": [witness.site for witness in state.witnesses],
                "Cosigned up to": [witness.size for witness in state.witnesses],
                "Last heard": [ago(witness.at, now) for witness in state.witnesses],
                "Does not cosign, because": [witness.refusal for witness in state.witnesses],
            }
        ),
        hide_index=True,
    )


def _check(hub: Hub) -> None:
    try:
        with st.spinner("Making the tree anew"):
            size, root = reviewing.check_log(hub)
    except ProtocolViolation as violation:
        st.error(plain(f"The log does not hold: {violation}."))
        return
    st.success(f"The tree of all {some(size, 'entry', 'entries')} holds, up to the root {root[:16]}…")
    st.caption(PROVES)


def _verify(hub: Hub, person: Person) -> None:
    st.write(
        "Every entry, signature, cosignature, version of the charter, consent, budget and release, held to each other "
        "by the code that an auditor runs, which shares none with the code that wrote the log."
    )
    mine = st.file_uploader(
        "Your own charter",
        key="audit/charter",
        max_upload_size=1,
        help="The file `charter` in your site's home. Without it the log is held to the charter that lies at this hub.",
    )
    if not st.button("Verify as an auditor would", type="primary"):
        return
    try:
        with st.spinner("Exporting and verifying"):
            verdict = verifying.verify(hub, person.viewer, None if mine is None else mine.getvalue())
    except (Refused, ProtocolViolation, NotEnoughSites) as refusal:
        st.error(plain(f"Not verified: {refusal}."))
        return
    _verdict(verdict)


def _verdict(verdict: Verdict) -> None:
    first = verdict.first_failure
    if first is not None:
        st.error(plain(f"False, first at {first.where}: {first.sentence}."))
    elif verdict.outcome == "open":
        st.warning("Nothing is false, but not everything is shown: something is missing, or a person should look.")
    else:
        st.success("Everything holds.")
    final = "final" if verdict.final else f"not final: {verdict.quorum} must"
    who = listed(sorted(verdict.cosigned)) or "nobody"
    st.markdown(
        plain(
            f"{some(verdict.size, 'entry', 'entries')}, {some(verdict.jobs, 'job')}, "
            f"{some(verdict.releases, 'release')}; cosigned by {who}, {final}. Of what entries commit to beside them "
            f"{some(verdict.payloads_opened, 'payload is', 'payloads are')} open and {verdict.payloads_erased} erased. "
            f"Version {verdict.charter} of the charter, digest {verdict.charter_digest}."
        )
    )
    if not verdict.own_charter:
        st.caption(
            "The charter came with the log. Compare its digest with that of your own, or upload yours: who makes up a "
            "consortium can make up its log."
        )
    if verdict.findings:
        st.dataframe(
            pd.DataFrame(
                {
                    "What": [found.severity for found in verdict.findings[:SHOWN]],
                    "Where": [found.where for found in verdict.findings[:SHOWN]],
                    "Sentence": [found.sentence for found in verdict.findings[:SHOWN]],
                }
            ),
            hide_index=True,
            column_config={"Sentence": st.column_config.TextColumn(width="large")},
        )
    hidden = sum(verdict.counts.values()) - min(len(verdict.findings), SHOWN)
    if hidden > 0:
        st.caption(f"And {some(hidden, 'finding')} more; `hansa audit verify --json` has them all.")
    st.caption(HERE)
