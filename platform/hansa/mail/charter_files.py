"""The charters in a home: `charter` is the one that holds, `charters/N` each version that was accepted here."""

from pathlib import Path

from hansa import charter as charters
from hansa.charter import FIRST, Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.files import write_private

CHARTER, FOLDER = "charter", "charters"


def current(home: Path) -> Charter | None:
    """The highest version that was accepted; None in a home that has none yet."""
    path = home / CHARTER
    return charters.load(path.read_bytes()) if path.exists() else None


def former(home: Path, charter: Charter) -> tuple[Charter, ...]:
    """What `charter` followed from, the oldest first, as far back as it is kept here. Each names the digest of the one
    before it, so the members' word on the last is their word on all."""
    found: list[Charter] = []
    while charter.previous != FIRST:
        path = home / FOLDER / str(charter.version - 1)
        if not path.exists():
            break
        before = charters.unsigned(path.read_bytes())
        if before.digest != charter.previous:
            raise Refused(f"{path} is not the charter that version {charter.version} follows from")
        found.append(before)
        charter = before
    return tuple(reversed(found))


def check_next(home: Path, signed: bytes) -> Charter:
    """The charter in `signed`, if this home may take it: its first one, the one that follows, or the one it has."""
    held, charter = current(home), charters.unsigned(signed)
    if held is not None and charter.version < held.version:
        raise Refused(f"this is version {charter.version} of the charter, and {home} holds {held.version}: no way back")
    if held is not None and charter.version > held.version + 1:
        raise Refused(f"{home} holds version {held.version} of the charter: accept {held.version + 1} before this one")
    if held is not None and charter.version == held.version:
        if charter.digest != held.digest:
            raise Refused(f"{home} holds another version {held.version} of the charter: tell the other members")
        return charters.load(signed)
    try:
        return charters.load(signed, held)
    except ProtocolViolation as violation:
        raise Refused(f"this charter is not accepted: {violation}") from violation


def keep(home: Path, signed: bytes, charter: Charter) -> None:
    """Call `check_next` first. A crash in between leaves the version before."""
    (home / FOLDER).mkdir(mode=0o700, exist_ok=True)
    path = home / CHARTER
    if path.exists():
        old = path.read_bytes()
        write_private(home / FOLDER / str(charters.unsigned(old).version), old)
    write_private(home / FOLDER / str(charter.version), signed)
    write_private(path, signed)
