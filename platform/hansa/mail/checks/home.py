"""A home as its files stand: who may read the private ones, certificates, room on the disk, processes."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hansa import key_file
from hansa.errors import ProtocolViolation, Refused
from hansa.mail import certificates, workers
from hansa.mail.checks import Finding, moment, span
from hansa.mail.tls import Tls

LITTLE_ROOM, NO_ROOM = 2 * 2**30, 256 * 2**20  # bytes
SOON_SECONDS: Final = 30 * 86_400.0


def private(home: Path, names: Iterable[str]) -> list[Finding]:
    """The files of the home that its user alone may read."""
    found = []
    for name in names:
        path = home / name
        if path.is_file() and (mode := path.stat().st_mode & 0o777) & 0o077:
            says = f"{path} may be read or written by others (mode {mode:04o})"
            found.append(Finding("wrong", "home", says, f"chmod 600 {path}, and think about who may have read it"))
    return found


def keys(home: Path, side: str, mend: str) -> list[Finding]:
    """Whether there is a key file, and a wrapped one. It is not opened: nobody has to give a passphrase for a look."""
    try:
        shape, way = key_file.look(home), key_file.way_of(home)
    except OSError as error:
        says = f"{home} holds no keys" if isinstance(error, FileNotFoundError) else f"the keys in {home} can't be read"
        return [Finding("wrong", "keys", says, mend)]
    except Refused as refusal:
        return [Finding("wrong", "keys", str(refusal), mend)]
    if not shape.wrapped:
        says = "the keys lie bare in their file: whoever reads it, or a backup of it, has them"
        return [Finding("note", "keys", says, f"`hansa {side} protect-keys --home {home}` wraps them")]
    found = private(home, (way.passphrase_file,)) if way.passphrase_file else []
    if way.module and not Path(way.module).is_file():
        mend = "install the token's library, or correct `module` in keys.toml"
        return [*found, Finding("wrong", "keys", f"there is no PKCS#11 module {way.module}", mend)]
    return [*found, Finding("ok", "keys", f"are wrapped (store '{way.store}')")]


def room(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    says = f"{free / 2**30:.1f} GiB are free on the disk of {home}"
    if free < NO_ROOM:
        return Finding("wrong", "disk", says, "make room, but never by deleting databases, keys or chunks of open jobs")
    return Finding("note" if free < LITTLE_ROOM else "ok", "disk", says)


def processes(home: Path, leading: bool, what: str, mend: str) -> Finding:
    """`leading`: whether one of them must do what only one may do."""
    count = workers.running(home)
    if not count or (leading and not workers.led(home)):
        beside = f" (only {count} further workers)" if count else ""
        return Finding("wrong", "processes", f"{what} does not run on {home}{beside}", mend)
    return Finding("ok", "processes", f"{count} run on {home}")


def of_tls(tls: Tls, mend: str, now: float) -> list[Finding]:
    """This party's own certificate, and the authority that it pinned."""
    files = ("this party's TLS certificate", tls.certificate), ("the pinned TLS authority", tls.authority)
    return [certificate(what, Path(path), mend, now) for what, path in files]


def certificate(what: str, path: Path, mend: str, now: float) -> Finding:
    try:
        begin, end = (at.timestamp() for at in certificates.lasts(path.read_bytes()))
    except OSError as error:
        return Finding("wrong", "certificate", f"{what}: {path} can't be read ({error.strerror})", mend)
    except ProtocolViolation:
        return Finding("wrong", "certificate", f"{what}: {path} holds no certificate", mend)
    if now < begin:
        says = f"{what} is not yet valid: it begins {moment(begin, now)}"
        return Finding("wrong", "certificate", says, "this machine's clock is behind: set it, and run NTP")
    if now >= end:
        says = f"{what} has expired: it ended {moment(end, now)}"
        return Finding("wrong", "certificate", says, f"see whether this machine's clock is right; if it is, {mend}")
    if end - now < SOON_SECONDS:
        return Finding("note", "certificate", f"{what} ends in {span(end - now)}: before then, {mend}")
    return Finding("ok", "certificate", f"{what} holds for {span(end - now)} more")
