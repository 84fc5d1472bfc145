"""What can happen, and schedules of it.

An event names parties, and letters by their place among those in flight (modulo how many fly), so that any list of
events can be played, and a list stays playable when some of them are left out.
"""

import random
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from hansa.protocols.key_setup import Delivered, Manifest, Offers, Reveals
from tests.schedules.as_if import conditions
from tests.schedules.lies import HUB_LIES, MEMBER_LIES
from tests.schedules.telling import HubLie, MemberLie

SETUP_STAGES = ("AwaitOffers", "AwaitReveals", "AwaitEncapsulated", "AwaitReady")
SUM_STAGES = ("AwaitContributions", "AwaitLocks", "AwaitShares")
LARGE = 1 / 3  # of the schedules


@dataclass(frozen=True)
class Deliver:
    """`count` letters land, each the `pick`-th of those in flight; where none flies, time passes."""

    count: int = 1
    pick: int = 0


@dataclass(frozen=True)
class Until:
    """Letters land in order until the hub waits for this sort of reply in this step, or the job has ended."""

    stage: str
    step: int = 0


@dataclass(frozen=True)
class Drop:
    pick: int = 0


@dataclass(frozen=True)
class Repeat:
    pick: int = 0


@dataclass(frozen=True)
class Delay:
    """The letter is held back while `letters` others land."""

    pick: int = 0
    letters: int = 10


@dataclass(frozen=True)
class Partition:
    """Whatever this site sends or is sent is lost, until `Heal`."""

    site: str


@dataclass(frozen=True)
class Heal:
    pass


@dataclass(frozen=True)
class CrashBeforePersist:
    """The next thing the party would store, or the `skip`-th after it, is not stored, and the party is down."""

    party: str
    skip: int = 0


@dataclass(frozen=True)
class CrashAfterPersist:
    """The next thing the party stores is stored; it is down before it says anything of it."""

    party: str
    skip: int = 0


@dataclass(frozen=True)
class Restart:
    party: str


@dataclass(frozen=True)
class ClockJump:
    party: str
    days: int


@dataclass(frozen=True)
class DeadlineFires:
    """Time goes on to the open round's deadline. `stale`: instead, the timer of the round so many before goes off."""

    stale: int = 0


@dataclass(frozen=True)
class Refuses:
    """A rule of the site's own says no to the next request that it gets to see."""

    site: str


@dataclass(frozen=True)
class ByzantineHub:
    """From here on the hub lies: once, in the first round of the lie's sort that opens in `step` or later."""

    lie: str
    pick: int = 0
    step: int = 0


@dataclass(frozen=True)
class ByzantineMember:
    site: str
    lie: str
    pick: int = 0
    step: int = 0


LIARS = (ByzantineHub, ByzantineMember)
Event = (
    Deliver
    | Until
    | Drop
    | Repeat
    | Delay
    | Partition
    | Heal
    | CrashBeforePersist
    | CrashAfterPersist
    | Restart
    | ClockJump
    | DeadlineFires
    | Refuses
    | ByzantineHub
    | ByzantineMember
)


@dataclass(frozen=True)
class Schedule:
    """Its `repr` is Python that makes it again. After the events everything heals and the job runs to its end.

    `large`: floors, committee and graph are those of `as_if.py`. `chunks`: how many a vector has.
    """

    seed: int
    sites: int
    steps: int
    events: tuple[Event, ...] = field(default=())
    large: bool = False
    chunks: int = 1

    def named(self) -> tuple[str, ...]:
        return tuple("abcdefghij"[: self.sites])

    def conditions(self) -> AbstractContextManager[None]:
        return conditions(self.large, self.chunks)


def draw(seed: int, lie: str = "", chance: random.Random | None = None) -> Schedule:
    """The schedule of `seed`; one that holds `lie`, and what that needs to be of effect, if it is named. `chance` may
    come from elsewhere."""
    chance = chance or random.Random(f"schedule {seed} {lie}")
    large, chunks = chance.random() < LARGE, chance.choices((1, 2), (85, 15))[0]
    steps = chance.choices((1, 2, 3), (50, 38, 12))[0]
    if not lie:
        lie = chance.choices(("", chance.choice(sorted(HUB_LIES)), chance.choice(sorted(MEMBER_LIES))), (45, 35, 20))[0]
    if lie:
        where = lie_of(lie).large
        large = large if where is None else where
        steps = max(steps, lie_of(lie).steps)
    if large:
        sites = chance.choices((7, 8, 9), (75, 17, 8))[0]
    else:
        sites = max(chance.choices((3, 4, 5, 6), (30, 45, 15, 10))[0], lie_of(lie).sites if lie else 0)
    events: list[Event] = []
    names = "abcdefghij"[:sites]
    if lie:
        events += _lying(chance, lie, names, steps)
    if lie in HUB_LIES and sites >= 4 and chance.random() < 0.3:
        beside = sorted(
            name
            for name, one in MEMBER_LIES.items()
            if one.sites <= sites and one.steps <= steps and one.large in (None, large)
        )
        events = [*_lying(chance, chance.choice(beside), names, steps), *events]
    for _ in range(chance.choices((0, 1, 3, 6, 10), (10, 25, 30, 25, 10))[0]):
        if chance.random() < 0.5:
            events.append(Deliver(chance.randint(1, 8 * sites), chance.choice((0, 0, 0, 1, 2, 5))))
        else:
            events.append(Until(chance.choice(SETUP_STAGES + SUM_STAGES * 2), chance.randrange(steps)))
        events += _fault(chance, names)
    return Schedule(seed, sites, steps, tuple(events), large, chunks)


def lie_of(name: str) -> HubLie | MemberLie:
    return HUB_LIES[name] if name in HUB_LIES else MEMBER_LIES[name]


def _lying(chance: random.Random, name: str, names: str, steps: int) -> list[Event]:
    lie = lie_of(name)
    step = (
        0 if issubclass(lie.request, (Manifest, Offers, Reveals, Delivered)) else chance.randrange(lie.steps - 1, steps)
    )
    pick = chance.randrange(1000)
    liar = chance.choice(names)
    armed = ByzantineHub(name, pick, step) if name in HUB_LIES else ByzantineMember(liar, name, pick, step)
    events: list[Event] = [armed]
    others = [site for site in names if site != liar]
    chance.shuffle(others)
    for stage, back, missing in lie.absent:
        events.append(Until(stage, max(step - back, 0)))
        events += [Partition(site) for site in others[: missing(len(names))]]
        events += [DeadlineFires(), Heal()]
    return events


def _fault(chance: random.Random, names: str) -> list[Event]:
    party, site, pick = chance.choice(["hub", *names]), chance.choice(names), chance.randrange(12)
    skip = chance.choice((0, 0, 1, 1, 2, 5))
    sorts: list[list[Event]] = [
        [Drop(pick)],
        [Drop(pick), Drop(pick + 1), Drop(pick + 2)],
        [Repeat(pick)],
        [Repeat(pick), Repeat(pick), Delay(pick, 30)],
        [Delay(pick, chance.choice((3, 20, 100)))],
        [Partition(site)],
        [Partition(site), DeadlineFires(), Heal()],
        [Heal()],
        [CrashBeforePersist(party, skip), Deliver(chance.randint(1, 12 * (1 + skip))), Restart(party)],
        [CrashAfterPersist(party, skip), Deliver(chance.randint(1, 12 * (1 + skip))), Restart(party)],
        [CrashBeforePersist(party, skip)],
        [CrashAfterPersist(party, skip)],
        [Restart(party)],
        [ClockJump(party, chance.choice((-1, 1)))],
        [DeadlineFires()],
        [DeadlineFires(stale=chance.randint(1, 3))],
        [Partition(site), Refuses(site), DeadlineFires(), Heal()],
        [Refuses(site)],
    ]
    weights = (8, 4, 8, 4, 6, 3, 4, 2, 12, 12, 3, 3, 3, 3, 2, 4, 3, 0.5)
    return chance.choices(sorts, weights)[0]
