"""The site's process: a Celery worker that receives, a thread that works off what waits, and the poster.

The Celery task only keeps a letter and acks it; long work is a row in the inbox, so a worker that is killed loses
nothing and a new one picks it up.
"""

import logging
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from hansa import charter
from hansa.errors import Refused
from hansa.mail.blobs import AtSite, Folder
from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.database import migrate, open_engine
from hansa.mail.post import BROKER_ERRORS, LETTER_TASK, ToHub, letter_of, run_worker, worker_app
from hansa.mail.poster import Poster
from hansa.mail.rules import site_prefix
from hansa.messages import HUB
from hansa_site.settings import read_settings
from hansa_site.site import Site
from hansa_site.vault import card, read_keys

log = logging.getLogger("hansa.site")
IDLE_SECONDS = 0.5
STOP_SECONDS = 2.0  # for a thread in the middle of something; what it doesn't finish is done at the next start


def run_site(home: Path) -> None:
    """Runs until SIGTERM or SIGINT. `home` holds site.toml, the charter and the keys."""
    settings = read_settings(home)
    signing, sealing = read_keys(home)
    agreed = charter.load((home / "charter").read_bytes())
    if agreed.member(settings.name) != card(home, settings.name):
        raise Refused(f"the charter in {home} names other keys for '{settings.name}' than this site holds")
    desk = Desk(settings.name, agreed, signing, sealing, Folder(home / "chunks"))
    engine = open_engine(settings.database)
    migrate(engine, "site")
    reading = open_engine(settings.database, reading=True)
    way = ToHub(settings.mailbox, settings.name)
    carriage = Carriage(desk, HUB, AtSite(settings.mailbox, settings.name), way.send, secrets.token_bytes)
    cores = ThreadPoolExecutor(os.cpu_count(), "cores")
    site = Site(engine, reading, desk, settings, home, secrets.token_bytes, carriage, cores.map)
    site.hello(time.time())
    stop, work, bell = threading.Event(), threading.Event(), threading.Event()
    app = worker_app(f"hansa-site-{settings.name}", settings.mailbox, site_prefix(settings.name))

    @app.task(name=LETTER_TASK)
    def letter(argument: object) -> None:
        data = letter_of(argument)
        if data is None:
            log.warning("something that is no letter lay in the mailbox")
            return
        ack = site.receive(data, time.time())
        work.set()
        if ack is not None:
            try:
                way.send(ack)
            except BROKER_ERRORS:
                way.reset()  # the hub sends its letter again, and is acked then

    worker = threading.Thread(target=_work, args=(site, work, bell, stop), name="work", daemon=True)
    threads = (worker, Poster(engine, reading, {HUB: way}, bell, stop))
    for thread in threads:
        thread.start()
    (home / "ready").write_text("ready\n", encoding="utf-8")
    try:
        run_worker(app)
    finally:
        stop.set()
        work.set()
        (home / "ready").unlink(missing_ok=True)
        for thread in threads:
            thread.join(STOP_SECONDS)
        for opened in (engine, reading):
            opened.dispose()


def _work(site: Site, work: threading.Event, bell: threading.Event, stop: threading.Event) -> None:
    while not stop.is_set():
        work.clear()
        try:
            while site.work(time.time()):
                bell.set()
        except (SQLAlchemyError, OSError):
            log.exception("the site's database can't be reached, or its disk is full; trying again")
        work.wait(IDLE_SECONDS)
