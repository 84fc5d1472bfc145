"""A world that misbehaves: the real hub and the real sites over a queue that drops, repeats, reorders and delays.

Everything but the transport and the clock is the product: `Coordinator`, `Door`, `Site`, the boxes, SQL. A party that
is restarted is built anew from its database. One seed is one history.

Each site holds one row, 3^i, so that the total tells exactly who is in it.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa.audit.log import first_row
from hansa.charter import Charter, Rules
from hansa.crypto.bundles import HUB_BYTES, MEMBER_BYTES, HubKeys, MemberKeys
from hansa.hub import models, people
from hansa.hub import settings as hub_settings
from hansa.hub.actions import Hub, store_proposal
from hansa.hub.coordinator import Coordinator
from hansa.hub.gateway import Door
from hansa.hub.models import Job, Participant
from hansa.jobs.base import Column, Schema
from hansa.mail import boxes
from hansa.mail.acks import Owed
from hansa.mail.blobs import Chunks, Folder
from hansa.mail.boxes import Desk, Outbox
from hansa.mail.carriage import Carriage
from hansa.mail.database import Engines, migrate, open_engine
from hansa.messages import HUB, decode
from hansa.plan import Disclosure, Question, make
from hansa.protocols.base import SiteState
from hansa.wrapping import Way
from hansa_site import deeds, journal
from hansa_site.answering import STATES
from hansa_site.policy import Floors, Policy
from hansa_site.settings import Settings, TableSource
from hansa_site.site import Site
from tests import cards

PERSON = "analyst"
DECIDE_SECONDS = 1.0
# A site here has one row, and the answer is its number; sites leave jobs, and are in the next.
EVERYTHING = Disclosure(minimum_cell=1, minimum_rows=1)
OPEN = Policy(disclosure=Floors(minimum_cell=1, minimum_rows=1), least_difference=1)


@dataclass(frozen=True)
class Faults:
    """Chances per letter, and the longest delay in seconds."""

    drop: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0


@dataclass
class Counts:
    letters: int = 0
    dropped: int = 0
    repeated: int = 0
    restarts: int = 0
    chunks: int = 0


@dataclass(order=True)
class Flight:
    at: float
    order: float
    sender: str = field(compare=False)
    receiver: str = field(compare=False)
    data: bytes = field(compare=False)


class Shelf:
    """A mailbox's chunks, both ways; each that is offered may be lost."""

    def __init__(self, world: "World", chunks: dict[bytes, bytes]) -> None:
        self._world, self._chunks = world, chunks

    def offer(self, name: bytes, box: bytes) -> None:
        self._world.counts.chunks += 1
        if self._world.chance.random() >= self._world.faults.drop:
            self._chunks[name] = box

    def take(self, name: bytes) -> bytes | None:
        return self._chunks.get(name)

    def forget(self, names: Sequence[bytes]) -> None:
        for name in names:
            self._chunks.pop(name, None)

    def reset(self) -> None:
        pass


class AtOnce(Executor):
    """A lane that has done its work when it is given."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _engine_at(url: str, tree: str) -> Engine:
    engine = open_engine(url)
    migrate(engine, tree)
    return engine


def _engine(path: Path, bases: list[type]) -> Engine:
    engine = open_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _quick(connection: object, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]  # the world loses no power

    for base in bases:
        base.metadata.create_all(engine)  # type: ignore[attr-defined]
    return engine


class World:
    """`sites` parties and a hub under `folder`; letters fly with `faults` drawn from `seed`. `urls`: databases
    of parties that don't keep theirs in `folder`. `hub_chunks`: where the hub's chunks lie, if not in a folder."""

    idle_seconds = 0.5  # that pass where nothing flies

    def __init__(
        self,
        folder: Path,
        sites: int = 4,
        seed: int = 0,
        faults: Faults = Faults(),
        rules: Rules | None = None,
        urls: Mapping[str, str] = {},
        hub_chunks: Chunks | None = None,
        policy: Policy = OPEN,
    ) -> None:
        self.chance = random.Random(seed)
        self.faults, self.counts, self.now = faults, Counts(), 1_800_000_000.0
        self.names = [f"s{place}" for place in range(sites)]
        self.values = {name: float(3**place) for place, name in enumerate(self.names)}
        self.dead: set[str] = set()
        self.landed = ""  # who got the letter of this step; nobody if none flew
        self._flights: list[Flight] = []
        self._folder = folder
        self._hub_seeds, self.keys = (
            self._draw(HUB_BYTES),
            {name: MemberKeys(self._draw(MEMBER_BYTES)) for name in self.names},
        )
        rules, hub_keys = rules or Rules(round_seconds=20), HubKeys(self._hub_seeds)
        members = [charters.member_of(name, name, keys) for name, keys in self.keys.items()]
        self.charter: Charter = charters.draft("world", charters.hub_of(hub_keys), members, rules, cards.ORIGIN)
        self.desks = {
            name: Desk(name, self.charter, keys, Folder(folder / "chunks" / name))
            for name, keys in [(HUB, hub_keys), *self.keys.items()]
        }
        if hub_chunks is not None:
            self.desks[HUB] = Desk(HUB, self.charter, hub_keys, hub_chunks)
        self._shelves: dict[str, dict[bytes, bytes]] = {name: {} for name in self.names}
        self._urls, self.policy = urls, policy
        self._signed: dict[bytes, bytes] = {}
        self._decided_at = self.now
        self.engines = {name: self._open(name) for name in [HUB, *self.names]}
        for name in self.names:
            (folder / f"{name}.csv").write_text(f"x\n{self.values[name]}\n", encoding="utf-8")
        self.doors = {name: self._door(name) for name in self.names}
        self.sites = {name: self._site(name) for name in self.names}
        self.coordinator = self._coordinator()
        self._begin()

    def _begin(self) -> None:
        self.coordinator.adopt(self.now)
        with Session(self.engines[HUB]) as db, db.begin():
            people.add_person(db, PERSON, self.names[0], "correct horse battery")
        for site in self.sites.values():
            site.hello(self.now)
        self.run_until(lambda: all(self._seen(name) for name in self.names))

    def _draw(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def _open(self, name: str) -> Engine:
        if name in self._urls:
            return _engine_at(self._urls[name], "hub" if name == HUB else "site")
        return _engine(self._folder / f"{name}.sqlite", [(models if name == HUB else journal).Base, boxes.Base])

    def _door(self, site: str) -> Door:
        return Door(self.engines[HUB], self.desks[HUB], site, self._carriage(HUB, site))

    def _site(self, name: str) -> Site:
        source = TableSource("numbers", str(self._folder / f"{name}.csv"))
        settings = Settings(name, "unused", "unused", (source,), self.policy)
        engines = Engines(*[self.engines[name]] * 3)
        carriage = self._carriage(name, HUB)
        worker = f"{name}-{self.counts.restarts}"
        site = Site(engines, self.desks[name], settings, self._folder, self._draw, carriage, worker=worker)
        site.free_claims(lambda names: [other for other in names if other != worker])
        return site

    def _carriage(self, name: str, peer: str) -> Carriage:
        desk, shelf = self.desks[name], Shelf(self, self._shelves[peer if name == HUB else name])
        send = lambda letter: self.launch(name, peer, letter)  # noqa: E731
        return Carriage(desk, peer, shelf, send, self._draw, lambda: self.now)

    def _coordinator(self) -> Coordinator:
        return Coordinator(self.engines[HUB], self.engines[HUB], self.desks[HUB])

    def _seen(self, name: str) -> bool:
        with Session(self.engines[HUB]) as db:
            return db.get(models.Member, name) is not None

    # ---- what can happen ----

    def kill(self, name: str) -> None:
        """The party stops at once; letters to it are lost at the broker."""
        self.dead.add(name)

    def restart(self, name: str) -> None:
        """The party is built anew from its database."""
        self.dead.discard(name)
        self.counts.restarts += 1
        self.desks[name].owed = Owed()
        if name == HUB:
            self.coordinator = self._coordinator()
            self.coordinator.adopt(self.now)
            self.doors = {site: self._door(site) for site in self.names}
        else:
            self.sites[name] = self._site(name)

    @property
    def signed(self) -> bytes:
        """The charter with everybody's signature: one text a version, as signatures draw chance."""
        if self.charter.digest not in self._signed:
            self._signed[self.charter.digest] = cards.signed(self.charter, self.keys)
        return self._signed[self.charter.digest]

    def hub(self) -> Hub:
        """The hub's home as a page or a command opens it. Times there are the machine's own."""
        home = self._folder / "home"
        if not home.exists():
            home.mkdir()
            hub_settings.make_keys(home, self._hub_seeds, Way(passphrase_file="passphrase"))
        (home / "charter").write_bytes(self.signed)
        for former in self.desks[HUB].former:
            (home / "charters").mkdir(exist_ok=True)
            (home / "charters" / str(former.version)).write_bytes(cards.signed(former, self.keys))
        url = self._urls.get(HUB, f"sqlite:///{self._folder}/{HUB}.sqlite")
        (home / "hub.toml").write_text(f'database = "{url}"\nprivate = ""\n[mailboxes]\n', encoding="utf-8")
        return Hub(home)

    def propose(self, minimum_sites: int = 3, sites: tuple[str, ...] = ()) -> str:
        """Asks for the summary of everybody's number; gives the run."""
        parameters = {"columns": ["x"]}
        question = Question("summary", "numbers", parameters, sites, minimum_sites=minimum_sites, disclosure=EVERYTHING)
        return self.ask(question)

    def ask(self, question: Question) -> str:
        """Any question over the table of numbers; gives the run."""
        run = f"{self.chance.getrandbits(128):032x}"
        schema = Schema("numbers", (Column("x", "number"),))
        plan = make(question, self.charter, run, self.names[0], dict.fromkeys(self.names, schema))
        with Session(self.engines[HUB]) as db, db.begin():
            store_proposal(db, self.desks[HUB], plan, PERSON, self.now)
        return run

    def step(self) -> None:
        """Posts what is due, then lands one letter, or lets time pass if none flies."""
        for name in self.awake():
            if name not in self.dead:
                self._post(name)
        self.landed = ""
        if self._flights:
            flight = heapq.heappop(self._flights)
            self.now, self.landed = max(self.now, flight.at), flight.receiver
            self._land(flight)
        else:
            self.now += self.idle_seconds
        awake = self.awake()
        for name in self.names:
            if name in awake and name not in self.dead:
                while self.sites[name].work(self.now):
                    pass
                self.sites[name].report(self.now)
        self._decide()
        if HUB in awake and HUB not in self.dead:
            waiting, closed = self.coordinator.tick(self.now)
            for run in waiting:
                self._turn(run)
            for run in closed:
                self._follow(run)
            self._fetch()

    def awake(self) -> Sequence[str]:
        """Who looks for something to do: the hub, whose clock ticks, and who has got a letter; everybody whenever none
        flies. A process looks all the time, and finds nothing then: looking is most of what a world costs."""
        return [HUB, *({self.landed} - {HUB})] if self.landed else [HUB, *self.names]

    def _decide(self) -> None:
        """What persons decided is worked off now and then, as the sites' processes do."""
        if 0 <= self.now - self._decided_at < DECIDE_SECONDS:
            return
        self._decided_at = self.now
        for name in self.names:
            if name not in self.dead:
                self.sites[name].decide(self.now)

    def _turn(self, run: str) -> None:
        self.coordinator.turn(run, self.now)
        self._follow(run)

    def _follow(self, run: str) -> None:
        """As the hub's processes do after a turn; a task may get lost, as a letter may."""
        for number in self.coordinator.given_out(run, self.now):
            if self.chance.random() >= self.faults.drop and self.coordinator.add_up(run, [number], self.now):
                self._turn(run)
        self._fetch()

    def _fetch(self) -> None:
        for run, site in self.coordinator.fetching():
            self.doors[site].vectors.fetch(run, self.now)

    def run_until(self, done: Callable[[], bool], steps: int = 20_000) -> None:
        for _ in range(steps):
            if done():
                return
            self.step()
        raise AssertionError("the world hangs")

    def finish(self, run: str) -> Job:
        """Runs until the job has ended; gives its row."""
        self.run_until(lambda: self.job(run).status not in models.OPEN)
        return self.job(run)

    def drain(self) -> None:
        """Until every letter between living parties is acknowledged, and what sites did is in the log."""
        alive = [name for name in [HUB, *self.names] if name not in self.dead]
        self.run_until(lambda: not any(self._unacked(name) or self._unentered(name) for name in alive))

    def _unentered(self, name: str) -> bool:
        """Whether a site has entries to send, or the hub letters to work off."""
        with Session(self.engines[name]) as db:
            if name != HUB:
                return deeds.unsent(db, first_row(self.charter))
            return db.scalar(select(boxes.Inbox.id).where(boxes.Inbox.done_at.is_(None)).limit(1)) is not None

    def _unacked(self, name: str) -> int:
        with Session(self.engines[name]) as db:
            rows = db.scalars(select(Outbox.receiver).where(Outbox.acked_at.is_(None))).all()
        return sum(receiver not in self.dead for receiver in rows)

    def job(self, run: str) -> Job:
        with Session(self.engines[HUB]) as db:
            return db.get_one(Job, run)

    def state(self, name: str, run: str) -> SiteState | None:
        """What the site keeps of a running job."""
        with Session(self.engines[name]) as db:
            kept = db.get_one(journal.Run, run).state
        return None if kept is None else decode(kept, STATES)

    def participants(self, run: str) -> Mapping[str, Participant]:
        with Session(self.engines[HUB]) as db:
            return {part.site: part for part in db.scalars(select(Participant).where(Participant.run == run))}

    # ---- transport ----

    def _post(self, name: str) -> None:
        with Session(self.engines[name]) as db, db.begin():
            letters = boxes.due(db, self.now)
            boxes.posted(db, letters, self.now, self.chance.random())
        for letter in letters:
            self.launch(name, letter.receiver, letter.data)
        for receiver, acks in self.desks[name].acks(self.now).items():
            for ack in acks:
                self.launch(name, receiver, ack)

    def launch(self, sender: str, receiver: str, data: bytes) -> None:
        self.counts.letters += 1
        if self.chance.random() < self.faults.drop:
            self.counts.dropped += 1
            return
        copies = 1 + (self.chance.random() < self.faults.repeat)
        self.counts.repeated += copies - 1
        for _ in range(copies):
            at = self.now + 0.001 + self.chance.random() * self.faults.delay
            heapq.heappush(self._flights, Flight(at, self.chance.random(), sender, receiver, data))

    def flying(self, seconds: float) -> None:
        """The clock is set: letters under way arrive as soon after it as before."""
        for flight in self._flights:
            flight.at += seconds

    def _land(self, flight: Flight) -> None:
        if flight.receiver in self.dead:
            return
        if flight.receiver == HUB:
            for run in self.doors[flight.sender].receive([flight.data], self.now):
                self._turn(run)
        else:
            self.sites[flight.receiver].receive(flight.data, self.now)


if __name__ == "__main__":
    from tests.schedules.runner import main  # the fast world: many schedules, without SQL

    raise SystemExit(main())
