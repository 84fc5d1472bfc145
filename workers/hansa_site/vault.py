"""The site's keys: made here, kept here; and the charter. Files that only the site's user may read.

The file is not wrapped under a passphrase yet: who can read the site user's files can read the keys.
"""

import secrets
from pathlib import Path

from hansa.charter import Charter, Member, load, member_of
from hansa.crypto.bundles import MEMBER_BYTES, MemberKeys
from hansa.errors import Refused


def make_keys(home: Path) -> None:
    """Draws the site's keys. An existing key is never overwritten."""
    path = home / "keys"
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise Refused(f"{home} holds keys already") from error
    path.write_bytes(secrets.token_bytes(MEMBER_BYTES))


def read_keys(home: Path) -> MemberKeys:
    try:
        return MemberKeys((home / "keys").read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no keys") from error
    except ValueError as error:
        raise Refused(f"the keys in {home} are damaged") from error


def card(home: Path, name: str, institution: str) -> Member:
    """What the charter says of this site: its name, its institution's, and public keys."""
    return member_of(name, institution, read_keys(home))


def read_charter(home: Path, name: str) -> Charter:
    """Refuses one that gives this site other keys than it holds."""
    try:
        agreed = load((home / "charter").read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no charter yet: `hansa site accept` keeps it, once every member signed") from error
    check_own(agreed, name, read_keys(home), home)
    return agreed


def check_own(charter: Charter, name: str, keys: MemberKeys, home: Path) -> None:
    """Refuses a charter that gives the site `name` other keys than those in its home."""
    member = charter.member(name)
    ours = (keys.signing.public, keys.sealing.public, keys.consent.public)
    further = charter.witnessed and (keys.lasting is None or member_of(name, member.name, keys) != member)
    if (member.signing, member.sealing, member.consent) != ours or further:
        raise Refused(f"the charter in {home} names other keys for '{name}' than this site holds")
