"""Keys and certificates of this site, and how old they are. No key is opened for it."""

from datetime import datetime
from pathlib import Path

from msgspec import Struct

from hansa import key_file
from hansa.charter import Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.mail import certificates, charter_files
from hansa.mail.founding import fingerprint
from hansa_site.shown.opened import OpenedSite


class KeyView(Struct, frozen=True):
    """The site's keys, under which the charter knows it. `words`: their fingerprint; `version`: the first of the
    charter's that names them, as far back as versions are kept here, and `accepted_at` when that was. `wrapped`: by
    what store, or empty where they lie bare; `written_at`: of the file, which a new secret writes anew."""

    words: str
    version: int
    accepted_at: float | None
    wrapped: str
    written_at: float | None


class CertificateView(Struct, frozen=True):
    """`begins` and `ends` are None where it can't be read, and then `wrong` says why."""

    what: str
    begins: float | None
    ends: float | None
    wrong: str = ""


class PersonKey(Struct, frozen=True):
    """Where a person's key lies: whether the file is here, and whether a passphrase that is typed opens it."""

    name: str
    is_here: bool
    takes_passphrase: bool


def key(site: OpenedSite) -> KeyView:
    charter = site.charter
    first = _first(site, charter)
    shape = key_file.look(site.home)
    kept = site.home / charter_files.FOLDER / str(first.version)
    return KeyView(
        words=fingerprint(charter.member(site.name)),
        version=first.version,
        accepted_at=_written_at(kept) or (_written_at(site.home / "charter") if first is charter else None),
        wrapped=key_file.way_of(site.home).store if shape.wrapped else "",
        written_at=_written_at(site.home / key_file.KEYS),
    )


def _first(site: OpenedSite, charter: Charter) -> Charter:
    """The version from which on the charter names the keys that it names now."""
    signing = charter.member(site.name).signing
    for before in reversed(charter_files.former(site.home, charter)):
        if signing not in {member.signing for member in before.members}:
            break
        charter = before
    return charter


def certificates_of(site: OpenedSite) -> list[CertificateView]:
    """None where the mailbox is on this machine."""
    tls = site.settings.tls
    if tls is None:
        return []
    at = tls.at(site.home)
    files = ("this site's certificate", at.certificate), ("the hub's authority, as pinned here", at.authority)
    return [_certificate(what, Path(path)) for what, path in files]


def _certificate(what: str, path: Path) -> CertificateView:
    try:
        begins, ends = map(datetime.timestamp, certificates.lasts(path.read_bytes()))
    except OSError as error:
        return CertificateView(what, None, None, f"can't be read ({error.strerror})")
    except ProtocolViolation:
        return CertificateView(what, None, None, "holds no certificate")
    return CertificateView(what, begins, ends)


def keys_of_people(site: OpenedSite, names: list[str]) -> list[PersonKey]:
    return [_person_key(site.home / "people" / name, name) for name in names]


def _person_key(folder: Path, name: str) -> PersonKey:
    try:
        return PersonKey(name, True, key_file.takes_passphrase(folder))
    except (OSError, Refused):
        return PersonKey(name, False, False)


def _written_at(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None
