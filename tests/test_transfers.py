"""What may hold up a transfer of chunks and what may not: a slow line, the end of its job, a full disk.

The chunks are made tiny here, so that a few numbers are a large vector.
"""

import errno
import heapq
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.crypto import prg
from hansa.hub import models, rounds
from hansa.hub import vectors as hub_vectors
from hansa.hub.models import Job, Participant
from hansa.mail import blobs
from hansa.mail.blobs import Folder
from hansa.mail.boxes import SetAside
from hansa.mail.letters import Here, Payload, Wanted
from hansa.messages import HUB, decode
from hansa_site import vectors
from tests.test_world import check_right, took_part
from tests.world import Flight, World


@pytest.fixture(autouse=True)
def every_vector_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (prg, blobs):
        monkeypatch.setattr(module, "CHUNK_BYTES", 256)
    for module in (rounds, vectors):
        monkeypatch.setattr(module, "BESIDE_BYTES", 0)


def slow_line(world: World, monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    """A box takes it so long; the site does nothing else with chunks meanwhile, and its letters of them come after."""
    carriage, free = world.sites[name]._vectors._carriage, [0.0]
    offer = carriage._mailbox.offer

    def slow(box_name: bytes, box: bytes) -> None:
        free[0] = max(free[0], world.now) + seconds
        offer(box_name, box)

    def send(letter: bytes) -> None:
        heapq.heappush(world._flights, Flight(max(free[0], world.now), 0, name, HUB, letter))

    monkeypatch.setattr(carriage._mailbox, "offer", slow)
    monkeypatch.setattr(carriage, "_send", send)
    monkeypatch.setattr(carriage, "_clock", lambda: max(free[0], world.now))


def test_a_round_waits_for_a_slow_line_as_long_as_chunks_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=5))
    slow_line(world, monkeypatch, "s2", 4)
    run = world.propose()
    begin = world.now
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names and world.now > begin + 20
    check_right(world, run)


def test_a_transfer_that_trickles_holds_a_round_no_longer_than_a_slow_line_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_vectors, "CHUNK_SECONDS", 3.0)
    for module in (prg, blobs):
        monkeypatch.setattr(module, "CHUNK_BYTES", 64)
    world = World(tmp_path, sites=4, rules=Rules(round_seconds=20))
    slow_line(world, monkeypatch, "s2", 15)
    run = world.propose()
    world.run_until(lambda: world.participants(run)["s2"].chunks is not None)
    opened, chunks = world.job(run).opened_at, len(decode(world.participants(run)["s2"].chunks or b"", tuple))
    world.run_until(lambda: not world.participants(run)["s2"].active)
    # The clock goes on from letter to letter, fifteen seconds.
    assert opened is not None and 20 < world.now - opened < 20 + 3 * chunks + 15 < 15 * chunks
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == ["s0", "s1", "s3"]
    check_right(world, run)


def test_a_site_that_sends_no_new_chunks_extends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, rules=Rules(round_seconds=20))
    run = world.propose()
    world.run_until(lambda: world.participants(run)["s2"].chunks is not None)
    deadline = world.job(run).deadline
    door, key = world.doors["s2"], bytes(32)
    for _ in range(5):
        world.now += 1
        door.vectors.receive(run, Here(key, (bytes(32),)), world.now)
        door.vectors.receive(run, Wanted((bytes(32),)), world.now)
    assert world.job(run).deadline == deadline


def test_chunks_that_arrive_while_a_job_ends_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    party = world.sites["s1"]._vectors
    take, arrived = party._carriage.take, list[bytes]()

    def late(*all_of_it: object) -> bool:
        arrived.append(world.desks["s1"].folder.put(run, b"late"))
        return take(*all_of_it)  # type: ignore[arg-type]

    monkeypatch.setattr(party._carriage, "take", late)
    erase = Folder.erase

    def meanwhile(folder: Folder, of: str) -> None:
        assert folder is not party._desk.folder or party._ending.locked()  # nothing arrives now
        erase(folder, of)

    monkeypatch.setattr(Folder, "erase", meanwhile)
    world.finish(run)
    world.drain()
    before = len(arrived)
    party.receive(run, Here(bytes(32), (bytes(32),)), world.now)
    assert len(arrived) == before
    assert not any(world.desks[name].folder.runs() for name in world.names)


def test_what_a_crash_left_of_a_job_that_ended_goes_at_the_next_start(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    world.finish(run)
    world.drain()
    other = world.propose()
    world.run_until(lambda: world.job(other).step == 1)
    folder = world.desks["s1"].folder
    kept = folder.put(other, b"of a job that goes on")
    folder.put(run, b"late")
    world.restart("s1")
    assert folder.runs() == [other] and not folder.missing(other, [kept])


class FullDisk:
    """Lets a folder keep nothing while `full`."""

    def __init__(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.tried = False, 0
        put_each = folder.put_each

        def put(run: str, chunks: Iterator[tuple[bytes, bytes]]) -> list[bytes]:
            if not self.full:
                return put_each(run, chunks)
            next(iter(chunks), None)  # a box that was taken is gone from the mailbox
            self.tried += 1
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr(folder, "put_each", put)


def test_a_full_disk_at_the_hub_sets_nothing_aside_loses_nothing_and_stops_no_other_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=600))
    disk = FullDisk(world.desks[HUB].folder, monkeypatch)
    run = world.propose()
    world.run_until(lambda: any(part.chunks for part in world.participants(run).values()))
    disk.full = True
    world.run_until(lambda: disk.tried > 8)
    world.sites["s1"].hello(world.now)
    world.drain()  # letters go on: the hello is acked
    with Session(world.engines[HUB]) as db:
        assert db.scalars(select(SetAside)).all() == []
        seen = db.get_one(models.Member, "s1").seen_at
    assert seen > world.now - 30 and world.job(run).status == "running"
    disk.full = False
    assert world.finish(run).status == "done", world.job(run).reason
    assert took_part(world, run) == world.names
    check_right(world, run)


def test_a_full_disk_is_tried_again_seldom_and_with_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, sites=3, rules=Rules(round_seconds=600))
    disk = FullDisk(world.desks[HUB].folder, monkeypatch)
    world.propose()
    disk.full = True
    world.run_until(lambda: disk.tried >= len(world.names))
    told, begin = list[int](), world.now
    note = world.desks[HUB].note

    def counted(receiver: str, of: str, kind: str, payload: Payload) -> bytes:
        if isinstance(payload, Wanted):
            told.append(len(payload.digests))
        return note(receiver, of, kind, payload)

    monkeypatch.setattr(world.desks[HUB], "note", counted)
    world.run_until(lambda: world.now > begin + 60)
    assert set(told[8:]) == {1} and len(told) < len(world.names) * 16


def test_a_chunk_given_to_a_site_for_the_first_time_is_progress(tmp_path: Path) -> None:
    world = World(tmp_path, rules=Rules(round_seconds=20))
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    with Session(world.engines[HUB]) as db, db.begin():
        db.get_one(Job, run).deadline = world.now + 1
        part = db.get_one(Participant, (run, "s1"))
        part.asked, part.reply = True, None
        due = db.get_one(Job, run).receipt
    assert due is not None
    shown = rounds.decode(due, rounds.Receipt).chunks
    carriage = world.doors["s1"].vectors._carriage
    for digest in shown:
        world.doors["s1"].vectors.receive(run, Wanted((digest,)), world.now)
    assert carriage is not None and world.job(run).deadline == world.now + 20
    world.now += 5
    for digest in shown:
        world.doors["s1"].vectors.receive(run, Wanted((digest,)), world.now)
    assert world.job(run).deadline == world.now + 15
