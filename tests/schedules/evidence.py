"""What the judge knows: all that every party stored, in order; and floors, neighbours and Lagrange once more.

Floors follow `secure-sum.md` and not the code, but for schedules that are `large`, whose table is the schedule's.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from hansa.crypto.keys import verify
from hansa.errors import ProtocolViolation
from hansa.protocols.base import Vector
from hansa.protocols.key_setup import Session
from hansa.protocols.thresholds import Floors
from tests.schedules.as_if import ROWS
from tests.schedules.boxes import Answered
from tests.schedules.network import World, key_of

PRIME = 2**255 - 19
SHARE = 32


def floors(sites: int, invited: int, large: bool) -> Floors:
    """Of a roster that is left of those `invited`."""
    if large and sites in ROWS:
        return ROWS[sites]
    corrupt = (invited - 1) // 3
    threshold = (sites + corrupt) // 2 + 1
    survivors = max(threshold, 3, corrupt + 2)
    return Floors(corrupt, threshold, survivors, sites, sites - 1, survivors - 1)


def at_zero(points: Mapping[int, int]) -> int:
    """Lagrange, straight from the textbook."""
    total = 0
    for i, value in points.items():
        weight = 1
        for j in points:
            if j != i:
                weight = weight * j * pow(j - i, -1, PRIME) % PRIME
        total += weight * value
    return total % PRIME


def near(session: Session, names: Collection[str], site: str) -> list[str]:
    return [peer for peer in session.neighbours(site) if peer in names]


def slices(joined: bytes, size: int = SHARE) -> list[bytes]:
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def joined(chunks: Collection[bytes]) -> Vector:
    return np.frombuffer(b"".join(chunks), dtype="<u8")


class Evidence:
    def __init__(self, world: World) -> None:
        self.world = world
        self.honest = [site for site in world.names if site not in world.corrupt]
        self.said: dict[str, list[Answered]] = defaultdict(list)
        self.of: dict[type, list[Any]] = defaultdict(list)
        for note in world.notes:
            self.of[type(note)].append(note)
            if isinstance(note, Answered):
                self.said[note.site].append(note)
        self.lost = self.doubled = self.wrong = 0

    def answered(self, site: str, sort: type) -> list[Answered]:
        """What the site answered to this sort of request; a liar's junk is no answer."""
        return [
            note for note in self.said[site] if isinstance(note.request, sort) and not isinstance(note.reply, bytes)
        ]

    def floors(self, session: Session) -> Floors:
        return floors(len(session.roster), len(self.world.names), self.world.schedule.large)

    def lonely(self, session: Session, names: Collection[str]) -> list[str]:
        """Those with too few neighbours among `names`."""
        kept = self.floors(session).kept
        return [site for site in names if len(near(session, names, site)) < kept]

    def holds(self, site: str, purpose: str, message: bytes, signature: bytes) -> bool:
        try:
            verify(key_of(site).public, purpose, message, signature)
        except ProtocolViolation:
            return False
        return True
