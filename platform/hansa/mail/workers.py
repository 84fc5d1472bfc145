"""Processes that share a home: which of them live, and which of them does what only one may do.

A process holds a lock on a file of its own, `<home>/workers/<name>`, for as long as it lives, whatever ends it; the
operating system lets go of it then. So nobody has to guess from a clock whether a claim's holder is dead.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CLAIM_SECONDS: Final = 2.0  # between two looks for claims of the dead


class Worker:
    """This process, under a name that `draw`n bytes make its own."""

    def __init__(self, home: Path, drawn: bytes) -> None:
        self.name = drawn.hex()[:32]
        self._folder = home / "workers"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = _locked(self._folder / self.name, wait=True)  # for whoever just looks whether we live
        self._post: int | None = None

    def __repr__(self) -> str:
        return f"Worker({self.name})"

    def leads(self) -> bool:
        """Whether this process does what only one may do. Once it does, it does until it ends; then another may."""
        if self._post is None:
            self._post = _locked(self._folder / "leader")
        return self._post is not None

    def dead(self, names: Iterable[str]) -> list[str]:
        """Those of `names` whose process has ended."""
        return [name for name in names if name != self.name and self._has_ended(name)]

    def _has_ended(self, name: str) -> bool:
        path = self._folder / Path(name).name
        if not path.exists():
            return True
        lock = _locked(path)
        if lock is None:
            return False
        path.unlink(missing_ok=True)
        os.close(lock)
        return True

    def close(self) -> None:
        """In an orderly end; a killed process leaves its file to the others."""
        (self._folder / self.name).unlink(missing_ok=True)
        for lock in (self._lock, self._post):
            if lock is not None:
                os.close(lock)


def running(home: Path) -> int:
    """How many processes share `home` now."""
    folder = home / "workers"
    names = [path for path in folder.iterdir() if path.name != "leader"] if folder.is_dir() else []
    return sum(_is_held(path) for path in names)


def led(home: Path) -> bool:
    """Whether one of the processes of `home` does what only one may do."""
    path = home / "workers" / "leader"
    return path.exists() and _is_held(path)


def _is_held(path: Path) -> bool:
    lock = _locked(path)
    if lock is not None:
        os.close(lock)
    return lock is None


def _locked(path: Path, wait: bool = False) -> int | None:
    """The open file with its lock, or None where another process holds it and we don't `wait`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
