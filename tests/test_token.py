"""The store "pkcs11", on a real token in software: what it makes and opens, and what is said when it doesn't."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hansa import key_file
from hansa.cli import app
from hansa.crypto.bundles import MEMBER_BYTES
from hansa.errors import Refused
from hansa.files import write_private
from hansa.mail.checks import home as home_checks
from hansa.wrapping import Way, passphrase, read_way, token
from hansa_site import vault
from tests import cards
from tests.soft_token import KEY, LABEL, PIN, SoftToken, make_token, plugged_in

SEEDS, OTHERS = cards.seeds(1, MEMBER_BYTES), cards.seeds(9, MEMBER_BYTES)


@pytest.fixture
def soft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    monkeypatch.setattr(token, "_REFUSED", set())
    return plugged_in(tmp_path / "softhsm", monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    write_private(made / "pin", PIN.encode() + b"\n")
    return made


@pytest.fixture
def way(soft: SoftToken) -> Way:
    return Way("pkcs11", "pin", str(soft.module), LABEL, KEY)


@pytest.fixture
def wrapped(home: Path, way: Way) -> Path:
    key_file.make(home, SEEDS, way)
    return home


def refused(home: Path) -> str:
    with pytest.raises(Refused) as raised:
        key_file.read(home)
    assert PIN not in str(raised.value) and "\n" not in str(raised.value)
    return str(raised.value)


def keys_in(way: Way) -> Iterator[Any]:
    import pkcs11

    module = pkcs11.lib(way.module)
    try:
        with module.get_token(token_label=way.token).open(user_pin=PIN, rw=True) as session:
            for key in list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY})):
                yield session, key
    finally:
        module.finalize()


# What it gives


def test_what_a_token_wraps_it_opens(wrapped: Path, way: Way) -> None:
    assert key_file.read(wrapped) == (SEEDS,)
    assert read_way(wrapped) == way
    assert vault.read_keys(wrapped).signing.public == key_file.look(wrapped).signing[0]
    data = (wrapped / "keys").read_bytes()
    assert PIN.encode() not in data
    assert not any(SEEDS[start : start + 16] in data for start in range(0, len(SEEDS), 16))


def test_the_key_is_made_in_the_token_and_never_leaves_it(wrapped: Path, way: Way) -> None:
    from pkcs11 import Attribute, AttributeSensitive

    for _, key in keys_in(way):
        made = (Attribute.LOCAL, Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
        assert all(key[name] for name in (*made, Attribute.PRIVATE, Attribute.TOKEN, Attribute.SIGN))
        no = (Attribute.EXTRACTABLE, Attribute.WRAP, Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.DERIVE)
        assert not any(key[name] for name in no)
        with pytest.raises(AttributeSensitive):
            key[Attribute.VALUE]


def test_every_writing_has_a_wrapping_key_of_its_own_and_the_token_one_key(wrapped: Path, way: Way) -> None:
    before = (wrapped / "keys").read_bytes()
    assert key_file.beside(wrapped, key_file.look(wrapped).signing, lambda: OTHERS) == OTHERS
    assert key_file.read(wrapped) == (SEEDS, OTHERS)
    key_file.forget(wrapped, [key_file.look(wrapped).signing[0]])
    assert key_file.read(wrapped) == (OTHERS,)
    key_file.replace(wrapped, [SEEDS])
    assert key_file.read(wrapped) == (SEEDS,)
    assert (wrapped / "keys").read_bytes()[-200:] != before[-200:]
    assert len(list(keys_in(way))) == 1


def test_two_homes_may_share_a_key_in_one_token(wrapped: Path, way: Way, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_private(other / "pin", PIN.encode())
    key_file.make(other, OTHERS, way)
    assert (key_file.read(wrapped), key_file.read(other)) == ((SEEDS,), (OTHERS,))
    assert len(list(keys_in(way))) == 1


def test_bare_keys_are_wrapped_by_a_token_too(home: Path, way: Way) -> None:
    write_private(home / "keys", SEEDS)
    key_file.protect(home, way)
    assert key_file.read(home) == (SEEDS,)
    assert [finding.says for finding in home_checks.keys(home, "site", "")] == ["are wrapped (store 'pkcs11')"]


def test_the_pin_comes_from_where_a_passphrase_does(
    home: Path, soft: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way("pkcs11", "", str(soft.module), LABEL, KEY)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("HANSA_PASSPHRASE", PIN)
    key_file.make(home, SEEDS, way)
    assert key_file.read(home) == (SEEDS,)
    monkeypatch.delenv("HANSA_PASSPHRASE")
    assert "need the PIN of the token 'hansa test'" in refused(home)
    (tmp_path / "hansa-passphrase").write_text(PIN)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert key_file.read(home) == (SEEDS,)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr(passphrase, "_TYPED", {})
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or PIN)
    assert key_file.read(home) == key_file.read(home) == (SEEDS,)
    assert asked == [f"PIN of the token 'hansa test', for the keys in {home}: "]


def test_a_pin_is_never_drawn(home: Path, way: Way) -> None:
    (home / "pin").unlink()
    with pytest.raises(Refused, match="of the PIN of the token 'hansa test' can't be read"):
        key_file.make(home, SEEDS, way)
    assert not list(home.iterdir())


def test_threads_and_forks_each_open_the_keys(wrapped: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = [pool.submit(key_file.read, wrapped) for _ in range(12)]
        for _ in range(6):
            child = os.fork()
            if child == 0:
                os._exit(0 if key_file.read(wrapped) == (SEEDS,) else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert all(one.result(60) == (SEEDS,) for one in opened)


# What it refuses


def test_a_wrong_pin_is_tried_once(wrapped: Path) -> None:
    (wrapped / "pin").write_text("another pin")
    assert "PIN of the token 'hansa test' is wrong; the token counts tries" in refused(wrapped)
    assert "refused this PIN before" in refused(wrapped)
    (wrapped / "pin").write_text(PIN)
    assert key_file.read(wrapped) == (SEEDS,)


def test_a_token_that_is_pulled_out_opens_nothing_until_it_is_back(wrapped: Path, soft: SoftToken) -> None:
    soft.pull_out()
    assert "sees no token 'hansa test': is it plugged in?" in refused(wrapped)
    soft.put_back()
    assert key_file.read(wrapped) == (SEEDS,)


def test_another_token_of_the_same_label_does_not_pass_for_it(wrapped: Path, soft: SoftToken) -> None:
    make_token(LABEL)
    assert "sees 2 tokens 'hansa test'" in refused(wrapped)
    soft.pull_out()
    make_token(LABEL)
    assert "holds no keys 'key of a site'" in refused(wrapped)


def test_a_key_that_is_gone_is_not_made_again_and_another_one_opens_nothing(
    wrapped: Path, way: Way, tmp_path: Path
) -> None:
    for _, key in keys_in(way):
        key.destroy()
    assert "the token 'hansa test' holds no keys 'key of a site'; it must hold one" in refused(wrapped)
    assert not list(keys_in(way))
    with pytest.raises(Refused, match="holds no keys"):
        key_file.replace(wrapped, [OTHERS])
    other = tmp_path / "other"
    other.mkdir()
    write_private(other / "pin", PIN.encode())
    key_file.make(other, OTHERS, way)
    assert "do not open: the key in the token is another one" in refused(wrapped)


@pytest.mark.parametrize("laid", ["twice", "extractable"])
def test_a_key_that_somebody_laid_there_is_not_believed(wrapped: Path, way: Way, laid: str) -> None:
    from pkcs11 import Attribute, KeyType, MechanismFlag

    for session, key in keys_in(way):
        if laid == "extractable":
            key.destroy()
        template = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
        session.generate_key(
            KeyType.GENERIC_SECRET, 256, label=KEY, store=True, capabilities=MechanismFlag.SIGN, template=template
        )
    said = {"twice": "holds 2 keys 'key of a site'", "extractable": "can be taken out of the token"}
    assert said[laid] in refused(wrapped)


def test_a_module_that_is_not_there_or_is_none_is_named(wrapped: Path, tmp_path: Path) -> None:
    settings = (wrapped / "keys.toml").read_text()
    module = tmp_path / "libnone.so"
    (wrapped / "keys.toml").write_text("\n".join(settings.splitlines()[:2]) + "\n" + place(module))
    assert refused(wrapped) == f"there is no PKCS#11 module {module}"
    [found] = home_checks.keys(wrapped, "site", "")
    assert (found.mark, found.says) == ("wrong", f"there is no PKCS#11 module {module}")
    module.write_bytes(b"not a library")
    assert f"{module} can't be used as a PKCS#11 module" in refused(wrapped)


def place(module: Path) -> str:
    return f'module = "{module}"\ntoken = "{LABEL}"\nkey = "{KEY}"\n'


def test_every_refusal_of_a_token_is_one_sentence_about_it(way: Way) -> None:
    import pkcs11

    told = {
        pkcs11.PinIncorrect: "is wrong; the token counts tries",
        pkcs11.PinLocked: "is locked",
        pkcs11.PinExpired: "has ended, or was never set",
        pkcs11.DeviceRemoved: "was pulled out",
        pkcs11.SessionHandleInvalid: "was pulled out",
        pkcs11.MechanismInvalid: "can't do HMAC-SHA-256",
        pkcs11.TokenWriteProtected: "is write-protected",
        pkcs11.HostMemory: "refuses (HostMemory)",
    }
    for error, words in told.items():
        sentence = token.in_words(error("\x1b[2Jwhat a module says"), way)
        assert words in sentence and LABEL in sentence and "\x1b" not in sentence


def test_the_last_try_of_a_pin_is_the_owners(way: Way) -> None:
    from pkcs11 import TokenFlag

    class Worn:
        """A token after some wrong PINs; SoftHSM locks itself never."""

        flags = TokenFlag.USER_PIN_INITIALIZED | TokenFlag.USER_PIN_FINAL_TRY

        def open(self, **_: object) -> None:
            raise AssertionError("the PIN was tried")

    worn: Any = Worn()
    with pytest.raises(Refused, match="one more wrong PIN locks the token 'hansa test'"):
        token._login(worn, way, b"x", False)
    worn.flags = TokenFlag.USER_PIN_LOCKED
    with pytest.raises(Refused, match="is locked"):
        token._login(worn, way, b"x", False)


# The commands


def test_the_operators_commands_take_a_token(soft: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("HANSA_PASSPHRASE", PIN)
    site = tmp_path / "site"
    options = ["--store", "pkcs11", "--module", str(soft.module), "--token", LABEL]
    command = ["site", "init", "north", "--home", str(site), "--out", str(tmp_path / "north.request"), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert PIN not in done.output
    assert read_way(site) == Way("pkcs11", "", str(soft.module), LABEL, "hansa")
    assert len(key_file.read(site)) == 1
    write_private(site / "keys", SEEDS)
    done = CliRunner().invoke(app, ["site", "protect-keys", "--home", str(site), *options])
    assert done.exit_code == 0, done.output
    assert key_file.read(site) == (SEEDS,)


@pytest.mark.parametrize("options", [["--store", "pkcs11"], ["--token", "t"], ["--store", "cloud"]])
def test_options_that_mean_nothing_are_one_sentence(options: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["site", "init", "north", "--home", str(tmp_path / "x"), *options])
    assert isinstance(done.exception, Refused)
    assert str(done.exception).startswith("the keys can't be wrapped so: ")
    assert not (tmp_path / "x" / "keys").exists()
