"""The script that Streamlit runs for a site's console. `HANSA_SITE_HOME` names the site's home."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from hansa.access import Person
from hansa.errors import ProtocolViolation, Refused
from hansa_dashboard.at_site import budgets, jobs, keys, left, log, overview, policy, session, tables, waiting
from hansa_dashboard.words import plain
from hansa_site.showing import OpenedSite

HERE = Path(__file__).parent
View = Callable[[OpenedSite, Person], None]
OVER = "Your session is over, or you are no longer one of this site's people."

PAGES: tuple[tuple[str, str, str, View], ...] = (
    ("overview", "Overview", ":material/dashboard:", overview.show),
    ("waiting", "Waiting", ":material/how_to_reg:", waiting.show),
    ("jobs", "Jobs", ":material/list_alt:", jobs.show),
    ("left", "What left", ":material/outbox:", left.show),
    ("tables", "Tables", ":material/table:", tables.show),
    ("budgets", "Budgets", ":material/savings:", budgets.show),
    ("policy", "Policy", ":material/gavel:", policy.show),
    ("log", "Log", ":material/link:", log.show),
    ("keys", "Keys and people", ":material/key:", keys.show),
)


def main() -> None:
    st.set_page_config(page_title="Hansa site", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large")
    try:
        site = session.doors().site
        person = session.person(site)
    except (Refused, ProtocolViolation) as refusal:
        st.error(plain(f"This site can't be shown: {refusal}."))
        return
    if person is None:
        st.info(OVER)
        st.logout()  # goes to the gate's form
        st.stop()
    pages = [
        st.Page(_run(view, site, person), title=title, icon=icon, url_path=path, default=path == "overview")
        for path, title, icon, view in PAGES
    ]
    chosen = st.navigation(pages, position="sidebar")
    with st.sidebar:
        _who(site, person)
    chosen.run()


def _run(view: View, site: OpenedSite, person: Person) -> Callable[[], None]:
    """A page as Streamlit wants it: of nothing."""

    def run() -> None:
        if view is not waiting.show:
            waiting.forget()
        try:
            view(site, person)
        except (Refused, ProtocolViolation) as refusal:
            st.error(plain(f"This can't be shown: {refusal}."))

    return run


def _who(site: OpenedSite, person: Person) -> None:
    st.caption(f"The site of **{plain(site.name)}**, on this machine")
    st.caption(f"Signed in as **{plain(person.name)}**, {plain(', '.join(person.roles))}")
    if st.button("Sign out", width="stretch"):
        session.sign_out()
        st.rerun()


if __name__ == "__main__":
    main()
