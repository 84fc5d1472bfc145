"""The exact figures of an answer before it is released: shown to a steward of the site, who is entered in the log."""

import secrets
from pathlib import Path

from sqlalchemy.orm import Session

from hansa.mail.blobs import Folder
from hansa.mail.database import open_engine
from hansa_site import deeds, pending, people
from hansa_site.deeds import Deed
from hansa_site.settings import read_settings
from hansa_site.vault import open_desk


def show(home: Path, run: str, person: str, now: float) -> bytes:
    """JSON; refuses who is no steward here, or can't open the key of one."""
    settings = read_settings(home)
    desk = open_desk(home, settings.name, Folder(home / "chunks"))
    engine = open_engine(settings.database)
    with Session(engine) as db, db.begin():
        run = pending.whole(db, run)
        seen_by = people.opened(db, home, person, settings.name, "see figures")
        exact = pending.figures(db, run)
        deeds.write(db, desk, Deed("figures seen", {"person": seen_by.pseudonym}), run, now, secrets.token_bytes)
    engine.dispose()
    return exact
