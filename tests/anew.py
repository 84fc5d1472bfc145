"""A world whose hub gets an older database back, and whose members then begin a new log."""

import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa.audit.log import first_row
from hansa.charter import Charter
from hansa.hub import checkpoints, log, new_log
from hansa.hub.models import CheckpointRow
from hansa.mail.boxes import Desk
from hansa.messages import HUB
from hansa_site import deeds
from tests.world import World


def back_up(world: World, copy: Path) -> None:
    world.engines[HUB].dispose()
    shutil.copy(_database(world), copy)


def put_back(world: World, copy: Path) -> None:
    """The hub's process is another one, over the older database."""
    world.kill(HUB)
    world.engines[HUB].dispose()
    for left in _database(world).parent.glob(f"{HUB}.sqlite*"):
        left.unlink()
    shutil.copy(copy, _database(world))
    world.restart(HUB)


def _database(world: World) -> Path:
    return Path(world.engines[HUB].url.database or "")


def all_heard(world: World) -> bool:
    with Session(world.engines[HUB]) as db:
        return new_log.is_due(db) and new_log.heard(db, world.charter) == world.names


def draft(world: World) -> Charter:
    """The version that begins a new log."""
    before, members = world.charter, list(world.charter.members)
    origin = charters.next_origin(before)
    return charters.draft(before.consortium, before.hub, members, before.rules, origin, before)


def accept(world: World, charter: Charter, name: str) -> None:
    """As `hansa charter accept`, and a start of the party's processes."""
    old = world.desks[name]
    world.charter = charter
    world.desks[name] = Desk(name, charter, old.held, old.folder, (*old.former, old.charter))
    world.restart(name)
    if name != HUB:
        world.sites[name].hello(world.now)


def accept_all(world: World, charter: Charter) -> None:
    for name in (HUB, *world.names):
        accept(world, charter, name)


def settled(world: World) -> bool:
    """Every entry is final, and every site has delivered its own and has the receipts."""
    first = first_row(world.charter)
    with Session(world.engines[HUB]) as db:
        if checkpoints.newest_final(db, world.charter) != log.size(db, first):
            return False
    for name in world.names:
        with Session(world.engines[name]) as db:
            if deeds.unsent(db, first) or not deeds.count(db, first) == deeds.receipted(db, first) > 0:
                return False
    return True


def made(world: World) -> list[int]:
    """The rows of the checkpoints that the hub has."""
    with Session(world.engines[HUB]) as db:
        return sorted(row.size for row in db.query(CheckpointRow))
