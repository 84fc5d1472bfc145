"""A vector of 400 MB from a site's folder into the hub's, beside a plain copy in chunks through the same server.

Ours is the product whole: `hansa hub run` and `hansa site run` in processes of their own, Celery, gateway, letters,
boxes, digests, durable chunks. The plain copy is one process that SETs raw chunks from a file, at most eight of them
at once, and another that takes them with GETDEL into a file, durable at its end.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hansa.cli.consortium import Consortium, Homes, SiteEntry, found
from hansa.crypto.prg import CHUNK_BYTES
from hansa.hub.models import Job, Participant
from hansa.mail import rules
from hansa.mail.blobs import Folder
from hansa.mail.database import open_engine
from hansa.mail.flight import WINDOW
from hansa.mail.valkey import EmbeddedValkey
from hansa.messages import encode
from hansa_site import journal

MEGABYTES, REPEATS, SITE = 400, 5, "a"
SIZE = MEGABYTES * 10**6
SECONDS = 120.0


def lines() -> Iterable[str]:
    with tempfile.TemporaryDirectory() as folder, _up(Path(folder)) as bench:
        plain, ours, peaks = list[float](), list[float](), list[dict[str, int]]()
        for _ in range(REPEATS):
            plain.append(bench.plain())
            seconds, peak = bench.transfer()
            ours.append(seconds)
            peaks.append(peak)
        wall, floor = median(ours), median(plain)
        yield f"| {MEGABYTES} MB from site to hub | {SIZE / wall / 1e6:.0f} MB/s | {SIZE / floor / 1e6:.0f} MB/s |" + (
            f" {floor / wall:.0%} |"
        )
        for who in peaks[0]:
            most = max(peak[who] for peak in peaks) / 2**20
            yield f"| extra memory of the {who}, at most | {most:.0f} MiB | 64 MiB (target) | {most / 64:.2f} |"


class Bench:
    """A hub, one site of three and its mailbox server, all up."""

    def __init__(self, homes: Homes, server: EmbeddedValkey, password: str, pids: dict[str, int]) -> None:
        self._homes, self._url, self._pids = homes, server.client_url(rules.ADMIN, password), pids
        self._hub = open_engine(f"sqlite:///{homes.hub}/hub.sqlite")
        self._site = open_engine(f"sqlite:///{homes.site(SITE)}/site.sqlite")
        self._reading = open_engine(f"sqlite:///{homes.hub}/hub.sqlite", reading=True)
        self._there = Folder(homes.site(SITE) / "chunks")

    def plain(self) -> float:
        """Seconds of the plain copy."""
        source, target = self._homes.root / "source", self._homes.root / "target"
        if not source.exists():
            source.write_bytes(os.urandom(SIZE))
        processes = get_context("spawn")
        ready = processes.Barrier(3)
        sender = processes.Process(target=_send, args=(self._url, source, ready))
        taker = processes.Process(target=_take, args=(self._url, target, ready))
        for process in (sender, taker):
            process.start()
        ready.wait(SECONDS)
        start = time.perf_counter()
        taker.join(SECONDS)
        taken = time.perf_counter() - start
        sender.join(SECONDS)
        if target.stat().st_size != SIZE:
            raise SystemExit("the plain copy is not whole")
        target.unlink()
        return taken

    def transfer(self) -> tuple[float, dict[str, int]]:
        """Seconds from the moment the hub may know of the vector until it has it whole; extra bytes by process."""
        run = secrets.token_hex(16)
        digests = self._there.put_all(run, memoryview(os.urandom(SIZE)))
        os.sync()
        _insert(self._site, journal.Run(run=run, plan=b"", status="running", attempt=0, steps=0, **_SITE_ROW))
        before = {who: _memory(pid, "VmRSS") for who, pid in self._pids.items()}
        for pid in self._pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
        with redis.Redis.from_url(self._url) as server:
            server.config_resetstat()
            used = int(server.info("memory")["used_memory"])
        start = time.perf_counter()
        job = Job(run=run, **_job_row(time.time()))
        _insert(self._hub, job, Participant(run=run, chunks=encode(digests), **_PARTICIPANT_ROW))
        self._wait_until_whole(run)
        taken = time.perf_counter() - start
        extra = {who: _memory(pid, "VmHWM") - before[who] for who, pid in self._pids.items()}
        with redis.Redis.from_url(self._url) as server:
            extra["server, as it counts"] = int(server.info("memory")["used_memory_peak"]) - used
        there = Folder(self._homes.hub / "chunks")
        if sum(len(there.get(run, digest)) for digest in digests) != SIZE:
            raise SystemExit("the vector did not arrive")
        there.erase(run)
        self._there.erase(run)
        return taken, extra

    def _wait_until_whole(self, run: str) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with Session(self._reading) as db:
                if db.get_one(Participant, (run, SITE)).chunks is None:
                    return
            time.sleep(0.01)
        raise SystemExit(f"the transfer took longer than {SECONDS} s")


_SITE_ROW = {"state": None, "started_at": 0.0, "ended_at": None, "bytes_sent": 0}
_PARTICIPANT_ROW = {
    "site": SITE,
    "asked": True,
    "active": True,
    "steps": 0,
    "stage": "sending its numbers",
    "bytes_sent": 0,
    "bytes_received": 0,
    "changed_at": 0.0,
}


def _job_row(now: float) -> dict[str, object]:
    texts = {"plan": b"", "person": "bench", "status": "running", "created_at": now, "deadline": now + SECONDS}
    return texts | dict.fromkeys(("attempt", "agreed", "step", "round", "quorum"), 0)


def _insert(engine: Engine, *rows: object) -> None:
    with Session(engine) as db, db.begin():
        for row in rows:
            db.add(row)
            db.flush()


def _memory(pid: int, what: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


def _send(url: str, source: Path, ready: "object") -> None:
    with redis.Redis.from_url(url) as server, source.open("rb") as file:
        server.ping()
        ready.wait(SECONDS)  # type: ignore[attr-defined]
        number = 0
        while chunk := file.read(CHUNK_BYTES):
            if number >= WINDOW:
                server.brpop(["plain:free"], SECONDS)
            server.set(f"plain:{number}", chunk)
            server.lpush("plain:full", number)
            number += 1
        server.lpush("plain:full", -1)


def _take(url: str, target: Path, ready: "object") -> None:
    with redis.Redis.from_url(url) as server, target.open("wb") as file:
        server.ping()
        server.delete("plain:free", "plain:full")
        ready.wait(SECONDS)  # type: ignore[attr-defined]
        while (number := int(server.brpop(["plain:full"], SECONDS)[1])) >= 0:
            file.write(server.getdel(f"plain:{number}"))
            server.lpush("plain:free", 1)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _up(root: Path) -> Iterator[Bench]:
    homes, entries = Homes(root), tuple(SiteEntry(name) for name in (SITE, "b", "c"))
    found(Consortium("bench", entries), homes)
    words = {user: secrets.token_hex(16) for user in (SITE, rules.HUB, rules.ADMIN)}
    access = rules.mailbox_rules(SITE, *(rules.password_digest(word) for word in words.values()))
    inner = rules.private_rules(rules.password_digest(words[rules.HUB]))
    with (
        EmbeddedValkey(root / "mailbox", access, rules.HUB, words[rules.HUB]) as mailbox,
        EmbeddedValkey(root / "private", inner, rules.HUB, words[rules.HUB]) as private,
    ):
        theirs = mailbox.client_url(rules.site_user(SITE), words[SITE])
        site = [f'name = "{SITE}"', f'mailbox = "{theirs}"', f'database = "sqlite:///{homes.site(SITE)}/site.sqlite"']
        (homes.site(SITE) / "site.toml").write_text("\n".join(site), encoding="utf-8")
        hub = [
            f'database = "sqlite:///{homes.hub}/hub.sqlite"',
            f'private = "{private.client_url(rules.HUB, words[rules.HUB])}"',
            f'[mailboxes]\n{SITE} = "{mailbox.client_url(rules.HUB, words[rules.HUB])}"',
        ]
        (homes.hub / "hub.toml").write_text("\n".join(hub), encoding="utf-8")
        running = {who: _start(who, home) for who, home in (("hub", homes.hub), ("site", homes.site(SITE)))}
        try:
            _wait_until_ready([homes.hub, homes.site(SITE)])
            pids = {who: process.pid for who, process in running.items()} | {"server": mailbox.pid or 0}
            yield Bench(homes, mailbox, words[rules.ADMIN], pids)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()


def _start(who: str, home: Path) -> subprocess.Popen[bytes]:
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "hansa.cli", who, "run", "--home", str(home)], stdout=log, stderr=log
        )


def _wait_until_ready(homes: list[Path]) -> None:
    end = time.monotonic() + SECONDS
    while not all((home / "ready").exists() for home in homes):
        if time.monotonic() > end:
            raise SystemExit("the hub or the site did not start")
        time.sleep(0.05)
