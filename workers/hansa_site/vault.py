"""The site's keys: made here, kept here; and the charter. Files that only the site's user may read.

The file is not wrapped under a passphrase yet: who can read the site user's files can read the keys.
"""

import secrets
from pathlib import Path

from hansa.charter import Charter, Party, load
from hansa.crypto.keys import HYBRID_SEED_BYTES, SEED_BYTES, HybridKey, SigningKey
from hansa.errors import Refused


def make_keys(home: Path) -> None:
    """Draws the site's keys. An existing key is never overwritten."""
    path = home / "keys"
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise Refused(f"{home} holds keys already") from error
    path.write_bytes(secrets.token_bytes(SEED_BYTES + HYBRID_SEED_BYTES))


def read_keys(home: Path) -> tuple[SigningKey, HybridKey]:
    try:
        data = (home / "keys").read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no keys") from error
    if len(data) != SEED_BYTES + HYBRID_SEED_BYTES:
        raise Refused(f"the keys in {home} are damaged")
    return SigningKey(data[:SEED_BYTES]), HybridKey(data[SEED_BYTES:])


def card(home: Path, name: str) -> Party:
    """What the charter says of this site: its name and public keys."""
    signing, sealing = read_keys(home)
    return Party(name, signing.public, sealing.public)


def read_charter(home: Path, name: str) -> Charter:
    """Refuses one that gives this site other keys than it holds."""
    try:
        agreed = load((home / "charter").read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no charter yet: `hansa site accept` keeps it, once every member signed") from error
    if agreed.member(name) != card(home, name):
        raise Refused(f"the charter in {home} names other keys for '{name}' than this site holds")
    return agreed
