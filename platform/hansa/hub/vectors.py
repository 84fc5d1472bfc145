"""Large vectors of one site, at the hub: its masked numbers are fetched, the totals that it was told of are given.

Chunks need no letter of the protocol's: `wanted` and `here` come and go beside the round, and whoever misses chunks
asks. A site gets chunks of the total that its open round names, and the hub takes those that a signed reply names.

A transfer that makes progress is no silent site, so the round waits for it: each chunk that comes, or is given for the
first time, moves the deadline to `round_seconds` from now. A slow line needs `CHUNK_SECONDS` a chunk; from the
opening of a round on, no transfer holds it up longer than `round_seconds` and that for every chunk of its own.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hansa.hub.models import OPEN, Job, Participant
from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.letters import Here, Payload, Wanted
from hansa.messages import Digest, RunId, decode
from hansa.protocols.survivors import Receipt

log = logging.getLogger("hansa.hub")
FETCH_SECONDS = 2.0  # after which somebody looks again whether chunks are missing
CHUNK_SECONDS = 30.0  # of a chunk on the slowest line that we wait for: 140 kB/s


class Vectors:
    def __init__(self, engine: Engine, desk: Desk, site: str, carriage: Carriage) -> None:
        self._engine, self._desk, self._site, self._carriage = engine, desk, site, carriage
        self._looked: dict[RunId, float] = {}
        self._looking = threading.Lock()  # turns, the ticker and the gateway come here

    def fetch(self, run: RunId, now: float) -> None:
        """Wants what is missing of the reply of this site, unless that was done a moment ago."""
        with self._looking:
            self._looked = {other: at for other, at in self._looked.items() if now < at <= now + FETCH_SECONDS}
            due = run not in self._looked
        if due:
            self._guarded(run, lambda: self._want(run, now))

    def receive(self, run: RunId, payload: Payload, now: float) -> bool:
        """The site wants chunks of the total it was told of, or says where those of its reply are; True if these
        are whole now. Of anything else that lies here it gets nothing, and leaves nothing."""
        return self._guarded(run, lambda: self._receive(run, payload, now))

    def _guarded(self, run: RunId, act: Callable[[], bool]) -> bool:
        """A place of chunks that is away stops no letter: whoever misses some asks again."""
        try:
            return act()
        except OSError as error:
            log.warning("run %s: where chunks lie is away: %s", run, error)
            return False

    def _receive(self, run: RunId, payload: Payload, now: float) -> bool:
        with Session(self._engine) as db:
            job, part = db.get(Job, run), db.get(Participant, (run, self._site))
            if job is None or part is None or job.status not in OPEN:
                return False
            receipt, due = job.receipt if part.asked else None, part.chunks  # who is out is shown no more totals
        if isinstance(payload, Wanted):
            shown = decode(receipt, Receipt).chunks if receipt is not None else ()
            self._give(run, [chunk for chunk in payload.digests if chunk in shown], now)
        elif isinstance(payload, Here) and due is not None:
            return self._carriage.take(run, payload, decode(due, tuple[Digest, ...])) and self._want(run, now, True)
        return False

    def _give(self, run: RunId, asked: Sequence[bytes], now: float) -> None:
        fresh = self._carriage.offer(run, asked)
        given = self._size(run, asked)
        with Session(self._engine) as db, db.begin():
            if fresh:
                self._wait_on(db, run, now)
            db.get_one(Participant, (run, self._site)).bytes_received += given

    def _want(self, run: RunId, now: float, came: bool = False) -> bool:
        """True if nothing is missing any more, and the reply is whole. `came`: since the last time, something did."""
        with self._looking:
            self._looked[run] = now + FETCH_SECONDS
        with Session(self._engine) as db:
            part = db.get(Participant, (run, self._site))
            due = part.chunks if part is not None else None
        chunks = decode(due, tuple[Digest, ...]) if due is not None else ()
        if due is None:
            return False
        if self._carriage.want(run, chunks):
            if came and self._may_wait(run, now):
                with Session(self._engine) as db, db.begin():
                    self._wait_on(db, run, now)
            return False
        size = self._size(run, chunks)
        with Session(self._engine) as db, db.begin():
            part = db.get_one(Participant, (run, self._site))
            if part.chunks == due:
                part.chunks, part.stage = None, "answered"
                part.bytes_sent += size
        return True

    def _size(self, run: RunId, chunks: Sequence[bytes]) -> int:
        return sum(self._desk.folder.size(run, chunk) for chunk in chunks)

    def _may_wait(self, run: RunId, now: float) -> bool:
        """Whether a longer deadline is worth a transaction: a quarter of the round has passed since the last."""
        lasts = self._desk.charter.rules.round_seconds
        with Session(self._engine) as db:
            job = db.get_one(Job, run)
            return job.deadline is not None and job.deadline < now + lasts * 3 / 4

    def _wait_on(self, db: Session, run: RunId, now: float) -> None:
        """The job first, as everybody who locks rows of it; then what belongs to it."""
        lasts = self._desk.charter.rules.round_seconds
        job = db.get_one(Job, run, with_for_update=True)
        part = db.get_one(Participant, (run, self._site))
        answered = part.reply is not None and part.chunks is None
        if job.status not in OPEN or job.deadline is None or job.opened_at is None or not part.asked or answered:
            return
        chunks = len(decode(job.receipt, Receipt).chunks) if job.receipt is not None else 0
        chunks += len(decode(part.chunks, tuple[Digest, ...])) if part.chunks is not None else 0
        latest = job.opened_at + lasts + chunks * CHUNK_SECONDS
        job.deadline = max(job.deadline, min(now + lasts, latest))
