"""Many schedules, judged, and what became of them: `python -m tests.world --schedules N --seed S`."""

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

from tests.schedules.events import Schedule, draw
from tests.schedules.judge import Judge, refusals
from tests.schedules.network import World

MANY = 1_000
BATCH = 50


@dataclass
class Tally:
    schedules: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # events by sort; crashes, restarts, messages
    ends: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    seconds: float = 0.0  # of CPU
    failed: list[tuple[Schedule, list[str]]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.counts += other.counts
        self.ends += other.ends
        self.reasons += other.reasons
        self.lost += other.lost
        self.doubled += other.doubled
        self.wrong += other.wrong
        self.seconds += other.seconds
        self.failed += other.failed


def judged(schedule: Schedule) -> list[str]:
    """What is broken after this schedule: sentences, none if all is well. An error of the code under test is one."""
    try:
        return judge(schedule)[1].broken()
    except Exception as error:
        return [_sentence(error)]


def _sentence(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def judge(schedule: Schedule) -> tuple[World, Judge]:
    world = World(schedule)
    world.play()
    return world, Judge(world)


def without_collecting(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """Looking for cycles among all that a schedule keeps would take a third of the time."""
    gc.disable()
    try:
        for number, schedule in enumerate(schedules, start=1):
            yield schedule
            if number % BATCH == 0:
                gc.collect()
    finally:
        gc.enable()


def run(schedules: Iterable[Schedule]) -> Tally:
    tally, began = Tally(), time.process_time()
    for schedule in without_collecting(schedules):
        tally.schedules += 1
        try:
            world, verdict = judge(schedule)
            broken = verdict.broken()
        except Exception as error:
            tally.failed.append((schedule, [_sentence(error)]))
            continue
        tally.counts += world.counts
        tally.ends[world.hub.store.status] += 1
        tally.reasons += Counter(refusals(world))
        tally.lost += verdict.lost
        tally.doubled += verdict.doubled
        tally.wrong += verdict.wrong
        if broken:
            tally.failed.append((schedule, broken))
    tally.seconds = time.process_time() - began
    return tally


def first_failure(schedules: Iterable[Schedule]) -> tuple[int, Schedule, list[str]] | None:
    """How many schedules it took, and what broke."""
    for number, schedule in enumerate(schedules, start=1):
        broken = judged(schedule)
        if broken:
            return number, schedule, broken
    return None


def shortened(schedule: Schedule) -> Schedule:
    """The same failure with as few events as leaving out one after another gives."""
    place = 0
    while place < len(schedule.events):
        events = schedule.events[:place] + schedule.events[place + 1 :]
        shorter = replace(schedule, events=events)
        if judged(shorter):
            schedule = shorter
        else:
            place += 1
    return schedule


def _batch(first: int, last: int, start: int) -> Tally:
    return run(draw(seed) for seed in range(start, min(start + BATCH, last)) if seed >= first)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; the next has the next")
    parser.add_argument("--workers", type=int, help="default: one, or for a thousand schedules and more one a core")
    asked = parser.parse_args(arguments)
    asked.workers = asked.workers or (os.cpu_count() or 1 if asked.schedules >= MANY else 1)
    first, last = asked.seed, asked.seed + asked.schedules
    began, tally = time.monotonic(), Tally()
    starts = range(first, last, BATCH)
    if asked.workers == 1:
        parts: Iterable[Tally] = map(partial(_batch, first, last), starts)
        _gather(tally, parts)
    else:
        with multiprocessing.get_context("spawn").Pool(asked.workers) as pool:
            _gather(tally, pool.imap(partial(_batch, first, last), starts))
    _print(tally, time.monotonic() - began)
    if not tally.failed:
        return 0
    schedule, broken = tally.failed[0]
    print(f"\nseed {schedule.seed} fails:", *broken, sep="\n  ")
    print(f"played: {schedule}\nshort:  {shortened(schedule)}")
    return 1


def _gather(tally: Tally, parts: Iterable[Tally]) -> None:
    for part in parts:
        tally.add(part)
        if tally.failed:
            return


def _print(tally: Tally, seconds: float) -> None:
    other = ("messages", "crashes", "restarts")
    events = {name: count for name, count in tally.counts.most_common() if name not in other}
    rows: list[tuple[str, object]] = [
        ("schedules", tally.schedules),
        ("events", sum(events.values())),
        *((f"  {name}", count) for name, count in events.items()),
        *((name, tally.counts[name]) for name in other),
        ("lost", tally.lost),
        ("doubled", tally.doubled),
        ("wrong", tally.wrong),
        ("jobs that ended", sum(tally.ends.values())),
        *((f"  {name}", count) for name, count in tally.ends.most_common()),
        ("refused", sum(tally.reasons.values())),
        *((f"  {name}", count) for name, count in tally.reasons.most_common()),
        ("seconds", f"{seconds:.1f}"),
        ("  of CPU a schedule", f"{1000 * tally.seconds / max(tally.schedules, 1):.1f} ms"),
    ]
    width = max(len(name) for name, _value in rows)
    for line in chain(f"{name:<{width}}  {value:>9}" for name, value in rows):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
