"""A passphrase: Argon2id (RFC 9106: 64 MiB, 3 passes, 4 lanes) makes the wrapping key, a third of a second a try.

A token's PIN is looked for in the same places. It is short, and never made into a key: the token counts tries.
"""

import getpass
import os
import secrets
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from hansa.errors import Refused
from hansa.files import write_private
from hansa.wrapping import WAY, Sought, Way

CREDENTIAL, VARIABLE = "hansa-passphrase", "HANSA_PASSPHRASE"
NEXT_VARIABLE = "HANSA_NEW_PASSPHRASE"
MEMORY_KIB, PASSES, LANES = 65_536, 3, 4
SHORTEST: Final = 12  # letters of a passphrase that a person makes up
_ONE = threading.Lock()
_TYPED: dict[tuple[Path, Way], bytes] = {}  # so that one command asks once


def wrapping_key(home: Path, way: Way, salt: bytes, sought: Sought) -> bytes:
    return stretched(find(home, way, sought), salt)


@lru_cache(maxsize=64)
def stretched(passphrase: bytes, salt: bytes) -> bytes:
    """A process that opens the same file twice waits once."""
    return stretched_once(passphrase, salt)


def stretched_once(passphrase: bytes, salt: bytes) -> bytes:
    """Of a passphrase that is not to stay in memory. OpenSSL's Argon2 hangs for ever when two threads are in it at once
    with several lanes each (seen with the OpenSSL of cryptography 50), so one goes at a time."""
    with _ONE:
        return Argon2id(salt=salt, length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB).derive(passphrase)


def find(home: Path, way: Way, sought: Sought) -> bytes:
    """The passphrase, or the PIN of the token that `way` names. A new passphrase is drawn if its file is not there."""
    if way.passphrase_file:
        path = home / way.passphrase_file
        if sought != "known" and way.store == "file" and not path.exists():
            path.touch(mode=0o600, exist_ok=False)
            write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
        return _of_file(path, _name(way))
    if sought == "next":  # the other places hold the one that is to go
        if said := os.environ.get(NEXT_VARIABLE):
            return said.encode()
        if not sys.stdin.isatty():
            raise Refused(
                f"the new {_name(way)} is missing: name a --passphrase-file, give the variable {NEXT_VARIABLE}, "
                "or start this at a terminal"
            )
        _TYPED[home, way] = _asked(home, way, sought)
        return _TYPED[home, way]
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / CREDENTIAL).exists():
        return _of_file(Path(credentials) / CREDENTIAL, _name(way))
    if said := os.environ.get(VARIABLE):
        return said.encode()
    if not sys.stdin.isatty():
        raise Refused(
            f"the keys in {home} need the {_name(way)}: name a `passphrase_file` in {WAY}, give systemd's credential "
            f"'{CREDENTIAL}' or the variable {VARIABLE}, or start this at a terminal"
        )
    if (home, way) not in _TYPED:
        _TYPED[home, way] = _asked(home, way, sought)
    return _TYPED[home, way]


def _name(way: Way) -> str:
    return "passphrase" if way.store == "file" else f"PIN of the token '{way.token}'"


def _of_file(path: Path, name: str) -> bytes:
    try:
        found = path.read_bytes().strip()
    except OSError as error:
        raise Refused(f"the file {path} of the {name} can't be read ({error.strerror})") from error
    if not found:
        raise Refused(f"the file {path} of the {name} is empty")
    return found


def _asked(home: Path, way: Way, sought: Sought) -> bytes:
    name = f"new {_name(way)}" if sought == "next" else _name(way)
    said = getpass.getpass(f"{name[0].upper()}{name[1:]}, for the keys in {home}: ")
    if sought == "known" or way.store != "file":
        return said.encode()
    if len(said) < SHORTEST:
        raise Refused(f"a passphrase has at least {SHORTEST} letters")
    if getpass.getpass("Again: ") != said:
        raise Refused("the two passphrases differ")
    return said.encode()
