"""The way in: takes what a site pushed, believes nothing, and keeps what is signed.

One thread a mailbox. Bytes move from `s:<site>:hub` to `h:proc:<site>` and leave that list only after the inbox has
them (or they were set aside), so a crash in between reads them again. Size, sender and signature are checked before
anything is parsed further. What fails is set aside with its reason and never stops the gateway; a database that is
away does stop it, until it is back.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from redis.exceptions import OutOfMemoryError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.errors import ProtocolViolation
from hansa.hub.models import OPEN, Job, Participant
from hansa.hub.records import record
from hansa.mail import boxes
from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.letters import TO_HUB, Here, Payload, Wanted
from hansa.mail.post import BROKER_ERRORS, ToSite, raw_client
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.messages import Digest, Header, RunId, decode
from hansa.protocols.survivors import Receipt

log = logging.getLogger("hansa.gateway")
BLOCK_SECONDS = 2
FETCH_SECONDS = 2.0  # after which chunks that did not come are wanted again


class Door:
    """What may come in from the mailbox of `site`, whatever brought it here. `carriage` brings chunks."""

    def __init__(self, engine: Engine, desk: Desk, site: str, carriage: Carriage) -> None:
        self._engine, self._desk, self._site, self._carriage = engine, desk, site, carriage
        self._asked: dict[RunId, float] = {}
        self._asking = threading.Lock()  # turns, the ticker and the gateway come here

    def receive(self, data: bytes, now: float) -> tuple[bytes | None, str | None]:
        """Keeps one letter. Gives the ack to send, and the run to ring for if the letter is new."""
        header: Header | None = None
        try:
            header, envelope = self._desk.read(data, TO_HUB)
            if header.sender != self._site:
                raise ProtocolViolation(f"a letter of '{header.sender}' lay in the mailbox of '{self._site}'")
            if header.kind in ("wanted", "here"):
                payload = self._desk.open(header, envelope)
                return None, header.run if self._chunks(header.run, payload, now) else None
            with Session(self._engine) as db, db.begin():
                if header.kind == "ack":
                    self._desk.acked(db, header, self._desk.open(header, envelope), now)
                    return None, None
                new = boxes.take(db, header, data, now)
            return self._desk.ack(header, data), header.run if new else None
        except ProtocolViolation as violation:
            with Session(self._engine) as db, db.begin():
                boxes.set_aside(db, self._site, str(violation), data, now)
                if header is not None:  # signed by a member; what anybody could have written must not fill the log
                    record(db, now, "letter set aside", header.sender, header.run)
            return None, None

    def fetch(self, run: RunId, now: float) -> None:
        """Wants what is missing of the reply of this site; not again before the site had time to answer."""
        with self._asking:
            self._asked = {other: at for other, at in self._asked.items() if now < at <= now + FETCH_SECONDS}
            due = run not in self._asked
        if due:
            self._want(run, now)

    def _want(self, run: RunId, now: float) -> bool:
        """True if nothing is missing any more, and the reply is whole."""
        with self._asking:
            self._asked[run] = now + FETCH_SECONDS
        with Session(self._engine) as db:
            part = db.get(Participant, (run, self._site))
            due = part.chunks if part is not None else None
        chunks = decode(due, tuple[Digest, ...]) if due is not None else ()
        if due is None or self._carriage.want(run, chunks):
            return False
        with Session(self._engine) as db, db.begin():
            part = db.get_one(Participant, (run, self._site))
            if part.chunks == due:
                part.chunks, part.stage = None, "answered"
                part.bytes_sent += self._size(run, chunks)
        return True

    def _size(self, run: RunId, chunks: Iterable[bytes]) -> int:
        return sum(self._desk.folder.size(run, chunk) for chunk in chunks)

    def _chunks(self, run: RunId, payload: Payload, now: float) -> bool:
        """The site wants chunks of the total it was told of, or says where those of its reply are; True if these
        are whole now. Of anything else that lies here it gets nothing, and leaves nothing."""
        with Session(self._engine) as db:
            job, part = db.get(Job, run), db.get(Participant, (run, self._site))
            if job is None or part is None or job.status not in OPEN:
                return False
            receipt, due = job.receipt if part.asked else None, part.chunks  # who is out is shown no more totals
        if isinstance(payload, Wanted):
            shown = decode(receipt, Receipt).chunks if receipt is not None else ()
            asked = [chunk for chunk in payload.digests if chunk in shown]
            self._carriage.offer(run, asked)
            with Session(self._engine) as db, db.begin():
                db.get_one(Participant, (run, self._site)).bytes_received += self._size(run, asked)
        elif isinstance(payload, Here) and due is not None:
            return self._carriage.take(run, payload, decode(due, tuple[Digest, ...])) and self._want(run, now)
        return False


class Gateway(threading.Thread):
    """Reads the mailbox of `site`. `ring` is told the run of each new letter, and of each vector that is whole."""

    def __init__(
        self, door: Door, site: str, address: Address, ring: Callable[[str], None], stop: threading.Event
    ) -> None:
        super().__init__(name=f"gateway-{site}", daemon=True)
        self._door, self._site, self._ring, self._stop_asked = door, site, ring, stop
        self._client = raw_client(address, BLOCK_SECONDS)
        self._back = ToSite(address, site)
        self._source, self._taken = f"{site_prefix(site)}hub", f"h:proc:{site}"

    def run(self) -> None:
        leftovers = True
        while not self._stop_asked.is_set():
            try:
                if leftovers:
                    self._work_leftovers()
                    leftovers = False
                self._take()
            except (*BROKER_ERRORS, SQLAlchemyError) as error:
                log.warning("mailbox of %s: %s; trying again", self._site, type(error).__name__)
                leftovers = True
                self._back.reset()
                self._stop_asked.wait(0.5)

    def _take(self) -> None:
        try:
            data = self._client.blmove(self._source, self._taken, BLOCK_SECONDS, "RIGHT", "LEFT")
        except OutOfMemoryError:
            # A full server moves nothing any more, but reads and removes: else it would stay full for ever.
            oldest: list[bytes] = self._client.lrange(self._source, -1, -1)  # type: ignore[assignment]
            if not oldest:
                raise
            self._keep(oldest[0], self._source, -1)
            return
        if isinstance(data, bytes):
            self._keep(data)

    def _work_leftovers(self) -> None:
        """What a crash left between taking and keeping, oldest first."""
        rest: list[bytes] = self._client.lrange(self._taken, 0, -1)  # type: ignore[assignment]
        for data in reversed(rest):
            self._keep(data)

    def _keep(self, data: bytes, place: str | None = None, count: int = 1) -> None:
        ack, run = self._door.receive(data, time.time())
        self._client.lrem(place or self._taken, count, data)  # type: ignore[arg-type]  # redis-py's stubs want str
        if ack is not None:
            try:
                self._back.send(ack)
            except BROKER_ERRORS:
                self._back.reset()  # the site sends its letter again, and is acked then
        if run is not None:
            self._ring(run)
