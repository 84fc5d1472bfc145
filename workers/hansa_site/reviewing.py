"""A reviewer's sign-off: an entry of the member's own that says how far the log was read."""

import secrets
from pathlib import Path

from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.mail.blobs import Folder
from hansa.mail.database import open_engine
from hansa_site import deeds
from hansa_site.deeds import Deed
from hansa_site.journal import Witnessed
from hansa_site.settings import read_settings
from hansa_site.vault import open_desk


def sign_off(home: Path, note: str, now: float) -> int:
    """Enters that somebody read the log up to the checkpoint that this site cosigned; gives its size."""
    if not note.strip() or len(note) > 10_000:
        raise Refused("a review has a note of one to 10,000 characters")
    settings = read_settings(home)
    desk = open_desk(home, settings.name, Folder(home / "chunks"))
    engine = open_engine(settings.database)
    with Session(engine) as db, db.begin():
        seen = db.get(Witnessed, desk.charter.origin)
        if seen is None:
            raise Refused("this site has cosigned nothing yet, so there is nothing that it could have read")
        details = {"size": str(seen.size), "root": seen.root.hex()}
        deeds.write(db, desk, Deed("log reviewed", details, note.encode()), "", now, secrets.token_bytes)
        size = seen.size
    engine.dispose()
    return size
