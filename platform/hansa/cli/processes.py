"""Child processes of a launcher: started together, watched, and stopped whatever happens.

A child reads its standard input in a thread and ends when that closes, so that a launcher that is killed takes its
children along.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hansa.errors import Refused

STOP_SECONDS = 8.0


def follow_parent() -> None:
    """Ends this process, as SIGTERM does, when its standard input closes."""

    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class Child:
    """`hansa <arguments>` in a process group of its own, its output in `log`."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.name, self._log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hansa.cli", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                process_group=0,
                env=_environment() | (environment or {}),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Refuses, with the last line of its log, when the process has ended by itself."""
        if self._process.poll() is not None:
            raise Refused(f"{self.name} ended: {self.last_line()}")

    def alive(self) -> bool:
        return self._process.poll() is None

    def last_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """Without what would change the children: Celery's own variables, and threads that fight over two cores."""
    dropped = {"BROKER_URL", "CELERY_BROKER_URL", "RESULT_BACKEND", "CELERY_CONFIG_MODULE", "CELERY_LOADER"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", **kept}


class Family:
    """Children that live and end together; the last started is asked to stop first."""

    def __init__(self) -> None:
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self.children):
            child.ask_to_stop()
        for child in reversed(self.children):
            child.stop()

    def start(self, child: Child) -> Child:
        self.children.append(child)
        return child

    def stay(self, tell: Callable[[str], None]) -> None:
        """Until Ctrl-C; says once of each child that has ended by itself that it has."""
        reported: set[str] = set()
        while True:
            threading.Event().wait(1)
            for child in self.children:
                if not child.alive() and child.name not in reported:
                    reported.add(child.name)
                    tell(f"{child.name} has ended ({child.last_line()}); the others go on")

    def check(self) -> None:
        for child in self.children:
            child.check()
