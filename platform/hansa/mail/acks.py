"""The acks that a party owes: collected for a moment, and sent many in a letter. And notes, which nobody acks.

Nothing is stored: an ack that a crash swallows is owed again when its letter comes again, which it does after
`boxes.FIRST_RETRY` seconds; `WAIT_SECONDS` is well below that.
"""

import threading
from collections.abc import Collection

from hansa.mail.letters import MOST_ACKS, Acked

WAIT_SECONDS = 0.25


class Owed:
    """By peer, in the order of receipt. Threads that receive note, the poster takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acks: dict[str, dict[Acked, None]] = {}
        self._since: dict[str, float] = {}

    def note(self, peer: str, ack: Acked, now: float) -> None:
        with self._lock:
            self._acks.setdefault(peer, {})[ack] = None
            self._since.setdefault(peer, now)

    def take(self, now: float, busy: Collection[str] = ()) -> dict[str, tuple[Acked, ...]]:
        """What has waited long enough, or is a letter full: at most `MOST_ACKS` a peer; nothing of the `busy`."""
        with self._lock:
            due = [
                peer
                for peer, since in self._since.items()
                if peer not in busy and (not now - WAIT_SECONDS < since <= now or len(self._acks[peer]) >= MOST_ACKS)
            ]
            return {peer: self._taken(peer, now) for peer in due}

    def _taken(self, peer: str, now: float) -> tuple[Acked, ...]:
        acks = self._acks.pop(peer)
        del self._since[peer]
        if rest := dict.fromkeys(list(acks)[MOST_ACKS:]):
            self._acks[peer], self._since[peer] = rest, now
        return tuple(acks)[:MOST_ACKS]


class Notes:
    """Letters that are neither kept nor acked and wait for the next post: by peer, one of a kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: dict[str, dict[str, bytes]] = {}

    def put(self, peer: str, kind: str, letter: bytes) -> None:
        with self._lock:
            self._letters.setdefault(peer, {})[kind] = letter

    def take(self, busy: Collection[str]) -> dict[str, list[bytes]]:
        with self._lock:
            free = [peer for peer in self._letters if peer not in busy]
            return {peer: list(self._letters.pop(peer).values()) for peer in free}


class Counted:
    """How many letters that nobody keeps were written, and their bytes: by run and kind, until they are taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, run: str, kind: str, size: int) -> None:
        with self._lock:
            count, total = self._found.get((run, kind), (0, 0))
            self._found[run, kind] = (count + 1, total + size)

    def take(self) -> dict[tuple[str, str], tuple[int, int]]:
        with self._lock:
            found, self._found = self._found, {}
            return found
