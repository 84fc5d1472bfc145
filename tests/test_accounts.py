"""People at the hub: invitations, one-time codes, attempts that must wait, and who may manage whom."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.errors import Refused
from hansa.hub import accounts, actions, attempts, second_factor
from hansa.hub.actions import Hub
from hansa.hub.models import Invitation, Person
from tests.test_views import NAME, PASSWORD, hub

__all__ = ["hub"]
SECRET, NOW = bytes(range(20)), 1_800_000_000.0


def code_at(now: float, secret: bytes = SECRET) -> str:
    return TOTP(secret, 6, SHA1(), 30).generate(int(now)).decode()


@pytest.fixture
def db(hub: Hub) -> Iterator[Session]:
    with Session(hub.engine) as db:
        yield db
        db.rollback()


def test_waits_double_and_end_at_a_quarter_of_an_hour() -> None:
    assert [attempts.wait_after("account", failures) for failures in (0, 4, 5, 6, 7, 14, 15, 90)] == [
        0,
        0,
        1,
        2,
        4,
        512,
        900,
        900,
    ]
    assert attempts.wait_after("address", 19) == 0
    assert attempts.wait_after("address", 20) == 1


def test_an_attempt_that_must_wait_is_not_counted_and_waiting_helps(db: Session) -> None:
    for turn in range(6):
        attempts.count(db, "ada", "::1", NOW + turn * 10)
    with pytest.raises(Refused, match="too many attempts: the next is looked at in 2 seconds"):
        attempts.count(db, "ada", "::1", NOW + 50)
    attempts.count(db, "ada", "::1", NOW + 53)
    with pytest.raises(Refused, match="in 3 seconds"):
        attempts.count(db, "ada", "::1", NOW + 54)


def test_an_hour_without_attempts_forgets_them(db: Session) -> None:
    for turn in range(6):
        attempts.count(db, "ada", "::1", NOW + turn * 10)
    attempts.count(db, "ada", "::1", NOW + 50 + attempts.FORGOTTEN_SECONDS + 1)
    attempts.count(db, "ada", "::1", NOW + 51 + attempts.FORGOTTEN_SECONDS + 1)


def test_who_knows_one_password_guesses_no_faster_at_others(db: Session) -> None:
    at = NOW
    for turn in range(attempts.FREE["address"]):
        attempts.count(db, "own", "::1", at)
        attempts.forgive(db, "own", "::1")
        attempts.count(db, f"name{turn}", "::1", at)
    with pytest.raises(Refused, match="too many attempts"):
        attempts.count(db, "another", "::1", at)


def test_a_code_is_taken_once_and_a_step_early_or_late(hub: Hub, db: Session) -> None:
    person = db.get_one(Person, NAME)
    second_factor.enrol(hub.desk, person, SECRET, code_at(NOW), NOW)
    assert SECRET not in (person.second or b"")
    assert not second_factor.check(hub.desk, person, code_at(NOW), NOW)  # it was used to turn codes on
    assert second_factor.check(hub.desk, person, code_at(NOW + 30), NOW)
    assert not second_factor.check(hub.desk, person, code_at(NOW + 30), NOW + 30)
    assert not second_factor.check(hub.desk, person, code_at(NOW + 90), NOW + 30)
    assert second_factor.check(hub.desk, person, code_at(NOW + 60)[:3] + " " + code_at(NOW + 60)[3:], NOW + 90)
    for wrong in ("", "000000x", "12345", "١٢٣٤٥٦"):
        assert not second_factor.check(hub.desk, person, wrong, NOW + 300)


def test_the_codes_are_those_of_rfc_6238(db: Session, hub: Hub) -> None:
    """Appendix B, SHA-1, the last six digits of each."""
    secret = b"12345678901234567890"
    for at, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        person = db.get_one(Person, NAME)
        person.second, person.second_used = None, 0
        second_factor.enrol(hub.desk, person, secret, code, float(at))
        assert person.second_used == at // 30


def test_with_codes_on_the_password_alone_opens_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts.time, "time", lambda: NOW)
    with pytest.raises(Refused, match="not the code of now"):
        accounts.enrol(hub, NAME, PASSWORD, SECRET, "000000")
    with pytest.raises(Refused, match="the password is wrong"):
        accounts.enrol(hub, NAME, "another password", SECRET, code_at(NOW))
    accounts.enrol(hub, NAME, PASSWORD, SECRET, code_at(NOW))
    with pytest.raises(Refused, match="asks for the code of now"):
        accounts.sign_in(hub, NAME, PASSWORD)
    with pytest.raises(Refused, match=r"^name or password is wrong$"):
        accounts.sign_in(hub, NAME, "another password", code_at(NOW + 30))
    token = accounts.sign_in(hub, NAME, PASSWORD, code_at(NOW + 30))
    assert accounts.account(hub, NAME).signs_in == "password and code"
    assert token
    with pytest.raises(Refused, match="was used before"):
        accounts.sign_in(hub, NAME, PASSWORD, code_at(NOW + 30))


def test_an_invitation_is_for_its_name_and_a_day(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts.time, "time", lambda: NOW)
    token = accounts.invite(hub, None, "ann", "east", "administrator")
    with Session(hub.reading) as db:
        assert bytes.fromhex(token) not in [row.token for row in db.scalars(select(Invitation))]
    for given, name in (("", "ann"), ("zz", "ann"), ("0" * 64, "ann"), (token, "bob"), (token[:-2], "ann")):
        with pytest.raises(Refused, match="this invitation is not good"):
            accounts.accept(hub, given, name, "a password of my own")
    with pytest.raises(Refused, match="at least 12"):
        accounts.accept(hub, token, "ann", "short")
    monkeypatch.setattr(accounts.time, "time", lambda: NOW + accounts.INVITED_SECONDS + 1)
    with pytest.raises(Refused, match="this invitation is not good"):
        accounts.accept(hub, token, "ann", "a password of my own")
    again = accounts.invite(hub, None, "ann", "east", "administrator")
    assert actions.who(hub, accounts.accept(hub, again, "ann", "a password of my own")) == ("ann", "east")


def test_only_an_administrator_manages_and_only_the_own_institutions_people(hub: Hub) -> None:
    accounts.accept(hub, accounts.invite(hub, None, "ann", "east", "administrator"), "ann", "a password of my own")
    for act in (
        lambda: accounts.invite(hub, NAME, "new", "east", "analyst"),
        lambda: accounts.invite(hub, "ann", "new", "west", "analyst"),
        lambda: accounts.invite(hub, "ann", "new", "", "operator"),
        lambda: accounts.tie(hub, "ann", "new", "west", "analyst", "https://x y"),
        lambda: accounts.remove(hub, NAME, "ann"),
        lambda: accounts.remove(hub, "ann", "ben"),
        lambda: accounts.remove(hub, "ann", "ann"),
        lambda: accounts.end_sessions(hub, NAME, "ben"),
        lambda: accounts.take_off_second(hub, "ann", "ben"),
        lambda: accounts.accounts(hub, NAME),
    ):
        with pytest.raises(Refused):
            act()
    assert [one.name for one in accounts.accounts(hub, "ann")] == [NAME, "ann"]
    token = accounts.sign_in(hub, NAME, PASSWORD)
    assert accounts.end_sessions(hub, "ann", NAME) == 1
    assert actions.who(hub, token) is None
    accounts.remove(hub, "ann", NAME)
    with pytest.raises(Refused, match="name or password is wrong"):
        accounts.sign_in(hub, NAME, PASSWORD)


def test_a_new_password_ends_every_session(hub: Hub) -> None:
    tokens = [accounts.sign_in(hub, NAME, PASSWORD) for _ in range(2)]
    with pytest.raises(Refused, match="the password is wrong"):
        accounts.change_password(hub, NAME, "not this one", "a new and longer one")
    accounts.change_password(hub, NAME, PASSWORD, "a new and longer one")
    assert [actions.who(hub, token) for token in tokens] == [None, None]
    assert accounts.sign_in(hub, NAME, "a new and longer one")


def test_an_account_at_the_identity_provider_is_tied_to_one_name_and_has_no_password(hub: Hub) -> None:
    accounts.tie(hub, None, "olga", "west", "analyst", "https://id.example 17")
    with pytest.raises(Refused, match="another person is tied"):
        accounts.tie(hub, None, "oleg", "west", "analyst", "https://id.example 17")
    for subject in ("", "https://id.example", "a b c"):
        with pytest.raises(Refused, match="issuer, a space"):
            accounts.tie(hub, None, "oleg", "west", "analyst", subject)
    assert actions.who(hub, accounts.sign_in_as(hub, "https://id.example 17")) == ("olga", "west")
    with pytest.raises(Refused, match="nobody here is tied"):
        accounts.sign_in_as(hub, "https://id.example 18")
    for password in ("", PASSWORD):
        with pytest.raises(Refused, match="name or password is wrong"):
            accounts.sign_in(hub, "olga", password)
