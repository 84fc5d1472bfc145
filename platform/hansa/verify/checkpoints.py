"""Checkpoints: who signed and cosigned them, whether they are final, and what their times say about the entries.

A checkpoint stands under the charter in force at its end. A key that a member or the log changed since counts as well,
from the version before, as long as its owner stands on both. A member cosigned when its Ed25519 and its ML-DSA-44 line
are both there; a quorum of the members in force makes a checkpoint final.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.charters import HUB, Charter
from hansa.verify.entries import Entry
from hansa.verify.findings import Findings
from hansa.verify.notes import LOG, Checkpoint, Key, Note, read_checkpoint, read_note, signed_by
from hansa.verify.tree import Tree

TOLERANCE = 86_400_000  # milliseconds between what an entry says and what witnesses saw


class Cosigned(Struct, frozen=True):
    """A checkpoint that the log signed. `seconds`: when each member cosigned it."""

    checkpoint: Checkpoint
    seconds: Mapping[str, int]
    quorum: int

    @property
    def final(self) -> bool:
        return len(self.seconds) >= self.quorum


def read(data: bytes) -> tuple[Note, Checkpoint]:
    note = read_note(data)
    return note, read_checkpoint(note)


def open_note(data: bytes, charter: Charter, before: Charter | None = None) -> Cosigned:
    """A checkpoint of this charter's log. ProtocolViolation where the log did not sign it, or a signature is false."""
    note, checkpoint = read(data)
    if checkpoint.origin != charter.origin:
        raise ProtocolViolation(f"the checkpoint is of the log '{checkpoint.origin[:100]}', not of '{charter.origin}'")
    charters = [charter, *([before] if before is not None else [])]
    keys = {key for one in charters if one.log for key in _keys(one, charter)}
    made = signed_by(note, keys)
    if charter.log and not any(key.kind == LOG for key in made):
        raise ProtocolViolation("the checkpoint is not signed by the log")
    seconds = {}
    for site in charter.members if charter.log else ():
        for one in charters:
            pair = one.witnesses(site) if one.log and site in one.members else ()
            if pair and all(key in made for key in pair):
                seconds[site] = min(made[key] for key in pair)
    return Cosigned(checkpoint, seconds, charter.quorum)


def _keys(charter: Charter, in_force: Charter) -> Iterable[Key]:
    yield charter.log_key
    for site in charter.members:
        if site in in_force.members:
            yield from charter.witnesses(site)


class Witnessed:
    """All checkpoints of an export."""

    def __init__(self, findings: Findings) -> None:
        self.all: list[Cosigned] = []
        self._findings = findings

    def take(self, cosigned: Cosigned, tree: Tree, where: str) -> None:
        checkpoint = cosigned.checkpoint
        if checkpoint.size > tree.size:
            self._findings.failed(
                where,
                f"witnesses saw {checkpoint.size} entries; this export ends after {tree.size}: the rest is left out",
            )
        elif tree.root(checkpoint.size) != checkpoint.root:
            self._findings.failed(
                where, f"the first {checkpoint.size} entries are not those of this checkpoint: history was rewritten"
            )
        else:
            self.all.append(cosigned)

    def check_clocks(self) -> None:
        """A witness that cosigns a larger tree does so later; clocks are set, so this is a note."""
        last: dict[str, int] = {}
        for cosigned in sorted(self.all, key=lambda one: one.checkpoint.size):
            for site, seconds in cosigned.seconds.items():
                if seconds < last.get(site, 0) - 3_600:
                    where = f"checkpoint of size {cosigned.checkpoint.size}"
                    self._findings.note(where, f"'{site}' says that it cosigned this before a smaller one")
                last[site] = max(last.get(site, 0), seconds)


class Times:
    """What cosignatures say of when an entry was in the tree, in milliseconds."""

    def __init__(self, witnessed: Sequence[Cosigned], findings: Findings) -> None:
        timed = sorted((one for one in witnessed if one.seconds), key=lambda one: one.checkpoint.size)
        self._sizes = [one.checkpoint.size for one in timed]
        self._since, self._until = list[int](), list[int]()
        self._findings = findings
        latest = 0
        for one in timed:
            latest = max(latest, 1000 * min(one.seconds.values()))
            self._since.append(latest)
        earliest = 2**63
        for one in reversed(timed):
            earliest = min(earliest, 1000 * max(one.seconds.values()))
            self._until.insert(0, earliest)

    def check(self, place: int, entry: Entry) -> None:
        """The hub's entries are not a day younger than the last witness that saw them (false), nor a day older than
        the first witness of a tree without them (a note: the witnesses may have been away). Members' clocks are their
        own, and their entries may come late: a note at most."""
        at, where = bisect_right(self._sizes, place), f"entry {place}"
        if at < len(self._sizes) and entry.milliseconds > self._until[at] + TOLERANCE:
            add = self._findings.failed if entry.by == HUB else self._findings.note
            add(where, f"'{entry.by}' dated it more than a day after witnesses had seen it: post-dated")
        if at and entry.by == HUB and entry.milliseconds < self._since[at - 1] - TOLERANCE:
            sentence = "the hub dated it more than a day before witnesses saw a tree without it"
            self._findings.note(where, f"{sentence}: back-dated, or the witnesses were away")
