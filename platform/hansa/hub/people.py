"""Who may sign in at the hub's page: names, argon2id hashes, and sessions that can be ended.

A session is 32 random bytes in the browser and their SHA-256 in the database; it ends after 15 minutes without use or
8 hours, and every run of a page asks again whether it is still good. Attempts that fail are counted in `attempts`.
"""

import re
import secrets
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hansa import access
from hansa.access import OPERATOR, roles_of
from hansa.errors import Refused
from hansa.hub import second_factor
from hansa.hub.log import record
from hansa.hub.models import Login, Person
from hansa.mail.boxes import Desk

IDLE_SECONDS, LONGEST_SECONDS = 15 * 60, 8 * 3600
NOTED_SECONDS = 20  # that the use of a session may lie back before it is noted again
SHORTEST_PASSWORD = 12
ROLES = "analyst, auditor"  # of who is given none
WRONG = "name or password is wrong"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_hasher = PasswordHasher()  # argon2id with the library's defaults: RFC 9106's second choice
_DECOY = _hasher.hash("no person has this password")


def add_person(
    db: Session, name: str, member: str, password: str, roles: str = ROLES, subject: str | None = None
) -> Person:
    """A person of `member`, or of none who operates the hub. The log knows a pseudonym, which only this row ties to the
    name. With a `subject` the person signs in at the identity provider, and has no password."""
    check_new(db, name, member, roles)
    if subject is None and len(password) < SHORTEST_PASSWORD:
        raise Refused(f"a password has at least {SHORTEST_PASSWORD} characters")
    person = Person(
        name=name,
        member=member,
        password=_hasher.hash(password) if subject is None else "",
        pseudonym=secrets.token_hex(8),
        roles=", ".join(roles_of(roles)),
        subject=subject,
        second_used=0,
    )
    db.add(person)
    return person


def check_new(db: Session, name: str, member: str, roles: str) -> None:
    """Refuses a name that can't be one, or is somebody's, and roles that don't go together."""
    if (member == OPERATOR) != ("operator" in roles_of(roles)):
        raise Refused("who operates the hub is no member's person, and everybody else is one's")
    if _NAME.fullmatch(name) is None:
        raise Refused(f"'{name}' is no name for a person: small letters, digits, dot, hyphen, at most 32")
    if db.get(Person, name) is not None:
        raise Refused(f"a person '{name}' is there already")


def access_of(row: Person) -> access.Person:
    return access.Person(row.name, row.member, roles_of(row.roles))


def pseudonym(db: Session, name: str) -> str:
    """Under which the log knows a person; empty for one that was removed."""
    person = db.get(Person, name)
    return "" if person is None else person.pseudonym


def remove_person(db: Session, name: str) -> None:
    db.execute(delete(Login).where(Login.person == name))
    db.execute(delete(Person).where(Person.name == name))
    db.flush()


def sign_in(db: Session, desk: Desk, name: str, password: str, token: bytes, now: float, code: str = "") -> Person:
    """Opens a session under `token`, which the caller draws. Takes as long for a name that isn't there; says of a
    one-time code that it is missing only to who knows the password."""
    person = db.get(Person, name)
    if not holds(person, password):
        raise Refused(WRONG)
    if person is None:
        raise Refused(WRONG)
    if person.second is not None:
        if not code:
            raise Refused("this account also asks for the code of now from your app")
        if not second_factor.check(desk, person, code, now):
            raise Refused("the code is wrong, or was used before")
    return open_session(db, desk, person, token, now)


def holds(person: Person | None, password: str) -> bool:
    """Whether it is this person's password; takes as long if nobody is there, or has none."""
    try:
        return _hasher.verify(person.password if person is not None and person.password else _DECOY, password)
    except (VerificationError, InvalidHashError):
        return False


def set_password(person: Person, password: str) -> None:
    if len(password) < SHORTEST_PASSWORD:
        raise Refused(f"a password has at least {SHORTEST_PASSWORD} characters")
    person.password = _hasher.hash(password)


def of_subject(db: Session, subject: str) -> Person | None:
    return db.scalar(select(Person).where(Person.subject == subject))


def open_session(db: Session, desk: Desk, person: Person, token: bytes, now: float) -> Person:
    db.execute(delete(Login).where(Login.started_at < now - LONGEST_SECONDS))
    db.add(Login(token=sha256(token).digest(), person=person.name, started_at=now, used_at=now))
    record(db, desk, now, "signed in", details={"person": person.pseudonym, "member": person.member})
    return person


def who(db: Session, token: bytes, now: float) -> Person | None:
    """The person of a session that is still good, and notes its use."""
    login = db.get(Login, sha256(token).digest())
    if login is None or now - login.used_at > IDLE_SECONDS or now - login.started_at > LONGEST_SECONDS:
        return None
    if now - login.used_at > NOTED_SECONDS:
        login.used_at = now
    return db.get(Person, login.person)


def sign_out(db: Session, token: bytes) -> None:
    db.execute(delete(Login).where(Login.token == sha256(token).digest()))
