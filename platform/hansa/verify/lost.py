"""What a hub has lost of a log that is over, as one member's copy shows it.

    {"format": "hansa member's log 1",
     "site": name, "log": origin,
     "note": text,                     the checkpoint that the member cosigned last, signed by the log
     "entries": [base64, …]}           all leaf data that the member wrote there, its number 0 first

In the new log the member's entry "log continued" commits to all of it: how many entries, the root of a tree of them
alone, and the head. So what is shown here was not made up afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.verify import charters, checkpoints, entries
from hansa.verify.charters import Charter, log_began
from hansa.verify.encoding import ed25519_holds
from hansa.verify.entries import Entry, Read
from hansa.verify.findings import Findings
from hansa.verify.former import check_note, read_before, source_of
from hansa.verify.notes import unbase64
from hansa.verify.tiles import MOST_ENTRIES, Source, read_tree
from hansa.verify.tree import EMPTY, Tree, leaf

MOST_BYTES = 2**30


class Copy(Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["hansa member's log 1"]
    site: str
    log: str
    note: str
    entries: tuple[str, ...]


class Lost(Struct, frozen=True):
    """`entries`: those of the member's that the hub does not hold any more. `held`: how many it does."""

    site: str
    log: str
    size: int  # of the log, when the member cosigned it last
    held: int
    entries: tuple[Entry, ...]


def find(source: Source, data: bytes, own: bytes | None = None) -> Lost:
    """ProtocolViolation where the copy is not what its member committed to, or the export does not hold in itself."""
    copy = _read(data)
    chain = _chain(source, own)
    signed = [_entry(copy, chain, place, unbase64(one, "an entry")) for place, one in enumerate(copy.entries)]
    leaves = [leaf(data) for data, _ in signed]
    new = _leaves_of(source, checkpoints.read(source.read("checkpoint") or b"")[1].size)
    said = _continued(new, copy, chain)
    note, size, head = copy.note.encode("utf-8", "replace"), "0", EMPTY
    if note:
        check_note(note, copy.log, chain)
        size, head = str(checkpoints.read(note)[1].size), checkpoints.read(note)[1].root
    due = {"entries": str(len(leaves)), "digest": _root(leaves), "size": size, "root": head.hex()}
    if any(said[name] != value for name, value in due.items()):
        raise ProtocolViolation(f"this is not the copy to which '{copy.site}' commits in the new log")
    before = read_before(entries.read(new[0], 0).entry.details)
    if before is None or before.held.origin != copy.log:
        raise Refused(f"the export's log does not follow '{copy.log}'")
    kept = {*map(leaf, _leaves_of(source_of(source, log_began(copy.log)), before.held.size))}
    gone = tuple(entry for digest, (_, entry) in zip(leaves, signed, strict=True) if digest not in kept)
    return Lost(copy.site, copy.log, int(size), len(leaves) - len(gone), gone)


def _read(data: bytes) -> Copy:
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the file is larger than 1 GiB")
    try:
        return msgspec.json.decode(data, type=Copy)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolViolation(f"the file is no member's copy of a log: {error}") from error


def _chain(source: Source, own: bytes | None) -> list[Charter]:
    versions = sorted(int(one) for one in source.names("charters") if one.isdecimal() and len(one) < 11)
    chain = charters.chain([source.read(f"charters/{version}") or b"" for version in versions])
    if not chain:
        raise ProtocolViolation("the export holds no charter")
    if own is not None and charters.load(own).digest not in [charter.digest for charter in chain]:
        raise ProtocolViolation("your own charter is not in the chain of this export")
    return chain


def _entry(copy: Copy, chain: Sequence[Charter], place: int, data: bytes) -> tuple[bytes, Entry]:
    """Its author's, in this log, at its place in the author's own count."""
    read = entries.read(data, place)
    entry = read.entry
    if (entry.by, entry.log, entry.sequence) != (copy.site, copy.log, place) or not _signed(read, chain):
        raise ProtocolViolation(f"entry {place} of the copy is not the one that '{copy.site}' wrote and signed there")
    return data, entry


def _signed(read: Read, chain: Sequence[Charter]) -> bool:
    keys = {charter.word_of(read.entry.by) for charter in chain if charter.origin == read.entry.log} - {None}
    return any(ed25519_holds(key, read.signed, read.signature) for key in keys if key is not None)


def _leaves_of(source: Source, size: int) -> list[bytes]:
    found = read_tree(source, size, Findings()) if 0 < size <= MOST_ENTRIES else ([], None)
    if found is None:
        raise ProtocolViolation("the export lacks entries")
    return found[0]


def _continued(new: Sequence[bytes], copy: Copy, chain: Sequence[Charter]) -> Mapping[str, str]:
    """What the member said of that log at the beginning of the new one."""
    for place, data in enumerate(new):
        if b"log continued" in data:
            read = entries.read(data, place)
            if read.entry.act == "log continued" and (read.entry.by, read.entry.details["log"]) == (
                copy.site,
                copy.log,
            ):
                if not _signed(read, chain):
                    raise ProtocolViolation(f"entry {place}: the signature of '{copy.site}' does not hold")
                return read.entry.details
    raise Refused(f"'{copy.site}' has said nothing of '{copy.log}' in the new log")


def _root(leaves: Sequence[bytes]) -> str:
    tree = Tree()
    for start in range(0, len(leaves), 256):
        tree.append(leaves[start : start + 256])
    return tree.root(len(leaves)).hex()
