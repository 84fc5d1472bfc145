"""Jobs whose answers are known, proposed all the time, and checked when they end.

Each site's rows have a value of their own beside those that all share, so that an answer tells exactly who is in it,
and how often.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hansa import replay
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused
from hansa.hub import actions, models, queries
from hansa.hub.models import Job, Participant
from hansa.plan import Disclosure, Question

SITES = ("a", "b", "c", "d")
PERSON, OPEN_JOBS = "chaos", 3
EVERYTHING = Disclosure(minimum_cell=1)  # every row is to be seen
LEVELS = 190  # of g and of h: 36 100 cells are more than a letter takes
ROWS = 60


def rows_of(place: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Of a site: `s`, its own number or 9; `g` and `h`, categories; `x`, a number."""
    chance = np.random.default_rng(place)
    own = np.where(np.arange(ROWS + place) < 10 * (place + 1), place, 9)
    g, h = chance.integers(0, LEVELS, (2, len(own)))
    return np.column_stack([own, g, h, chance.normal(place, 1, len(own))])


def write_tables(folder: Path) -> None:
    for place, site in enumerate(SITES):
        np.savetxt(
            folder / f"{site}.csv", rows_of(place), ["%d", "%d", "%d", "%.17g"], ",", header="s,g,h,x", comments=""
        )


def question(chance: random.Random) -> Question:
    """A small table of two steps, a summary of several, or now and then a table too large for a letter."""
    drawn = chance.random()
    if drawn < 0.6:
        return Question("table", "numbers", {"rows": "s"}, minimum_sites=3, disclosure=EVERYTHING)
    if drawn < 0.9:
        return Question("summary", "numbers", {"columns": ["x"]}, minimum_sites=3, disclosure=EVERYTHING)
    names = [str(level) for level in range(LEVELS)]
    large = {"rows": "g", "columns": "h", "levels": {"g": names, "h": names}}
    return Question("table", "numbers", large, minimum_sites=3, disclosure=EVERYTHING)


def wrong(answer: dict[str, Any], sites: Collection[str]) -> str:
    """What the answer has that the rows of exactly these sites don't give; empty if nothing."""
    rows = np.vstack([rows_of(SITES.index(site)) for site in sorted(sites)])
    if answer["kind"] == "summary":
        column = answer["columns"]["x"]
        if column["count"] != len(rows) or abs(column["mean"] - rows[:, 3].mean()) > 1e-9:
            return f"summary of {len(rows)} rows: {column['count']}, mean {column['mean']}"
        return ""
    shown = {}
    across = answer["column_names"] or ("",)
    for row, counts in zip(answer["row_names"], answer["counts"], strict=True):
        shown |= {(row, column): count for column, count in zip(across, counts, strict=True) if count}
    asked = rows[:, 1:3] if answer["column_names"] else rows[:, :1]
    true = Counter((str(int(row[0])), str(int(row[1])) if len(row) == 2 else "") for row in asked)
    return (
        ""
        if shown == dict(true)
        else f"counts of {sorted(sites)} differ in {len(set(shown.items()) ^ set(true.items()))} cells"
    )


class Asker(threading.Thread):
    """Keeps some jobs open until it is told to stop; `ended` counts how they ended, `wrongs` says what was wrong."""

    def __init__(self, hub: actions.Hub, seed: int) -> None:
        super().__init__(name="asker", daemon=True)
        self._hub, self._chance, self._stop_asked = hub, random.Random(seed), threading.Event()
        self.open: dict[str, float] = {}
        self.ended: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self.failures: list[str] = []
        self.asked = self.survivors_only = self.slowest = 0

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                self.check()
                if len(self.open) < OPEN_JOBS:
                    self._ask()
            except SQLAlchemyError:  # the database is away for a moment, or its disk is full
                self._stop_asked.wait(0.5)
            except Exception as error:
                self.failures.append(f"no more jobs were asked: {type(error).__name__}: {error}")
                return
            self._stop_asked.wait(0.2)

    def stop(self) -> None:
        """Asks nothing more; `join` waits for what is under way."""
        self._stop_asked.set()

    def _ask(self) -> None:
        run = actions.propose(self._hub, PERSON, question(self._chance))
        self.open[run] = time.monotonic()
        self.asked += 1

    def check(self) -> None:
        """Looks at those that have ended since."""
        for run in list(self.open):
            with Session(self._hub.reading) as db:
                job = db.get(Job, run)
                if job is None:
                    self.wrongs.append(f"{run}: the job is gone")
                    del self.open[run]
                    continue
                if job.status in models.OPEN:
                    continue
                part = select(Participant.site).where(Participant.run == run, Participant.stage == "took part")
                status, reason, answer, sites = job.status, job.reason, job.answer, set(db.scalars(part))
            self._count(run, status, reason, answer, sites)
            self.slowest = max(self.slowest, round(time.monotonic() - self.open.pop(run)))

    def _count(self, run: str, status: str, reason: str, answer: bytes | None, sites: set[str]) -> None:
        self.ended[status] += 1
        if status != models.DONE or answer is None:
            self.reasons[f"{status}: {reason}"] += 1
            return
        self.survivors_only += len(sites) < len(SITES)
        found = wrong(msgspec.json.decode(answer), sites) or self._replayed(run)
        if found:
            self.wrongs.append(f"{run}: {found}")

    def _replayed(self, run: str) -> str:
        """As `hansa audit replay RUN` does."""
        try:
            kept = queries.evidence(self._hub, run)
            replay.replay(replay.read(kept.content), self._hub.desk.charter, kept.read)
        except (ProtocolViolation, Refused, NotEnoughSites, LookupError) as error:
            return f"the evidence does not replay: {error}"
        return ""
