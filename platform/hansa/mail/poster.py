"""The poster: sends what is due, then marks it sent. A crash in between sends twice, never not at all."""

import logging
import random
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.mail import boxes
from hansa.mail.post import BROKER_ERRORS

log = logging.getLogger("hansa.poster")
IDLE_SECONDS = 0.05


class Way(Protocol):
    def send(self, letter: bytes) -> None: ...
    def reset(self) -> None: ...


class Poster(threading.Thread):
    """Posts the outbox over `ways` (receiver → way). `bell` is set by whoever wrote a letter; `reading` only looks."""

    def __init__(
        self, engine: Engine, reading: Engine, ways: Mapping[str, Way], bell: threading.Event, stop: threading.Event
    ) -> None:
        super().__init__(name="poster", daemon=True)
        self._engine, self._reading, self._ways, self._bell, self._stop_asked = engine, reading, ways, bell, stop

    def run(self) -> None:
        while not self._stop_asked.is_set():
            self._bell.clear()
            try:
                if self.post(time.time()):
                    continue
            except SQLAlchemyError:
                log.exception("the outbox can't be read; trying again")
                self._stop_asked.wait(1)
            self._bell.wait(IDLE_SECONDS)

    def post(self, now: float) -> int:
        """Sends what is due, each receiver's letters in order; gives how many left. A deaf receiver stops no other."""
        with Session(self._reading) as db:
            letters = boxes.due(db, now)
        sent, deaf = 0, set()
        for letter in letters:
            if letter.receiver in deaf:
                continue
            try:
                self._ways[letter.receiver].send(letter.data)
                sent += 1
            except BROKER_ERRORS as error:
                deaf.add(letter.receiver)
                log.warning("%s can't be reached: %s", letter.receiver, type(error).__name__)
                self._ways[letter.receiver].reset()
        if letters:
            with Session(self._engine) as db, db.begin():
                # Jitter only spreads load, so it need not be secret.
                boxes.posted(db, letters, now, random.random())  # noqa: S311
        return sent
