"""How chunks get from one party's folder into the other's: whoever misses some asks.

    wanted  ─►  put these (eight at most) into the mailbox
    here    ◄─  they are there, locked: take them, and want the next

Both letters are signed and sealed as any other, and neither is kept nor acked: the party that misses chunks asks again
until it has them, from where it stopped. Both ends run this file.

The broker sees no chunk: each lies in a box of AES-256-GCM. The box's key is derived from a key that this process
drew, the run and the chunk's digest, so it serves one plaintext; asked for again, the same box lies there again. A box
is named by its own digest.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from hansa.crypto.keys import derive, lock_box, open_box
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.mail.blobs import WINDOW
from hansa.mail.boxes import Desk
from hansa.mail.letters import Here, Wanted
from hansa.mail.post import BROKER_ERRORS
from hansa.messages import RunId

log = logging.getLogger("hansa.mail")


class Mailbox(Protocol):
    """`blobs.AtSite` or `blobs.AtHub`."""

    def offer(self, boxes: Sequence[bytes]) -> None: ...
    def forget(self, digests: Sequence[bytes]) -> None: ...
    def take(self, digest: bytes) -> bytes | None: ...
    def reset(self) -> None: ...


class Carriage:
    """This party's end of the way to `peer`. `draw` gives bytes from the operating system's randomness.

    A broker that is away is no error: what is missing is wanted again.
    """

    def __init__(
        self,
        desk: Desk,
        peer: str,
        mailbox: Mailbox,
        send: Callable[[bytes], None],
        draw: Callable[[int], bytes],
    ) -> None:
        self._desk, self._peer, self._mailbox, self._send, self._key = desk, peer, mailbox, send, draw(32)
        self._folder, self._laid = desk.folder, set[bytes]()
        self._lock = threading.Lock()  # a hub's turns and its gateway use one

    def want(self, run: RunId, digests: Sequence[bytes]) -> list[bytes]:
        """Asks for the first of `digests` that are missing; gives all that are."""
        missing = self._folder.missing(run, digests)
        if missing:
            self._tell(run, "wanted", Wanted(tuple(missing[:WINDOW])))
        return missing

    def offer(self, run: RunId, digests: Sequence[bytes]) -> None:
        """On `wanted`: puts there what the folder has of it, and says so."""
        absent, key, boxes = set(self._folder.missing(run, digests)), derive(self._key, "chunk/run", run.encode()), []
        for digest in digests:
            if digest in absent:
                continue
            try:
                chunk = self._folder.get(run, digest)
            except LookupError:
                log.exception("run %s: a chunk is damaged", run)
                continue
            box = lock_box(derive(key, "chunk/box", digest), chunk, digest)
            try:
                self._mailbox.offer([box])
            except BROKER_ERRORS:
                self._mailbox.reset()
                return
            boxes.append((digest, leaf(box)))
        if boxes:
            self._forget_but({name for _, name in boxes})
            self._tell(run, "here", Here(key, tuple(boxes)))

    def _forget_but(self, names: set[bytes]) -> None:
        """What was laid there before was taken, or will be wanted again."""
        try:
            self._mailbox.forget([*(self._laid - names)])
        except BROKER_ERRORS:
            self._mailbox.reset()
        self._laid = names

    def take(self, run: RunId, here: Here, due: Collection[bytes]) -> bool:
        """On `here`: keeps what arrived whole, of what is `due`; whether that was anything. A letter that comes twice
        brings nothing new, and must not be answered: talk of chunks would breed."""
        missing, kept = set(self._folder.missing(run, due)), False
        for digest, name in here.boxes:
            if digest not in missing:
                continue
            try:
                box = self._mailbox.take(name)
            except BROKER_ERRORS:
                self._mailbox.reset()
                break
            try:
                chunk = open_box(derive(here.key, "chunk/box", digest), box or b"", digest)
            except ProtocolViolation:
                continue
            if leaf(chunk) == digest:
                self._folder.put(run, chunk, digest)
                kept = True
        return kept

    def _tell(self, run: RunId, kind: str, payload: Wanted | Here) -> None:
        letter = self._desk.note(self._peer, run, kind, payload)
        try:
            with self._lock:
                self._send(letter)
        except BROKER_ERRORS:
            log.warning("run %s: the broker is away; %s is said again later", run, kind)
