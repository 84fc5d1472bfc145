"""The hub's processes. `run_hub`: a Celery worker, a gateway a mailbox, the poster, and the clock's ticker.

Two sorts of task wait in the private broker: a run's turn, and some chunks of a large total to add up. As many further
workers may be started as there are cores to use (`run_worker_of_hub`). Nothing is kept in memory between tasks: any of
these processes may be killed at any moment and started again.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.hub import retention
from hansa.hub import settings as hub_settings
from hansa.hub.coordinator import Coordinator
from hansa.hub.gateway import Door, Gateway
from hansa.mail.blobs import AtHub
from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.database import migrate, open_engines
from hansa.mail.post import (
    ADD_TASK,
    BROKER_ERRORS,
    HUB_PREFIX,
    TURN_TASK,
    Sender,
    ToSite,
    raw_client,
    run_worker,
    waiting_tasks,
    worker_app,
)
from hansa.mail.poster import Poster, lanes
from hansa.mail.tls import Address
from hansa.mail.workers import Worker

log = logging.getLogger("hansa.hub")
TICK_SECONDS = 0.25
STAND_BY_SECONDS = 0.5
RING_SECONDS = 2.0
STOPPED_SECONDS = 5.0  # between two ticks: this process, or its machine, was stopped
MOST_QUEUED = 16  # tasks, beyond which the ticker rings for nobody


class Bell:
    """Queues a task in the hub's private broker. A ring that is lost is made up for by the ticker."""

    def __init__(self, address: Address, task: str) -> None:
        self._sender, self._lock = Sender(address, HUB_PREFIX, task), threading.Lock()
        self._queue = raw_client(address)

    def ring(self, argument: str) -> None:
        with self._lock:
            try:
                self._sender.send(argument)
            except BROKER_ERRORS:
                self._sender.reset()

    def room(self) -> int:
        """How many rings more may be queued by who only makes up for lost ones. Where tasks wait already, none is
        lost: the workers are busy, and ringing again would bury them in turns that find nothing to do."""
        try:
            return max(MOST_QUEUED - waiting_tasks(self._queue, HUB_PREFIX), 0)
        except BROKER_ERRORS:
            self._queue.connection_pool.disconnect()
            return MOST_QUEUED


class Office:
    """What every process of the hub has open, and the two sorts of task it works off."""

    def __init__(self, home: Path, gateways: bool) -> None:
        """`gateways`: whether this process hears what the sites answer. Only then may it ask them for chunks."""
        self._gateways = gateways
        self.settings, self.desk = hub_settings.read_settings(home), hub_settings.open_desk(home)
        _ = self.desk.keys  # opened before anything is begun: who starts the hub hears of a wrong passphrase
        self.engines = open_engines(self.settings.database)
        migrate(self.engines.writing, "hub")
        self.coordinator = Coordinator(self.engines.writing, self.engines.reading, self.desk)
        self.private, self.mailboxes = self.settings.addresses(home)
        self.turns, self.adding = Bell(self.private, TURN_TASK), Bell(self.private, ADD_TASK)
        self._swept = 0.0
        self._ticked = time.monotonic()
        self._rung: dict[str, float] = {}  # by the ticker, when: a turn that lasts is not rung for at every tick
        self.doors = {site: _door(self.engines.writing, self.desk, site, at) for site, at in self.mailboxes.items()}

    def turn(self, run: str) -> None:
        now = time.time()
        self.coordinator.turn(run, now)
        self._follow(run, now)

    def add_up(self, run: str, numbers: list[int]) -> None:
        if self.coordinator.add_up(run, numbers, time.time()):
            self.turns.ring(run)

    def tick(self) -> None:
        now = time.time()
        if time.monotonic() - self._ticked > STOPPED_SECONDS:  # meanwhile replies lay unread in the mailboxes
            self.coordinator.resume(now)
        waiting, closed = self.coordinator.tick(now)
        self._rung = {run: at for run, at in self._rung.items() if now < at + RING_SECONDS and at <= now}
        missed = [run for run in waiting if run not in self._rung]
        for run in missed[: self.turns.room()] if missed else ():
            self._rung[run] = now
            self.turns.ring(run)
        for run in closed:
            self._follow(run, now)
        self._fetch(now)
        self._sweep(now)
        self._ticked = time.monotonic()

    def _sweep(self, now: float) -> None:
        """Erases what the charter's time is over for, now and then."""
        if self._swept <= now < self._swept + retention.EVERY:
            return
        with Session(self.engines.writing) as db, db.begin():
            runs = retention.sweep(db, self.desk, now)
        for run in runs:
            self.desk.folder.erase(run)
        self._swept = now

    def _follow(self, run: str, now: float) -> None:
        """What a turn may lead to outside the database."""
        for number in self.coordinator.given_out(run, now):
            self.adding.ring(f"{run} {number}")
        self._fetch(now)

    def _fetch(self, now: float) -> None:
        for run, site in self.coordinator.fetching() if self._gateways else ():
            self.doors[site].vectors.fetch(run, now)

    def app(self, after_turn: Callable[[], None]) -> Celery:
        app = worker_app("hansa-hub", self.private, HUB_PREFIX)

        @app.task(name=TURN_TASK)
        def turn(run: object) -> None:
            if isinstance(run, str):
                self.turn(run)
                after_turn()

        @app.task(name=ADD_TASK)
        def add_up(task: object) -> None:
            if isinstance(task, str):
                run, *numbers = task.split()
                self.add_up(run, [int(number) for number in numbers])

        return app


def _door(engine: Engine, desk: Desk, site: str, address: Address) -> Door:
    send = ToSite(address, site).send
    carriage = Carriage(desk, site, AtHub(address, site), send, secrets.token_bytes, time.monotonic)
    return Door(engine, desk, site, carriage)


def run_hub(home: Path) -> None:
    """Runs until SIGTERM or SIGINT. `home` holds hub.toml, the charter and the keys."""
    worker = Worker(home, secrets.token_bytes(16))
    _wait_for_turn(worker)
    office, stop, bell = Office(home, gateways=True), threading.Event(), threading.Event()
    office.coordinator.adopt(time.time())
    ways = {site: ToSite(address, site) for site, address in office.mailboxes.items()}
    poster = Poster(office.engines.notes, office.engines.reading, office.desk, ways, bell, stop, lanes())
    threads: list[threading.Thread] = [poster]
    for site, address in office.mailboxes.items():
        threads.append(Gateway(office.doors[site], site, address, office.turns.ring, stop))
    threads.append(threading.Thread(target=_tick, args=(office, bell, stop), daemon=True))
    for thread in threads:
        thread.start()
    (home / "ready").write_text("ready\n", encoding="utf-8")
    try:
        run_worker(office.app(bell.set))
    finally:
        stop.set()
        (home / "ready").unlink(missing_ok=True)
        worker.close()


def _wait_for_turn(worker: Worker) -> None:
    """A mailbox is read, a letter posted and a deadline kept by one process; a second one stands by for its end."""
    if not worker.leads():
        log.warning("another hub runs on this home; this one stands by")
    while not worker.leads():
        time.sleep(STAND_BY_SECONDS)


def run_worker_of_hub(home: Path) -> None:
    """A further worker beside `run_hub`, on the same home; until SIGTERM or SIGINT. What it writes is posted there."""
    worker = Worker(home, secrets.token_bytes(16))
    try:
        run_worker(Office(home, gateways=False).app(lambda: None))
    finally:
        worker.close()


def _tick(office: Office, bell: threading.Event, stop: threading.Event) -> None:
    while not stop.wait(TICK_SECONDS):
        try:
            office.tick()
        except (SQLAlchemyError, OSError):
            log.exception("the ticker can't reach the database or the folder of chunks; trying again")
        bell.set()
