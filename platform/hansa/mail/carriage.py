"""How chunks get from one party's folder into the other's: whoever misses some asks.

    wanted  ─►  put these (eight at most) into the mailbox
    here    ◄─  they are there: take them, and want the next

Both letters are signed and sealed as any other, and neither is kept nor acked: the party that misses chunks asks again
until it has them, from where it stopped. Both ends run this file.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from hansa.mail.blobs import WINDOW, Folder
from hansa.mail.boxes import Desk
from hansa.mail.letters import Chunks
from hansa.mail.post import BROKER_ERRORS
from hansa.messages import RunId

log = logging.getLogger("hansa.mail")


class Mailbox(Protocol):
    """`blobs.AtSite` or `blobs.AtHub`."""

    def offer(self, chunks: Sequence[bytes]) -> None: ...
    def take(self, digest: bytes) -> bytes | None: ...
    def reset(self) -> None: ...


class Carriage:
    """This party's end of the way to `peer`. A broker that is away is no error: what is missing is wanted again."""

    def __init__(self, desk: Desk, peer: str, folder: Folder, mailbox: Mailbox, send: Callable[[bytes], None]) -> None:
        self._desk, self._peer, self._folder, self._mailbox, self._send = desk, peer, folder, mailbox, send
        self._lock = threading.Lock()  # a hub's turns and its gateway use one

    def want(self, run: RunId, digests: Sequence[bytes]) -> list[bytes]:
        """Asks for the first of `digests` that are missing; gives all that are."""
        missing = self._folder.missing(run, digests)
        if missing:
            self._tell(run, "wanted", missing[:WINDOW])
        return missing

    def offer(self, run: RunId, digests: Sequence[bytes]) -> None:
        """On `wanted`: puts there what the folder has of it, and says so."""
        absent = set(self._folder.missing(run, digests))
        found = [digest for digest in digests if digest not in absent]
        for digest in found:
            try:
                chunk = self._folder.get(run, digest)
            except LookupError:
                log.exception("run %s: a chunk is damaged", run)
                return
            try:
                self._mailbox.offer([chunk])
            except BROKER_ERRORS:
                self._mailbox.reset()
                return
        if found:
            self._tell(run, "here", found)

    def take(self, run: RunId, digests: Sequence[bytes]) -> None:
        """On `here`: keeps what arrived whole."""
        for digest in self._folder.missing(run, digests):
            try:
                chunk = self._mailbox.take(digest)
            except BROKER_ERRORS:
                self._mailbox.reset()
                return
            if chunk is not None:
                self._folder.put(run, chunk, digest)

    def _tell(self, run: RunId, kind: str, digests: Sequence[bytes]) -> None:
        letter = self._desk.note(self._peer, run, kind, Chunks(tuple(digests)))
        try:
            with self._lock:
                self._send(letter)
        except BROKER_ERRORS:
            log.warning("run %s: the broker is away; %s is said again later", run, kind)
