"""The script that Streamlit runs for the consortium's page. `HANSA_HOME` names the hub's home."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import streamlit as st

from hansa.access import Action, Thing, may
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa_dashboard import session
from hansa_dashboard.session import Person
from hansa_dashboard.views import (
    account,
    budgets,
    consents,
    job,
    jobs,
    log,
    members,
    operations,
    overview,
    people,
    propose,
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
    ("members", "Members and charter", ":material/groups:", members.show),
    ("budgets", "Budgets", ":material/data_usage:", budgets.show),
    ("consents", "Consents", ":material/how_to_reg:", consents.show),
    ("log", "Audit", ":material/link:", log.show),
    ("operations", "Operations", ":material/monitor_heart:", operations.show),
    ("people", "People", ":material/group:", people.show),
    ("account", "Your account", ":material/person:", account.show),
)


def main() -> None:
    st.set_page_config(page_title="Hansa", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large")
    hub = session.the_hub()
    person = session.person(hub)
    if person is None:
        st.title("Your session has ended")
        st.logout()  # goes to the gate's form
        st.stop()
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
    chosen = st.navigation([*pages, one], position="sidebar")
    with st.sidebar:
        _who(hub, person)
    chosen.run()


def _visibility(path: str, person: Person) -> Literal["visible", "hidden"]:
    """In the navigation. Whoever goes to the address of a page that is for others meets a sentence."""
    needs: Mapping[str, Action] = {"operations": "operate", "people": "manage people"}
    if path not in needs or may(person.viewer, needs[path], Thing(member=person.member)):
        return "visible"
    return "hidden"


def _run(view: View, hub: Hub, person: Person) -> Callable[[], None]:
    """A page as Streamlit wants it: of nothing."""

    def run() -> None:
        view(hub, person)

    return run


def _who(hub: Hub, person: Person) -> None:
    charter = queries.charter(hub)
    st.caption(f"Consortium **{plain(charter.consortium)}**, charter version {charter.version}")
    whose = f"of **{plain(person.member)}**" if person.member else "who operates this hub"
    st.caption(f"Signed in as **{plain(person.name)}** {whose}")
    if st.button("Sign out", width="stretch"):
        session.sign_out(hub)
        st.rerun()


if __name__ == "__main__":
    main()
