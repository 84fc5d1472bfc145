"""A reviewer's sign-off: an entry of the member's own that says how far the log was read, and by whom."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from sqlalchemy.orm import Session

from hansa.crypto.keys import digest
from hansa.errors import Refused
from hansa.mail.blobs import Folder
from hansa.mail.database import open_engine
from hansa.messages import Digest, encode
from hansa_site import deeds
from hansa_site.deeds import Deed
from hansa_site.journal import Witnessed
from hansa_site.settings import read_settings
from hansa_site.vault import open_desk

LONGEST_NOTE = 10_000  # characters


class Review(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an auditor signs: the head of the log up to which it was read, and what was found there."""

    size: Annotated[int, Meta(ge=0, le=2**53)]
    root: Digest
    note: Annotated[str, Meta(pattern=r"\S", max_length=LONGEST_NOTE)]

    @property
    def digest(self) -> bytes:
        return digest("site/review", encode(self))


def begin(db: Session, origin: str, note: str) -> Review:
    """Of the newest checkpoint that this site cosigned in the log of this origin."""
    seen = db.get(Witnessed, origin)
    if seen is None:
        raise Refused("this site has cosigned nothing yet, so there is nothing that it could have read")
    try:
        return msgspec.convert([seen.size, seen.root, note], Review)
    except msgspec.ValidationError as error:
        raise Refused("a review has a note of one to 10,000 characters") from error


def deed(db: Session, origin: str, review: Review, by: Mapping[str, str]) -> Deed:
    """Refuses a head that is larger than what this site cosigned, or another of that size."""
    seen = db.get(Witnessed, origin)
    if seen is None or review.size > seen.size or (review.size == seen.size and review.root != seen.root):
        raise Refused("the review names a head of the log that this site has not cosigned")
    return Deed("log reviewed", {"size": str(review.size), "root": review.root.hex(), **by}, review.note.encode())


def sign_off(home: Path, note: str, now: float) -> int:
    """By whoever operates the site, with the member's keys and nobody's name; gives the size of what was read."""
    settings = read_settings(home)
    desk = open_desk(home, settings.name, Folder(home / "chunks"))
    engine = open_engine(settings.database)
    with Session(engine) as db, db.begin():
        review = begin(db, desk.charter.origin, note)
        deeds.write(db, desk, deed(db, desk.charter.origin, review, {}), "", now, secrets.token_bytes)
    engine.dispose()
    return review.size
