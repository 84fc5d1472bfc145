"""A party's keys on disk: `keys` in its home, wrapped, and `keys.toml`, which says where the wrapping secret is.

The file is a header, and AES-256-GCM over one or several bundles of seeds (`crypto/bundles.py`) with the header as
associated data. The wrapping key is made of the store's secret (`hansa/wrapping`) and a salt that is drawn for each
writing, so it locks one text ever. The header names the store, and the bundles' Ed25519 keys: who only looks, looks at
the header and needs no secret.

`keys.next` holds both files as they are to become, while `rewrap` puts another secret in the old one's place: nothing
replaces two files at once. Where it is there, after a crash or meanwhile, it counts and they don't.

A file of Hansa 0.1 is one bundle, bare; it is read, and `protect-keys` wraps it.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hansa.crypto.bundles import FIRST_BYTES, HUB_BYTES, MEMBER_BYTES
from hansa.crypto.keys import SEED_BYTES, SigningKey, lock_box, open_box
from hansa.errors import ProtocolViolation, Refused
from hansa.files import write_private, write_toml
from hansa.messages import decode, encode
from hansa.wrapping import ASKED, WAY, Sought, Store, Way, read_way, wrapping_key
from hansa.wrapping.passphrase import stretched_once

KEYS: Final = "keys"
NEXT: Final = "keys.next"
SALT_BYTES: Final = 16
_BARE: Final = (FIRST_BYTES, HUB_BYTES, MEMBER_BYTES)
_WRONG: Final[dict[Store, str]] = {
    "file": "passphrase is wrong",
    "keyring": "secret in the keyring is another one",
    "pkcs11": "key in the token is another one",
}


class _Header(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    mark: Literal["hansa keys"]
    version: Literal[1]
    store: Store
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    signing: Annotated[tuple[Annotated[bytes, Meta(min_length=32, max_length=32)], ...], Meta(min_length=1)]


class _Wrapped(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: bytes
    box: bytes


class _Next(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    way: Way
    keys: bytes


class Shape(Struct, frozen=True):
    """What a key file shows without its secret: the Ed25519 key of each bundle, the one that is used first."""

    wrapped: bool
    signing: tuple[bytes, ...]


def make(home: Path, seeds: bytes, way: Way = ASKED) -> None:
    """Writes a new party's keys. Draws the passphrase if `way` names a file that is not there. An existing key is never
    overwritten."""
    if (home / KEYS).exists():
        raise Refused(f"{home} holds keys already")
    data = _wrap(home, [seeds], way, "first")
    _write_way(home, way)
    try:
        (home / KEYS).touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise Refused(f"{home} holds keys already") from error
    write_private(home / KEYS, data)


def read(home: Path) -> tuple[bytes, ...]:
    """The bundles of seeds, the one that is used first."""
    data, way = _held(home)
    if len(data) in _BARE:
        return (data,)
    wrapped, header = _parse(home, data)
    return _unwrapped(home, wrapped, header, _key(home, way, header))


def takes_passphrase(home: Path) -> bool:
    """Whether a passphrase that somebody types opens these keys: not if they lie bare, or under a keyring's secret or a
    token's, which count no wrong words or too few of them."""
    data, way = _held(home)
    return len(data) not in _BARE and (way.store, _parse(home, data)[1].store) == ("file", "file")


def open_with(home: Path, passphrase: bytes) -> tuple[bytes, ...]:
    """The bundles, by a passphrase that was just typed: where else it may lie is not looked at, and nothing of it stays
    in memory. Refuses keys that no passphrase opens."""
    if not takes_passphrase(home):
        raise Refused(f"the keys in {home} lie under no passphrase, so none that is typed opens them")
    wrapped, header = _parse(home, _held(home)[0])
    return _unwrapped(home, wrapped, header, stretched_once(passphrase, header.salt))


def _unwrapped(home: Path, wrapped: _Wrapped, header: _Header, key: bytes) -> tuple[bytes, ...]:
    try:
        plain = open_box(key, wrapped.box, wrapped.header)
    except ProtocolViolation as violation:
        wrong = _WRONG[header.store]
        raise Refused(f"the keys in {home} do not open: the {wrong}, or the file was altered") from violation
    bundles = decode(plain, tuple[bytes, ...])
    if tuple(map(_signing, bundles)) != header.signing:
        raise Refused(f"the keys in {home} are damaged")
    return bundles


def replace(home: Path, bundles: Sequence[bytes]) -> None:
    """Other bundles in place of those that are there, wrapped as they were; bare ones are wrapped now."""
    _settle(home)
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
    data = _wrap(home, read(home), way, "first")
    _write_way(home, way)
    write_private(home / KEYS, data)


def rewrap(home: Path, way: Way) -> None:
    """Wraps the keys under another secret, in the same store or in another one; the old secret opens them for that.

    The old one holds until `keys.next` is there, and from then on the new one. What is cut short after that is done by
    whoever writes the keys next."""
    if not look(home).wrapped:
        raise Refused(f"the keys in {home} lie bare: `protect-keys` wraps them")
    _settle(home)
    if way == read_way(home) and way != ASKED:
        raise Refused(f"the keys in {home} are wrapped under this secret already: name another one")
    decided = _Next(way, _wrap(home, read(home), way, "next"))
    write_private(home / NEXT, encode(decided))
    _settle(home)


def look(home: Path) -> Shape:
    """Needs no secret, so it says nothing of whether the file opens."""
    decided = _decided(home)
    data = (home / KEYS).read_bytes() if decided is None else decided.keys
    if len(data) in _BARE:
        return Shape(False, (_signing(data),))
    return Shape(True, _parse(home, data)[1].signing)


def _parse(home: Path, data: bytes) -> tuple[_Wrapped, _Header]:
    try:
        wrapped = decode(data, _Wrapped)
        return wrapped, decode(wrapped.header, _Header)
    except ProtocolViolation as violation:
        raise Refused(f"the keys in {home} are damaged, or of a later version of Hansa") from violation


def _wrap(home: Path, bundles: Sequence[bytes], way: Way, sought: Sought = "known") -> bytes:
    salt = secrets.token_bytes(SALT_BYTES)
    header = encode(_Header("hansa keys", 1, way.store, salt, tuple(map(_signing, bundles))))
    return encode(_Wrapped(header, lock_box(wrapping_key(home, way, salt, sought), encode(tuple(bundles)), header)))


def _signing(seeds: bytes) -> bytes:
    return SigningKey(seeds[:SEED_BYTES]).public


def _key(home: Path, way: Way, header: _Header) -> bytes:
    if header.store != way.store:
        raise Refused(f"the keys in {home} are wrapped for the store '{header.store}', and {WAY} names '{way.store}'")
    return wrapping_key(home, way, header.salt)


def way_of(home: Path) -> Way:
    """Where the secret is."""
    decided = _decided(home)
    return read_way(home) if decided is None else decided.way


def _held(home: Path) -> tuple[bytes, Way]:
    decided = _decided(home)
    return ((home / KEYS).read_bytes(), read_way(home)) if decided is None else (decided.keys, decided.way)


def _decided(home: Path) -> _Next | None:
    try:
        return decode((home / NEXT).read_bytes(), _Next)
    except FileNotFoundError:
        return None
    except ProtocolViolation as violation:
        raise Refused(f"{home / NEXT} is damaged, or of a later version of Hansa") from violation


def _settle(home: Path) -> None:
    """Puts in place what was decided on; the same however often it is begun again."""
    decided = _decided(home)
    if decided is not None:
        _write_way(home, decided.way)
        write_private(home / KEYS, decided.keys)
        (home / NEXT).unlink()


def _write_way(home: Path, way: Way) -> None:
    """What `keys.toml` leaves out is as it is by itself; so without the file, the passphrase is asked for."""
    if way == ASKED:
        (home / WAY).unlink(missing_ok=True)
        return
    said: dict[str, str] = msgspec.to_builtins(way)
    write_toml(home / WAY, {name: value for name, value in said.items() if value})
