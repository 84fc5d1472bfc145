"""Large vectors at a site: its own masked numbers are given to the hub, the totals that it is told of are fetched.

A letter that names chunks which are not here waits in the inbox until they are. Nothing of a job stays in the folder
once it has ended here, whatever arrives meanwhile.
"""

import threading
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import delete
from sqlalchemy.orm import Session

from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.database import Engines
from hansa.mail.letters import BESIDE_BYTES, Here, Payload, Wanted
from hansa.messages import Digest, decode, encode
from hansa.protocols.base import Vector
from hansa.protocols.masks import as_bytes
from hansa.protocols.secure_sum import Contributed
from hansa.protocols.survivors import Receipt
from hansa_site import leaving
from hansa_site.journal import Run, WantedChunks

FETCH_SECONDS = 2.0  # after which somebody looks again whether chunks are missing


class Missing(Struct, frozen=True):
    """Why a letter can't be worked off yet: chunks that it names are still to be fetched."""

    run: str
    digests: tuple[bytes, ...]


class Vectors:
    """Threads share it: one that receives letters, others that work them off. What is wanted stands in the database,
    because another process of this site may get the letter that says where it is."""

    def __init__(self, engines: Engines, desk: Desk, carriage: Carriage) -> None:
        self._reading, self._notes = engines.reading, engines.notes
        self._desk, self._carriage = desk, carriage
        self._later: dict[int, float] = {}  # letters that wait for chunks: when to look again
        self._ending = threading.Lock()  # held while chunks arrive, and while a run's are erased
        for run in desk.folder.runs():  # what a crash left of jobs that ended
            if not self._takes_part(run):
                desk.folder.erase(run)

    def receive(self, run: str, payload: Payload, now: float) -> None:
        """The hub wants chunks of ours, or those that we wanted are there."""
        if isinstance(payload, Wanted) and self._takes_part(run):
            self._note(run, payload.digests, now)
            self._carriage.offer(run, payload.digests)
        elif isinstance(payload, Here):
            with self._ending:
                wanted = self._wanted(run)
                came = self._takes_part(run) and self._carriage.take(run, payload, wanted)
            if came and not self._carriage.want(run, wanted):
                self._later = dict.fromkeys(self._later, 0.0)  # another dict: `due` reads it in a thread of its own

    def _note(self, run: str, digests: Sequence[bytes], now: float) -> None:
        """What is about to leave, for this site's people."""
        sizes = {digest: size for digest in digests if (size := self._desk.folder.size(run, digest))}
        with Session(self._notes) as db, db.begin():
            leaving.chunks(db, run, sizes, now)

    def _takes_part(self, run: str) -> bool:
        with Session(self._reading) as db:
            row = db.get(Run, run)
            return row is not None and row.ended_at is None

    def _wanted(self, run: str) -> tuple[bytes, ...]:
        """Nothing else is taken from the mailbox."""
        with Session(self._reading) as db:
            row = db.get(WantedChunks, run)
            return () if row is None else decode(row.digests, tuple[Digest, ...])

    def waiting(self) -> frozenset[int]:
        """The letters that wait for chunks here."""
        return frozenset(self._later)

    def due(self, now: float) -> int | None:
        """One of them whose chunks may have come; it waits no more."""
        for number, at in list(self._later.items()):
            if not now < at <= now + FETCH_SECONDS:
                self._later.pop(number, None)
                return number
        return None

    def wait(self, number: int, missing: Missing, now: float) -> None:
        """Letter `number` can be worked off once these are here."""
        with Session(self._notes) as db, db.begin():
            row = db.get(WantedChunks, missing.run) or WantedChunks(run=missing.run)
            row.digests = encode(missing.digests)
            db.add(row)
        self._later[number] = now + FETCH_SECONDS
        self._carriage.want(missing.run, missing.digests)

    def keep(self, run: str, reply: Contributed, vector: Vector) -> bytes | None:
        """The masked vector if it is small enough for the letter; a large one lies in the folder before it is told."""
        content = as_bytes(vector)
        if content.nbytes <= BESIDE_BYTES:
            return bytes(content)
        self._desk.folder.put_all(run, content, reply.chunks)
        return None

    def total(self, run: str, receipt: Receipt | None, beside: bytes) -> bytes | Missing:
        """The total that a receipt names, from beside the letter or from the folder."""
        if receipt is None or beside:
            return beside
        folder, chunks = self._desk.folder, receipt.chunks
        if missing := folder.missing(run, chunks):
            return Missing(run, tuple(missing))
        try:
            return b"".join(folder.get(run, chunk) for chunk in chunks)
        except LookupError:
            return Missing(run, tuple(folder.missing(run, chunks)))

    def erase(self, run: str) -> None:
        """After the end of a run is in the database: from then on nothing of it is kept."""
        with self._ending:
            with Session(self._notes) as db, db.begin():
                db.execute(delete(WantedChunks).where(WantedChunks.run == run))
            self._desk.folder.erase(run)
