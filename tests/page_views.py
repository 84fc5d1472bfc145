"""One view over a hub's home in Streamlit's own AppTest, as a person who is signed in sees it."""

from streamlit.testing.v1 import AppTest


def view(name: str, person: str, member: str, **query: str) -> AppTest:
    """`HANSA_HOME` names the home; nobody signs in."""
    source = (
        "from hansa.hub import queries\nfrom hansa_dashboard import session\n"
        f"from hansa_dashboard.views import {name}\n"
        f"who = queries.viewer(session.the_hub(), {person!r})\n"
        f"{name}.show(session.the_hub(), session.Person({person!r}, {member!r}, who))\n"
    )
    page = AppTest.from_string(source, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    return ran(page)


def ran(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception, [one.message for one in page.exception]
    return page


def said(page: AppTest) -> str:
    """Everything in words, as Markdown."""
    parts = [page.title, page.subheader, page.markdown, page.caption, page.info, page.warning, page.error, page.success]
    return "\n".join(str(part.value) for found in parts for part in found)
