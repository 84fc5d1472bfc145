"""The world in which one party dies at one numbered point and is built anew from its database and its folder."""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.crypto import prg
from hansa.hub import rounds
from hansa.hub.actions import store_proposal
from hansa.hub.models import EntryRow
from hansa.jobs.base import Column, Schema
from hansa.mail import blobs
from hansa.mail.acks import Owed
from hansa.mail.boxes import Inbox, Outbox, SetAside
from hansa.mail.carriage import Carriage
from hansa.mail.poster import Poster
from hansa.messages import HUB
from hansa.plan import Question, make
from hansa.replay import replay
from hansa_site import journal, vectors
from tests.crash_points.points import Crash, Point, Points
from tests.test_replay import evidence_of
from tests.world import EVERYTHING, PERSON, AtOnce, Flight, Shelf, World

SEED = 11
PATIENT = Rules(round_seconds=3600)
STALLED_SECONDS = 600.0  # of the world's clock: a job that took longer waited for a deadline
HUB_ROLES = {"turn": "turning", "tick": "ticking", "add_up": "adding up", "adopt": "starting"}
DOOR_ROLES = {"receive": "gateway"}
VECTORS_ROLES = {"fetch": "fetching"}
SITE_ROLES = {"receive": "receiving", "work": "working", "report": "reporting", "hello": "starting"}


def small_chunks(patch: pytest.MonkeyPatch) -> None:
    """So that the first total of a table of counts goes up and comes down in chunks, and the second in letters."""
    for module in (prg, blobs):
        patch.setattr(module, "CHUNK_BYTES", 1024)
    for module in (rounds, vectors):
        patch.setattr(module, "BESIDE_BYTES", 512)
    # Files are written one after another, by whom the crash is meant for.
    patch.setattr(blobs, "ThreadPoolExecutor", lambda *_: AtOnce())


class Watched:
    """A part of the product whose methods act in the roles named in `roles`."""

    def __init__(self, part: object, party: str, roles: Mapping[str, str], points: Points) -> None:
        self._part, self._party, self._roles, self._points = part, party, roles, points

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name not in self._roles:
            return found

        def act(*arguments: Any) -> Any:
            with self._points.acting(self._party, self._roles[name]):
                return found(*arguments)

        return act


class WatchedShelf(Shelf):
    def __init__(self, world: "CrashWorld", chunks: dict[bytes, bytes]) -> None:
        super().__init__(world, chunks)
        self._points = world.points

    def offer(self, name: bytes, box: bytes) -> None:
        with self._points.around("lay"):
            super().offer(name, box)

    def take(self, name: bytes) -> bytes | None:
        with self._points.around("take"):
            return super().take(name)


class Letters:
    """One party's way to another, for its poster."""

    def __init__(self, launch: Callable[[bytes], None]) -> None:
        self.send = launch

    def room(self) -> int:
        return 1000

    def reset(self) -> None:
        pass


class CrashWorld(World):
    """Three sites and a hub. `points` numbers what they write; a crash is made good at once, as systemd would."""

    def __init__(self, folder: Path, urls: Mapping[str, str], points: Points) -> None:
        self.points, self._runs = points, itertools.count(1)
        super().__init__(folder, sites=3, seed=SEED, rules=PATIENT, urls=urls)
        for name in [HUB, *self.names]:
            self.points.watch_commits(self.engines[name])
        self._build(HUB)
        self.drain()

    def _carriage(self, name: str, peer: str) -> Carriage:
        shelf = WatchedShelf(self, self._shelves[peer if name == HUB else name])
        send = lambda letter: self.launch(name, peer, letter)  # noqa: E731
        return Carriage(self.desks[name], peer, shelf, send, self._draw, lambda: self.now)

    def _site(self, name: str) -> Any:
        return Watched(super()._site(name), name, SITE_ROLES, self.points)

    def _coordinator(self) -> Any:
        return Watched(super()._coordinator(), HUB, HUB_ROLES, self.points)

    def _build(self, name: str) -> None:
        """A party's objects, from its database and its folder; a hub has doors beside its coordinator."""
        if name == HUB:
            self.coordinator = self._coordinator()
            doors = {site: self._door(site) for site in self.names}
            for door in doors.values():
                door.vectors = Watched(door.vectors, HUB, VECTORS_ROLES, self.points)  # type: ignore[assignment]
            self.doors = {site: Watched(door, HUB, DOOR_ROLES, self.points) for site, door in doors.items()}  # type: ignore[misc]
        else:
            self.sites[name] = self._site(name)

    def restart(self, name: str) -> None:
        self.counts.restarts += 1
        self.desks[name].owed = Owed()
        self.engines[name].dispose()
        self.engines[name] = self._open(name)
        self.points.watch_commits(self.engines[name])
        self._build(name)
        if name == HUB:
            self.coordinator.adopt(self.now)
        else:
            self.sites[name].hello(self.now)

    def awake(self) -> Sequence[str]:
        """Who has got a letter, and everybody whenever none flies: no others have anything to do, and looking is most
        of what a job costs here."""
        return [self.landed] if self.landed else super().awake()

    def step(self) -> None:
        try:
            super().step()
        except Crash:
            self.landed = ""
            assert self.points.crashed is not None
            self.restart(self.points.crashed.party)

    def _post(self, name: str) -> None:
        ways = {to: Letters(partial(self.launch, name, to)) for to in self.desks if to != name}
        bell = threading.Event()
        with self.points.acting(name, "posting"):
            Poster(self.engines[name], self.engines[name], self.desks[name], ways, bell, bell, AtOnce()).post(self.now)

    def _land(self, flight: Flight) -> None:
        with self.points.acting(flight.receiver, "gateway" if flight.receiver == HUB else "receiving"):
            super()._land(flight)

    def launch(self, sender: str, receiver: str, data: bytes) -> None:
        with self.points.around("push"):
            super().launch(sender, receiver, data)

    def propose(self, minimum_sites: int = 3, sites: tuple[str, ...] = ()) -> str:
        """Asks for the table of everybody's number: a total of 256 numbers, and one of as many as there are sites."""
        run = f"{next(self._runs):032x}"
        question = Question(
            "table", "numbers", {"rows": "x"}, sites, minimum_sites=minimum_sites, disclosure=EVERYTHING
        )
        schema = Schema("numbers", (Column("x", "number"),))
        plan = make(question, self.charter, run, self.names[0], dict.fromkeys(self.names, schema))
        with Session(self.engines[HUB]) as db, db.begin():
            store_proposal(db, self.desks[HUB], plan, PERSON, self.now)
        return run

    def play(self, armed: Point | None = None) -> str:
        """One job, from its proposal until every letter is acknowledged; the same steps whenever nothing crashes."""
        self.chance = random.Random(SEED)
        random.seed(SEED)
        self.points.begin(armed)
        started, run = self.now, self.propose()
        self.finish(run)
        self.drain()
        self.run_until(lambda: not any(self._waiting(name) for name in [HUB, *self.names]), 200)
        assert self.now < started + STALLED_SECONDS, f"stalled for {self.now - started:.0f} s"
        return run

    def _waiting(self, name: str) -> int:
        with Session(self.engines[name]) as db:
            return db.scalar(select(func.count()).select_from(Inbox).where(Inbox.done_at.is_(None))) or 0

    # ---- what must hold after every job ----

    def check(self, run: str) -> None:
        """Done, with everybody's number in it once, provable from the evidence, and nothing left behind."""
        job = self.job(run)
        assert job.status == "done", f"{job.status}: {job.reason}"
        answer = msgspec.json.decode(job.answer or b"{}")
        rows = {name: counts[0] for name, counts in zip(answer["row_names"], answer["counts"], strict=True)}
        assert rows == {f"{value:.0f}": 1 for value in self.values.values()}, rows
        assert all(part.stage == "took part" for part in self.participants(run).values())
        replay(evidence_of(self, run), self.charter, partial(self.desks[HUB].folder.get, run))
        for name in [HUB, *self.names]:
            with Session(self.engines[name]) as db:
                aside = db.scalars(select(SetAside.reason)).all()
                assert not aside, f"{name} set aside: {aside}"
        for name in self.names:
            assert not self.desks[name].folder.runs(), f"{name} keeps chunks of a job that has ended"

    def kept(self, run: str) -> Counter[tuple[str, ...]]:
        """What every party wrote down of a job, to be the same whoever died: letters, acts, answers, log."""
        found: Counter[tuple[str, ...]] = Counter()
        for name in [HUB, *self.names]:
            with Session(self.engines[name]) as db:
                for receiver, kind, acked in db.execute(
                    select(Outbox.receiver, Outbox.kind, Outbox.acked_at.is_not(None)).where(Outbox.run == run)
                ):
                    found[name, "sent", receiver, kind, str(acked)] += 1
                for sender, kind in db.execute(select(Inbox.sender, Inbox.kind).where(Inbox.run == run)):
                    found[name, "got", sender, kind] += 1
                if name == HUB:
                    for act, by in db.execute(select(EntryRow.act, EntryRow.by).where(EntryRow.run == run)):
                        found[name, "log", act, by] += 1
                else:
                    for text in db.scalars(select(journal.Act.text).where(journal.Act.run == run)):
                        found[name, "act", text] += 1
                    said = select(journal.Said.number).where(journal.Said.run == run)
                    for number in db.scalars(said):
                        found[name, "said", str(number)] += 1
        return found
