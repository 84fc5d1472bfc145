"""The log held to itself on the hub's page, as an auditor would elsewhere: exported to a folder of the moment, verified
with the code of `hansa.verify`, and deleted.

What is shown here is still the hub's word: it runs on the hub's machine. Whoever must not believe the hub takes the
export away and runs `hansa audit verify` on it. Logs and jobs that are too large for a page are refused, and the
command that does it is named.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa import export_zip
from hansa.access import Person, Thing, authorise, may
from hansa.audit.log import Entry, first_row
from hansa.documents import crate as crates
from hansa.documents import record as records
from hansa.documents import told
from hansa.errors import Refused
from hansa.export_folder import beside, replay_of, source_of
from hansa.hub import exports, log
from hansa.hub.actions import Hub, thing_of
from hansa.hub.models import EvidenceRow, Job, TotalChunk
from hansa.verify.verdict import Verdict
from hansa.verify.verdict import verify as verified

MOST_ENTRIES = 20_000  # of a log that is verified while somebody waits
MOST_BYTES = 2**25  # of an export that a browser takes, before it is packed
MOST_EVIDENCE = 2**25  # bytes of one job, which has no vectors so large that they lie in chunks
_TURN = threading.BoundedSemaphore(1)
Shows = Callable[[Entry], bool]


class Record(Struct, frozen=True):
    """Of processing activities (GDPR, article 30)."""

    markdown: str
    json: bytes


def _reviews(who: Person) -> None:
    authorise(who, "review", Thing(member=who.member))


@contextmanager
def _in_turn() -> Iterator[None]:
    """One at a time in this process: each takes a core for seconds."""
    if not _TURN.acquire(blocking=False):
        raise Refused("the log is being verified for somebody else: try again in a minute")
    try:
        yield
    finally:
        _TURN.release()


@contextmanager
def _exported(hub: Hub, shows: Shows, with_evidence: bool, instead: str) -> Iterator[Path]:
    """An export, for as long as the block lasts. `instead`: what an operator does where the log is too large."""
    with Session(hub.reading) as db:
        size = log.size(db, first_row(hub.desk.charter))
    if size > MOST_ENTRIES:
        raise Refused(f"the log has {size} entries, and this page takes up to {MOST_ENTRIES}: {instead}")
    with _in_turn(), tempfile.TemporaryDirectory(prefix="hansa-export-") as folder:
        out = Path(folder)
        exports.export(hub, out, with_evidence, shows)
        yield out


def _everything(_entry: Entry) -> bool:
    return True


def verify(hub: Hub, who: Person, own: bytes | None = None) -> Verdict:
    """The whole log without the evidence of its jobs, so no answer is recomputed. `own`: the auditor's charter."""
    _reviews(who)
    instead = "`hansa audit export`, and elsewhere `hansa audit verify`"
    with _exported(hub, _everything, False, instead) as folder:
        return verified(source_of(folder), own)


def export(hub: Hub, who: Person) -> bytes:
    """As one ZIP archive: every entry; payloads and evidence of the jobs that concern this person's member, but for
    evidence of large vectors, and what it wrote itself."""
    _reviews(who)
    with _exported(hub, _concerning(hub, who), True, "`hansa audit export` writes it as a folder") as folder:
        try:
            return export_zip.pack(folder, MOST_BYTES)
        except Refused as refusal:
            raise Refused(f"the export is too large for this page: {refusal}; `hansa audit export` writes it") from None


def _concerning(hub: Hub, who: Person) -> Shows:
    known: dict[str, bool] = {}

    def shows(entry: Entry) -> bool:
        if not entry.run:
            return entry.by == who.member
        if entry.run not in known:
            known[entry.run] = may_see_evidence(hub, who, entry.run)
        if known[entry.run] and entry.act == "released":
            with Session(hub.reading) as db:
                return not _is_large(db, entry.run)
        return known[entry.run]

    return shows


def may_see_evidence(hub: Hub, who: Person, run: str) -> bool:
    with Session(hub.reading) as db:
        job = db.get(Job, run)
        return job is not None and may(who, "see evidence", thing_of(hub.desk, job))


def _is_large(db: Session, run: str) -> bool:
    if db.scalar(select(TotalChunk.run).where(TotalChunk.run == run).limit(1)) is not None:
        return True
    kept = select(func.sum(func.length(EvidenceRow.content))).where(EvidenceRow.run == run)
    return (db.scalar(kept) or 0) > MOST_EVIDENCE


def receipt(hub: Hub, who: Person, number: int, origin: str = "") -> bytes:
    """The C2SP tlog-proof of an entry; refused before the entry is final. `origin`: of a log that is over."""
    authorise(who, "see log")
    return exports.receipt(hub, number, origin)


def record(hub: Hub, who: Person) -> Record:
    """Of the whole consortium, whose members are controllers together."""
    _reviews(who)
    instead = "`hansa audit export`, then `hansa audit record`"
    with _exported(hub, _everything, False, instead) as folder:
        source = source_of(folder)
        found = told.read(source, verified(source))
    return Record(records.markdown(found), json.dumps(records.data(found), indent=1, allow_nan=False).encode())


def crate(hub: Hub, who: Person, run: str) -> bytes:
    """A Five Safes RO-Crate of a job, packed, with its answer where it can be recomputed."""
    with Session(hub.reading) as db:
        job = db.get(Job, run)
        if job is None:
            raise Refused(f"there is no job {run}")
        authorise(who, "see evidence", thing_of(hub.desk, job))
        if _is_large(db, run):
            raise Refused("the evidence of this job is too large for this page: `hansa audit crate` makes it")
    with _exported(hub, lambda entry: entry.run == run, True, "`hansa audit crate` makes it") as folder:
        source = source_of(folder)
        found = told.read(source, verified(source, None, partial(replay_of, folder)))
        files = beside(folder, run, found.verdict.charter, run in found.verdict.replayed)
        return export_zip.pack_files(crates.files(found, found.job(run), files))
