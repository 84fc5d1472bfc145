"""Processes that share a home: one leads, and what a killed one held is free for the others at once."""

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.mail import boxes
from hansa.mail.workers import Worker, running
from tests.world import World

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
