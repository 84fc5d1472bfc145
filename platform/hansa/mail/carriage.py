"""How chunks get from one party's folder into the other's: whoever misses some asks.

    wanted  ─►  put these into the mailbox
    here    ◄─  they are there, locked, under this key: take them

Both letters are signed and sealed as any other, and neither is kept nor acked: the party that misses chunks asks again
until it has them, from where it stopped. Both ends run this file. A window of eight is asked for in halves, so that
one half is locked and laid there while the other is taken and kept.

The broker sees no chunk: each lies in a box of AES-256-GCM. The box's key is derived from a key that this process
drew, the run and the chunk's digest, so it serves one plaintext; asked for again, the same box lies there again. Its
name in the mailbox is derived in the same way. A box needs no digest: its tag says whether it is the sender's, and
the chunk inside is hashed.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

from hansa.crypto.keys import derive, lock_box, open_box
from hansa.crypto.merkle import leaf
from hansa.errors import ProtocolViolation
from hansa.mail.boxes import Desk
from hansa.mail.flight import WINDOW, Asked, Laid
from hansa.mail.letters import Here, Wanted
from hansa.mail.post import BROKER_ERRORS
from hansa.messages import RunId

log = logging.getLogger("hansa.mail")
BATCH: Final = WINDOW // 2  # chunks asked for in one letter
SILENT_SECONDS: Final = 1.0  # on a slow line the peer hears of each chunk, not of the batch


class Mailbox(Protocol):
    """`blobs.AtSite` or `blobs.AtHub`."""

    def offer(self, name: bytes, box: bytes) -> None: ...
    def forget(self, names: Sequence[bytes]) -> None: ...
    def take(self, name: bytes) -> bytes | None: ...
    def reset(self) -> None: ...


class Carriage:
    """This party's end of the way to `peer`. `draw` gives bytes from the operating system's randomness, `clock` the
    seconds of a clock that does not stand still. Threads may share one.

    A broker that is away is no error, nor is a full disk: what is missing is wanted again.
    """

    def __init__(
        self,
        desk: Desk,
        peer: str,
        mailbox: Mailbox,
        send: Callable[[bytes], None],
        draw: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._desk, self._peer, self._mailbox, self._send, self._key = desk, peer, mailbox, send, draw(32)
        self._folder, self._clock, self._asked, self._laid = desk.folder, clock, Asked(), Laid()
        self._lock = threading.Lock()  # a hub's turns and its gateway use one

    def want(self, run: RunId, digests: Sequence[bytes]) -> list[bytes]:
        """Asks for the first of `digests` that are missing and not under way; gives all that are missing."""
        missing = self._folder.missing(run, digests)
        with self._lock:
            chosen = self._asked.next(run, missing, self._clock())
        for at in range(0, len(chosen), BATCH):
            self._tell(run, "wanted", Wanted(tuple(chosen[at : at + BATCH])))
        return missing

    def offer(self, run: RunId, digests: Sequence[bytes]) -> int:
        """On `wanted`: puts there what the folder has of it, and says so. Gives how many never lay there before."""
        key, absent = derive(self._key, "chunk/run", run.encode()), set(self._folder.missing(run, digests))
        fresh, there, spoken = 0, list[bytes](), self._clock()
        for digest in digests:
            name = _name(key, digest)
            if digest not in absent and not self._laid.lies(name, self._clock()):
                new = self._laid.is_fresh(name)
                if not self._lay(run, key, digest):
                    continue
                fresh += new
            elif digest in absent:
                continue
            there.append(digest)
            if self._clock() - spoken > SILENT_SECONDS:
                self._announce(run, key, there)
                there, spoken = [], self._clock()
        self._announce(run, key, there)
        return fresh

    def _lay(self, run: RunId, key: bytes, digest: bytes) -> bool:
        name = _name(key, digest)
        if not self._laid.may_lay(name, self._clock()):
            return False
        try:
            chunk = self._folder.get(run, digest)
        except LookupError:
            log.exception("run %s: a chunk is damaged", run)
            return False
        try:
            self._mailbox.offer(name, lock_box(_box_key(key, digest), chunk, digest))
        except BROKER_ERRORS:
            self._mailbox.reset()
            return False
        return True

    def _announce(self, run: RunId, key: bytes, there: Sequence[bytes]) -> None:
        if not there:
            return
        past = self._laid.laid([_name(key, digest) for digest in there], self._clock())
        try:
            self._mailbox.forget(past)
        except BROKER_ERRORS:
            self._mailbox.reset()
        self._tell(run, "here", Here(key, tuple(there)))

    def take(self, run: RunId, here: Here, due: Collection[bytes]) -> bool:
        """On `here`: keeps what arrived whole, of what is `due`; whether that was anything. A letter that comes twice
        brings nothing new, and must not be answered: talk of chunks would breed."""
        missing = set(self._folder.missing(run, due))
        here_now = [digest for digest in dict.fromkeys(here.digests) if digest in missing]
        try:
            kept = self._folder.put_each(run, self._unlocked(here.key, here_now))
        except OSError:
            log.exception("run %s: chunks can't be kept; they are wanted again when there is room", run)
            with self._lock:
                self._asked.no_room(run, here_now, self._clock())
            return False
        with self._lock:
            self._asked.came(run, kept, self._clock())
        return bool(kept)

    def _unlocked(self, key: bytes, digests: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Each box as it is taken, opened; without those that did not arrive."""
        for digest in digests:
            try:
                box = self._mailbox.take(_name(key, digest))
            except BROKER_ERRORS:
                self._mailbox.reset()
                return
            try:
                chunk = open_box(_box_key(key, digest), box or b"", digest)
            except ProtocolViolation:
                continue
            del box
            if leaf(chunk) == digest:
                yield digest, chunk

    def _tell(self, run: RunId, kind: str, payload: Wanted | Here) -> None:
        letter = self._desk.note(self._peer, run, kind, payload)
        try:
            with self._lock:
                self._send(letter)
        except BROKER_ERRORS:
            log.warning("run %s: the broker is away; %s is said again later", run, kind)


def _name(key: bytes, digest: bytes) -> bytes:
    return derive(key, "chunk/name", digest)


def _box_key(key: bytes, digest: bytes) -> bytes:
    return derive(key, "chunk/box", digest)
