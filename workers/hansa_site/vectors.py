"""Large vectors at a site: its own masked numbers are given to the hub, the totals that it is told of are fetched.

A letter that names chunks which are not here waits in the inbox until they are. Nothing of a job stays in the folder
once it has ended here, whatever arrives meanwhile.
"""

import threading
from collections.abc import Collection

from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.letters import BESIDE_BYTES, Here, Payload, Wanted
from hansa.protocols.base import Vector
from hansa.protocols.masks import as_bytes
from hansa.protocols.secure_sum import Contribute, Contributed
from hansa_site.journal import Run

FETCH_SECONDS = 2.0  # after which somebody looks again whether chunks are missing


class Missing(Struct, frozen=True):
    """Why a letter can't be worked off yet: chunks that it names are still to be fetched."""

    run: str
    digests: tuple[bytes, ...]


class Vectors:
    """Two threads share it: one that receives letters, one that works them off."""

    def __init__(self, reading: Engine, desk: Desk, carriage: Carriage) -> None:
        self._reading, self._desk, self._carriage = reading, desk, carriage
        self._later: dict[int, float] = {}  # letters that wait for chunks: when to look again
        self._wanted: dict[str, tuple[bytes, ...]] = {}  # by run: nothing else is taken from the mailbox
        self._ending = threading.Lock()  # held while chunks arrive, and while a run's are erased
        for run in desk.folder.runs():  # what a crash left of jobs that ended
            if not self._takes_part(run):
                desk.folder.erase(run)

    def receive(self, run: str, payload: Payload) -> None:
        """The hub wants chunks of ours, or those that we wanted are there."""
        if isinstance(payload, Wanted) and self._takes_part(run):
            self._carriage.offer(run, payload.digests)
        elif isinstance(payload, Here):
            with self._ending:
                wanted = self._wanted.get(run, ())
                came = self._takes_part(run) and self._carriage.take(run, payload, wanted)
            if came and not self._carriage.want(run, wanted):
                self._later = {}  # another dict, never this one cleared: `work` reads it in a thread of its own

    def _takes_part(self, run: str) -> bool:
        with Session(self._reading) as db:
            row = db.get(Run, run)
            return row is not None and row.ended_at is None

    def waiting(self, now: float) -> Collection[int]:
        """The letters that are not to be looked at now."""
        self._later = {number: at for number, at in self._later.items() if now < at <= now + FETCH_SECONDS}
        return self._later

    def wait(self, number: int, missing: Missing, now: float) -> None:
        """Letter `number` can be worked off once these are here."""
        self._later[number] = now + FETCH_SECONDS
        self._wanted[missing.run] = missing.digests
        self._carriage.want(missing.run, missing.digests)

    def keep(self, run: str, reply: Contributed, vector: Vector) -> bytes | None:
        """The masked vector if it is small enough for the letter; a large one lies in the folder before it is told."""
        content = as_bytes(vector)
        if content.nbytes <= BESIDE_BYTES:
            return bytes(content)
        self._desk.folder.put_all(run, content, reply.chunks)
        return None

    def total(self, run: str, request: Contribute, beside: bytes) -> bytes | Missing:
        """The total that the request's receipt names, from beside the letter or from the folder."""
        if request.receipt is None or beside:
            return beside
        folder, chunks = self._desk.folder, request.receipt.chunks
        if missing := folder.missing(run, chunks):
            return Missing(run, tuple(missing))
        try:
            return b"".join(folder.get(run, chunk) for chunk in chunks)
        except LookupError:
            return Missing(run, tuple(folder.missing(run, chunks)))

    def erase(self, run: str) -> None:
        """After the end of a run is in the database: from then on nothing of it is kept."""
        with self._ending:
            self._wanted.pop(run, None)
            self._desk.folder.erase(run)
