"""The script that Streamlit runs for the consortium's page. `HANSA_HOME` names the hub's home."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import streamlit as st

from hansa.access import may
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa_dashboard import session
from hansa_dashboard.session import Person
from hansa_dashboard.views import (
    budgets,
    consents,
    job,
    jobs,
    log,
    members,
    operations,
    overview,
    propose,
    sign_in,
    tables,
)
from hansa_dashboard.words import plain

HERE = Path(__file__).parent  # pictures of our own: Streamlit would fetch an icon that it knows from another company
View = Callable[[Hub, Person], None]

PAGES: tuple[tuple[str, str, str, View], ...] = (
    ("overview", "Overview", ":material/dashboard:", overview.show),
    ("propose", "Propose", ":material/edit_note:", propose.show),
    ("jobs", "Jobs", ":material/list_alt:", jobs.show),
    ("tables", "Tables", ":material/table:", tables.show),
    ("members", "Members", ":material/groups:", members.show),
    ("budgets", "Budgets", ":material/data_usage:", budgets.show),
    ("consents", "Consents", ":material/how_to_reg:", consents.show),
    ("log", "Audit", ":material/link:", log.show),
    ("operations", "Operations", ":material/monitor_heart:", operations.show),
)


def main() -> None:
    st.set_page_config(page_title="Hansa", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large")
    hub = session.the_hub()
    person = session.person(hub)
    pages = [
        st.Page(
            _run(view, hub, person),
            title=title,
            icon=icon,
            url_path=path,
            default=path == "overview",
            visibility=_visibility(path, person),
        )
        for path, title, icon, view in PAGES
    ]
    one = st.Page(_run(job.show, hub, person), title="Job", url_path="job", visibility="hidden")
    chosen = st.navigation([*pages, one], position="hidden" if person is None else "sidebar")
    if person is not None:
        with st.sidebar:
            _who(hub, person)
    chosen.run()


def _visibility(path: str, person: Person | None) -> Literal["visible", "hidden"]:
    """In the navigation. Whoever goes to the address of a page that is for others meets a sentence."""
    operates = person is not None and may(person.viewer, "operate")
    return "hidden" if path == "operations" and not operates else "visible"


def _run(view: View, hub: Hub, person: Person | None) -> Callable[[], None]:
    """A page as Streamlit wants it: of nothing. Whoever isn't signed in meets the form, whatever the address."""

    def run() -> None:
        if person is None:
            sign_in.show(hub)
        else:
            view(hub, person)

    return run


def _who(hub: Hub, person: Person) -> None:
    charter = queries.charter(hub)
    st.caption(f"Consortium **{plain(charter.consortium)}**, charter version {charter.version}")
    st.caption(f"Signed in as **{plain(person.name)}** of **{plain(person.member)}**")
    if st.button("Sign out", width="stretch"):
        session.sign_out(hub)
        st.rerun()


if __name__ == "__main__":
    main()
