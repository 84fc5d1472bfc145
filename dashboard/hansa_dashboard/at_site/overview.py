"""How the site stands."""

import pandas as pd
import streamlit as st

from hansa.access import Person
from hansa_dashboard.at_site import session
from hansa_dashboard.words import ago, plain, size, some
from hansa_site import showing
from hansa_site.showing import OpenedSite, Overview


def show(site: OpenedSite, person: Person) -> None:
    st.title(plain(site.name))
    found = showing.overview(site)
    st.write(
        f"One of {some(found.members, 'institution')} of the consortium **{plain(found.consortium)}**, under version "
        f"{found.version} of its charter. You are **{plain(person.name)}**: {plain(', '.join(person.roles))}."
    )
    for place, (label, value) in zip(
        st.columns(4),
        (
            ("Waiting for a person", str(found.waiting)),
            ("Open jobs", str(found.open_jobs)),
            ("Open alarms", str(found.alarms)),
            ("Left this site", size(found.left)),
        ),
        strict=True,
    ):
        place.metric(label, value, border=True)
    _standing(found)
    st.subheader("Is all well?")
    st.caption(
        "Looks at the home, tables, certificates, database and mailbox, as `hansa site doctor` does; some seconds."
    )
    if st.button("Look"):
        _findings(site)


def _standing(found: Overview) -> None:
    if not found.processes:
        st.error("The site's process does not run: nothing is answered, and no decision is worked off.")
    else:
        st.markdown(f"{some(found.processes, 'process runs', 'processes run')} for this site.")
    if found.alarms:
        st.error(f"{some(found.alarms, 'alarm is', 'alarms are')} open: see **Log**.")
    version = f", of version {plain(found.hub_version)}" if found.hub_version else ""
    st.markdown(f"The hub's last letter{version}: {ago(found.heard_at, session.now())}.")
    if found.unacked:
        st.markdown(f"{some(found.unacked, 'letter waits', 'letters wait')} for the hub to say that they came.")


def _findings(site: OpenedSite) -> None:
    found = showing.findings(site, session.now())
    wrong = [one for one in found if one.mark == "wrong"]
    (st.error if wrong else st.success)(
        f"{some(len(wrong), 'thing is', 'things are')} wrong." if wrong else "All is well."
    )
    st.dataframe(
        pd.DataFrame(
            {
                "": [one.mark for one in found],
                "What": [one.about for one in found],
                "How it is": [one.says for one in found],
                "How to mend it": [one.mend for one in found],
            }
        ),
        hide_index=True,
    )
