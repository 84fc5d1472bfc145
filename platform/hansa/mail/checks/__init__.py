"""What is wrong at a party, and how to mend it, in words: what `hansa hub status` and `hansa site doctor` are made of.

    broker.py    a server: is it reached, believed, logged in to, and allowed to do what it must
    database.py  the database: is it reached, of which version; letters that wait or were set aside; the clock
    home.py      the home: private files, certificates, room on the disk, processes

Nothing here changes anything, and no sentence holds a URL: URLs hold passwords.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

Mark = Literal["ok", "note", "wrong"]


class Finding(Struct, frozen=True):
    """One line for the operator. `mend` says what to do about what is wrong; a note needs nothing done now."""

    mark: Mark
    about: str
    says: str
    mend: str = ""


def span(seconds: float) -> str:
    """A length of time, to two figures or so."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


def moment(at: float, now: float) -> str:
    """When, and how long ago."""
    told = datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{told}, {span(now - at)} ago" if now >= at else f"{told}, which lies {span(at - now)} ahead"
