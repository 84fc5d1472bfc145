"""The hub's process: one Celery worker that turns runs, a gateway a mailbox, the poster, and the clock's ticker.

Nothing is kept in memory between tasks: the process may be killed at any moment and started again.
"""

import logging
import threading
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from hansa.hub import settings as hub_settings
from hansa.hub.coordinator import Coordinator
from hansa.hub.gateway import Gateway
from hansa.mail.database import migrate, open_engine
from hansa.mail.post import BROKER_ERRORS, HUB_PREFIX, TURN_TASK, Sender, ToSite, run_worker, worker_app
from hansa.mail.poster import Poster

log = logging.getLogger("hansa.hub")
TICK_SECONDS = 0.25


class Bell:
    """Queues a turn in the hub's private broker. A ring that is lost is made up for by the ticker."""

    def __init__(self, url: str) -> None:
        self._sender, self._lock = Sender(url, HUB_PREFIX, TURN_TASK), threading.Lock()

    def ring(self, run: str) -> None:
        with self._lock:
            try:
                self._sender.send(run)
            except BROKER_ERRORS:
                self._sender.reset()


def run_hub(home: Path) -> None:
    """Runs until SIGTERM or SIGINT. `home` holds hub.toml, the charter and the keys."""
    settings, desk = hub_settings.read_settings(home), hub_settings.open_desk(home)
    engine = open_engine(settings.database)
    migrate(engine, "hub")
    reading = open_engine(settings.database, reading=True)
    coordinator = Coordinator(engine, reading, desk)
    coordinator.adopt(time.time())
    stop, bell, doorbell = threading.Event(), threading.Event(), Bell(settings.private)
    app = worker_app("hansa-hub", settings.private, HUB_PREFIX)

    @app.task(name=TURN_TASK)
    def turn(run: object) -> None:
        if isinstance(run, str):
            coordinator.turn(run, time.time())
            bell.set()

    ways = {site: ToSite(url, site) for site, url in settings.mailboxes.items()}
    threads: list[threading.Thread] = [Poster(engine, reading, ways, bell, stop)]
    for site, url in settings.mailboxes.items():
        threads.append(Gateway(engine, desk, site, url, doorbell.ring, stop))
    threads.append(threading.Thread(target=_tick, args=(coordinator, doorbell, bell, stop), daemon=True))
    for thread in threads:
        thread.start()
    (home / "ready").write_text("ready\n", encoding="utf-8")
    try:
        run_worker(app)
    finally:
        stop.set()
        (home / "ready").unlink(missing_ok=True)


def _tick(coordinator: Coordinator, doorbell: Bell, bell: threading.Event, stop: threading.Event) -> None:
    while not stop.wait(TICK_SECONDS):
        try:
            for run in coordinator.tick(time.time()):
                doorbell.ring(run)
        except SQLAlchemyError:
            log.exception("the ticker can't reach the database; trying again")
        bell.set()
