"""The hub's own look at its log: the tree made anew from the entries, and every checkpoint held against it.

It is no proof to anybody but the hub's operator, since it believes this database: `hansa audit verify` is for others.
"""

from collections import defaultdict
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit import former
from hansa.audit.checkpoint import parse_text
from hansa.audit.log import ROWS, read
from hansa.audit.note import parse
from hansa.audit.tree import Head, new_nodes, peaks, root_at
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.hub.models import CheckpointRow, EntryRow, FormerLog, NodeRow


def check(db: Session, first: int = 0) -> Head:
    """The head of the log's tree that begins at the row `first`; ProtocolViolation names the first entry or checkpoint
    that is not of it."""
    end = first + ROWS
    notes = select(CheckpointRow.size, CheckpointRow.note).where(CheckpointRow.size > first, CheckpointRow.size < end)
    heads = {size - first: parse_text(parse(note).text).head for size, note in db.execute(notes)}
    query = select(EntryRow.number, EntryRow.data).where(EntryRow.number >= first, EntryRow.number < end)
    made, rows = Tree(), db.execute(query.order_by(EntryRow.number).execution_options(yield_per=500))
    for place, (number, data) in enumerate(rows):
        entry = read(data)
        if number != first + place:
            raise ProtocolViolation(f"the log has no entry {place}")
        if not place and not first and entry.act == "log opened":
            _check_former(db, entry.details)
        made.grow(data)
        if heads.get(made.size, made.head()) != made.head():
            raise ProtocolViolation(f"the checkpoint of {made.size} entries is not of the entries that are here")
    if made.size < max(heads, default=0):
        raise ProtocolViolation(f"the log ends after {made.size} entries, and a checkpoint has {max(heads)}")
    if _levels(db, first) != made.levels():
        raise ProtocolViolation("the nodes of the tree are not those of its entries")
    return made.head()


def _levels(db: Session, first: int) -> dict[int, bytes]:
    """A digest over the nodes of each level, as they are kept."""
    query = select(NodeRow.level, NodeRow.place, NodeRow.digest).order_by(NodeRow.level, NodeRow.place)
    query = query.where(NodeRow.place >= first, NodeRow.place < first + ROWS)
    found: dict[int, Any] = defaultdict(sha256)
    for level, place, digest in db.execute(query.execution_options(yield_per=500)):
        found[level].update((place - first).to_bytes(8, "big") + digest)
    return {level: state.digest() for level, state in found.items()}


def _check_former(db: Session, details: dict[str, str]) -> None:
    """What Hansa 0.1 wrote, up to where this log began."""
    rows = db.scalars(select(FormerLog).order_by(FormerLog.number).execution_options(yield_per=500))
    size, head = former.check_links((row.entry, row.digest) for row in rows)
    expected = {"former size": str(size), "former head": head.hex()} if size else {}
    if details != expected:
        raise ProtocolViolation("the log does not begin where the former one ended")


class Tree:
    """A tree that grows from its entries alone, and keeps no more of them than its peaks."""

    def __init__(self) -> None:
        self.size, self._peaks = 0, dict[tuple[int, int], bytes]()
        self._levels: dict[int, Any] = defaultdict(sha256)

    def grow(self, data: bytes) -> None:
        made = new_nodes(self.size, [leaf(data)], self._read)
        self.size += 1
        for level, place, digest in made:
            self._levels[level].update(place.to_bytes(8, "big") + digest)
        known = self._peaks | {(level, place): digest for level, place, digest in made}
        self._peaks = {where: known[where] for where in peaks(self.size)}

    def levels(self) -> dict[int, bytes]:
        """A digest over the nodes of each level."""
        return {level: state.digest() for level, state in self._levels.items()}

    def head(self) -> Head:
        return Head(self.size, root_at(self.size, self._read))

    def _read(self, level: int, place: int) -> bytes:
        return self._peaks[level, place]
