"""Doors for who signs in, and for who lets people in: each is one transaction, and asks `access` itself.

A person comes in by an invitation (a one-time token, good for a day, bound to name, member and roles), by the hub's
command line, or by the consortium's identity provider, which the hub's operator or an administrator ties a name to.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from msgspec import Struct
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hansa.access import Thing, authorise
from hansa.errors import Refused
from hansa.hub import attempts, people, second_factor, settings
from hansa.hub.actions import Hub
from hansa.hub.models import Invitation, Login, Person
from hansa.hub.page import Page

INVITED_SECONDS = 24 * 3600
_USED = "this invitation is not good: it was used, or is older than a day, or was mistyped"


class Account(Struct, frozen=True):
    """A person as an administrator, and the person itself, may see it. `sessions`: those that are open now."""

    name: str
    roles: str
    signs_in: str  # "password", "password and code", "identity provider"
    sessions: int


def sign_in(hub: Hub, name: str, password: str, code: str = "", address: str = "") -> bytes:
    """The token of a new session."""
    token, now = secrets.token_bytes(32), time.time()
    with _counted(hub, name, address, now) as db:
        people.sign_in(db, hub.desk, name, password, token, now, code)
    return token


def sign_in_as(hub: Hub, subject: str) -> bytes:
    """The token of a new session for who the identity provider says it is: `issuer subject`."""
    token = secrets.token_bytes(32)
    with Session(hub.engine) as db, db.begin():
        person = people.of_subject(db, subject)
        if person is None:
            raise Refused("nobody here is tied to this account: an administrator of your institution does that")
        people.open_session(db, hub.desk, person, token, time.time())
    return token


@contextmanager
def _counted(hub: Hub, name: str, address: str, now: float) -> Iterator[Session]:
    """An attempt at a secret: counted and committed before it is looked at, forgiven if nothing was refused."""
    try:
        with Session(hub.engine) as db, db.begin():
            attempts.count(db, name, address, now)
    except IntegrityError as error:  # another first attempt, at this very moment
        raise Refused("too many attempts: the next is looked at in 1 second") from error
    with Session(hub.engine) as db, db.begin():
        yield db
        attempts.forgive(db, name, address)


def invite(hub: Hub, by: str | None, name: str, member: str, roles: str) -> str:
    """A one-time token for a new person of a member. `by`: the administrator who asks; None is who has the hub's
    home."""
    token, now = secrets.token_bytes(32), time.time()
    with Session(hub.engine) as db, db.begin():
        _manages(db, by, member)
        if member:
            hub.desk.charter.member(member)
        people.check_new(db, name, member, roles)
        db.execute(delete(Invitation).where((Invitation.expires_at < now) | (Invitation.name == name)))
        key = sha256(token).digest()
        db.add(Invitation(token=key, name=name, member=member, roles=roles, expires_at=now + INVITED_SECONDS))
    return token.hex()


def accept(hub: Hub, invitation: str, name: str, password: str, address: str = "") -> bytes:
    """Lets the invited person in, once; the token of its first session."""
    now, token = time.time(), secrets.token_bytes(32)
    try:
        given = bytes.fromhex(invitation.strip())
    except ValueError:
        given = b""
    with _counted(hub, name, address, now) as db:
        row = db.get(Invitation, sha256(given).digest(), with_for_update=True)
        if row is None or row.expires_at < now or row.name != name:
            raise Refused(_USED)
        person = people.add_person(db, row.name, row.member, password, row.roles)
        db.delete(row)
        db.flush()
        people.open_session(db, hub.desk, person, token, now)
    return token


def tie(hub: Hub, by: str | None, name: str, member: str, roles: str, subject: str) -> None:
    """Adds a person who signs in at the identity provider as `subject`: issuer, a space, and the subject there."""
    with Session(hub.engine) as db, db.begin():
        _manages(db, by, member)
        if member:
            hub.desk.charter.member(member)
        if subject.count(" ") != 1 or not 3 <= len(subject) <= 400:
            raise Refused("a person at an identity provider is written as issuer, a space, and the subject there")
        if people.of_subject(db, subject) is not None:
            raise Refused("another person is tied to this account already")
        people.add_person(db, name, member, "", roles, subject)


def remove(hub: Hub, by: str, name: str) -> None:
    """Ends the person and all its sessions. Nobody removes oneself, so a member keeps an administrator."""
    with Session(hub.engine) as db, db.begin():
        person = _person(db, name)
        _manages(db, by, person.member)
        if name == by:
            raise Refused("nobody removes oneself: another administrator does")
        people.remove_person(db, name)


def end_sessions(hub: Hub, by: str, name: str) -> int:
    """Of oneself, or of a person of one's member: gives how many were open."""
    with Session(hub.engine) as db, db.begin():
        person = _person(db, name)
        if name != by:
            _manages(db, by, person.member)
        return int(db.execute(delete(Login).where(Login.person == name)).rowcount)  # type: ignore[attr-defined]


def take_off_second(hub: Hub, by: str, name: str) -> None:
    """For who lost the app: an administrator of the member takes the second factor off."""
    with Session(hub.engine) as db, db.begin():
        person = _person(db, name)
        _manages(db, by, person.member)
        person.second = None


def new_secret() -> bytes:
    """Of one-time codes, to be shown to the person and then turned on (`enrol`)."""
    return secrets.token_bytes(second_factor.SECRET_BYTES)


def written(hub: Hub, name: str, secret: bytes) -> tuple[str, str]:
    """A secret of one-time codes as an app takes it: letters to type, and an address."""
    return second_factor.written(secret), second_factor.address(secret, name, hub.desk.charter.consortium)


def enrol(hub: Hub, name: str, password: str, secret: bytes, code: str) -> None:
    """Asks this person for one-time codes from now on."""
    now = time.time()
    with _counted(hub, name, f"session of {name}", now) as db:
        person = _proven(db, name, password)
        second_factor.enrol(hub.desk, person, secret, code, now)


def change_password(hub: Hub, name: str, password: str, new: str) -> None:
    """Ends every session of the person, this one too."""
    with _counted(hub, name, f"session of {name}", time.time()) as db:
        people.set_password(_proven(db, name, password), new)
        db.execute(delete(Login).where(Login.person == name))


def page_of(hub: Hub) -> Page:
    """What is set of the page, if it holds together."""
    page = settings.read_settings(hub.home).page
    page.check()
    return page


def accounts(hub: Hub, by: str) -> list[Account]:
    """Of the member of an administrator."""
    with Session(hub.reading) as db:
        asking = _person(db, by)
        authorise(people.access_of(asking), "manage people", Thing(member=asking.member))
        rows = db.scalars(select(Person).where(Person.member == asking.member).order_by(Person.name)).all()
        return [_account(db, row) for row in rows]


def account(hub: Hub, name: str) -> Account:
    with Session(hub.reading) as db:
        return _account(db, _person(db, name))


def _account(db: Session, row: Person) -> Account:
    way = "identity provider" if row.subject else "password and code" if row.second else "password"
    since = time.time() - people.IDLE_SECONDS
    opened = select(func.count()).select_from(Login).where(Login.person == row.name, Login.used_at > since)
    return Account(row.name, row.roles, way, db.scalar(opened) or 0)


def _person(db: Session, name: str) -> Person:
    row = db.get(Person, name)
    if row is None:
        raise Refused(f"no person '{name}' is known at this hub")
    return row


def _manages(db: Session, by: str | None, member: str) -> None:
    if by is not None:
        authorise(people.access_of(_person(db, by)), "manage people", Thing(member=member))


def _proven(db: Session, name: str, password: str) -> Person:
    person = _person(db, name)
    if not people.holds(person, password):
        raise Refused("the password is wrong")
    return person
