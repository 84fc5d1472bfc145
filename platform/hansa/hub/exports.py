"""The log as a folder for whoever checks it elsewhere (C2SP tlog-tiles), and receipts of single entries.

    checkpoint, tile/…            the newest checkpoint that is final, and the tree that it is of
    checkpoints/<size>            earlier ones that were final
    policy                        which signatures make a checkpoint final (C2SP tlog-policy)
    charters/<version>            every version of the charter, with its signatures
    payloads/<commitment>         what entries commit to, as far as it was not erased
    evidence/<run>                from what a job's totals and answer are recomputed
    former/<version>/             the same of each log that is over, by the version that began it; its tree goes as far
                                  as this hub has it, which may be beyond its last checkpoint

What was written after that checkpoint is not in it. Nothing here shows an input of a site.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import evidence_file
from hansa.audit import roster
from hansa.audit.log import Entry, first_row, read
from hansa.audit.proof import Receipt
from hansa.audit.tiles import export as tiles_of
from hansa.audit.tree import inclusion
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.hub import checkpoints, log, new_log, queries
from hansa.hub.actions import Hub
from hansa.hub.models import EntryRow, Job, PayloadRow

FORMER = "former"


class _Writer(NamedTuple):
    """`shows`: of which entries the payload goes along, and the evidence of a release."""

    hub: Hub
    db: Session
    shows: Callable[[Entry], bool]


def export(
    hub: Hub, out: Path, with_evidence: bool = True, shows: Callable[[Entry], bool] = lambda _entry: True
) -> tuple[int, bool]:
    """Writes everything into the folder `out`, which must be new or empty; gives (size, whether it is final). Every
    entry is in it; `shows` says of which what it commits to may be seen, and the evidence of its release."""
    if out.exists() and any(out.iterdir()):
        raise Refused(f"{out} is not empty: an export is a folder of its own")
    charter = hub.desk.charter
    if not charter.witnessed:
        raise Refused("the charter is of Hansa 0.1 and names no key for a log: `hansa charter amend` gives it one")
    with Session(hub.reading) as db:
        size, final = _newest(db, charter)
        if not size:
            raise Refused("the log has no checkpoint yet: a hub that runs makes one within seconds")
        writer = _Writer(hub, db, shows)
        runs = {out: _write_log(writer, out, charter, size)}
        over = new_log.logs(charter, hub.desk.former)
        for before, after in zip(over, [*over, charter][1:], strict=True):
            if before.witnessed:
                folder = out / FORMER / str(before.log_began)
                runs[folder] = _write_log(writer, folder, before, _newest(db, before)[0])
                _write_tiles(db, folder, before, _held(db, before, after))
    for folder, kept in runs.items():
        for run in kept if with_evidence else ():
            _write_evidence(hub, folder, run)
    return size, final


def _write_log(writer: _Writer, out: Path, charter: Charter, size: int) -> list[str]:
    """One log up to its checkpoint of this size; gives the runs of which there may be evidence. 0: it has none."""
    db, first = writer.db, first_row(charter)
    for version, content in signed_charters(writer.hub.home).items():
        if version <= charter.version:
            _write(out / "charters" / str(version), content)
    _write(out / "policy", str(roster.policy(charter)).encode())
    if not size:
        return []
    _write(out / "checkpoint", bytes(checkpoints.note_of(db, size, first)))
    _write_tiles(db, out, charter, size)
    for earlier in checkpoints.finals(db, charter):
        if earlier < size:
            _write(out / "checkpoints" / str(earlier), bytes(checkpoints.note_of(db, earlier, first)))
    committed, released = _shown(writer, first, size)
    for row in db.scalars(select(PayloadRow).execution_options(yield_per=100)):
        if row.commitment in committed:
            _write(out / "payloads" / row.commitment.hex(), row.payload)
    return [run for run in released if db.scalar(select(Job.answer).where(Job.run == run)) is not None]


def _shown(writer: _Writer, first: int, size: int) -> tuple[set[bytes], list[str]]:
    """Of the entries that `shows` lets pass: to what they commit, and the runs that were released."""
    committed, released = set[bytes](), list[str]()
    here = EntryRow.number >= first, EntryRow.number < first + size
    query = select(EntryRow.data).where(*here).order_by(EntryRow.number)
    for data in writer.db.scalars(query.execution_options(yield_per=500)):
        entry = read(data)
        if (entry.payload or entry.act == "released") and writer.shows(entry):
            committed |= {entry.payload} - {b""}
            released += [entry.run] * (entry.act == "released")
    return committed, released


def _write_tiles(db: Session, out: Path, charter: Charter, size: int) -> None:
    first = first_row(charter)
    for path, content in tiles_of(size, log.reader(db, first), lambda start, end: _entries(db, first, start, end)):
        _write(out / path, content)


def _write_evidence(hub: Hub, out: Path, run: str) -> None:
    try:
        found = queries.evidence(hub, run)
    except Refused:
        return  # deleted, or never kept: whoever verifies says so
    (out / "evidence").mkdir(exist_ok=True)
    evidence_file.write(out / "evidence" / run, found.content, found.chunks, found.read)


def receipt(hub: Hub, number: int, origin: str = "") -> bytes:
    """The C2SP tlog-proof of an entry, under the oldest final checkpoint that covers it. `origin`: of a log that is
    over."""
    over = new_log.logs(hub.desk.charter, hub.desk.former)
    charter = next((one for one in over if one.origin == origin), hub.desk.charter)
    first = first_row(charter)
    with Session(hub.reading) as db:
        row = db.get(EntryRow, first + number)
        if row is None:
            raise Refused(f"the log has no entry {number}: it has {log.size(db, first)}")
        size = checkpoints.covering(db, charter, number)
        if size is None:
            raise Refused(f"entry {number} is not final yet: {charter.quorum} members must cosign a checkpoint first")
        path = inclusion(number, size, log.reader(db, first))
        return bytes(Receipt(row.data, number, path, checkpoints.note_of(db, size, first)))


def signed_charters(home: Path) -> dict[int, bytes]:
    """Every version that this home keeps, with its signatures."""
    current = (home / "charter").read_bytes()
    found = [path.read_bytes() for path in sorted((home / "charters").glob("*"))]
    return {charters.unsigned(content).version: content for content in [*found, current]}


def _newest(db: Session, charter: Charter) -> tuple[int, bool]:
    """(size, whether it is final) of the newest final checkpoint, or else of the newest; 0 if there is none."""
    final = checkpoints.newest_final(db, charter)
    if final is not None:
        return final, True
    last = checkpoints.newest_row(db, charter)
    return (0, False) if last is None else (last.size - first_row(charter), False)


def _held(db: Session, before: Charter, after: Charter) -> int:
    """How much of a log that is over the next one's first entry commits to; a process that was not started anew may
    have written more."""
    there, first = log.size(db, first_row(before)), db.get(EntryRow, first_row(after))
    said = "" if first is None else read(first.data).details.get("former size", "")
    return min(int(said), there) if said.isdecimal() else there


def _entries(db: Session, first: int, start: int, end: int) -> Sequence[bytes]:
    found = select(EntryRow.data).where(EntryRow.number >= first + start, EntryRow.number < first + end)
    return db.scalars(found.order_by(EntryRow.number)).all()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
