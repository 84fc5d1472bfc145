"""The log as a folder for whoever checks it elsewhere (C2SP tlog-tiles), and receipts of single entries.

    checkpoint, tile/…            the newest checkpoint that is final, and the tree that it is of
    checkpoints/<size>            earlier ones that were final
    policy                        which signatures make a checkpoint final (C2SP tlog-policy)
    charters/<version>            every version of the charter, with its signatures
    payloads/<commitment>         what entries commit to, as far as it was not erased
    evidence/<run>                from what a job's totals and answer are recomputed

What was written after that checkpoint is not in it. Nothing here shows an input of a site.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import evidence_file
from hansa.audit import roster
from hansa.audit.proof import Receipt
from hansa.audit.tiles import export as tiles_of
from hansa.audit.tree import inclusion
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.hub import checkpoints, log, queries
from hansa.hub.actions import Hub
from hansa.hub.models import CheckpointRow, EntryRow, Job, PayloadRow


def export(hub: Hub, out: Path, with_evidence: bool = True) -> tuple[int, bool]:
    """Writes everything into the folder `out`, which must be new or empty; gives (size, whether it is final)."""
    if out.exists() and any(out.iterdir()):
        raise Refused(f"{out} is not empty: an export is a folder of its own")
    charter = hub.desk.charter
    if not charter.witnessed:
        raise Refused("the charter is of Hansa 0.1 and names no key for a log: `hansa charter amend` gives it one")
    out.mkdir(parents=True, exist_ok=True)
    with Session(hub.reading) as db:
        size, final = _newest(db, charter)
        _write(out / "checkpoint", bytes(checkpoints.note_of(db, size)))
        _write(out / "policy", str(roster.policy(charter)).encode())
        for path, content in tiles_of(size, log.reader(db), lambda start, end: _entries(db, start, end)):
            _write(out / path, content)
        for earlier in checkpoints.finals(db, charter):
            if earlier < size:
                _write(out / "checkpoints" / str(earlier), bytes(checkpoints.note_of(db, earlier)))
        for version, content in signed_charters(hub.home).items():
            _write(out / "charters" / str(version), content)
        committed = {log.read_entry(db, number).payload for number in range(size)}
        for row in db.scalars(select(PayloadRow).execution_options(yield_per=100)):
            if row.commitment in committed:
                _write(out / "payloads" / row.commitment.hex(), row.payload)
        released = select(EntryRow.run).where(EntryRow.act == "released", EntryRow.number < size)
        runs = list(db.scalars(released.order_by(EntryRow.number)))
        kept = [run for run in runs if db.scalar(select(Job.answer).where(Job.run == run)) is not None]
    for run in kept if with_evidence else ():
        _write_evidence(hub, out, run)
    return size, final


def _write_evidence(hub: Hub, out: Path, run: str) -> None:
    try:
        found = queries.evidence(hub, run)
    except Refused:
        return  # deleted, or never kept: whoever verifies says so
    (out / "evidence").mkdir(exist_ok=True)
    evidence_file.write(out / "evidence" / run, found.content, found.chunks, found.read)


def receipt(hub: Hub, number: int) -> bytes:
    """The C2SP tlog-proof of an entry, under the oldest final checkpoint that covers it."""
    charter = hub.desk.charter
    with Session(hub.reading) as db:
        row = db.get(EntryRow, number)
        if row is None:
            raise Refused(f"the log has no entry {number}: it has {log.size(db)}")
        covering = [size for size in checkpoints.finals(db, charter) if size > number]
        if not covering:
            raise Refused(f"entry {number} is not final yet: {charter.quorum} members must cosign a checkpoint first")
        size = covering[0]
        path = inclusion(number, size, log.reader(db))
        return bytes(Receipt(row.data, number, path, checkpoints.note_of(db, size)))


def signed_charters(home: Path) -> dict[int, bytes]:
    """Every version that this home keeps, with its signatures."""
    current = (home / "charter").read_bytes()
    found = [path.read_bytes() for path in sorted((home / "charters").glob("*"))]
    return {charters.unsigned(content).version: content for content in [*found, current]}


def _newest(db: Session, charter: Charter) -> tuple[int, bool]:
    final = checkpoints.newest_final(db, charter)
    if final is not None:
        return final, True
    last = db.scalar(select(CheckpointRow.size).order_by(CheckpointRow.size.desc()).limit(1))
    if last is None:
        raise Refused("the log has no checkpoint yet: a hub that runs makes one within seconds")
    return last, False


def _entries(db: Session, start: int, end: int) -> Sequence[bytes]:
    found = select(EntryRow.data).where(EntryRow.number >= start, EntryRow.number < end)
    return db.scalars(found.order_by(EntryRow.number)).all()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
