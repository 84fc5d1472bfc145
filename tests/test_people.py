"""Who may sign in: names, argon2id, and sessions that end by themselves. The clock is an argument."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit.log import read
from hansa.errors import Refused
from hansa.hub.models import EntryRow, Login, Person
from hansa.hub.people import (
    IDLE_SECONDS,
    LONGEST_SECONDS,
    add_person,
    remove_person,
    sign_in,
    sign_out,
    who,
)
from hansa.mail.database import migrate, open_engine
from tests.test_letters import HUB as DESK

PASSWORD, TOKEN, NOW = "correct horse battery", bytes(range(32)), 1_000_000.0


@pytest.fixture(scope="module")
def with_ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('people')}/hub.sqlite")
    migrate(engine, "hub")
    with Session(engine) as db:
        add_person(db, "ada", "a", PASSWORD)
        db.commit()
        yield db
    engine.dispose()


@pytest.fixture
def db(with_ada: Session) -> Iterator[Session]:
    """A transaction that is never kept."""
    yield with_ada
    with_ada.rollback()


def test_a_password_is_kept_as_argon2id_and_nowhere_else(db: Session) -> None:
    kept = db.get_one(Person, "ada").password
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


def test_one_password_of_two_people_is_kept_as_two_hashes(db: Session) -> None:
    add_person(db, "bob", "b", PASSWORD)
    db.flush()
    assert db.get_one(Person, "bob").password != db.get_one(Person, "ada").password


def test_the_right_password_opens_a_session(db: Session) -> None:
    assert sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW).member == "a"
    found = who(db, TOKEN, NOW)
    assert found is not None
    assert found.name == "ada"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", PASSWORD + "x"),
        ("ada", PASSWORD.upper()),
        ("ada", PASSWORD[:-1]),
        ("ada", ""),
        ("ada", "\0" * 12),
        ("Ada", PASSWORD),
        ("bob", PASSWORD),
        ("", PASSWORD),
        ("bob", "no person has this password"),
    ],
)
def test_anything_else_opens_none_and_does_not_say_what_was_wrong(db: Session, name: str, password: str) -> None:
    with pytest.raises(Refused, match=r"^name or password is wrong$"):
        sign_in(db, DESK, name, password, TOKEN, NOW)
    assert who(db, TOKEN, NOW) is None
    assert db.scalars(select(Login)).all() == []


def test_only_the_digest_of_a_token_is_kept(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    db.flush()
    assert [login.token for login in db.scalars(select(Login))] == [sha256(TOKEN).digest()]
    assert who(db, sha256(TOKEN).digest(), NOW) is None


@pytest.mark.parametrize("token", [b"", bytes(32), TOKEN[:-1], TOKEN + b"\0"])
def test_another_token_is_nobodys(db: Session, token: bytes) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    assert who(db, token, NOW) is None


def test_a_session_ends_when_it_is_not_used(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    assert who(db, TOKEN, NOW + IDLE_SECONDS) is not None
    assert who(db, TOKEN, NOW + 2 * IDLE_SECONDS) is not None
    assert who(db, TOKEN, NOW + 3 * IDLE_SECONDS + 1) is None
    assert who(db, TOKEN, NOW + 3 * IDLE_SECONDS + 2) is None


def test_a_session_ends_after_eight_hours_however_it_is_used(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    now = NOW
    while now + IDLE_SECONDS <= NOW + LONGEST_SECONDS:
        now += IDLE_SECONDS
        assert who(db, TOKEN, now) is not None
    assert who(db, TOKEN, NOW + LONGEST_SECONDS + 1) is None


def test_signing_out_ends_this_session_and_no_other(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    sign_in(db, DESK, "ada", PASSWORD, bytes(32), NOW)
    sign_out(db, TOKEN)
    assert who(db, TOKEN, NOW) is None
    assert who(db, bytes(32), NOW) is not None
    sign_out(db, TOKEN)


def test_sessions_that_are_over_are_forgotten_at_the_next_sign_in(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    sign_in(db, DESK, "ada", PASSWORD, bytes(32), NOW + LONGEST_SECONDS + 1)
    db.flush()
    assert [login.token for login in db.scalars(select(Login))] == [sha256(bytes(32)).digest()]


def test_a_person_who_was_removed_is_signed_out_and_can_not_sign_in(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    remove_person(db, "ada")
    assert who(db, TOKEN, NOW) is None
    with pytest.raises(Refused):
        sign_in(db, DESK, "ada", PASSWORD, bytes(32), NOW)


def test_signing_in_is_logged_by_member_and_never_by_name(db: Session) -> None:
    sign_in(db, DESK, "ada", PASSWORD, TOKEN, NOW)
    rows = [row.data for row in db.scalars(select(EntryRow))]
    assert [(read(row).act, read(row).details["member"]) for row in rows] == [("signed in", "a")]
    assert b"ada" not in b"".join(rows)


@pytest.mark.parametrize("name", ["", "Ada", "1ada", ".ada", "a b", "ada\n", "x" * 33, "ä", "a/b", "ada'--"])
def test_other_than_small_letters_digits_dots_and_hyphens_is_no_name(db: Session, name: str) -> None:
    with pytest.raises(Refused, match="no name for a person"):
        add_person(db, name, "a", PASSWORD)


@pytest.mark.parametrize("name", ["b", "ada.byron-king", "x" * 32, "a1"])
def test_names_of_up_to_thirty_two_characters_are_taken(db: Session, name: str) -> None:
    add_person(db, name, "b", PASSWORD)
    assert db.get_one(Person, name).member == "b"


@pytest.mark.parametrize("password", ["", "x" * 11])
def test_a_password_has_at_least_twelve_characters(db: Session, password: str) -> None:
    with pytest.raises(Refused, match="at least 12"):
        add_person(db, "bob", "b", password)


def test_a_name_is_given_once(db: Session) -> None:
    with pytest.raises(Refused, match="there already"):
        add_person(db, "ada", "b", PASSWORD)
