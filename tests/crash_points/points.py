"""Numbered durable writes, and the crash before or after one of them."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from hansa.mail import blobs


class Crash(BaseException):
    """What SIGKILL is here: no handler for errors catches it."""


class Point(NamedTuple):
    """The `number`-th durable write of its kind by one party's role, and on which side of it the party dies."""

    party: str
    role: str
    write: str  # commit, push, lay, take, file, name, folder, erase
    number: int
    side: str  # before, after

    def __str__(self) -> str:
        return f"{self.side} {self.write} {self.number} of {self.party} {self.role}"


class Points:
    """Counts the durable writes of whoever acts; dies at the one that is `armed`."""

    def __init__(self) -> None:
        self.seen: list[Point] = []
        self.armed: Point | None = None
        self.crashed: Point | None = None
        self._acting: list[tuple[str, str]] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def begin(self, armed: Point | None) -> None:
        self.seen, self.armed, self.crashed = [], armed, None
        self._counts.clear()

    @contextlib.contextmanager
    def acting(self, party: str, role: str) -> Iterator[None]:
        """The party does something in this role; inside, another role of it may act."""
        self._acting.append((party, role))
        try:
            yield
        finally:
            self._acting.pop()

    @contextlib.contextmanager
    def around(self, write: str) -> Iterator[None]:
        """A durable write. The dead write nothing: whatever still unwinds after a crash has no effect."""
        if not self._acting:
            yield
            return
        key = (*self._acting[-1], write)
        self._counts[key] += 1
        self._at(Point(*key, self._counts[key], "before"))
        yield
        self._at(Point(*key, self._counts[key], "after"))

    def _at(self, point: Point) -> None:
        self.seen.append(point)
        if point == self.armed:
            self.armed, self.crashed = None, point
            raise Crash(str(point))

    def watch_commits(self, engine: Engine) -> None:
        dialect: Any = engine.dialect
        commit = dialect.do_commit

        def do_commit(connection: object) -> None:
            with self.around("commit"):
                commit(connection)

        dialect.do_commit = do_commit

    def watch_files(self, patch: pytest.MonkeyPatch) -> None:
        """The writes of `mail/blobs.py`: a file's bytes, its final name, the folder's entries, an erased run."""
        points = self

        class Watched(type(Path())):  # type: ignore[misc]  # the platform's own class of paths
            def replace(self, target: Any) -> Any:
                with points.around("name"):
                    return super().replace(target)

            def unlink(self, missing_ok: bool = False) -> None:
                if points.crashed is None:
                    super().unlink(missing_ok)  # the dead don't tidy up: SIGKILL leaves the partial file

        def watched(name: str, function: Any) -> Any:
            def act(*arguments: Any) -> Any:
                with points.around(name):
                    return function(*arguments)

            return act

        class System:
            fsync = staticmethod(watched("file", os.fsync))

            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

        patch.setattr(blobs, "Path", Watched)
        patch.setattr(blobs, "os", System())
        patch.setattr(blobs.shutil, "rmtree", watched("erase", blobs.shutil.rmtree))
