"""Plays a job a point. A world lives on from job to job; one in which a job went wrong is thrown away."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from multiprocessing.util import Finalize
from pathlib import Path
from typing import NamedTuple

import pytest

from hansa.messages import HUB
from tests.crash_points.databases import Databases, postgresql, sqlite
from tests.crash_points.points import Point, Points
from tests.crash_points.world import CrashWorld, small_chunks

PARTIES = (HUB, "s0", "s1", "s2")


class Played(NamedTuple):
    point: Point
    wrong: str  # what did not hold, or empty


class Runner:
    """Worlds in `folder`, over `databases`; `patch` is undone by whoever gave it."""

    def __init__(self, folder: Path, databases: Databases, patch: pytest.MonkeyPatch) -> None:
        small_chunks(patch)
        self._folder, self._databases, self._numbers = folder, databases, itertools.count(1)
        self._points = Points()
        self._points.watch_files(patch)
        self._world = self._new()
        run = self._world.play()
        self._world.check(run)
        self.points, self._kept = tuple(self._points.seen), self._world.kept(run)

    def _new(self) -> CrashWorld:
        folder = self._folder / f"world{next(self._numbers)}"
        folder.mkdir(parents=True)
        return CrashWorld(folder, self._databases(PARTIES), self._points)

    def play(self, points: Sequence[Point]) -> Iterator[Played]:
        for point in points:
            wrong = self._wrong(point)
            if wrong:
                self._world = self._new()
            yield Played(point, wrong)

    def _wrong(self, point: Point) -> str:
        try:
            run = self._world.play(point)
            if self._points.crashed != point:
                return "this point was not reached"
            self._world.check(run)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        kept = self._world.kept(run)
        return (
            "" if kept == self._kept else f"too much {_told(kept - self._kept)}; too little {_told(self._kept - kept)}"
        )


def _told(counts: "Counter[tuple[str, ...]]") -> str:
    return ", ".join(f"{number} × {' '.join(what)}" for what, number in sorted(counts.items())) or "nothing"


_HERE: list[Runner] = []  # of this process, when it is one of a pool


def open_in_pool(database: str) -> None:
    """A pool's process begins: worlds of its own, closed when it ends."""
    stack = ExitStack()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansa-")))
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    databases = stack.enter_context(postgresql(folder)) if database == "postgresql" else sqlite
    _HERE.append(Runner(folder, databases, patch))
    Finalize(None, stack.close, exitpriority=10)


def points_in_pool(_number: int) -> tuple[Point, ...]:
    return _HERE[0].points


def play_in_pool(point: Point) -> Played:
    return next(_HERE[0].play([point]))
