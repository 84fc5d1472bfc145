"""The way in: takes what a site pushed, believes nothing, and keeps what is signed.

One thread a mailbox. Bytes move from `s:<site>:hub` to `h:proc:<site>`, and leave that list only after the inbox has
them, a batch in one transaction, or they were set aside: a crash in between reads them again. Size, sender and
signature are checked before anything is parsed further. What fails is set aside with its reason and never stops the
gateway; a database that is away does stop it, until it is back.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.exceptions import OutOfMemoryError
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from hansa.errors import ProtocolViolation
from hansa.hub import checkpoints, rounds
from hansa.hub.log import record
from hansa.hub.models import FAILED, OPEN, Job, Participant
from hansa.hub.vectors import Vectors
from hansa.mail import boxes
from hansa.mail.boxes import Desk, Taken
from hansa.mail.carriage import Carriage
from hansa.mail.letters import TO_HUB, Ack, Acks, Cosigned, Here, Payload, Wanted
from hansa.mail.post import BROKER_ERRORS, raw_client
from hansa.mail.rules import site_prefix
from hansa.mail.tls import Address
from hansa.messages import Header, RunId

log = logging.getLogger("hansa.gateway")
BLOCK_SECONDS = 2
BATCH = 32  # letters in one transaction
AWAY = (OperationalError, InterfaceError, NoConnection, OSError)  # the database, or room on a disk: it comes back
NEVER_KEPT = ("ack", "acks", "wanted", "here", "cosigned")


class Read(NamedTuple):
    """A letter that came; `wrong` says why it is not believed. `payload` is there if the letter is never kept."""

    data: bytes
    header: Header | None
    payload: Payload | None
    wrong: str = ""


class Door:
    """What may come in from the mailbox of `site`, whatever brought it here. `carriage` brings chunks."""

    def __init__(self, engine: Engine, desk: Desk, site: str, carriage: Carriage) -> None:
        self._engine, self._desk, self._site = engine, desk, site
        self.vectors = Vectors(engine, desk, site, carriage)

    def receive(self, letters: Sequence[bytes], now: float) -> set[RunId]:
        """Keeps letters, in one transaction; gives the runs to ring for. Acks are owed once it is committed. A database
        that fails keeps none of them; they stay where they were taken from."""
        read = [self._read(data) for data in letters]
        whole = {letter.header.run for letter in read if letter.header and self._is_whole(letter.header, letter, now)}
        with Session(self._engine) as db, db.begin():
            kept = [(letter.header, letter.data, self._keep(db, letter, now)) for letter in read]
        for header, data, taken in kept:
            if header is not None and taken in ("new", "again"):
                self._desk.owe(header, data, now)
        return whole | {header.run for header, _, taken in kept if header is not None and taken == "new"}

    def _is_whole(self, header: Header, letter: "Read", now: float) -> bool:
        """Whether this talk of chunks made a vector whole."""
        payload = letter.payload
        return isinstance(payload, Wanted | Here) and self.vectors.receive(header.run, payload, now)

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
            elif header is not None and isinstance(letter.payload, Cosigned):
                checkpoints.take(db, self._desk, header.sender, letter.payload, now)
        except ProtocolViolation as violation:
            wrong = str(violation)
        if wrong:
            boxes.set_aside(db, self._site, wrong, letter.data, now)
            if header is not None:  # signed by a member; what anybody could have written must not fill the log
                self._note_aside(db, header, now)
        return None

    def _note_aside(self, db: Session, header: Header, now: float) -> None:
        record(db, self._desk, now, "letter set aside", header.run, {"site": header.sender, "kind": header.kind})

    def _freeze(self, db: Session, header: Header, data: bytes, now: float) -> None:
        """Two letters under one number: both are kept as evidence, and the job ends if their sender is part of it. Who
        is not, or not any more, ends no job of others."""
        reason = f"'{header.sender}' sent two letters under one number: equivocation"
        boxes.set_aside(db, self._site, reason, data, now, whole=True)
        self._note_aside(db, header, now)
        job = db.get(Job, header.run, with_for_update=True)
        part = db.get(Participant, (header.run, header.sender))
        if job is not None and job.status in OPEN and part is not None and part.active:
            rounds.end(db, self._desk, job, FAILED, reason, now)

    def give_up(self, data: bytes, now: float) -> None:
        with Session(self._engine) as db, db.begin():
            boxes.set_aside(db, self._site, "an error of the hub's own; its log says more", data, now, whole=True)


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
