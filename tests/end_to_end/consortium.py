"""A consortium of real processes, started, asked and stopped through the command line.

Everything that a `Consortium` starts is in one session of the operating system (`setsid`), so that what survives a
stop can be found by that session, whoever its parent is by then.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import hansa
from hansa.hub import models, queries
from hansa.hub.actions import Hub
from hansa.hub.queries import JobDetail

HOSPITALS = Path(hansa.__file__).parent / "demo" / "consortium.toml"
REGRESSION = Path(hansa.__file__).parent / "demo" / "glm.toml"
PATIENCE = 180.0  # seconds, on a machine that does other things too


class Said(NamedTuple):
    """What a command left: exit code, standard output and error, and the JSON of its answer if it wrote one."""

    code: int
    out: str
    err: str
    answer: dict[str, Any]

    @property
    def complaint(self) -> str:
        """The sentence on standard error, without the lines that tell how far a command has come."""
        return "\n".join(line for line in self.err.splitlines() if not line.startswith("…"))


class Command:
    """`hansa <arguments>` in a session of its own; its output goes to files, so that no pipe can fill up."""

    def __init__(self, folder: Path, arguments: Sequence[str], answer: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.out")))
        self._out, self._err, self._answer = folder / f"{number}.out", folder / f"{number}.err", answer
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hansa.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(folder),
                start_new_session=True,
            )

    def told(self) -> str:
        return self._out.read_text(encoding="utf-8")

    def complained(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Until the command has printed `text`."""
        until(f"'{text}'", lambda: text in self.told(), lambda: self.process.poll() is None, self.complained)

    def ended(self) -> Said:
        """Waits for the end."""
        code = self.process.wait(PATIENCE)
        answer = json.loads(self._answer.read_text()) if self._answer is not None and self._answer.exists() else {}
        return Said(code, self.told(), self.complained(), answer)

    def stop(self, number: int = signal.SIGTERM) -> Said:
        """Asks it to stop, and finds nothing of its session left when it has."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            said = self.ended()
        finally:
            survivors = session(self.process.pid)
            for pid in survivors:
                os.kill(pid, signal.SIGKILL)
        assert survivors == {}, f"still there after the stop: {survivors}"
        return said


def environment(folder: Path) -> dict[str, str]:
    """Notes of running consortia and temporary folders go into `folder`, away from whoever else works here."""
    temporary = folder / "t"  # short: a socket's path has 104 bytes at most
    temporary.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HANSA_")}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return kept | {"PYTHONPATH": path, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(temporary)}


def command(folder: Path, *arguments: str | Path) -> Said:
    """`hansa <arguments>`, to its end."""
    return Command(folder, [str(argument) for argument in arguments]).ended()


def run_once(folder: Path, file: Path, plan: Path, *more: str) -> Said:
    """`hansa local run`; nothing that it started is left."""
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    asked = Command(folder, ["local", "run", str(file), str(plan), "--json", str(answer), *more], answer)
    asked.process.wait(PATIENCE)
    return asked.stop()


def until(
    what: str, ready: Callable[[], object], alive: Callable[[], bool] = lambda: True, why: Callable[[], str] = str
) -> None:
    """Polls until `ready`, and fails at the deadline or when what should bring it about has ended."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert alive(), f"waiting for {what}: it has ended; {why()}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} seconds for {what}; {why()}"
        time.sleep(0.005)


def session(leader: int) -> dict[int, str]:
    """The processes of a session that are no zombies: number and command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, _parent, _group, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it has ended meanwhile
            continue
        if int(number) == leader and state != "Z":
            found[int(folder.name)] = line
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def toml(value: object) -> str:
    """A value as TOML, inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value)


def write_toml(path: Path, content: Mapping[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in content.items()))
    return path


class Consortium:
    """`hansa local up` over `file`, kept up for as many questions as a test has."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self._plans = 0
        self._by_hand: list[Command] = []
        self._up = Command(folder / "up", ["local", "up", str(file), "--home", str(self.home)])

    def __enter__(self) -> Self:
        try:
            self._up.wait_for("Ctrl-C stops it.")
            self.hub = Hub(self.home / "hub")
        except BaseException:
            self._up.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for by_hand in self._by_hand:
            if by_hand.process.poll() is None:
                by_hand.process.terminate()
        for by_hand in self._by_hand:
            by_hand.stop()
        self._up.stop()

    def told(self) -> str:
        """What `local up` has printed so far."""
        return self._up.told()

    def processes(self) -> dict[int, str]:
        return session(self._up.process.pid)

    def process(self, name: str) -> int:
        """The hub or a site, as the launcher started it."""
        home = self.home / "hub" if name == "hub" else self.home / "sites" / name
        return next(pid for pid, line in self.processes().items() if f" run --home {home} " in f"{line} ")

    def kill(self, name: str) -> None:
        """SIGKILL; gone when this returns."""
        by_hand = [one.process for one in self._by_hand if one.process.poll() is None]
        pid = next((one.pid for one in by_hand if name in " ".join(map(str, one.args))), None) or self.process(name)
        os.kill(pid, signal.SIGKILL)
        until(f"the end of {name}", lambda: not _lives(pid))

    def start_by_hand(self, name: str) -> None:
        """`hansa site run` or `hansa hub run`, as its operator would; up when this returns."""
        side, home = ("hub", self.home / "hub") if name == "hub" else ("site", self.home / "sites" / name)
        (home / "ready").unlink(missing_ok=True)
        one = Command(self.folder / "by hand", [side, "run", "--home", str(home)])
        self._by_hand.append(one)
        until(name, (home / "ready").exists, lambda: one.process.poll() is None, one.complained)

    def ask(self, plan: Path | Mapping[str, object]) -> Said:
        """`hansa job run --wait`, to its end."""
        return self.begin(plan).ended()

    def begin(self, plan: Path | Mapping[str, object]) -> Command:
        self._plans += 1
        if not isinstance(plan, Path):
            plan = write_toml(self.folder / "plans" / f"{self._plans}.toml", plan)
        answer = self.folder / f"answer {self._plans}.json"
        arguments = ["job", "run", str(plan), "--wait", "--json", str(answer), "--home", str(self.home)]
        return Command(self.folder / "asked", arguments, answer)

    def begin_up_to_step(self, plan: Path | Mapping[str, object], step: int) -> tuple[Command, str]:
        """Asks, and comes back with the run as soon as its step `step` (from 1) has begun."""
        before = {view.run for view in queries.jobs(self.hub)}
        asked = self.begin(plan)
        run = ""

        def begun() -> bool:
            nonlocal run
            new = next((view for view in queries.jobs(self.hub) if view.run not in before), None)
            if new is None:
                return False
            run = new.run
            assert new.status in models.OPEN, f"too late: {new.status} {new.reason}"
            return new.step != "" and int(new.step.split(":")[0].removeprefix("step ")) >= step

        until(f"step {step}", begun, lambda: asked.process.poll() is None, asked.complained)
        return asked, run

    def detail(self, run: str) -> JobDetail:
        found = queries.job(self.hub, run)
        assert found is not None
        return found
