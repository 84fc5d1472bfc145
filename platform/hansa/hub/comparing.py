"""Copies of the log that somebody uploads, held to each other and to this hub's own: one log, or two stories?

A copy is a checkpoint as `hansa site head` writes it, or an export in a ZIP archive. The comparison is that of
`hansa audit compare`; of the hub's own log no more is read than the nodes that it takes.
"""

from collections.abc import Sequence
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.orm import Session

from hansa import export_zip
from hansa.access import Person, Thing, authorise
from hansa.audit.log import first_row
from hansa.audit.tree import Read
from hansa.charter import Charter
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import checkpoints, exports, log, new_log
from hansa.hub.actions import Hub
from hansa.verify import checkpoints as notes
from hansa.verify.compare import Comparison, Copy, copy_of_export, copy_of_note
from hansa.verify.compare import compare as compared
from hansa.verify.former import Before, read_before
from hansa.verify.tree import Tree, node

MOST_NOTE, MOST_ARCHIVE = 2**20, export_zip.MOST_PACKED  # bytes
OWN = "this hub's log"


class Upload(Struct, frozen=True):
    name: str
    content: bytes

    def __repr__(self) -> str:
        return f"Upload({self.name}, {len(self.content)} bytes)"


class Compared(Struct, frozen=True):
    """What two copies say together. `found` is None where they can't tell, and `sentence` says why."""

    sentence: str
    found: Comparison | None


def compare(hub: Hub, who: Person, uploads: Sequence[Upload], with_own: bool) -> list[Compared]:
    """Each pair of them. ProtocolViolation names the first that is no copy of a log."""
    authorise(who, "review", Thing(member=who.member))
    versions = exports.signed_charters(hub.home)
    signed = tuple(versions[number] for number in sorted(versions))
    copies = [_copy(upload, signed) for upload in uploads]
    with Session(hub.reading) as db:
        if with_own:
            copies.append(_own(hub, db, signed))
        return [_pair(one, other, versions.get(1)) for one, other in combinations(copies, 2)]


def _copy(upload: Upload, signed: tuple[bytes, ...]) -> Copy:
    """A note comes without charters, and is held to those of this home."""
    if upload.content.startswith(export_zip.BEGINS):
        source = export_zip.source_of(upload.name, upload.content)
        _check_note(f"{upload.name}, checkpoint", source.read("checkpoint") or b"")
        return copy_of_export(upload.name, source)
    if len(upload.content) > MOST_NOTE:
        raise ProtocolViolation(f"{upload.name} is larger than {MOST_NOTE // 2**20} MiB, and no ZIP archive")
    _check_note(upload.name, upload.content)
    return replace(copy_of_note(upload.name, upload.content), charters=signed)


def _check_note(name: str, note: bytes) -> None:
    try:
        notes.read(note)
    except ProtocolViolation as violation:
        raise ProtocolViolation(f"{name} is no checkpoint: {violation}") from violation


def _pair(one: Copy, other: Copy, first: bytes | None) -> Compared:
    """`first`: the first version of the charter. Whoever's chain begins with another has made up its members."""
    try:
        found = compared(one, other, first)
    except (Refused, ProtocolViolation) as error:
        return Compared(f"{one.name} and {other.name}: {error}", None)
    return Compared(found.sentence, found)


def _own(hub: Hub, db: Session, signed: tuple[bytes, ...]) -> Copy:
    charter = hub.desk.charter
    first, newest = first_row(charter), checkpoints.newest_row(db, charter)
    if newest is None:
        raise Refused("the log has no checkpoint yet: a hub that runs makes one within seconds")
    size = newest.size - first
    note = bytes(checkpoints.note_of(db, size, first))
    before = read_before(log.read_entry(db, 0, first).details)
    former = None if before is None else _former(hub, db, before)
    return Copy(OWN, note, notes.read(note)[1], KeptTree(size, log.reader(db, first)), signed, before, former)


def _former(hub: Hub, db: Session, before: Before) -> Tree | None:
    """The tree of the log before, if it is here as far as this one's first entry commits to."""
    held = before.held
    over: list[Charter] = [one for one in new_log.logs(hub.desk.charter, hub.desk.former) if one.origin == held.origin]
    if not over or log.size(db, first_row(over[0])) < held.size:
        return None
    tree = KeptTree(held.size, log.reader(db, first_row(over[0])))
    return tree if tree.root(held.size) == held.root else None


class KeptTree(Tree):
    """The verifier's tree over nodes that are kept: what it is asked for is read, and nothing else."""

    def __init__(self, size: int, read: Read) -> None:
        super().__init__()
        self.size, self._read = size, read

    def span(self, start: int, end: int) -> bytes:
        if start == end:
            return super().span(start, end)
        peaks = []
        while start < end:
            level = (end - start).bit_length() - 1
            peaks.append(self._read(level, start >> level))
            start += 1 << level
        root = peaks.pop()
        while peaks:
            root = node(peaks.pop(), root)
        return root
