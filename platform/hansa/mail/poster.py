"""The poster: sends what is due, then marks it sent. A crash in between sends twice, never not at all.

Each receiver has a lane of its own, so that one whose mailbox hangs holds up nobody else. What could not be sent is
put off for a moment; what was sent waits for its ack, longer every time. Acks that we owe go ahead of the letters.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.mail import boxes
from hansa.mail.boxes import Desk, Due
from hansa.mail.post import BROKER_ERRORS

log = logging.getLogger("hansa.poster")
IDLE_SECONDS = 0.05
LANES = 16


def lanes() -> Executor:
    """More mailboxes than this may hang at once before one waits for another."""
    return ThreadPoolExecutor(LANES, "lane")


class Way(Protocol):
    def send(self, letter: bytes) -> None: ...
    def room(self) -> int: ...
    def reset(self) -> None: ...


class Sent(NamedTuple):
    """What a lane did with what it was given."""

    receiver: str
    sent: Sequence[Due]
    left: Sequence[Due]


class Poster(threading.Thread):
    """Posts the outbox over `ways` (receiver → way), and the acks that `desk` owes. `bell` is set by whoever wrote a
    letter; `reading` only looks; what is marked through `engine` need not be durable: it only says when to try again.
    Of several processes over one outbox the one that `leads` posts letters; each pays its own acks. `lanes` run what
    is sent, at most one thing a receiver at a time.
    """

    def __init__(
        self,
        engine: Engine,
        reading: Engine,
        desk: Desk,
        ways: Mapping[str, Way],
        bell: threading.Event,
        stop: threading.Event,
        lanes: Executor,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(name="poster", daemon=True)
        self._engine, self._reading, self._desk, self._ways = engine, reading, desk, ways
        self._bell, self._stop_asked, self._leads = bell, stop, leads
        self._lanes = lanes
        self._back: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        self._busy: set[str] = set()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self._bell.clear()
            try:
                self.post(time.time())
            except SQLAlchemyError:
                log.exception("the outbox can't be read; trying again")
                self._stop_asked.wait(1)
            self._bell.wait(IDLE_SECONDS)
        self._lanes.shutdown(wait=False, cancel_futures=True)

    def post(self, now: float) -> int:
        """Notes what the lanes have done, and gives out what is due to receivers whose lane is free; how many."""
        self._mark(now)
        by_receiver: dict[str, list[Due]] = {}
        if self._leads():
            with Session(self._reading) as db:
                for letter in boxes.due(db, now, self._busy):
                    by_receiver.setdefault(letter.receiver, []).append(letter)
        acks = self._desk.acks(now, self._busy)
        for receiver in by_receiver.keys() | acks.keys():
            self._busy.add(receiver)
            self._lanes.submit(self._send, receiver, acks.get(receiver, []), by_receiver.get(receiver, []))
        self._mark(now)
        return sum(map(len, by_receiver.values()))

    def _send(self, receiver: str, acks: Sequence[bytes], letters: Sequence[Due]) -> None:
        done = 0
        try:
            way = self._ways.get(receiver)
            if way is None:
                log.warning("no mailbox of '%s' is known here", receiver)
                return
            try:
                for ack in acks:
                    way.send(ack)
                for letter in letters[: way.room()] if letters else ():
                    way.send(letter.data)
                    done += 1
            except BROKER_ERRORS as error:
                log.warning("%s can't be reached: %s", receiver, type(error).__name__)
                way.reset()
        finally:
            self._back.put(Sent(receiver, letters[:done], letters[done:]))
            self._bell.set()

    def _mark(self, now: float) -> None:
        found: list[Sent] = []
        while not self._back.empty():
            found.append(self._back.get())
        sent = [letter for lane in found for letter in lane.sent]
        left = [letter for lane in found for letter in lane.left]
        if sent or left:
            with Session(self._engine) as db, db.begin():
                # Jitter only spreads load, so it need not be secret.
                boxes.posted(db, sent, now, random.random())  # noqa: S311
                boxes.put_off(db, left, now)
        self._busy.difference_update(lane.receiver for lane in found)
