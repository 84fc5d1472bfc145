"""Worlds to begin from: one that ran once, copied at four moments."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow
from hansa.mail.boxes import Inbox, Outbox
from hansa.messages import HUB
from tests.world import World

Stage = Literal["before", "middle", "released", "cosigned"]
LATER = 1.0  # seconds of the world between a copy and what happens in it


class Resumed(World):
    """A world from its folder, some time later: every party is started anew."""

    idle_seconds = 2.5

    def __init__(self, folder: Path, then: float) -> None:
        self._then = then
        super().__init__(folder)

    def _begin(self) -> None:
        self.now = self._then
        self.chance = random.Random(1)
        self.coordinator.adopt(self.now)
        for site in self.sites.values():
            site.hello(self.now)


@dataclass
class Moment:
    folder: Path
    now: float
    run: str


class Stages:
    """Before any job, in the middle of one (a total of its four is open), when its answer is released, and when every
    member has cosigned that and has its receipts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.moments: dict[Stage, Moment] = {}
        world = World(folder / "first")
        world.idle_seconds = Resumed.idle_seconds
        self._settle(world)
        self._keep("before", world, "")
        run = world.propose()
        world.run_until(lambda: world.job(run).step == 1)
        self._keep("middle", world, run)
        world.finish(run)
        self._keep("released", world, run)
        self._settle(world)
        self._keep("cosigned", world, run)

    def _settle(self, world: World) -> None:
        """Until every member has cosigned every entry."""
        world.drain()
        world.run_until(lambda: _cosigned(world))
        world.drain()

    def _keep(self, stage: Stage, world: World, run: str) -> None:
        for name, engine in world.engines.items():
            _acknowledge(world, name)
            engine.dispose()
        shutil.copytree(self._folder / "first", self._folder / stage)
        self.moments[stage] = Moment(self._folder / stage, world.now, run)

    def begin(self, stage: Stage) -> tuple[World, str, Path]:
        """A world, its job if it has one yet, and a folder for what comes of it."""
        self._count += 1
        moment, folder = self.moments[stage], self._folder / str(self._count)
        shutil.copytree(moment.folder, folder / "world")
        return Resumed(folder / "world", moment.now + LATER), moment.run, folder


def _acknowledge(world: World, name: str) -> None:
    """Letters that lie in their receivers' inboxes are not sent again, though their acks were under way."""
    for receiver in world.engines:
        with Session(world.engines[receiver]) as db:
            there = {
                (run, sequence)
                for run, sequence in db.execute(select(Inbox.run, Inbox.sequence).where(Inbox.sender == name))
            }
        with Session(world.engines[name]) as db, db.begin():
            for letter in db.scalars(select(Outbox).where(Outbox.receiver == receiver, Outbox.acked_at.is_(None))):
                if (letter.run, letter.sequence) in there:
                    letter.acked_at = world.now


def _cosigned(world: World) -> bool:
    with Session(world.engines[HUB]) as db:
        size = (db.scalar(select(func.max(EntryRow.number))) or 0) + 1
        if db.get(CheckpointRow, size) is None:
            return False
        found = db.scalar(select(func.count()).select_from(CosignatureRow).where(CosignatureRow.size == size))
    return found == len(world.names)
