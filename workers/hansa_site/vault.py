"""The site's keys: made here, kept here (`hansa/key_file.py`); and the charter. Files of the site's user alone."""

import secrets
from pathlib import Path

from hansa import key_file
from hansa.charter import Charter, Member, load, member_of, unsigned
from hansa.crypto.bundles import MEMBER_BYTES, MemberKeys
from hansa.errors import ProtocolViolation, Refused
from hansa.mail import charter_files
from hansa.mail.blobs import Chunks
from hansa.mail.boxes import Desk
from hansa.wrapping import ASKED, Way


def make_keys(home: Path, way: Way = ASKED) -> None:
    """Draws the site's keys. An existing key is never overwritten."""
    key_file.make(home, secrets.token_bytes(MEMBER_BYTES), way)


def read_keys(home: Path) -> MemberKeys:
    """Those that the charter names, if there is one; else those that are used first."""
    return read_all(home)[0]


def read_all(home: Path) -> list[MemberKeys]:
    """Every bundle that the site holds, the one that the charter names first."""
    try:
        found = [MemberKeys(seeds) for seeds in key_file.read(home)]
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no keys") from error
    except ValueError as error:
        raise Refused(f"the keys in {home} are damaged") from error
    named = _named(home)
    return sorted(found, key=lambda keys: keys.signing.public not in named)


def _named(home: Path) -> frozenset[bytes]:
    try:
        return frozenset(member.signing for member in unsigned((home / "charter").read_bytes()).members)
    except (FileNotFoundError, ProtocolViolation):
        return frozenset()


def held(home: Path) -> tuple[bytes, ...]:
    """The signing key of each bundle, as the key file's header names them: nothing is opened."""
    try:
        return key_file.look(home).signing
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no keys") from error


def card(home: Path, name: str, institution: str) -> Member:
    """What the charter says of this site: its name, its institution's, and public keys."""
    return member_of(name, institution, read_keys(home))


def read_charter(home: Path, name: str) -> Charter:
    """Refuses one that names another signing key than this site's; the key file's header says that much."""
    try:
        agreed = load((home / "charter").read_bytes())
    except FileNotFoundError as error:
        raise Refused(f"{home} holds no charter yet: `hansa charter accept` keeps it, once it is signed") from error
    if agreed.member(name).signing not in held(home):
        raise Refused(f"the charter in {home} names other keys for '{name}' than this site holds")
    return agreed


def open_desk(home: Path, name: str, folder: Chunks) -> Desk:
    """What the site's process opens, once: its charter, and the keys that it names."""
    charter, keys = read_charter(home, name), read_all(home)
    check_own(charter, name, keys[0], home)
    return Desk(name, charter, keys, folder, charter_files.former(home, charter))


def check_own(charter: Charter, name: str, keys: MemberKeys, home: Path) -> None:
    """Refuses a charter that gives the site `name` other keys than those in its home."""
    member = charter.member(name)
    ours = (keys.signing.public, keys.sealing.public, keys.consent.public)
    further = charter.witnessed and (keys.lasting is None or member_of(name, member.name, keys) != member)
    if (member.signing, member.sealing, member.consent) != ours or further:
        raise Refused(f"the charter in {home} names other keys for '{name}' than this site holds")
