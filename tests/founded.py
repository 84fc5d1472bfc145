"""A hub and sites founded as their operators do it, in one folder: homes, kits, mailbox servers with their own TLS."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from hansa.hub import kits
from hansa.hub.settings import read_settings as read_hub
from hansa.mail.founding import fingerprint, read_request
from hansa.mail.post import raw_client
from hansa.mail.tls import Address
from hansa.wrapping import Way
from hansa_site import joining
from tests.end_to_end.consortium import until
from tests.servers import debian_redis

WAY = Way(passphrase_file="passphrase")


class Founded:
    """Homes under `root`; the mailboxes' servers listen on the loopback address, from `port` on."""

    def __init__(self, root: Path, sites: Sequence[str], port: int) -> None:
        self.root, self.hub, self.sites = root, root / "hub", tuple(sites)
        kits.found(self.hub, "127.0.0.1", kits.Place("127.0.0.1", port, bind="127.0.0.1"), "", time.time(), WAY)
        self.fingerprint = fingerprint(kits.card(self.hub))
        self.requests, self.kits = {}, {}
        for number, site in enumerate(sites, 1):
            _, request = joining.init(self.home(site), site, way=WAY)
            self.requests[site] = read_request(request)
            place = kits.Place("127.0.0.1", port + number, bind="127.0.0.1")
            self.kits[site] = kits.make_kit(self.hub, self.requests[site], place, time.time())
            joining.join(self.home(site), self.kits[site], self.fingerprint)

    def home(self, site: str) -> Path:
        return self.root / site

    def of_site(self, site: str) -> Address:
        """Its mailbox, as the site reaches it."""
        home = self.home(site)
        return joining.read_settings(home).address(home)

    def of_hub(self, site: str) -> Address:
        return read_hub(self.hub).addresses(self.hub)[1][site]

    @contextmanager
    def serving(self, *sites: str) -> Iterator[None]:
        """Debian's server for these mailboxes; "" is the hub's own."""
        binary, _ = debian_redis()
        with ExitStack() as stack:
            for site in sites:
                private, mailboxes = read_hub(self.hub).addresses(self.hub)
                address = mailboxes[site] if site else private
                stack.enter_context(started(binary, kits.folder(self.hub, site), address))
            yield


@contextmanager
def started(binary: str, folder: Path, address: Address) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "server.conf"], cwd=folder, stdout=log, stderr=log)
    try:
        until("the server", lambda: answers(address), lambda: process.poll() is None, (folder / "log").read_text)
        yield
    finally:
        process.terminate()
        process.wait(10)


def answers(address: Address) -> bool:
    try:
        with raw_client(address) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for first in range(21400, 60000, count):
        with ExitStack() as stack:
            try:
                for number in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return first
    pytest.skip("no free ports in a row on this machine")
