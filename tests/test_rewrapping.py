"""Another secret for keys that are wrapped: from any store to any store, and what a crash leaves."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hansa import key_file
from hansa.cli import app
from hansa.crypto.bundles import MEMBER_BYTES
from hansa.errors import Refused
from hansa.files import write_private
from hansa.key_file import way_of
from hansa.mail.checks import home as home_checks
from hansa.wrapping import ASKED, Way, passphrase, token
from tests import cards
from tests.soft_token import KEY, LABEL, PIN, plugged_in

SEEDS, OTHERS = cards.seeds(1, MEMBER_BYTES), cards.seeds(9, MEMBER_BYTES)
OLD, NEW = Way(passphrase_file="old"), Way(passphrase_file="new")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every passphrase here is stretched a little only."""
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 64)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    key_file.make(made, SEEDS, OLD)
    return made


@pytest.fixture
def in_memory() -> Iterator[dict[tuple[str, str], str]]:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    kept: dict[tuple[str, str], str] = {}

    class InMemory(KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    yield kept
    keyring.set_keyring(before)


def test_a_new_passphrase_takes_the_old_ones_place(home: Path) -> None:
    old = (home / "keys").read_bytes()
    key_file.rewrap(home, NEW)
    assert way_of(home) == NEW
    assert sorted(path.name for path in home.iterdir()) == ["keys", "keys.toml", "new", "old"]
    (home / "old").unlink()
    assert key_file.read(home) == (SEEDS,)
    (home / "keys").write_bytes(old)
    with pytest.raises(Refused, match="passphrase is wrong"):
        key_file.read(home)


def test_all_bundles_go_along(home: Path) -> None:
    key_file.replace(home, [SEEDS, OTHERS])
    shown = key_file.look(home)
    key_file.rewrap(home, NEW)
    assert key_file.read(home) == (SEEDS, OTHERS)
    assert key_file.look(home) == shown


def test_the_old_secret_is_needed(home: Path) -> None:
    (home / "old").write_text("something else")
    with pytest.raises(Refused, match="passphrase is wrong"):
        key_file.rewrap(home, NEW)
    (home / "old").unlink()
    with pytest.raises(Refused, match="can't be read"):
        key_file.rewrap(home, NEW)
    assert way_of(home) == OLD and not (home / "keys.next").exists()


def test_the_same_secret_is_no_new_one(home: Path) -> None:
    with pytest.raises(Refused, match="under this secret already"):
        key_file.rewrap(home, OLD)


def test_bare_keys_are_protected_and_not_rewrapped(tmp_path: Path) -> None:
    write_private(tmp_path / "keys", SEEDS)
    with pytest.raises(Refused, match="`protect-keys` wraps them"):
        key_file.rewrap(tmp_path, NEW)


def test_keys_go_through_every_store_and_back(
    home: Path, tmp_path: Path, in_memory: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token, "_REFUSED", set())
    soft = plugged_in(tmp_path / "softhsm", monkeypatch)
    write_private(home / "pin", PIN.encode())
    in_token = Way("pkcs11", "pin", str(soft.module), LABEL, KEY)
    another = Way("pkcs11", "pin", str(soft.module), LABEL, "another key")
    for way in (Way("keyring"), in_token, another, Way("keyring"), NEW, in_token, OLD):
        key_file.rewrap(home, way)
        assert (way_of(home), key_file.read(home)) == (way, (SEEDS,))
        assert [finding.mark for finding in home_checks.keys(home, "site", "")] == ["ok"]
    assert len(in_memory) == 1


def test_a_new_passphrase_is_never_the_old_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "_TYPED", {})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("HANSA_PASSPHRASE", "the first of all")
    with pytest.raises(Refused, match=r"new passphrase is missing.*HANSA_NEW_PASSPHRASE.*terminal"):
        key_file.rewrap(home, ASKED)
    monkeypatch.setenv("HANSA_NEW_PASSPHRASE", "the first of all")
    key_file.rewrap(home, ASKED)
    assert not (home / "keys.toml").exists()
    assert key_file.read(home) == (SEEDS,)
    monkeypatch.setenv("HANSA_NEW_PASSPHRASE", "the second of all")
    key_file.rewrap(home, ASKED)
    with pytest.raises(Refused, match="passphrase is wrong"):
        key_file.read(home)
    monkeypatch.setenv("HANSA_PASSPHRASE", "the second of all")
    assert key_file.read(home) == (SEEDS,)


def test_at_a_terminal_the_old_one_is_asked_once_and_the_new_one_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passphrase, "_TYPED", {})
    for name in ("HANSA_PASSPHRASE", "HANSA_NEW_PASSPHRASE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    said: list[str] = ["twelve letters", "twelve letters", "some other letters", "some other letters"]
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or said.pop(0))
    key_file.rewrap(home, ASKED)
    key_file.rewrap(home, ASKED)
    assert [prompt.split(",")[0] for prompt in asked] == ["New passphrase", "Again: "] * 2
    monkeypatch.setattr(passphrase, "_TYPED", {})
    said += ["some other letters", "twelve letters and some", "twelve letters and some"]
    key_file.rewrap(home, ASKED)
    assert [prompt.split(",")[0] for prompt in asked[4:]] == ["Passphrase", "New passphrase", "Again: "]
    assert key_file.read(home) == (SEEDS,)


# Crashes


class Crash(BaseException):
    """The power goes."""


class Power:
    """Goes before the file system's change number `left` of a home; each write of a file is one, each removal too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10_000
        for name in ("replace", "unlink"):
            monkeypatch.setattr(Path, name, self._counting(getattr(Path, name)))

    def _counting(self, change: Callable[..., object]) -> Callable[..., object]:
        def counted(path: Path, *rest: object, **named: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise Crash
            return change(path, *rest, **named)

        return counted


STEPS = {
    "another passphrase": (OLD, NEW),
    "one that is asked for": (OLD, ASKED),
    "the keyring": (OLD, Way("keyring")),
    "back from the keyring": (Way("keyring"), NEW),
}


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_at_any_moment_one_of_the_secrets_opens_the_keys(
    step: str, tmp_path: Path, in_memory: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSA_PASSPHRASE", "that is asked for")
    monkeypatch.setenv("HANSA_NEW_PASSPHRASE", "that is asked for")
    before, after = STEPS[step]
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    key_file.make(home, SEEDS, before)
    shutil.copytree(home, copy)
    power = Power(monkeypatch)
    seen = []
    for moment in range(1, 20):
        shutil.rmtree(home)
        shutil.copytree(copy, home)
        power.left = moment
        try:
            key_file.rewrap(home, after)
        except Crash:
            power.left = 10_000
            holds = way_of(home)
            seen.append(holds)
            assert key_file.look(home) == key_file.look(copy)
            assert key_file.read(home) == (SEEDS,)
            key_file.replace(home, [SEEDS, OTHERS])
            assert (way_of(home), key_file.read(home)) == (holds, (SEEDS, OTHERS))
            assert not (home / "keys.next").exists()
        else:
            break
    assert seen[0] == before and seen[-1] == after and way_of(home) == after
    assert seen == sorted(seen, key=lambda way: way == after) and len(seen) >= 4


def test_what_was_decided_on_counts_and_can_be_rewrapped_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    power = Power(monkeypatch)
    power.left = 3  # the new passphrase is drawn, `keys.next` is there
    with pytest.raises(Crash):
        key_file.rewrap(home, NEW)
    power.left = 10_000
    assert (home / "keys.next").exists() and way_of(home) == NEW
    (home / "old").unlink()
    key_file.rewrap(home, Way(passphrase_file="third"))
    assert key_file.read(home) == (SEEDS,) and not (home / "keys.next").exists()


def test_a_damaged_file_of_what_comes_next_is_refused(home: Path) -> None:
    (home / "keys.next").write_bytes(b"\xc0")
    for act in (key_file.read, key_file.look, way_of):
        with pytest.raises(Refused, match=r"keys\.next is damaged"):
            act(home)
    [found] = home_checks.keys(home, "site", "the backup")
    assert found.mark == "wrong"


# The commands


@pytest.mark.parametrize("side", ["site", "hub"])
def test_both_sides_have_the_command(side: str, home: Path) -> None:
    new = home / "new"
    done = CliRunner().invoke(app, [side, "rewrap-keys", "--home", str(home), "--passphrase-file", str(new)])
    assert done.exit_code == 0, done.output
    assert "older copy of the file still opens with the old one" in " ".join(done.output.split())
    assert way_of(home) == Way(passphrase_file=str(new))
    assert key_file.read(home) == (SEEDS,)
