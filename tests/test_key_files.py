"""Keys on disk are wrapped: what opens them, what doesn't, and what a look shows without opening."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from hansa import key_file
from hansa.crypto.bundles import FIRST_BYTES, HUB_BYTES, MEMBER_BYTES
from hansa.errors import Refused
from hansa.files import write_private
from hansa.hub import settings as hub_settings
from hansa.mail.checks import home as home_checks
from hansa.messages import decode, encode
from hansa.wrapping import Way, passphrase
from hansa_site import vault
from tests import cards

SEEDS = cards.seeds(1, MEMBER_BYTES)
IN_HOME = Way(passphrase_file="passphrase")


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    key_file.make(home, SEEDS, IN_HOME)
    return home


@pytest.fixture
def home(wrapped: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    for path in wrapped.iterdir():
        write_private(tmp_path / path.name, path.read_bytes())
    return tmp_path


def test_what_is_wrapped_is_opened_again_and_is_not_there_in_clear(wrapped: Path) -> None:
    data = (wrapped / "keys").read_bytes()
    assert key_file.read(wrapped) == (SEEDS,)
    assert not any(SEEDS[start : start + 16] in data for start in range(0, len(SEEDS), 16))
    assert {stat.S_IMODE(path.stat().st_mode) for path in wrapped.iterdir()} == {0o600}
    assert sorted(path.name for path in wrapped.iterdir()) == ["keys", "keys.toml", "passphrase"]


def test_a_wrong_passphrase_is_one_sentence(home: Path) -> None:
    (home / "passphrase").write_bytes(b"another passphrase")
    with pytest.raises(Refused, match=r"^the keys in \S+ do not open: the passphrase is wrong, or [^\n]+$"):
        vault.read_keys(home)


def test_no_byte_of_the_file_may_change(home: Path) -> None:
    data = (home / "keys").read_bytes()
    for place in (0, 5, 16, 20, 30, 40, 70, 100, 130, len(data) - 300, len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 1
        (home / "keys").write_bytes(bytes(altered))
        with pytest.raises(Refused):
            key_file.read(home)
    for cut in (b"", data[:-1], data + b"\0"):
        (home / "keys").write_bytes(cut)
        with pytest.raises(Refused, match="damaged"):
            vault.read_keys(home)


def test_the_header_may_not_name_another_store_or_version(home: Path) -> None:
    wrapped = decode((home / "keys").read_bytes(), key_file._Wrapped)
    header = decode(wrapped.header, key_file._Header)
    for change in ({"version": 2}, {"store": "keyring"}, {"signing": ()}, {"salt": b"short"}):
        (home / "keys").write_bytes(encode(replace(wrapped, header=encode(replace(header, **change)))))
        with pytest.raises(Refused):
            key_file.read(home)


def test_two_writings_of_the_same_keys_have_nothing_in_common(home: Path) -> None:
    before = (home / "keys").read_bytes()
    key_file.replace(home, [SEEDS])
    after = (home / "keys").read_bytes()
    assert before[-200:] != after[-200:] and key_file.read(home) == (SEEDS,)


def test_a_home_may_hold_several_bundles_and_the_charters_is_the_first(home: Path) -> None:
    seeds = [cards.seeds(number, MEMBER_BYTES) for number in (1, 9)]
    key_file.replace(home, seeds)
    charter = cards.charter(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])
    assert vault.read_keys(home).signing.public == cards.member_keys(1).signing.public
    signed = cards.signed(charter, {name: cards.member_keys(place) for place, name in enumerate("abcdefghij")})
    (home / "charter").write_bytes(signed)
    assert [keys.signing.public for keys in vault.read_all(home)] == [
        cards.member_keys(number).signing.public for number in (1, 9)
    ]
    assert vault.read_charter(home, "b") == vault.read_charter(home, "j") == charter
    with pytest.raises(Refused, match="names other keys for 'c'"):
        vault.read_charter(home, "c")


# Where the passphrase comes from


def test_systemds_credential_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, credentials = tmp_path / "home", tmp_path / "credentials"
    home.mkdir()
    credentials.mkdir()
    (credentials / "hansa-passphrase").write_bytes(b"of systemd\n")
    monkeypatch.setenv("HANSA_PASSPHRASE", "of the environment")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    key_file.make(home, SEEDS)
    assert not (home / "keys.toml").exists()
    monkeypatch.delenv("HANSA_PASSPHRASE")
    assert key_file.read(home) == (SEEDS,)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setenv("HANSA_PASSPHRASE", "of systemd")
    assert key_file.read(home) == (SEEDS,)


def test_without_any_passphrase_the_refusal_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HANSA_PASSPHRASE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(Refused, match=r"passphrase_file.*hansa-passphrase.*HANSA_PASSPHRASE.*terminal"):
        key_file.make(tmp_path, SEEDS)
    assert not list(tmp_path.iterdir())


class Terminal:
    """What somebody types, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
        self.left = list(lines)
        for name in ("HANSA_PASSPHRASE", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("getpass.getpass", lambda _prompt: self.left.pop(0))


def test_at_a_terminal_a_new_passphrase_is_asked_twice_and_an_old_one_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passphrase, "_TYPED", {})
    terminal = Terminal(monkeypatch, "too short", "long enough it is", "long enough is it", *["long enough it is"] * 2)
    for why in ("at least 12", "differ"):
        with pytest.raises(Refused, match=why):
            key_file.make(tmp_path, SEEDS)
    key_file.make(tmp_path, SEEDS)
    assert key_file.read(tmp_path) == (SEEDS,) and not terminal.left
    monkeypatch.setattr(passphrase, "_TYPED", {})
    terminal.left = ["long enough it is"]
    assert key_file.read(tmp_path) == key_file.read(tmp_path) == (SEEDS,) and not terminal.left


def test_a_passphrase_file_that_is_empty_or_gone_is_named(home: Path) -> None:
    (home / "passphrase").write_bytes(b"\n")
    with pytest.raises(Refused, match="is empty"):
        key_file.read(home)
    (home / "passphrase").unlink()
    with pytest.raises(Refused, match="can't be read"):
        key_file.read(home)
    assert not (home / "passphrase").exists()  # only new keys draw one


@pytest.mark.parametrize(
    "text",
    [
        *('store = "cloud"', "store = 3", 'pass = "x"', "["),
        'store = "pkcs11"',
        'store = "pkcs11"\nmodule = "/x.so"\ntoken = "t"',
        'store = "pkcs11"\nmodule = "x.so"\ntoken = "t"\nkey = "k"',
        'store = "pkcs11"\nmodule = "/x.so"\ntoken = "' + 33 * "t" + '"\nkey = "k"',
        'store = "pkcs11"\nmodule = "/x.so"\ntoken = "t "\nkey = "k"',
        'store = "pkcs11"\nmodule = "/x.so"\ntoken = "t"\nkey = "k\\u001b[2J"',
        'module = "/x.so"\ntoken = "t"\nkey = "k"',
        'store = "keyring"\nkey = "k"',
    ],
)
def test_a_file_of_settings_that_means_nothing_is_refused(home: Path, text: str) -> None:
    (home / "keys.toml").write_text(text)
    with pytest.raises(Refused, match=r"keys\.toml"):
        key_file.read(home)


# Hansa 0.1


@pytest.mark.parametrize(
    ("size", "read"),
    [
        pytest.param(FIRST_BYTES, vault.read_keys, id="a member of 0.1"),
        pytest.param(MEMBER_BYTES, vault.read_keys, id="a member"),
        pytest.param(FIRST_BYTES, hub_settings.read_keys, id="a hub of 0.1"),
        pytest.param(HUB_BYTES, hub_settings.read_keys, id="a hub"),
    ],
)
def test_bare_keys_still_open_are_told_of_and_can_be_wrapped(
    size: int, read: Callable[[Path], vault.MemberKeys], tmp_path: Path
) -> None:
    write_private(tmp_path / "keys", cards.seeds(1, size))
    public = read(tmp_path).signing.public
    [found] = home_checks.keys(tmp_path, "site", "")
    assert found.mark == "note" and "hansa site protect-keys" in found.mend
    key_file.protect(tmp_path, IN_HOME)
    assert [finding.mark for finding in home_checks.keys(tmp_path, "site", "")] == ["ok"]
    assert read(tmp_path).signing.public == public
    with pytest.raises(Refused, match="wrapped already"):
        key_file.protect(tmp_path, IN_HOME)


def test_a_look_needs_no_passphrase(home: Path) -> None:
    (home / "passphrase").unlink()
    assert key_file.look(home) == key_file.Shape(True, (cards.member_keys(1).signing.public,))


def test_keys_are_stretched_once_a_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file.read(home)
    monkeypatch.setattr(passphrase, "Argon2id", None)
    assert vault.read_keys(home).signing.public == cards.member_keys(1).signing.public


# The OS keyring


def test_in_the_store_keyring_the_secret_lies_with_the_operating_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend
    from keyring.errors import KeyringError

    class InMemory(KeyringBackend):
        priority = 1

        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[str, str], str] = {}
            self.locked = False

        def get_password(self, service: str, username: str) -> str | None:
            if self.locked:
                raise KeyringError("locked")
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before, memory = keyring.get_keyring(), InMemory()
    keyring.set_keyring(memory)
    try:
        key_file.make(tmp_path, SEEDS, Way("keyring"))
        assert key_file.read(tmp_path) == (SEEDS,)
        [(where, secret)] = memory.kept.items()
        assert where == ("hansa", str(tmp_path.resolve())) and len(bytes.fromhex(secret)) == 32
        memory.kept[where] = "00" * 32
        with pytest.raises(Refused, match="secret in the keyring is another one"):
            key_file.read(tmp_path)
        memory.kept.clear()
        with pytest.raises(Refused, match="holds no secret"):
            key_file.read(tmp_path)
        assert not memory.kept
        memory.locked = True
        with pytest.raises(Refused, match="can't be used"):
            key_file.read(tmp_path)
    finally:
        keyring.set_keyring(before)


def test_two_threads_may_open_keys_at_once(home: Path) -> None:
    """Of the library's Argon2, two at once with several lanes each never end."""
    with ThreadPoolExecutor(4) as pool:
        opened = [pool.submit(passphrase.stretched, b"a passphrase", bytes([number]) * 16) for number in range(4)]
        assert len({one.result(60) for one in opened}) == 4
