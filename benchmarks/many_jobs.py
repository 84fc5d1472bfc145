"""Small jobs from ten sites at once: how long they take, in which order they end, and what memory does.

Five tables, each at six of the ten sites; each job is a table of counts over three of these. All are proposed before
the first has ended, by people of every site in turn.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.hub import actions, models
from hansa.hub.actions import Hub
from hansa.hub.models import Job
from hansa.plan import Question

SITES, TABLES, MEMBERS = 10, 5, 6
JOBS = int(os.environ.get("JOBS", "200"))


def lines() -> Iterable[str]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        up, hub = _start(base)
        try:
            began = time.monotonic()
            _propose(hub)
            proposed, early = time.monotonic() - began, 0
            while (left := _open(hub)) > 0:
                if not early and left < JOBS * 0.9:
                    early = _memory(up)
                time.sleep(0.5)
            took = time.monotonic() - began
            late = _memory(up)
            done, disorder = _ended(hub)
        finally:
            up.terminate()
            up.wait()
    yield f"| proposed | {proposed:.1f} s |"
    yield f"| all ended, of them done | {took:.1f} s ({JOBS / took:.1f} a second), {done} of {JOBS} |"
    yield f"| that ended before one proposed earlier over their table | {disorder} |"
    yield f"| memory of hub and sites, after a tenth of the jobs and at the end | {early} MB, {late} MB |"


def _start(base: Path) -> "tuple[subprocess.Popen[str], Hub]":
    told = ['name = "bench"', "[rules]", "round_seconds = 600"]
    for place in range(SITES):
        told += ["[[site]]", f'name = "s{place}"']
        for table in _tables_of(place):
            (base / f"s{place}.csv").write_text("g\n" + "1\n2\n" * 20, encoding="utf-8")
            told += ["[[site.table]]", f'name = "t{table}"', f'path = "s{place}.csv"']
    (base / "consortium.toml").write_text("\n".join(told), encoding="utf-8")
    command = [sys.executable, "-m", "hansa.cli", "local", "up", str(base / "consortium.toml"), "--home"]
    up = subprocess.Popen([*command, str(base / "h")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if up.stdout is None:
        raise SystemExit("no output to read")
    while "Ctrl-C" not in (line := up.stdout.readline()):
        if not line:
            raise SystemExit("the consortium did not start")
    return up, Hub(base / "h" / "hub")


def _tables_of(place: int) -> list[int]:
    return [table for table in range(TABLES) if place in _sites_of(table)]


def _sites_of(table: int) -> list[int]:
    return [(2 * table + step) % SITES for step in range(MEMBERS)]


def _propose(hub: Hub) -> None:
    for place in range(SITES):
        actions.set_person(hub, f"p{place}", f"s{place}", "correct horse battery")
    for number in range(JOBS):
        table = number % TABLES
        members = _sites_of(table)
        sites = tuple(f"s{members[(number // TABLES + step) % MEMBERS]}" for step in (0, 2, 4))
        actions.propose(hub, f"p{number % SITES}", Question("table", f"t{table}", {"rows": "g"}, sites))


def _open(hub: Hub) -> int:
    with Session(hub.reading) as db:
        return len(db.scalars(select(Job.run).where(Job.status.in_(models.OPEN))).all())


def _ended(hub: Hub) -> tuple[int, int]:
    """How many are done, and how many ended before a job that shares a table and a site with them and came first."""
    with Session(hub.reading) as db:
        rows = db.execute(select(Job.status, Job.table_name, Job.ended_at, Job.plan).order_by(Job.place)).all()
        charter = hub.desk.charter
    from hansa.plan import load

    by_place: dict[tuple[str, str], list[float]] = {}
    for _status, table, ended, plan in rows:
        for site in load(plan, charter).sites:
            by_place.setdefault((table, site), []).append(ended or 0.0)
    disorder = sum(after < before for ends in by_place.values() for before, after in pairwise(ends))
    return sum(row[0] == models.DONE for row in rows), disorder


def _memory(up: "subprocess.Popen[str]") -> int:
    """Resident, of everything that the launcher started, brokers included."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == up.pid:
                    total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:
                continue
    return total // 10**6
