"""The log's writer under kill -9: what it said it had written is there, once, and each checkpoint leads to the next.

`python -m tests.log_writer --kills 100` prints the figures. `--write FOLDER` is the writer, a process of its own: until
it is killed it appends acts of the hub's own and entries of two members in batches, and makes checkpoints. After each
commit it writes a line: the size of the log, and how many entries were new.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from hansa.audit import log as entries
from hansa.audit.checkpoint import checked
from hansa.audit.log import Entry
from hansa.audit.note import parse
from hansa.audit.roster import log_key
from hansa.audit.tree import check_consistency, consistency
from hansa.crypto.bundles import MemberKeys
from hansa.hub import checkpoints, log, log_check, new_log
from hansa.hub.models import CheckpointRow, EntryRow
from hansa.mail.blobs import Folder
from hansa.mail.boxes import Desk
from hansa.mail.database import migrate, open_engine
from hansa.mail.letters import Submitted
from hansa.messages import HUB
from tests import cards

MEMBERS = ("a", "b", "c")
CHARTER = cards.charter(MEMBERS)
BATCH = 7  # entries of a member in one letter


def desk(folder: Path) -> Desk:
    return Desk(HUB, CHARTER, cards.hub_keys(), Folder(folder / "chunks"))


def engine(folder: Path) -> Engine:
    return open_engine(f"sqlite:///{folder}/log.sqlite")


def of_member(keys: MemberKeys, site: str, sequence: int) -> Submitted:
    details = {"table": f"t{sequence}", "schema": "0" * 64}
    entry = Entry(CHARTER.origin, site, sequence, 1_800_000_000_000 + sequence, "table added", "", details, b"")
    return Submitted(entries.sign(entry, keys.consent))


def work(engine: Engine, hub: Desk) -> Iterator[tuple[int, int]]:
    """Commits for ever; gives (size of the log, entries that this commit wrote) after each."""
    for turn in range(10**9):
        site = MEMBERS[turn % 2]
        with Session(engine) as db, db.begin():
            before = log.size(db)
            if turn % 3 == 2:
                checkpoints.make(db, hub, float(turn))
            elif turn % 3:
                log.record(db, hub, 1.8e9 + turn, "signed in", "", {"person": str(turn), "member": "a"})
            else:
                due = next_of(db, site)
                batch = [of_member(cards.member_keys(turn % 2), site, due + more) for more in range(BATCH)]
                log.take_entries(db, hub, site, batch, 1.8e9 + turn)
            size = log.size(db)
        yield size, size - before


def next_of(db: Session, site: str) -> int:
    last = db.scalar(select(func.max(EntryRow.sequence)).where(EntryRow.by == site))
    return 0 if last is None else last + 1


def write(folder: Path) -> None:
    for size, new in work(engine(folder), desk(folder)):
        print(size, new, flush=True)


@dataclass
class Counted:
    kills: int = 0
    acknowledged: int = 0
    entries: int = 0
    missing: int = 0
    checkpoints: int = 0


def kill_often(folder: Path, kills: int, seconds: float, chance: random.Random) -> Counted:
    """So many kills, or as many as fit into the time; then everything is looked at."""
    prepare(folder)
    counted, until = Counted(), time.monotonic() + seconds
    while counted.kills < kills and time.monotonic() < until:
        size = one_life(folder, chance)
        counted.kills += 1
        counted.acknowledged = max(counted.acknowledged, size)
        with Session(made := engine(folder)) as db:
            counted.missing += max(0, counted.acknowledged - log.size(db))
        made.dispose()
    check(folder, counted)
    return counted


def prepare(folder: Path) -> None:
    made = engine(folder)
    migrate(made, "hub")
    with Session(made) as db, db.begin():
        new_log.open_log(db, desk(folder), 1.8e9)
    made.dispose()


def one_life(folder: Path, chance: random.Random) -> int:
    """A writer that is killed some time after its first commit; gives the size that it last acknowledged."""
    command = [sys.executable, "-m", "tests.log_writer", "--write", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.random() * 0.1)  # any moment will do
        process.kill()
        lines = [first, *process.stdout.read().splitlines(keepends=True)]
    whole = [line.split() for line in lines if line.endswith("\n")]
    return max((int(size) for size, _ in whole), default=0)


def check(folder: Path, counted: Counted) -> None:
    """Numbers and each author's own count have no gaps and no doubles; tree and checkpoints are of these entries."""
    made = engine(folder)
    with Session(made) as db:
        head = log_check.check(db)
        read = [entries.check(data, CHARTER) for data in db.scalars(select(EntryRow.data).order_by(EntryRow.number))]
        assert len(read) == head.size == log.size(db)
        for author in (HUB, *MEMBERS):
            own = [entry.sequence for entry in read if entry.by == author]
            assert own == list(range(len(own))), f"the count of '{author}' has gaps or doubles"
        notes = db.scalars(select(CheckpointRow.note).order_by(CheckpointRow.size)).all()
        heads = [checked(parse(note), log_key(CHARTER)).head for note in notes]
        for one, next_one in zip(heads, [*heads[1:], head], strict=True):
            if one.size < next_one.size:
                check_consistency(one, next_one, consistency(one.size, next_one.size, log.reader(db)))
            assert one.size < next_one.size or one == next_one
    made.dispose()
    counted.entries, counted.checkpoints = head.size, len(heads)


def limited(folder: Path, pages: int) -> Engine:
    """A disk that has room for so many pages more."""
    made = engine(folder)

    @event.listens_for(made, "connect")
    def _limit(connection: object, _record: object) -> None:
        (there,) = connection.execute("PRAGMA page_count").fetchone()  # type: ignore[attr-defined]  # the driver's
        connection.execute(f"PRAGMA max_page_count={there + pages}")  # type: ignore[attr-defined]

    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.log_writer", description=__doc__)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.write is not None:
        write(asked.write)
    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(Path(folder), asked.kills, 3600.0, random.Random(asked.seed))
    print(f"{found.kills} kills: {found.acknowledged} entries acknowledged, {found.missing} missing, 0 doubled")
    print(f"{found.entries} entries in the log without gaps, {found.checkpoints} checkpoints, each leads to the next")
    return 1 if found.missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
