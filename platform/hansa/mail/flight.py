"""What a party remembers of chunks under way; in memory, because forgetting it costs only time.

    Asked   at the receiver: what was asked for and has not come, so that no more than `WINDOW` ever is
    Laid    at the sender: what was put into the mailbox, so that nobody makes it lock boxes without end

One of each for a peer, all runs together. Times are seconds of any clock that does not stand still.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from hansa.messages import RunId

WINDOW: Final = 8  # chunks in flight at most, each way: 32 MiB of a mailbox server's 256
PATIENCE, LONGEST_PATIENCE = 2.0, 60.0  # until what was asked for counts as lost: longer where lines are slow
PAUSE_SECONDS: Final = 5.0  # after the disk was full
AGAIN_SECONDS: Final = 1.5  # in which no chunk is laid twice, and no more than `WINDOW` that had been laid before
REMEMBERED: Final = 4096  # chunks, of 16 GiB


class Asked:
    def __init__(self) -> None:
        self._at: dict[tuple[RunId, bytes], float] = {}
        self._lately: dict[RunId, float] = {}  # who wanted something, whether it got it or not
        self._patience, self._window, self._not_before = PATIENCE, WINDOW, 0.0

    def next(self, run: RunId, missing: Iterable[bytes], now: float) -> list[bytes]:
        """What of `missing` to ask for now; from then on it is under way. Runs share the window alike."""
        self._lose(now)
        self._lately[run] = now
        if now < self._not_before <= now + PAUSE_SECONDS:
            return []
        share = max(1, self._window // len(self._lately)) - sum(of == run for of, _ in self._at)
        free = min(share, self._window - len(self._at))
        chosen = [digest for digest in missing if (run, digest) not in self._at][: max(0, free)]
        self._at |= {(run, digest): now for digest in chosen}
        return chosen

    def _lose(self, now: float) -> None:
        """Forgets what did not come in time. The patience doubles: a line may be slower than was thought."""
        late = [key for key, at in self._at.items() if not now - self._patience < at <= now]
        for key in late:
            del self._at[key]
        if late:
            self._patience = min(2 * self._patience, LONGEST_PATIENCE)
        self._lately = {run: at for run, at in self._lately.items() if now - 2 * PATIENCE < at <= now}

    def came(self, run: RunId, digests: Iterable[bytes], now: float) -> None:
        """These are kept, or will have to be asked for again."""
        took = [now - at for digest in digests if (at := self._at.pop((run, digest), None)) is not None]
        if took:
            self._patience = min(max(PATIENCE, 2 * max(took)), LONGEST_PATIENCE)
            self._window = WINDOW

    def no_room(self, run: RunId, digests: Iterable[bytes], now: float) -> None:
        """They came, and the disk was full: nothing is asked for a while, and then one chunk, until one was kept."""
        for digest in digests:
            self._at.pop((run, digest), None)
        self._window, self._not_before = 1, now + PAUSE_SECONDS


class Laid:
    def __init__(self) -> None:
        self._at: OrderedDict[bytes, float] = OrderedDict()  # by name, oldest first
        self._again: deque[float] = deque(maxlen=WINDOW)

    def is_fresh(self, name: bytes) -> bool:
        return name not in self._at

    def lies(self, name: bytes, now: float) -> bool:
        """Whether it was laid so lately that it lies there still."""
        return name in self._at and now - AGAIN_SECONDS < self._at[name] <= now

    def may_lay(self, name: bytes, now: float) -> bool:
        """A chunk may always be laid once. Those laid before wait while there were too many of them."""
        if self.is_fresh(name):
            return True
        if len(self._again) == WINDOW and now - AGAIN_SECONDS < self._again[0] <= now:
            return False
        self._again.append(now)
        return True

    def laid(self, names: Sequence[bytes], now: float) -> list[bytes]:
        """Notes them; gives those that no longer lie there or need not: a peer has `WINDOW` under way at most."""
        for name in names:
            self._at[name] = now
            self._at.move_to_end(name)
        while len(self._at) > REMEMBERED:
            self._at.popitem(last=False)
        return list(islice(reversed(self._at), WINDOW, 2 * WINDOW))
