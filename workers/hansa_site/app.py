"""The site's process: a Celery worker that receives, threads that work off what waits, and the poster.

The Celery task only keeps a letter; long work is a row in the inbox, so a worker that is killed loses nothing and
another picks it up. As many processes may run over one home as there are cores to use.
"""

import logging
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from hansa.mail.blobs import AtSite, Folder
from hansa.mail.carriage import Carriage
from hansa.mail.database import migrate, open_engines
from hansa.mail.post import LETTER_TASK, ToHub, letter_of, run_worker, worker_app
from hansa.mail.poster import Poster, lanes
from hansa.mail.rules import site_prefix
from hansa.mail.workers import CLAIM_SECONDS, Worker
from hansa.messages import HUB
from hansa_site.settings import read_settings
from hansa_site.site import Site
from hansa_site.vault import open_desk

log = logging.getLogger("hansa.site")
IDLE_SECONDS = 0.5
REPORT_SECONDS = 1.0
RETRY_SECONDS = 1.0  # after what should pass
STOP_SECONDS = 2.0  # for a thread in the middle of something; what it doesn't finish is done at the next start


def run_site(home: Path) -> None:
    """Runs until SIGTERM or SIGINT. `home` holds site.toml, the charter and the keys."""
    settings = read_settings(home)
    address = settings.address(home)
    desk = open_desk(home, settings.name, Folder(home / "chunks"))
    engines = open_engines(settings.database)
    migrate(engines.writing, "site")
    way = ToHub(address, settings.name)
    carriage = Carriage(desk, HUB, AtSite(address, settings.name), way.send, secrets.token_bytes, time.monotonic)
    cores, worker = ThreadPoolExecutor(os.cpu_count(), "cores"), Worker(home, secrets.token_bytes(16))
    site = Site(engines, desk, settings, home, secrets.token_bytes, carriage, cores.map, worker.name)
    site.hello(time.time())
    stop, work, bell = threading.Event(), threading.Event(), threading.Event()
    app = worker_app(f"hansa-site-{settings.name}", address, site_prefix(settings.name))

    @app.task(name=LETTER_TASK)
    def letter(argument: object) -> None:
        data = letter_of(argument)
        if data is None:
            log.warning("something that is no letter lay in the mailbox")
            return
        site.receive(data, time.time())
        work.set()
        bell.set()

    threads = [
        Poster(engines.notes, engines.reading, desk, {HUB: way}, bell, stop, lanes(), worker.leads),
        threading.Thread(target=_free_claims, args=(site, worker, work, stop), name="claims", daemon=True),
        threading.Thread(target=_report, args=(site, worker, bell, stop), name="report", daemon=True),
        threading.Thread(target=_work, args=(site, settings.workers, work, bell, stop), name="work", daemon=True),
    ]
    for thread in threads:
        thread.start()
    (home / "ready").write_text("ready\n", encoding="utf-8")
    try:
        run_worker(app)
    finally:
        stop.set()
        work.set()
        (home / "ready").unlink(missing_ok=True)
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        worker.close()
        engines.dispose()


def _free_claims(site: Site, worker: Worker, work: threading.Event, stop: threading.Event) -> None:
    """Takes over what a process left that was killed; at the start, and now and then."""
    while not stop.is_set():
        try:
            site.free_claims(worker.dead)
        except SQLAlchemyError:
            log.exception("the site's database can't be reached; trying again")
        work.set()
        stop.wait(CLAIM_SECONDS)


def _report(site: Site, worker: Worker, bell: threading.Event, stop: threading.Event) -> None:
    """Works off what persons decided, sends this site's entries for the log, and watches over their receipts."""
    while not stop.wait(REPORT_SECONDS):
        try:
            if worker.leads():
                site.decide(time.time())
                site.report(time.time())
                bell.set()
            else:
                site.count_left(time.time())
        except (SQLAlchemyError, OSError):
            log.exception("the site's database can't be reached, or its disk is full; trying again")


def _work(site: Site, most: int, work: threading.Event, bell: threading.Event, stop: threading.Event) -> None:
    """Gives every letter that is ready a thread of its own, `most` at a time: a long job holds up no other."""
    hands = threading.Semaphore(most)

    def work_off(number: int) -> None:
        try:
            site.work_off(number, time.time())
        except (SQLAlchemyError, OSError):
            log.exception("the site's database can't be reached, or its disk is full; trying again")
            stop.wait(RETRY_SECONDS)
        finally:
            hands.release()
            bell.set()
            work.set()

    while not stop.is_set():
        work.clear()
        number = None
        if hands.acquire(blocking=False):
            try:
                number = site.claim(time.time())
            except SQLAlchemyError:
                log.exception("the site's database can't be reached; trying again")
            if number is None:
                hands.release()
        if number is None:
            work.wait(IDLE_SECONDS)
        else:
            threading.Thread(target=work_off, args=(number,), name="letter", daemon=True).start()
