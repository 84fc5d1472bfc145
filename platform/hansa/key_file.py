"""A party's keys on disk: `keys` in its home, wrapped, and `keys.toml`, which says where the wrapping secret is.

    passphrase   Argon2id (RFC 9106: 64 MiB, 3 passes, 4 lanes) makes the wrapping key; a third of a second a try
    keyring      32 random bytes in the operating system's keyring; HKDF makes the wrapping key

The file is a header, and AES-256-GCM over one or several bundles of seeds (`crypto/bundles.py`) with the header as
associated data. The wrapping key is made with a salt that is drawn for each writing, so it locks one text ever. The
header names the bundles' Ed25519 keys: who only looks, looks at the header and needs no secret.

A file of Hansa 0.1 is one bundle, bare; it is read, and `protect-keys` wraps it.
"""

import getpass
import os
import secrets
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta, Struct

from hansa import toml
from hansa.crypto.bundles import FIRST_BYTES, HUB_BYTES, MEMBER_BYTES
from hansa.crypto.keys import SEED_BYTES, SigningKey, derive, lock_box, open_box
from hansa.errors import ProtocolViolation, Refused
from hansa.files import write_private, write_toml
from hansa.messages import decode, encode

KEYS, WAY = "keys", "keys.toml"
CREDENTIAL, VARIABLE, SERVICE = "hansa-passphrase", "HANSA_PASSPHRASE", "hansa"
MEMORY_KIB, PASSES, LANES = 65_536, 3, 4
SHORTEST: Final = 12  # letters of a passphrase that a person makes up
SALT_BYTES = 16
_BARE: Final = (FIRST_BYTES, HUB_BYTES, MEMBER_BYTES)
_LOCK = "key file"
_ONE = threading.Lock()
_TYPED: dict[Path, bytes] = {}  # so that one command asks once


class Way(Struct, frozen=True, forbid_unknown_fields=True):
    """`keys.toml`. `passphrase_file`: where the passphrase lies; a path in the home, or absolute. Empty: it is
    systemd's credential `hansa-passphrase`, else in HANSA_PASSPHRASE, else asked for."""

    store: Literal["file", "keyring"] = "file"
    passphrase_file: str = ""


ASKED = Way()


class _Header(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    mark: Literal["hansa keys"]
    version: Literal[1]
    store: Literal["file", "keyring"]
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    signing: Annotated[tuple[Annotated[bytes, Meta(min_length=32, max_length=32)], ...], Meta(min_length=1)]


class _Wrapped(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: bytes
    box: bytes


class Shape(Struct, frozen=True):
    """What a key file shows without its secret: the Ed25519 key of each bundle, the one that is used first."""

    wrapped: bool
    signing: tuple[bytes, ...]


def read_way(home: Path) -> Way:
    try:
        return msgspec.convert(toml.read(home / WAY), Way)
    except FileNotFoundError:
        return Way()
    except msgspec.ValidationError as error:
        raise Refused(f"{home / WAY}: {error}") from error


def make(home: Path, seeds: bytes, way: Way = ASKED) -> None:
    """Writes a new party's keys. Draws the passphrase if `way` names a file that is not there. An existing key is never
    overwritten."""
    if (home / KEYS).exists():
        raise Refused(f"{home} holds keys already")
    data = _wrap(home, [seeds], way, new=True)
    if way != ASKED:
        write_toml(home / WAY, msgspec.to_builtins(way))
    try:
        (home / KEYS).touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise Refused(f"{home} holds keys already") from error
    write_private(home / KEYS, data)


def read(home: Path) -> tuple[bytes, ...]:
    """The bundles of seeds, the one that is used first."""
    data = (home / KEYS).read_bytes()
    if len(data) in _BARE:
        return (data,)
    wrapped, header = _parse(home, data)
    try:
        plain = open_box(_key(home, read_way(home), header.store, header.salt), wrapped.box, wrapped.header)
    except ProtocolViolation as violation:
        what = "passphrase is wrong" if header.store == "file" else "secret in the keyring is another one"
        raise Refused(f"the keys in {home} do not open: the {what}, or the file was altered") from violation
    bundles = decode(plain, tuple[bytes, ...])
    if tuple(map(_signing, bundles)) != header.signing:
        raise Refused(f"the keys in {home} are damaged")
    return bundles


def replace(home: Path, bundles: Sequence[bytes]) -> None:
    """Other bundles in place of those that are there, wrapped as they were; bare ones are wrapped now."""
    write_private(home / KEYS, _wrap(home, bundles, read_way(home)))


def beside(home: Path, named: Collection[bytes], draw: Callable[[], bytes]) -> bytes:
    """The seeds of a bundle whose signing key is none of `named`: one that waits here already, else a new one, which
    is kept beside the others."""
    held = read(home)
    for seeds in held:
        if _signing(seeds) not in named:
            return seeds
    new = draw()
    replace(home, [*held, new])
    return new


def forget(home: Path, signing: Collection[bytes]) -> None:
    """Erases the bundles with these signing keys; opens nothing if there is none."""
    if set(look(home).signing) & set(signing):
        replace(home, [seeds for seeds in read(home) if _signing(seeds) not in signing])


def protect(home: Path, way: Way) -> None:
    """Wraps the bare keys of Hansa 0.1."""
    if look(home).wrapped:
        raise Refused(f"the keys in {home} are wrapped already")
    data = _wrap(home, read(home), way, new=True)
    if way != ASKED:
        write_toml(home / WAY, msgspec.to_builtins(way))
    write_private(home / KEYS, data)


def look(home: Path) -> Shape:
    """Needs no secret, so it says nothing of whether the file opens."""
    data = (home / KEYS).read_bytes()
    if len(data) in _BARE:
        return Shape(False, (_signing(data),))
    return Shape(True, _parse(home, data)[1].signing)


def _parse(home: Path, data: bytes) -> tuple[_Wrapped, _Header]:
    try:
        wrapped = decode(data, _Wrapped)
        return wrapped, decode(wrapped.header, _Header)
    except ProtocolViolation as violation:
        raise Refused(f"the keys in {home} are damaged, or of a later version of Hansa") from violation


def _wrap(home: Path, bundles: Sequence[bytes], way: Way, new: bool = False) -> bytes:
    salt = secrets.token_bytes(SALT_BYTES)
    header = encode(_Header("hansa keys", 1, way.store, salt, tuple(map(_signing, bundles))))
    return encode(_Wrapped(header, lock_box(_key(home, way, way.store, salt, new), encode(tuple(bundles)), header)))


def _signing(seeds: bytes) -> bytes:
    return SigningKey(seeds[:SEED_BYTES]).public


def _key(home: Path, way: Way, store: str, salt: bytes, new: bool = False) -> bytes:
    if store != way.store:
        raise Refused(f"the keys in {home} are wrapped for the store '{store}', and {WAY} names '{way.store}'")
    if store == "keyring":
        return derive(_from_keyring(home, new), _LOCK, salt)
    return _stretched(_passphrase(home, way, new), salt)


@lru_cache(maxsize=64)
def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    """A process that opens the same file twice waits once. OpenSSL's Argon2 hangs for ever when two threads are in it
    at once with several lanes each (seen with the OpenSSL of cryptography 50), so one goes at a time."""
    with _ONE:
        return Argon2id(salt=salt, length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB).derive(passphrase)


# ---- where the secret is ----


def _passphrase(home: Path, way: Way, new: bool) -> bytes:
    if way.passphrase_file:
        path = home / way.passphrase_file
        if new and not path.exists():
            path.touch(mode=0o600, exist_ok=False)
            write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
        return _of_file(path)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / CREDENTIAL).exists():
        return _of_file(Path(credentials) / CREDENTIAL)
    if said := os.environ.get(VARIABLE):
        return said.encode()
    if not sys.stdin.isatty():
        raise Refused(
            f"the keys in {home} need their passphrase: name a `passphrase_file` in {WAY}, give systemd's credential "
            f"'{CREDENTIAL}' or the variable {VARIABLE}, or start this at a terminal"
        )
    if home not in _TYPED:
        _TYPED[home] = _asked(home, new)
    return _TYPED[home]


def _of_file(path: Path) -> bytes:
    try:
        found = path.read_bytes().strip()
    except OSError as error:
        raise Refused(f"the passphrase's file {path} can't be read ({error.strerror})") from error
    if not found:
        raise Refused(f"the passphrase's file {path} is empty")
    return found


def _asked(home: Path, new: bool) -> bytes:
    said = getpass.getpass(f"Passphrase of the keys in {home}: ")
    if new and len(said) < SHORTEST:
        raise Refused(f"a passphrase has at least {SHORTEST} letters")
    if new and getpass.getpass("Again: ") != said:
        raise Refused("the two passphrases differ")
    return said.encode()


def _from_keyring(home: Path, new: bool) -> bytes:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise Refused("the OS keyring needs `pip install 'hansa[keyring]'`") from error
    name = str(home.resolve())
    try:
        found = keyring.get_password(SERVICE, name)
        if found is None and new:
            found = secrets.token_hex(32)
            keyring.set_password(SERVICE, name, found)
    except KeyringError as error:
        raise Refused(
            f"the OS keyring can't be used ({type(error).__name__}): log in, or keep the keys in a file"
        ) from error
    if found is None:
        raise Refused(f"the OS keyring of this user holds no secret for the keys in {home}")
    return bytes.fromhex(found)
