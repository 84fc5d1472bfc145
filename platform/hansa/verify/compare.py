"""Two copies of one log, each with its own checkpoint: one continues the other, or the hub told two stories."""

from typing import Literal

from msgspec import Struct

from hansa.errors import ProtocolViolation, Refused
from hansa.verify import checkpoints, entries, forks
from hansa.verify.charters import log_began
from hansa.verify.findings import Findings
from hansa.verify.former import Before, read_before, source_of
from hansa.verify.notes import Checkpoint
from hansa.verify.tiles import Source, read_tree
from hansa.verify.tree import Tree


class Copy(Struct, frozen=True):
    """What one member holds: a checkpoint's note, and with an export the charters and the tree under it; where another
    log went before, what the first entry says of that, and its tree."""

    name: str
    note: bytes
    checkpoint: Checkpoint
    tree: Tree | None
    charters: tuple[bytes, ...]
    before: Before | None = None
    tree_before: Tree | None = None


class Comparison(Struct, frozen=True):
    """`entry`: the first in which they differ, where both copies hold entries. `fork`: a file that proves the fork to
    whoever has the charter. "lost": a new log does not say of the one before that it had so many entries."""

    outcome: Literal["same", "continues", "forked", "lost"]
    sentence: str
    entry: int | None = None
    fork: bytes | None = None


def copy_of_note(name: str, note: bytes) -> Copy:
    return Copy(name, note, checkpoints.read(note)[1], None, ())


def copy_of_export(name: str, source: Source) -> Copy:
    """The export's entries must give its own checkpoint; whatever else it says isn't looked at here."""
    note = source.read("checkpoint")
    if note is None:
        raise ProtocolViolation(f"{name} has no checkpoint")
    checkpoint, findings = checkpoints.read(note)[1], Findings()
    found = read_tree(source, checkpoint.size, findings)
    if found is None or found[1].root(checkpoint.size) != checkpoint.root:
        raise ProtocolViolation(f"{name} does not hold in itself: `hansa audit verify` says where")
    versions = sorted(int(one) for one in source.names("charters") if one.isdecimal() and len(one) < 11)
    signed = tuple(source.read(f"charters/{version}") or b"" for version in versions)
    before = read_before(entries.read(found[0][0], 0).entry.details) if found[0] else None
    tree = None if before is None else _tree_before(source, before)
    return Copy(name, note, checkpoint, found[1], signed, before, tree)


def _tree_before(source: Source, before: Before) -> Tree | None:
    """Of the log before, where it lies in the export and is the one that the first entry commits to."""
    found = read_tree(source_of(source, log_began(before.held.origin)), before.held.size, Findings())
    return found[1] if found is not None and found[1].root(before.held.size) == before.held.root else None


def compare(one: Copy, other: Copy, own: bytes | None = None) -> Comparison:
    """`own`: the reader's signed charter; needed where neither is an export. Refused where they can't tell."""
    small, large = sorted((one, other), key=lambda copy: copy.checkpoint.size)
    if small.checkpoint.origin != large.checkpoint.origin:
        return _across(one, other, own)
    chain = large.charters or small.charters or (() if own is None else (own,))
    forks.check_own(forks.check_notes((small.note, large.note), chain)[0], own)
    size = small.checkpoint.size
    if size in (large.checkpoint.size, 0):
        root = large.checkpoint.root if size else small.checkpoint.root
    elif large.tree is None:
        raise Refused(f"{large.name} is larger and no export: only its entries tell whether it continues {small.name}")
    else:
        root = large.tree.root(size)
    if root == small.checkpoint.root:
        if size == large.checkpoint.size:
            return Comparison("same", f"{one.name} and {other.name} are the same {size} entries")
        more = large.checkpoint.size - size
        return Comparison("continues", f"{large.name} continues {small.name} with {more} entries")
    entry = _first_difference(small.tree, large.tree)
    which = "" if entry is None else f": they differ from entry {entry} on"
    sentence = f"the hub told {one.name} and {other.name} two stories{which}"
    return Comparison("forked", sentence, entry, forks.make(small.note, large.note, large.tree, chain))


def _across(one: Copy, other: Copy, own: bytes | None) -> Comparison:
    """A copy of a log that is over, and the export of the one that began after it."""
    pairs = [pair for pair in ((one, other), (other, one)) if _went_before(*pair)]
    if not pairs:
        raise Refused("these are two logs, and not two copies of one: their origins differ")
    old, new = pairs[0]
    forks.check_own(forks.check_notes((old.note, new.note), new.charters)[0], own)
    before, mine = new.before, old.checkpoint
    if before is None or mine.size > before.size:
        held = 0 if before is None else before.size
        sentence = f"{old.name} is of {mine.size} entries of the log before; {new.name} commits to {held} of them"
        return Comparison("lost", sentence)
    sentence = f"{new.name} begins where {old.name} ended, or later"
    if mine.size == before.size and before.witnessed is not None:
        if mine.root == before.witnessed.root:
            return Comparison("continues", sentence)
        fork = forks.make(old.note, before.note, None, new.charters)
        return Comparison("forked", f"the hub told {old.name} and {new.name} two stories of the log before", None, fork)
    if mine.size > before.held.size or new.tree_before is None:
        raise Refused(f"{new.name} has lost the entries that would tell whether it continues {old.name}")
    if new.tree_before.root(mine.size) != mine.root:
        return Comparison("forked", f"the hub told {old.name} and {new.name} two stories of the log before")
    return Comparison("continues", sentence)


def _went_before(old: Copy, new: Copy) -> bool:
    return new.before is not None and new.before.held.origin == old.checkpoint.origin


def _first_difference(small: Tree | None, large: Tree | None) -> int | None:
    if small is None or large is None:
        return None
    low, high = 0, min(small.size, large.size)
    while low < high:  # the first `low` entries are the same; of the first `high` one differs
        middle = (low + high + 1) // 2
        if small.root(middle) == large.root(middle):
            low = middle
        else:
            high = middle - 1
    return low
