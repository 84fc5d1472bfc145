"""The two servers that access rules are tried on: the embedded Valkey, and Redis 7.0 as Debian has it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.connection import UnixDomainSocketConnection
from redis.retry import Retry

from hansa.mail import rules
from hansa.mail.rules import Version
from hansa.mail.valkey import SETTINGS, EmbeddedValkey
from tests.end_to_end.consortium import until

USERS = ("site-north", "site-south", "hub", "admin")
PASSWORDS = {user: f"password of {user}" for user in USERS}
SERVERS = ("valkey", "redis")


class Server:
    """One that runs, wherever its binary is from."""

    def __init__(self, socket: Path, version: Version, process: int | None) -> None:
        self.socket, self.version, self.process = socket, version, process

    def url(self, user: str) -> str:
        return f"unix://{user}:{PASSWORDS[user].replace(' ', '%20')}@{self.socket}"

    def client(self, user: str) -> "redis.Redis":
        return redis.Redis.from_url(self.url(user), socket_timeout=10, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        try:
            with self.client("hub") as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def connection(self, user: str, seconds: float) -> UnixDomainSocketConnection:
        """Raw: what is sent is what was said, and the reply comes as it is."""
        return UnixDomainSocketConnection(
            path=str(self.socket),
            username=user,
            password=PASSWORDS[user],
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )


def debian_redis() -> tuple[str, Version]:
    """Path and version of the system's server; skips the test where there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on this machine (Debian: apt-get install redis-server)")
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.", said)
    assert found is not None, said
    return binary, (int(found[1]), int(found[2]))


def access(site: str, version: Version) -> str:
    """The rules of the mailbox of `site`, with an administrator."""
    users = (rules.site_user(site), "hub", "admin")
    return rules.mailbox_rules(site, *(rules.password_digest(PASSWORDS[user]) for user in users), version=version)


@contextmanager
def serve(kind: str, folder: Path, site: str = "north") -> Iterator[Server]:
    """The mailbox of `site`, under its rules."""
    if kind == "valkey":
        with EmbeddedValkey(folder, access(site, rules.NEW), rules.HUB, PASSWORDS["hub"]) as broker:
            yield Server(broker.socket, rules.NEW, broker.pid)
        return
    binary, version = debian_redis()
    folder.mkdir()
    (folder / "users.acl").write_text(access(site, version))
    (folder / "server.conf").write_text(f"{SETTINGS}port 0\naclfile users.acl\nunixsocket server.sock\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "server.conf"], cwd=folder, stdout=log, stderr=log)
    try:
        server = Server(folder / "server.sock", version, process.pid)
        until("the server", server.answers, lambda: process.poll() is None, (folder / "log").read_text)
        yield server
    finally:
        process.terminate()
        process.wait(10)
