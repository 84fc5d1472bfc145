"""Who may look at a site's console: passphrases of people's own keys, back-off, sessions that end."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from sqlalchemy.orm import Session

from hansa import key_file
from hansa.errors import Refused
from hansa.files import write_private
from hansa.wrapping import passphrase
from hansa_dashboard.at_site import doors as doors_module
from hansa_dashboard.at_site.doors import (
    FREE_TRIES,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    LONGEST_WAIT,
    MOST_REMEMBERED,
    WRONG,
    Backoff,
    SiteDoors,
    doors_of,
    doubling,
)
from hansa_site import people
from hansa_site.showing import OpenedSite
from tests.consoles import Console, quick_keys, secret
from tests.world import OPEN

ROLES = {"ann": "approver, administrator", "bob": "steward"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with pytest.MonkeyPatch.context() as patch:
        quick_keys(patch)
        yield Console(tmp_path_factory.mktemp("site"), OPEN, ROLES)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doors(console: Console, clock: Clock) -> SiteDoors:
    return SiteDoors(OpenedSite(console.home), clock)


def try_in(doors: SiteDoors, name: str = "ann", typed: str = "", address: str = "127.0.0.1") -> bytes:
    return doors.sign_in({"name": name, "passphrase": typed or secret(name)}, address)


def test_the_passphrase_of_the_own_key_opens_a_session_and_each_has_a_token_of_its_own(doors: SiteDoors) -> None:
    first, second = try_in(doors), try_in(doors, "bob")
    assert len(first) == len(second) == 32 and first != second
    assert (doors.who(first), doors.who(second)) == ("ann", "bob")
    assert doors.holds(first) and not doors.holds(bytes(32)) and not doors.holds(b"")


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("ann", "the passphrase of bob"),
        ("ann", "The passphrase of ann"),
        ("ann", "the passphrase of ann "),
        ("ann", "\0"),
        ("ann", "\ud800"),
        ("ann", "x" * 100_000),
        ("Ann", ""),
        ("nobody", ""),
        ("../ann", ""),
        ("ann\0", ""),
        ("", "the passphrase of ann"),
        ("x" * 100_000, ""),
    ],
)
def test_anything_else_opens_none_and_does_not_say_what_was_wrong(doors: SiteDoors, name: str, typed: str) -> None:
    with pytest.raises(Refused) as refused:
        try_in(doors, name, typed)
    assert str(refused.value) == WRONG
    assert not doors._sessions


def test_an_empty_form_opens_none(doors: SiteDoors) -> None:
    with pytest.raises(Refused, match=WRONG):
        doors.sign_in({}, "")


@pytest.mark.parametrize("name", ["ann", "nobody", "gone", "kept-elsewhere"])
def test_a_wrong_try_costs_one_key_derivation_whoever_is_named(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other_people(console)
    made = []
    for module in (key_file, people):
        monkeypatch.setattr(
            module, "stretched_once", lambda *given: made.append(1) or passphrase.stretched_once(*given)
        )
    with pytest.raises(Refused, match=WRONG):
        try_in(SiteDoors(OpenedSite(console.home), clock), name, "a guess that is wrong")
    assert made == [1]


def other_people(console: Console) -> None:
    """One who was removed, and one whose key lies in the keyring; once."""
    with Session(console.engine) as db, db.begin():
        if {row.name for row in people.everybody(db)} == set(ROLES):
            for name in ("gone", "kept-elsewhere"):
                (console.home / f"{name}.secret").write_text(secret(name))
                way = people.Way(passphrase_file=str(console.home / f"{name}.secret"))
                people.add(db, console.home, name, "approver", console.world.now, way)
            people.remove(db, "gone", console.world.now)
    write_private(console.home / "people" / "kept-elsewhere" / "keys.toml", b'store = "keyring"\n')


@pytest.mark.parametrize("name", ["gone", "kept-elsewhere"])
def test_who_was_removed_or_has_a_key_that_no_passphrase_opens_does_not_sign_in(
    console: Console, doors: SiteDoors, name: str
) -> None:
    other_people(console)
    with pytest.raises(Refused, match=WRONG):
        try_in(doors, name)


# ---- back-off ----


def fail(doors: SiteDoors, times: int, name: str = "ann", address: str = "127.0.0.1") -> None:
    for _ in range(times):
        with pytest.raises(Refused, match=WRONG):
            try_in(doors, name, "wrong", address)


def test_after_five_wrong_tries_even_the_right_one_waits_and_opens_no_key(
    doors: SiteDoors, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(doors, FREE_TRIES)
    with monkeypatch.context() as patch:
        patch.setattr(doors_module.doing, "knows", lambda *given: pytest.fail("a key was opened"))
        for _ in range(20):  # none of these makes the wait longer
            with pytest.raises(Refused, match="too many wrong tries: try again in 2 seconds"):
                try_in(doors)
    clock.now += 2.1
    assert doors.holds(try_in(doors))
    fail(doors, FREE_TRIES)  # the right one forgot the wrong ones before it


def test_each_further_wrong_try_waits_twice_as_long_up_to_a_quarter_of_an_hour(clock: Clock) -> None:
    backoff, waits = Backoff(clock, doubling), []
    for _ in range(FREE_TRIES + 12):
        before = clock.now
        while True:
            try:
                backoff.begin(("name ann",))
            except Refused:
                clock.now += 1.0
                continue
            break
        waits.append(clock.now - before)
    assert waits == [0.0] * FREE_TRIES + [2.0**n for n in range(1, 10)] + [LONGEST_WAIT] * 3


def test_a_name_waits_whatever_the_address_and_an_address_whatever_the_name(doors: SiteDoors) -> None:
    for number in range(FREE_TRIES):
        fail(doors, 1, "ann", f"10.0.0.{number}")
    with pytest.raises(Refused, match="too many"):
        try_in(doors, "ann", address="10.0.0.9")
    assert try_in(doors, "bob", address="10.0.0.9")
    for number in range(FREE_TRIES):
        fail(doors, 1, f"nobody-{number}", "10.0.1.1")
    with pytest.raises(Refused, match="too many"):
        try_in(doors, "bob", address="10.0.1.1")


def test_a_try_counts_before_its_key_is_opened_so_many_at_once_are_no_more_than_many(
    doors: SiteDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try begins another before it is known to be wrong."""
    begun = []

    def nested(*_given: object) -> bool:
        begun.append(1)
        with pytest.raises(Refused):
            try_in(doors, "ann", "wrong")
        return False

    monkeypatch.setattr(doors_module.doing, "knows", nested)
    with pytest.raises(Refused, match=WRONG):
        try_in(doors, "ann", "wrong")
    assert len(begun) == FREE_TRIES


def test_wrong_tries_are_forgotten_after_a_while_and_only_so_many_are_remembered(
    doors: SiteDoors, clock: Clock
) -> None:
    fail(doors, FREE_TRIES - 1)
    clock.now += 2 * LONGEST_WAIT + 1
    fail(doors, FREE_TRIES - 1)
    for number in range(MOST_REMEMBERED + 10):
        doors._backoff.begin((f"name n{number}",))
    assert len(doors._backoff._of) == MOST_REMEMBERED
    assert doubling(10**6) == LONGEST_WAIT


def test_a_stolen_session_is_no_way_to_guess_the_passphrase(doors: SiteDoors) -> None:
    def wrong() -> None:
        raise Refused("the passphrase is wrong")

    for _ in range(FREE_TRIES):
        with pytest.raises(Refused, match="passphrase is wrong"):
            doors.trying("ann", wrong)
    with pytest.raises(Refused, match="too many"):
        doors.trying("ann", lambda: pytest.fail("it was tried"))
    assert doors.trying("bob", lambda: 7) == 7


# ---- sessions ----


def test_a_session_ends_when_it_is_not_used_and_looking_whether_it_holds_is_no_use(
    doors: SiteDoors, clock: Clock
) -> None:
    token = try_in(doors)
    clock.now += IDLE_SECONDS
    assert doors.who(token) == "ann"
    clock.now += IDLE_SECONDS
    assert doors.holds(token)
    clock.now += 1
    assert not doors.holds(token) and doors.who(token) is None


def test_a_session_ends_after_eight_hours_however_it_is_used(doors: SiteDoors, clock: Clock) -> None:
    token, began = try_in(doors), clock.now
    while clock.now + IDLE_SECONDS <= began + LONGEST_SECONDS:
        clock.now += IDLE_SECONDS
        assert doors.who(token) == "ann"
    clock.now = began + LONGEST_SECONDS + 1
    assert doors.who(token) is None


def test_a_clock_that_is_set_back_ends_a_session(doors: SiteDoors, clock: Clock) -> None:
    token = try_in(doors)
    clock.now -= 1
    assert not doors.holds(token)


def test_signing_out_ends_this_session_and_no_other(doors: SiteDoors) -> None:
    first, second = try_in(doors), try_in(doors)
    doors.sign_out(first)
    doors.sign_out(first)
    assert doors.who(first) is None and doors.who(second) == "ann"


def test_who_is_removed_has_no_session_any_more(console: Console, doors: SiteDoors) -> None:
    other_people(console)
    with Session(console.engine) as db, db.begin():
        (console.home / "cy.secret").write_text(secret("cy"))
        people.add(db, console.home, "cy", "approver", 0.0, people.Way(passphrase_file=str(console.home / "cy.secret")))
    token = try_in(doors, "cy")
    assert doors.holds(token)
    with Session(console.engine) as db, db.begin():
        people.remove(db, "cy", 1.0)
    assert not doors.holds(token) and doors.who(token) is None


def test_only_the_digest_of_a_token_is_kept_and_only_in_memory(console: Console, doors: SiteDoors) -> None:
    token = try_in(doors)
    assert list(doors._sessions) == [sha256(token).digest()]
    assert not doors.holds(sha256(token).digest())
    assert not SiteDoors(OpenedSite(console.home)).holds(token)


def test_gate_and_script_of_one_process_share_the_doors_of_a_home(console: Console) -> None:
    assert doors_of(console.home) is doors_of(console.home / "people" / "..")


def test_the_form_asks_for_a_name_and_a_passphrase_and_says_whose_console_it_is(doors: SiteDoors) -> None:
    (form,) = doors.forms.values()
    assert [(field.name, field.sort) for field in form.fields] == [("name", "text"), ("passphrase", "password")]
    assert "s0" in form.title and "s0" in form.about
