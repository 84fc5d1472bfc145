"""The hub's own look at its log: the tree made anew from the entries, and every checkpoint held against it.

It is no proof to anybody but the hub's operator, since it believes this database: `hansa audit verify` is for others.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit import former
from hansa.audit.checkpoint import parse_text
from hansa.audit.log import read
from hansa.audit.note import parse
from hansa.audit.tree import Head, new_nodes, peaks, root_at
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.hub import log
from hansa.hub.models import CheckpointRow, EntryRow, FormerLog


def check(db: Session) -> Head:
    """The head of the tree; ProtocolViolation names the first entry or checkpoint that is not of it."""
    notes = db.execute(select(CheckpointRow.size, CheckpointRow.note))
    heads = {size: parse_text(parse(note).text).head for size, note in notes}
    query = select(EntryRow.number, EntryRow.data).order_by(EntryRow.number)
    made = Tree()
    for place, (number, data) in enumerate(db.execute(query.execution_options(yield_per=500))):
        entry = read(data)
        if number != place:
            raise ProtocolViolation(f"the log has no entry {place}")
        if not place and entry.act == "log opened":
            _check_former(db, entry.details)
        made.grow(data)
        if heads.get(made.size, made.head()) != made.head():
            raise ProtocolViolation(f"the checkpoint of {made.size} entries is not of the entries that are here")
    if made.size < max(heads, default=0):
        raise ProtocolViolation(f"the log ends after {made.size} entries, and a checkpoint has {max(heads)}")
    if log.head(db) != made.head():
        raise ProtocolViolation("the nodes of the tree are not those of its entries")
    return made.head()


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

    def grow(self, data: bytes) -> None:
        made = new_nodes(self.size, [leaf(data)], self._read)
        self.size += 1
        known = self._peaks | {(level, place): digest for level, place, digest in made}
        self._peaks = {where: known[where] for where in peaks(self.size)}

    def head(self) -> Head:
        return Head(self.size, root_at(self.size, self._read))

    def _read(self, level: int, place: int) -> bytes:
        return self._peaks[level, place]
