"""A disk that is full for a while, a database that is away for a moment: tried again, and no job ends for it."""

import errno
import itertools
import random
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub import rounds
from hansa.mail import database
from hansa.mail.boxes import SetAside
from hansa.messages import HUB
from hansa_site import vectors
from tests.test_world import check_right, took_part
from tests.world import World

PATIENT = Rules(round_seconds=600)


def full_now_and_then(engine: Engine, one_in: int) -> None:
    """One in so many transactions, by chance, finds no room for another page, as on a disk that is full.

    Not each fifth: a turn that takes five transactions would find the same one full for ever.
    """
    chance = random.Random(1)

    @event.listens_for(engine, "begin")
    def _begun(connection: object) -> None:
        full = chance.randrange(one_in) == 0
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if full else 2**30  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]


def persevere(world: World, run: str) -> int:
    """As the processes do: logs what went wrong and goes on. Gives how often that was."""
    troubles = 0
    for _ in range(5000):
        if world.job(run).ended_at:
            return troubles
        try:
            world.step()
        except (OperationalError, OSError):
            troubles += 1
    raise AssertionError("the world hangs")


@pytest.mark.parametrize("party", [HUB, "s1"])
def test_a_database_that_is_full_now_and_then_ends_no_job_and_makes_no_letter_bad(tmp_path: Path, party: str) -> None:
    world = World(tmp_path, rules=PATIENT)
    world.drain()
    full_now_and_then(world.engines[party], 5)
    run = world.propose()
    troubles = persevere(world, run)
    assert world.job(run).status == "done", world.job(run).reason
    assert troubles > 1
    assert took_part(world, run) == world.names
    check_right(world, run)
    with Session(world.engines[party]) as db:
        assert db.scalars(select(SetAside.reason)).all() == []


@pytest.mark.parametrize("party", [HUB, "s1"])
def test_a_folder_of_chunks_that_is_full_for_a_while_ends_no_job(
    tmp_path: Path, party: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 0)
    world, calls = World(tmp_path, rules=PATIENT), itertools.count(1)
    folder = world.desks[party].folder
    put_each = folder.put_each

    def full(*arguments: object) -> list[bytes]:
        if next(calls) <= 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put_each(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "put_each", full)
    run = world.propose()
    persevere(world, run)
    assert world.job(run).status == "done", world.job(run).reason
    assert next(calls) > 8
    assert took_part(world, run) == world.names
    check_right(world, run)


def test_who_waits_too_long_for_its_turn_at_the_database_is_told_so_as_of_any_trouble_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped for a minute: its threads waited too long, and one that died of it never came back."""
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.05)
    engine = database.open_engine(f"sqlite:///{tmp_path}/turns.sqlite")
    told: list[SQLAlchemyError] = []

    def wait() -> None:
        try:
            engine.connect().execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            told.append(error)

    with engine.begin() as held:
        held.execute(text("CREATE TABLE t (x INTEGER)"))
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join()
    assert [database.passes(error) for error in told] == [True]
    with engine.begin() as again:
        again.execute(text("INSERT INTO t VALUES (1)"))
