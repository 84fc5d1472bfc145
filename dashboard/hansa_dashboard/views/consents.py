"""Who consented to what, and who refused why."""

import pandas as pd
import streamlit as st

from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail, SiteProgress
from hansa_dashboard.session import Person
from hansa_dashboard.words import badge, clock, listed, plain, subject, title

NEWEST = 20


def show(hub: Hub, person: Person) -> None:
    st.title("Consents")
    st.write(
        "A consent is a site's signature over the digest of one plan. The site gives or refuses it by its own policy; "
        "nobody can give it on this page."
    )
    found = [queries.job(hub, job.run, person.viewer) for job in queries.jobs(hub, NEWEST, person.viewer)]
    if not found:
        st.caption("No job has been proposed yet.")
    for detail in found:
        if detail is not None:
            _job(detail)
    if len(found) == NEWEST:
        st.caption(f"These are the newest {NEWEST} jobs; the log holds all of them.")


def _job(detail: JobDetail) -> None:
    view = detail.view
    about = subject(view.kind, detail.parameters)
    with st.container(border=True):
        name, status = st.columns([5, 1], vertical_alignment="center")
        name.markdown(f"**{plain(title(view.kind))}**  {plain(about)} in table {plain(view.table)}")
        with status:
            badge(view.status)
        st.caption(f"Asked by {plain(view.proposer)}, {clock(view.created_at)}. {_count(detail.sites)}")
        st.dataframe(
            pd.DataFrame(
                {
                    "Site": [site.site for site in detail.sites],
                    "Consent": [_said(site) for site in detail.sites],
                    "Reason": [site.reason if _said(site) == "refused" else "" for site in detail.sites],
                    "Digest signed": [f"{detail.plan_digest[:24]}…" if site.consented else "" for site in detail.sites],
                }
            ),
            hide_index=True,
        )


def _said(site: SiteProgress) -> str:
    if site.consented:
        return "consented"
    return "refused" if site.stage == "refused" or site.reason else "no answer"


def _count(sites: tuple[SiteProgress, ...]) -> str:
    said = [_said(site) for site in sites]
    words = [f"{said.count(word)} {word}" for word in ("consented", "refused", "no answer") if word in said]
    return listed(words) + f" of {len(sites)}."
