"""A hub's home with a past: four sites, two jobs that ended, a sign-off, people of every role, everything final."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hansa.access import ROLES
from hansa.audit import log as entries
from hansa.audit.log import Entry
from hansa.hub import checkpoints, log, people
from hansa.hub.actions import Hub
from hansa.hub.models import CheckpointRow, EntryRow
from hansa.mail.letters import Submitted
from hansa.messages import HUB
from hansa.plan import Question
from hansa_site import deeds
from hansa_site.deeds import Deed
from hansa_site.journal import Witnessed
from tests.world import EVERYTHING, PERSON, World

PASSWORD = "a password that is long"
FAR = "far"  # an auditor of s3, which takes no part in the second job


class Home(NamedTuple):
    """`whole`: a job of all four sites; `three`: one of the first three, who alone receive its answer."""

    world: World
    hub: Hub
    whole: str
    three: str


@contextmanager
def made(folder: Path, further: int = 0) -> Iterator[Home]:
    """`further` entries of the hub's own come last but for the sign-off of s1."""
    world = World(folder, sites=4)
    whole = world.propose()
    assert world.finish(whole).status == "done"
    asked = Question("summary", "numbers", {"columns": ["x"]}, ("s0", "s1", "s2"), disclosure=EVERYTHING)
    three = world.ask(asked)
    assert world.finish(three).status == "done"
    invite(world)
    with Session(world.engines[HUB]) as db, db.begin():
        for _ in range(further):
            log.record(db, world.desks[HUB], world.now, "signed in", details={"person": "0" * 16, "member": "s0"})
    settle(world)
    with Session(world.engines["s1"]) as db, db.begin():
        seen = db.get_one(Witnessed, world.charter.origin)
        said = {"size": str(seen.size), "root": seen.root.hex()}
        deeds.write(db, world.desks["s1"], Deed("log reviewed", said, b"nothing"), "", world.now, secrets.token_bytes)
    settle(world)
    with opened(world) as hub:
        yield Home(world, hub, whole, three)


@contextmanager
def copied(home: Home, folder: Path) -> Iterator[Home]:
    """For tests that change what lies at the hub."""
    database = Path(home.world.engines[HUB].url.database or "")
    for name in (database.name, f"{database.name}-wal"):
        if database.with_name(name).exists():
            shutil.copy(database.with_name(name), folder / name)
    shutil.copytree(home.hub.home, folder / "home")
    toml = folder / "home" / "hub.toml"
    toml.write_text(toml.read_text().replace(str(database), str(folder / database.name)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HANSA_HOME", str(folder / "home"))
        yield Home(home.world, Hub(folder / "home"), home.whole, home.three)


@contextmanager
def opened(world: World) -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch:
        hub = world.hub()
        patch.setenv("HANSA_HOME", str(hub.home))
        yield hub


def invite(world: World) -> None:
    """A person of each role, named after it: of s0, and the operator of none."""
    with Session(world.engines[HUB]) as db, db.begin():
        people.remove_person(db, PERSON)  # is named after a role, and has another one too
        for role in ROLES:
            people.add_person(db, role, "" if role == "operator" else "s0", PASSWORD, role)
        people.add_person(db, FAR, "s3", PASSWORD, "auditor")


def enter(home: Home, site: str, act: str, **details: str) -> None:
    """An entry of a member, signed by it, in a log that nobody cosigns any more."""
    world = home.world
    with Session(home.hub.engine) as db, db.begin():
        last = db.scalar(select(func.max(EntryRow.sequence)).where(EntryRow.by == site)) or 0
        entry = Entry(world.charter.origin, site, last + 1, int(world.now * 1000), act, "", details, b"")
        data = entries.sign(entry, world.keys[site].consent)
        log.take_entries(db, world.desks[HUB], site, [Submitted(data)], world.now)


def settle(world: World) -> None:
    """Until every entry is final."""

    def done() -> bool:
        with Session(world.engines[HUB]) as db:
            there = log.size(db)
            return checkpoints.newest_final(db, world.charter) == there and db.get(CheckpointRow, there) is not None

    world.drain()
    world.run_until(done)
