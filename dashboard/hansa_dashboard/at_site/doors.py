"""Who may look at a site's console: sign-in with the passphrase of a person's own key, sessions, and back-off.

A session is 32 random bytes in the browser and their SHA-256 in this process's memory: a restart ends all of them. It
ends after 15 minutes without use, after 8 hours, or when the person is removed. It lets its holder look, and nothing
else: each act opens the key again.

After five wrong tries, of a name or from an address, the next has to wait, twice as long every time.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from hansa.errors import Refused
from hansa_dashboard.forms import SIGN_IN, Field, Form
from hansa_site import doing, showing
from hansa_site.showing import OpenedSite

T = TypeVar("T")
IDLE_SECONDS, LONGEST_SECONDS = 15 * 60, 8 * 3600
FREE_TRIES: Final = 5
LONGEST_WAIT: Final = 15 * 60.0  # seconds; and so long a wrong try is remembered
MOST_REMEMBERED: Final = 4096  # names and addresses
_LONGEST: Final = 1024  # characters of a name or passphrase that are looked at
WRONG = "name or passphrase is wrong"


def doubling(failures: int) -> float:
    """Seconds until the next try, after so many wrong ones."""
    further = min(failures - FREE_TRIES, 20)
    return 0.0 if further < 0 else min(2.0 ** (further + 1), LONGEST_WAIT)


class _Tries(Struct):
    failures: int
    at: float
    until: float


class Backoff:
    """Every try counts as wrong until it is known to be right, so a hundred at once are not a hundred tries."""

    def __init__(self, clock: Callable[[], float], delay: Callable[[int], float]) -> None:
        self._clock, self._delay, self._lock = clock, delay, threading.Lock()
        self._of: dict[str, _Tries] = {}

    def begin(self, keys: Sequence[str]) -> None:
        """Refuses while one of them has to wait; such a try counts for nothing."""
        with self._lock:
            now = self._clock()
            found = [self._tries(key, now) for key in keys]
            wait = max(tries.until - now for tries in found)
            if wait > 0:
                raise Refused(f"there were too many wrong tries: try again in {wait:.0f} seconds or so")
            for key, tries in zip(keys, found, strict=True):
                tries.failures, tries.at = tries.failures + 1, now
                tries.until = now + self._delay(tries.failures)
                self._of.pop(key, None)
                self._of[key] = tries  # the newest last
            while len(self._of) > MOST_REMEMBERED:
                del self._of[next(iter(self._of))]

    def right(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._of.pop(key, None)

    def _tries(self, key: str, now: float) -> _Tries:
        tries = self._of.get(key)
        if tries is None or not tries.at <= now <= tries.at + 2 * LONGEST_WAIT:
            return _Tries(0, now, now)
        return tries


class _Kept(Struct):
    name: str
    started: float
    used: float

    def holds(self, now: float) -> bool:
        """A clock that was set back ends a session rather than to prolong it."""
        return 0 <= now - self.used <= IDLE_SECONDS and 0 <= now - self.started <= LONGEST_SECONDS


class SiteDoors:
    """One for a site and a process; `name` is part of the cookie's. Nobody signs in at a site from elsewhere."""

    away = None

    def __init__(
        self,
        site: OpenedSite,
        clock: Callable[[], float] = time.time,
        delay: Callable[[int], float] = doubling,
    ) -> None:
        self.site, self._clock, self._lock = site, clock, threading.Lock()
        self._backoff = Backoff(clock, delay)
        self._sessions: dict[bytes, _Kept] = {}
        self.name = f"site-{site.name}"
        about = (
            f"The console of the institution {site.name}, beside its data. Whoever is one of its people signs in with "
            "the passphrase of the own key; a key in a keyring or a token signs at the command line."
        )
        fields = (
            Field("name", "Name", fills="username"),
            Field("passphrase", "Passphrase of your key", "password", "current-password"),
        )
        foot = "Looking takes this session; each act that binds asks for the passphrase again."
        self.forms = {SIGN_IN: Form(f"Hansa at {site.name}", about, fields, "Sign in", "Sign in", foot)}

    def enter(self, path: str, given: Mapping[str, str], address: str) -> bytes:
        """As the gate asks: there is one form."""
        del path
        return self.sign_in(given, address)

    def sign_in(self, form: Mapping[str, str], address: str) -> bytes:
        """A fresh token. Takes as long for a name that isn't there, and says not what was wrong."""
        name, passphrase = form.get("name", "").strip()[:_LONGEST], form.get("passphrase", "")
        keys = f"name {name[:64]}", f"address {address}"
        self._backoff.begin(keys)
        if len(passphrase) > _LONGEST or not doing.knows(self.site.home, name, passphrase.encode(errors="replace")):
            raise Refused(WRONG)
        self._backoff.right(keys)
        token, now = secrets.token_bytes(32), self._clock()
        with self._lock:
            self._sessions = {key: kept for key, kept in self._sessions.items() if kept.holds(now)}
            self._sessions[_key(token)] = _Kept(name, now, now)
        return token

    def holds(self, token: bytes) -> bool:
        """Whether a session is still good, without noting its use: for what refreshes itself."""
        return self._name(token, using=False) is not None

    def who(self, token: bytes) -> str | None:
        """The person of a session that is still good; notes its use."""
        return self._name(token, using=True)

    def sign_out(self, token: bytes) -> None:
        with self._lock:
            self._sessions.pop(_key(token), None)

    def trying(self, name: str, do: Callable[[], T]) -> T:
        """What asks for the passphrase again, under the same back-off: a stolen session is no way to guess it."""
        keys = (f"name {name}",)
        self._backoff.begin(keys)
        done = do()
        self._backoff.right(keys)
        return done

    def _name(self, token: bytes, using: bool) -> str | None:
        with self._lock:
            kept, now = self._sessions.get(_key(token)), self._clock()
            if kept is not None and not kept.holds(now):
                del self._sessions[_key(token)]
                kept = None
            if kept is not None and using:
                kept.used = now
        if kept is None:
            return None
        if showing.person(self.site, kept.name) is None:
            self.sign_out(token)
            return None
        return kept.name


def _key(token: bytes) -> bytes:
    return sha256(token).digest()


_OPEN: dict[Path, SiteDoors] = {}
_OPENING = threading.Lock()


def doors_of(home: Path) -> SiteDoors:
    """The same one for a home, whoever asks in this process: the gate before Streamlit, or the script in it."""
    with _OPENING:
        found = _OPEN.get(home.resolve())
        if found is None:
            found = _OPEN[home.resolve()] = SiteDoors(OpenedSite(home))
        return found
