"""What happens to the parties, drawn from a seed: kills one by one, and beside them one fault that lasts."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from hansa.messages import HUB
from tests.chaos.asking import SITES
from tests.chaos.consortium import WORKER, Running

DAY = 86_400.0
LONGEST_PAUSE, LONGEST_FULL, CLOCK_LASTS = 30.0, 12.0, 25.0  # seconds
BETWEEN_LASTING = 12.0


class Faults:
    """`step` does what is due; `end` makes good whatever lasts."""

    def __init__(self, parties: Running, seed: int, gap: float) -> None:
        self._parties, self._chance, self._gap = parties, random.Random(seed), gap
        self.kills: Counter[str] = Counter()
        self.lasting: Counter[str] = Counter()
        now = time.monotonic()
        self._next_kill, self._next_lasting = now + gap, now + BETWEEN_LASTING
        self._relief: tuple[float, Callable[[], None]] | None = None

    def step(self) -> None:
        now = time.monotonic()
        if now >= self._next_kill:
            self._next_kill = now + self._chance.expovariate(1 / self._gap)
            self._kill()
        if self._relief is not None and now >= self._relief[0]:
            self._relieve()
            self._next_lasting = time.monotonic() + BETWEEN_LASTING
        if self._relief is None and now >= self._next_lasting:
            lasts, undo = self._begin()
            self._relief = now + lasts, undo

    def end(self) -> None:
        """The last fault is over when this returns."""
        if self._relief is not None:
            self._relieve()

    def _relieve(self) -> None:
        if self._relief is not None:
            undo, self._relief = self._relief[1], None
            undo()

    def _kill(self) -> None:
        roles = {"site": 30, "hub": 15, "worker": 10, "broker": 40, "database": 5}
        if self._parties.database is None:
            del roles["database"]
        role = self._chance.choices(list(roles), list(roles.values()))[0]
        if role == "broker":
            server = self._parties.servers[self._chance.choice(sorted(self._parties.servers))]
            server.kill()
            time.sleep(self._chance.choice([0.0, 0.05, 0.5]))
            server.start()
        elif role == "database" and self._parties.database is not None:
            if not self._parties.database.kill(self._chance.choice):
                return
        else:
            name = {"hub": HUB, "worker": WORKER}.get(role) or self._chance.choice(SITES)
            self._parties.processes[name].kill()
        self.kills[role] += 1

    def _begin(self) -> tuple[float, Callable[[], None]]:
        kinds = ["pause", "clock"] + (["disk"] if self._parties.disks else [])
        kind = self._chance.choice(kinds)
        self.lasting[kind] += 1
        if kind == "disk":
            name = self._chance.choice(self._parties.disks)
            self._fill(name)
            return self._chance.uniform(2, LONGEST_FULL), lambda: self._size(name, "4g")
        process = self._parties.processes[self._chance.choice(sorted(self._parties.processes))]
        if kind == "pause":
            process.pause()
            return self._chance.uniform(2, LONGEST_PAUSE), process.resume
        process.plight = {"CHAOS_CLOCK_OFF": str(self._chance.choice([-DAY, DAY]))}
        process.kill()

        def right() -> None:
            process.plight = {}
            process.kill()

        return CLOCK_LASTS, right

    def _fill(self, name: str) -> None:
        """Shrinks the file system to what lies in it: every write that needs a block gets ENOSPC."""
        home = str(self._parties.home(name))
        used = subprocess.run(["df", "--output=used", "-B1", home], capture_output=True, text=True, check=True)
        self._size(name, used.stdout.split()[1])

    def _size(self, name: str, size: str) -> None:
        home = str(self._parties.home(name))
        subprocess.run(["mount", "-o", f"remount,size={size}", home], check=True)
