"""Durable appends to the hub's log in SQLite, of entries that are signed already: one transaction each, and in batches.

The floor is an INSERT of the same leaf data with the same commits, into a table without trigger, index or tree.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from tests import cards

from hansa.audit import log as entries
from hansa.audit.log import Entry
from hansa.hub import log
from hansa.mail.database import migrate, open_engine
from hansa.messages import HUB

SINGLE, BATCH, BATCHES = 300, 500, 10
ROUNDS = 3
CHARTER = cards.charter(("a", "b", "c"))
Signed = tuple[bytes, Entry]


def lines() -> Iterable[str]:
    yield _line("one transaction each", [[one] for one in _signed(SINGLE)])
    made = _signed(BATCH * BATCHES)
    yield _line(f"batches of {BATCH}", [made[at : at + BATCH] for at in range(0, len(made), BATCH)])


def _signed(count: int) -> list[Signed]:
    key, made = cards.hub_keys().signing, []
    for number in range(count):
        details = {"person": f"{number:016x}", "member": "a"}
        entry = Entry(CHARTER.origin, HUB, number, 1_800_000_000_000 + number, "signed in", "", details, b"")
        made.append((entries.sign(entry, key), entry))
    return made


def _line(what: str, batches: Sequence[Sequence[Signed]]) -> str:
    """Ours and the floor in turns, each into a database of its own."""
    ours, floor, count = [], [], sum(map(len, batches))
    for _ in range(ROUNDS):
        floor.append(count / _seconds(batches, _insert))
        ours.append(count / _seconds(batches, log.append))
    rate, bare = median(ours), median(floor)
    return f"| durable appends, {what} | {rate:,.0f} /s | {bare:,.0f} /s | {bare / rate:.1f} |"


def _insert(db: Session, batch: Sequence[Signed]) -> None:
    db.connection().execute(text("INSERT INTO floor (data) VALUES (:data)"), [{"data": data} for data, _ in batch])


def _seconds(batches: Sequence[Sequence[Signed]], write: Callable[[Session, Sequence[Signed]], None]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        engine = _prepared(Path(folder))
        start = time.perf_counter()
        for batch in batches:
            with Session(engine) as db, db.begin():
                write(db, batch)
        seconds = time.perf_counter() - start
        engine.dispose()
    return seconds


def _prepared(folder: Path) -> Engine:
    engine = open_engine(f"sqlite:///{folder}/hub.sqlite")
    migrate(engine, "hub")
    with Session(engine) as db, db.begin():
        db.execute(text("CREATE TABLE floor (number INTEGER PRIMARY KEY, data BLOB NOT NULL)"))
    return engine
