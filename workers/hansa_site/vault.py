"""The site's keys: made here, kept here. A file that only the site's user may read.

The file is not wrapped under a passphrase yet: who can read the site user's files can read the keys.
"""

import secrets
from pathlib import Path

from hansa.charter import Party
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
