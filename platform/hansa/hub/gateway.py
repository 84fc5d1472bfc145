"""The way in: takes what a site pushed, believes nothing, and keeps what is signed.

One thread a mailbox. Bytes move from `s:<site>:hub` to `h:proc:<site>`, and leave that list only after the inbox has
them, a batch in one transaction, or they were set aside: a crash in between reads them again. Size, sender and
signature are checked before anything is parsed further. What fails is set aside with its reason and never stops the
gateway; a database that is away does stop it, until it is back.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from redis.exceptions import OutOfMemoryError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from hansa.errors import ProtocolViolation
from hansa.hub import rounds
from hansa.hub.models import FAILED, OPEN, Job, Participant
from hansa.hub.records import record
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Taken
from hansa.mail.carriage import Carriage
from hansa.mail.letters import TO_HUB, Ack, Acks, Here, Payload, Wanted
from hansa.mail.post import BROKER_ERRORS, raw_client
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.messages import Digest, Header, RunId, decode
from hansa.protocols.survivors import Receipt

log = logging.getLogger("hansa.gateway")
BLOCK_SECONDS = 2
BATCH = 32  # letters in one transaction
AWAY = (OperationalError, InterfaceError, NoConnection, OSError)  # the database, or room on a disk: it comes back
NEVER_KEPT = ("ack", "acks", "wanted", "here")
FETCH_SECONDS = 2.0  # after which chunks that did not come are wanted again


class Read(NamedTuple):
    """A letter that came; `wrong` says why it is not believed. `payload` is there if the letter is never kept."""

    data: bytes
    header: Header | None
    payload: Payload | None
    wrong: str = ""


class Door:
    """What may come in from the mailbox of `site`, whatever brought it here. `carriage` brings chunks."""

    def __init__(self, engine: Engine, desk: Desk, site: str, carriage: Carriage) -> None:
        self._engine, self._desk, self._site, self._carriage = engine, desk, site, carriage
        self._asked: dict[RunId, float] = {}
        self._asking = threading.Lock()  # turns, the ticker and the gateway come here

    def receive(self, letters: Sequence[bytes], now: float) -> set[RunId]:
        """Keeps letters, in one transaction; gives the runs to ring for. Acks are owed once it is committed. A database
        that fails keeps none of them; they stay where they were taken from."""
        read = [self._read(data) for data in letters]
        whole = {
            letter.header.run
            for letter in read
            if letter.header and letter.payload and self._chunks(letter.header.run, letter.payload, now)
        }
        with Session(self._engine) as db, db.begin():
            kept = [(letter.header, letter.data, self._keep(db, letter, now)) for letter in read]
        for header, data, taken in kept:
            if header is not None and taken in ("new", "again"):
                self._desk.owe(header, data, now)
        return whole | {header.run for header, _, taken in kept if header is not None and taken == "new"}

    def _read(self, data: bytes) -> "Read":
        """Believes a letter or says why not. Acks and talk of chunks are opened here, the others by who works them
        off."""
        header: Header | None = None
        try:
            header, envelope = self._desk.read(data, TO_HUB)
            if header.sender != self._site:
                raise ProtocolViolation(f"a letter of '{header.sender}' lay in the mailbox of '{self._site}'")
            payload = self._desk.open(header, envelope) if header.kind in NEVER_KEPT else None
            return Read(data, header, payload)
        except ProtocolViolation as violation:
            return Read(data, header, None, str(violation))

    def _keep(self, db: Session, letter: "Read", now: float) -> Taken | None:
        header, wrong = letter.header, letter.wrong
        try:
            if header is not None and not wrong and header.kind not in NEVER_KEPT:
                if (taken := boxes.take(db, header, letter.data, now)) != "other":
                    return taken
                self._freeze(db, header, letter.data, now)
            elif header is not None and isinstance(letter.payload, Ack | Acks):
                self._desk.acked(db, header, letter.payload, now)
        except ProtocolViolation as violation:
            wrong = str(violation)
        if wrong:
            boxes.set_aside(db, self._site, wrong, letter.data, now)
            if header is not None:  # signed by a member; what anybody could have written must not fill the log
                record(db, now, "letter set aside", header.sender, header.run)
        return None

    def _freeze(self, db: Session, header: Header, data: bytes, now: float) -> None:
        """Two letters under one number: both are kept as evidence, and the run that they belong to ends."""
        reason = f"'{header.sender}' sent two letters under one number: equivocation"
        boxes.set_aside(db, self._site, reason, data, now, whole=True)
        record(db, now, "letter set aside", header.sender, header.run)
        job = db.get(Job, header.run, with_for_update=True)
        if job is not None and job.status in OPEN:
            rounds.end(db, self._desk, job, FAILED, reason, now)

    def give_up(self, data: bytes, now: float) -> None:
        with Session(self._engine) as db, db.begin():
            boxes.set_aside(db, self._site, "an error of the hub's own; its log says more", data, now, whole=True)

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
    """Reads the mailbox of `site`. `ring` is told the run of each new letter, and of each vector that is whole; `bell`
    wakes the poster, because acks are owed."""

    def __init__(
        self, door: Door, site: str, address: Address, ring: Callable[[str], None], stop: threading.Event
    ) -> None:
        super().__init__(name=f"gateway-{site}", daemon=True)
        self._door, self._site, self._ring, self._stop_asked = door, site, ring, stop
        self._client = raw_client(address, BLOCK_SECONDS)
        self._source, self._taken = f"{site_prefix(site)}hub", f"h:proc:{site}"

    def run(self) -> None:
        leftovers = True
        while not self._stop_asked.is_set():
            try:
                if leftovers:
                    self._work_leftovers()
                    leftovers = False
                self._take()
            except (*BROKER_ERRORS, *AWAY) as error:
                log.warning("mailbox of %s: %s; trying again", self._site, type(error).__name__)
                leftovers = True
                self._client.connection_pool.disconnect()
                self._stop_asked.wait(0.5)

    def _take(self) -> None:
        try:
            data = self._client.blmove(self._source, self._taken, BLOCK_SECONDS, "RIGHT", "LEFT")
        except OutOfMemoryError:
            # A full server moves nothing any more, but reads and removes: else it would stay full for ever.
            oldest: list[bytes] = self._client.lrange(self._source, -1, -1)  # type: ignore[assignment]
            if not oldest:
                raise
            self._keep(oldest, self._source, -1)
            return
        if isinstance(data, bytes):
            self._keep([data, *self._more()])

    def _more(self) -> list[bytes]:
        """What lies there already, up to a batch; a site that pushes fast is served in few transactions."""
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(BATCH - 1):
                pipeline.lmove(self._source, self._taken, "RIGHT", "LEFT")
            return [data for data in pipeline.execute() if isinstance(data, bytes)]

    def _work_leftovers(self) -> None:
        """What a crash left between taking and keeping, oldest first."""
        while rest := self._client.lrange(self._taken, -BATCH, -1):
            self._keep(list(reversed(rest)))  # type: ignore[arg-type]  # redis-py's stubs know it as awaitable too

    def _keep(self, letters: Sequence[bytes], place: str | None = None, count: int = 1) -> None:
        try:
            rung = self._door.receive(letters, time.time())
        except AWAY:
            raise
        except Exception:  # one poison letter: the others go on without it
            log.exception("a letter in the mailbox of %s met an error of the hub's own", self._site)
            rung = {run for data in letters for run in self._alone(data)}
        with self._client.pipeline(transaction=False) as pipeline:
            for data in letters:
                pipeline.lrem(place or self._taken, count, data)  # type: ignore[arg-type]  # redis-py's stubs want str
            pipeline.execute()
        for run in rung:
            self._ring(run)

    def _alone(self, data: bytes) -> set[RunId]:
        try:
            return self._door.receive([data], time.time())
        except AWAY:
            raise
        except Exception:
            self._door.give_up(data, time.time())
            return set()
