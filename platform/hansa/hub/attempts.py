"""Slows down who guesses passwords: by account, and by the address that it comes from.

An attempt is counted before the password is looked at, and forgiven if it was right, so attempts at the same moment
count too. After `FREE` failures the next must wait one second, then two, four, at most a quarter of an hour. A name
that nobody has is counted like one that somebody has. An hour without an attempt forgets all.
"""

from collections.abc import Mapping
from hashlib import sha256
from math import ceil

from sqlalchemy import delete
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.hub.models import Attempt

FREE: Mapping[str, int] = {"account": 5, "address": 20}  # of one address many people may come
LONGEST_SECONDS = 15 * 60
FORGOTTEN_SECONDS = 3600


def _key(sort: str, value: str) -> bytes:
    return sha256(f"{sort}\0{value}".encode()).digest()


def wait_after(sort: str, failures: int) -> float:
    """Seconds after the last of so many failures in which no other attempt is looked at."""
    over = failures - FREE[sort]
    return 0.0 if over < 0 else min(2.0**over, LONGEST_SECONDS)


def count(db: Session, name: str, address: str, now: float) -> None:
    """Counts one that is about to be made; refuses it, and counts nothing, while another must wait."""
    db.execute(delete(Attempt).where(Attempt.last_at < now - FORGOTTEN_SECONDS))
    rows = []
    for sort, value in (("account", name), ("address", address)):
        row = db.get(Attempt, _key(sort, value), with_for_update=True)
        if row is None:
            row = Attempt(key=_key(sort, value), failures=0, last_at=now)
            db.add(row)
        left = row.last_at + wait_after(sort, row.failures) - now
        if row.failures and left > 0:
            raise Refused(f"too many attempts: the next is looked at in {ceil(left)} seconds")
        rows.append(row)
    for row in rows:
        row.failures, row.last_at = row.failures + 1, now


def forgive(db: Session, name: str, address: str) -> None:
    """The attempt was right. An address keeps its other failures: who has one account may be guessing at others."""
    db.execute(delete(Attempt).where(Attempt.key == _key("account", name)))
    row = db.get(Attempt, _key("address", address))
    if row is not None:
        row.failures = max(0, row.failures - 1)
