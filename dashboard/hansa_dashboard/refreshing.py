"""For parts of a page that refresh themselves, and must not keep the session of whoever left them open."""

from hansa.errors import Refused
from hansa.hub import queries
from hansa.hub.actions import Hub
from hansa.hub.queries import Viewer
from hansa_dashboard import session
from hansa_dashboard.session import Person


class Turns:
    """The runs of one such part. The first is its page's own, which has just asked who is there; each later one asks by
    itself, without noting that the session was used, and for the roles that the person has now."""

    def __init__(self) -> None:
        self._first = True

    def viewer(self, hub: Hub, person: Person) -> Viewer | None:
        """None if the session is over: the page is to be run anew, and shows the form."""
        first, self._first = self._first, False
        if not first and not session.still_good(hub):
            return None
        try:
            return queries.viewer(hub, person.name)
        except Refused:  # removed meanwhile
            return None
