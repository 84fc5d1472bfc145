"""Who signed which entry: the keys in force, each author's own sequence, and the clocks.

The charter in force is that of the last `charter adopted`; entry 0 stands under that of entry 1. An entry is signed by
its author's key in force. Who changed keys has an overlap: the key of the version before is good for an author that
stands on both charters, until its first entry with the new one. Who is not on the charter in force signs nothing.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from msgspec import Struct

from hansa.errors import ProtocolViolation
from hansa.verify.charters import HUB, Charter
from hansa.verify.encoding import ed25519_holds
from hansa.verify.entries import Entry, Read, about
from hansa.verify.findings import Findings

CLOCK_MAY_GO_BACK = 2_000  # milliseconds, of the hub's
MEMBER_CLOCK_MAY_GO_BACK = 3_600_000  # people set clocks; a note, not a failure
BATCH = 1_000


class Due(Struct, frozen=True):
    """A signature to look at. `keys`: the one in force, then the one before where that is another."""

    place: int
    author: str
    keys: tuple[bytes, ...]
    message: bytes
    signature: bytes


def check_signatures(batch: Sequence[Due]) -> list[int]:
    """Of each signature: which of its keys made it, −1 for none. Pure, and the costly part: may run in any process."""
    found = []
    for due in batch:
        holding = (place for place, key in enumerate(due.keys) if ed25519_holds(key, due.message, due.signature))
        found.append(next(holding, -1))
    return found


class InForce:
    """Which charter counts at which place of the log."""

    def __init__(self, charters: Sequence[Charter], findings: Findings) -> None:
        self._versions = {charter.version: charter for charter in charters}
        self._findings = findings
        self.adopted: list[tuple[int, Charter]] = []

    def adopt(self, place: int, entry: Entry) -> None:
        version, where = entry.details["version"], f"entry {place}"
        charter = self._versions.get(int(version)) if version.isdecimal() and len(version) < 11 else None
        if charter is None:
            self._findings.failed(where, f"version {about(version)} of the charter is adopted, and is not in the chain")
        elif entry.details["charter"] != charter.digest.hex():
            self._findings.failed(where, f"another charter is adopted than version {version} of the chain")
        elif self.adopted and charter.version != self.adopted[-1][1].version + 1:
            before = self.adopted[-1][1].version
            self._findings.failed(where, f"version {version} of the charter is adopted after version {before}")
        else:
            self.adopted.append((place, charter))

    def at(self, place: int) -> Charter | None:
        """Of entry `place`."""
        if not self.adopted:
            return None
        return self.adopted[max(0, bisect_right(self.adopted, place, key=lambda one: one[0]) - 1)][1]

    def keys(self, author: str, place: int) -> tuple[bytes, ...]:
        """The author's key in force there, then the one before. ProtocolViolation for who may not write."""
        charter = self.at(place)
        key = charter.word_of(author) if charter is not None else None
        if charter is None or key is None:
            raise ProtocolViolation(f"'{author}' is not on the charter that is in force here")
        before = self._versions.get(charter.version - 1)
        old = before.word_of(author) if before is not None else None
        return (key,) if old is None or old == key else (key, old)


class Sequences:
    """Each author counts its own entries from 0, without gaps."""

    def __init__(self, findings: Findings) -> None:
        self.next: dict[str, int] = {}
        self.clocks: dict[str, int] = {}
        self._findings = findings

    def take(self, read: Read) -> None:
        entry, where = read.entry, f"entry {read.place}"
        due = self.next.get(entry.by, 0)
        if entry.sequence > due:
            lost = f"number {due}" if entry.sequence == due + 1 else f"numbers {due} to {entry.sequence - 1}"
            whose = "the hub's own" if entry.by == HUB else "the hub left out, of"
            self._findings.failed(where, f"{whose} entries of '{entry.by}', {lost} are not in the log")
        elif entry.sequence < due:
            self._findings.failed(where, f"'{entry.by}' has a second entry of number {entry.sequence}, or an older one")
        self.next[entry.by] = max(due, entry.sequence + 1)
        self._clock(entry, where)

    def _clock(self, entry: Entry, where: str) -> None:
        last, now = self.clocks.get(entry.by, 0), entry.milliseconds
        if entry.by == HUB and now < last - CLOCK_MAY_GO_BACK:
            self._findings.failed(where, f"the hub's clock goes back by {(last - now) / 1000:.0f} s: back-dated")
        elif now < last - MEMBER_CLOCK_MAY_GO_BACK:
            self._findings.note(where, f"the clock of '{entry.by}' goes back by {(last - now) / 1000:.0f} s")
        self.clocks[entry.by] = max(last, now)


class Rotations:
    """Once an author signed with its new key, its old one is worth nothing."""

    def __init__(self, findings: Findings) -> None:
        self._newest: dict[str, bytes] = {}
        self._given_up: dict[str, set[bytes]] = {}
        self._findings = findings

    def take(self, batch: Iterable[Due], holding: Iterable[int]) -> None:
        for due, place in zip(batch, holding, strict=True):
            where = f"entry {due.place}"
            if place < 0:
                self._findings.failed(where, f"the signature of '{due.author}' does not hold")
                continue
            key, gone = due.keys[place], self._given_up.setdefault(due.author, set())
            if key in gone:
                self._findings.failed(where, f"'{due.author}' signed with a key that it had given up before")
            elif place == 0 and self._newest.get(due.author) != key:
                gone.update(due.keys[1:], {self._newest.get(due.author, key)} - {key})
                self._newest[due.author] = key
