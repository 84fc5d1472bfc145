"""The hub's checkpoints and the sites that cosign them, over their own databases, with nothing between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.hub import checkpoints, log, models, new_log
from hansa.hub.checkpoints import Checkpoints
from hansa.hub.models import Member, WitnessRow
from hansa.mail import boxes
from hansa.mail.boxes import Desk
from hansa.mail.database import open_engine
from hansa.mail.letters import TO_SITE, Cosigned, Shown, Submitted
from hansa.messages import HUB, encode
from hansa_site import deeds, journal, witness
from hansa_site.deeds import Deed
from hansa_site.journal import Alarm, OwnEntry
from tests import cards

NAMES = ("a", "b", "c")
NOW = 1_800_000_000.0
FOLDER: Any = None  # no chunk travels here


class Trio:
    """A hub whose log is open, and three sites. The clock is the test's."""

    def __init__(self, folder: Path, rules: Rules | None = None) -> None:
        self.charter = cards.charter(NAMES, rules)
        self.desk = Desk(HUB, self.charter, cards.hub_keys(), FOLDER)
        self.sites = {
            name: Desk(name, self.charter, cards.member_keys(place), FOLDER) for place, name in enumerate(NAMES)
        }
        self.engine = _engine(folder / "hub", models.Base)
        self.engines = {name: _engine(folder / name, journal.Base) for name in NAMES}
        self.now = NOW
        with Session(self.engine) as db, db.begin():
            new_log.open_log(db, self.desk, self.now)
            for name in NAMES:
                db.add(Member(site=name, version="0.2.0", tables=encode(()), seen_at=self.now))
        self.restart()

    def restart(self) -> None:
        """The hub's process is another one."""
        self.checkpoints = Checkpoints(self.engine, self.engine, self.desk)

    def act(self, act: str = "signed in", **details: str) -> None:
        with Session(self.engine) as db, db.begin():
            log.record(db, self.desk, self.now, act, "", details)

    def deed(self, site: str, count: int = 1, submit: bool = True) -> None:
        """The member does something, and the hub takes its entries."""
        with Session(self.engines[site]) as db, db.begin():
            for number in range(count):
                made = Deed("table added", {"table": f"t{number}", "schema": "0" * 64})
                deeds.write(db, self.sites[site], made, "", self.now, bytes)
            rows = db.scalars(select(OwnEntry).where(~OwnEntry.sent).order_by(OwnEntry.sequence)).all()
            entries = [Submitted(row.data, row.payload) for row in rows] if submit else []
            for row in rows if submit else ():
                row.sent = True
        with Session(self.engine) as db, db.begin():
            log.take_entries(db, self.desk, site, entries, self.now)

    def ask(self, seconds: float = 0.0) -> dict[str, Shown]:
        """What the hub asks of whom, so much later."""
        self.now += seconds
        self.checkpoints.tick(self.now)
        found = {}
        for site, notes in self.desk.acks(self.now).items():
            header, envelope = self.sites[site].read(notes[0], TO_SITE)
            shown = self.sites[site].open(header, envelope)
            assert isinstance(shown, Shown)
            found[site] = shown
        return found

    def look(self, site: str, shown: Shown) -> Cosigned:
        with Session(self.engines[site]) as db, db.begin():
            said = witness.look(db, self.sites[site], shown, self.now)
        return said()

    def take(self, site: str, said: Cosigned) -> None:
        with Session(self.engine) as db, db.begin():
            checkpoints.take(db, self.desk, site, said, self.now)

    def round(self, seconds: float = 0.0, away: Sequence[str] = ()) -> dict[str, Cosigned]:
        """Who is not away is asked, and answers."""
        said = {site: self.look(site, shown) for site, shown in self.ask(seconds).items() if site not in away}
        for site, cosigned in said.items():
            self.take(site, cosigned)
        return said

    def final(self) -> int | None:
        with Session(self.engine) as db:
            return checkpoints.newest_final(db, self.charter)

    def size(self) -> int:
        with Session(self.engine) as db:
            return log.size(db)

    def known(self, site: str) -> WitnessRow:
        with Session(self.engine) as db:
            return db.get_one(WitnessRow, site)

    def receipts(self, site: str) -> int:
        with Session(self.engines[site]) as db:
            return deeds.receipted(db)

    def watch(self, site: str) -> None:
        with Session(self.engines[site]) as db, db.begin():
            witness.watch(db, self.now)

    def alarms(self, site: str) -> list[tuple[str, bool]]:
        """(sort, whether it is open) of each."""
        with Session(self.engines[site]) as db:
            return [(one.sort, one.closed_at is None) for one in db.scalars(select(Alarm).order_by(Alarm.id))]


def _engine(path: Path, base: Any) -> Engine:
    engine = open_engine(f"sqlite:///{path}.sqlite")
    for one in (base, boxes.Base):
        one.metadata.create_all(engine)
    return engine
