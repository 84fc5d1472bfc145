"""Letters in flight, clocks, and the loop that plays a schedule.

Chance: sites draw from the schedule's seed; ML-KEM alone draws its own, which decides nothing here.
"""

import random
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import takewhile
from typing import Any

import numpy as np

from hansa.crypto.keys import SigningKey
from hansa.messages import HUB, decode
from hansa.protocols.base import Vector
from hansa.protocols.thresholds import Floors
from tests.schedules import events as sorts
from tests.schedules.boxes import Crashed, Letter, Party
from tests.schedules.events import Schedule
from tests.schedules.lies import HUB_LIES, MEMBER_LIES
from tests.schedules.parties import LENGTH, HubParty, SiteParty
from tests.schedules.telling import Armed

DAY = 86_400.0
FLIGHT = 0.01  # seconds
ENOUGH = 6000  # turns of the loop, after which a job hangs
TOP = 2**63


@lru_cache(maxsize=16)
def key_of(site: str) -> SigningKey:
    return SigningKey(site.encode().ljust(32, b"."))


def numbers(place: int, step: int) -> list[int]:
    """What the site at `place` gives: a total tells who is in it, in which step, and wraps around the ring."""
    power = 3**place
    return [power, power * (step + 2), 2**64 - power, (TOP + power) % 2**64]


def vector(site: str, step: int) -> Vector:
    return np.array(numbers("abcdefghij".index(site), step), dtype=np.uint64)


assert len(numbers(0, 0)) == LENGTH


class World:
    """One schedule, played. `notes`: what was stored, in order."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.names = schedule, schedule.named()
        chance = random.Random(f"sites {schedule.seed}")
        self.notes: list[Any] = []
        self.counts: Counter[str] = Counter()
        self.now, self.landed, self.order, self.healed_at = 0.0, 0, 0, 0.0
        self.offsets = dict.fromkeys([HUB, *self.names], 0.0)
        self.flights: list[tuple[int, int, str, str, bytes]] = []
        self.cut: set[str] = set()
        self.spoiled: set[tuple[str, int]] = set()  # places of the hub's letters that a second letter may have taken
        self.acks: list[tuple[str, str, int, bytes]] = []  # receiver, sender, number, the letter
        public = {site: key_of(site).public for site in self.names}
        self.hub = HubParty(self.notes, public, schedule.steps)
        self.sites = {
            site: SiteParty(site, self.notes, key_of(site), public, vector, chance.randbytes) for site in self.names
        }
        self.parties: dict[str, Party] = {HUB: self.hub, **self.sites}
        self.corrupt = self._corrupt()
        self.hub_lies = any(isinstance(event, sorts.ByzantineHub) for event in schedule.events)
        if self.hub_lies:
            self.hub.colluders = {site: key_of(site) for site in self.corrupt}

    def _corrupt(self) -> frozenset[str]:
        """Members that lie; as many collude with a lying hub as the floors are made for."""
        liars = [event.site for event in self.schedule.events if isinstance(event, sorts.ByzantineMember)]
        with self.schedule.conditions():
            tolerated = Floors.of(len(self.names), -1, 3).corrupt
        place = self.schedule.seed % len(self.names)
        around = [*self.names[place:], *self.names[:place]]
        hub_lies = any(isinstance(event, sorts.ByzantineHub) for event in self.schedule.events)
        if hub_lies:
            liars += [site for site in around if site not in liars][: max(tolerated - len(liars), 0)]
        return frozenset(liars)

    # ---- the schedule ----

    def play(self) -> None:
        """Every event, then healing: everybody is up, nothing is cut, until nothing is due any more."""
        with self.schedule.conditions():
            self._play()

    def _play(self) -> None:
        events = self.schedule.events
        liars = len(list(takewhile(lambda event: isinstance(event, sorts.LIARS), events)))
        for place, event in enumerate(events):
            if place == liars:  # who lies from the first event on lies in the first round
                self.on(HUB, partial(self.hub.begin, 0.0))
            self.counts[type(event).__name__] += 1
            self._happen(event)
        if liars == len(events):
            self.on(HUB, partial(self.hub.begin, 0.0))
        self.cut.clear()
        self.healed_at = self.now
        for name in self.parties:
            self._restart(name)
        for party in self.parties.values():
            party.armed = ""
        for _ in range(ENOUGH):
            if self.quiet():
                return
            self.turn()

    def quiet(self) -> bool:
        """The job has ended, and every letter is acknowledged and worked off."""
        if self.flights or self.hub.store.state is not None or self.hub.store.round == 0:
            return False
        taken = {(site, number) for site, number in self.spoiled if number in self.sites[site].store.inbox.get(HUB, {})}
        self.hub.given_up |= taken
        for party in self.parties.values():
            store = party.store
            letters = {(to, number) for to, sent in store.outbox.items() for number in range(len(sent))}
            if not letters <= store.acked | (taken if party is self.hub else set()):
                return False
            if any(store.done.get(sender, 0) < len(kept) for sender, kept in store.inbox.items()):
                return False
        return True

    def _happen(self, event: Any) -> None:
        match event:
            case sorts.Deliver(count, pick):
                for _ in range(count):
                    self.turn(pick)
            case sorts.Until(stage, step):
                self._until(stage, step)
            case sorts.Drop(pick):
                if self.flights:
                    del self.flights[pick % len(self.flights)]
            case sorts.Repeat(pick):
                if self.flights:
                    _at, _order, sender, receiver, data = self.flights[pick % len(self.flights)]
                    self.launch(sender, receiver, data)
            case sorts.Delay(pick, letters):
                if self.flights:
                    place = pick % len(self.flights)
                    self.flights[place] = (self.landed + letters, *self.flights[place][1:])
            case sorts.Partition(site):
                self.cut.add(site)
            case sorts.Heal():
                self.cut.clear()
            case sorts.CrashBeforePersist(party, skip):
                self._arm(party, "before", skip)
            case sorts.CrashAfterPersist(party, skip):
                self._arm(party, "after", skip)
            case sorts.Restart(party):
                self._restart(party)
            case sorts.ClockJump(party, days):
                if party in self.offsets:
                    self.offsets[party] += days * DAY
            case sorts.DeadlineFires(stale):
                self._deadline(stale)
            case sorts.Refuses(site):
                if site in self.sites:
                    self.sites[site].refusing = True
            case sorts.ByzantineHub(lie, pick, step):
                self.hub.lie = Armed(HUB_LIES[lie], pick, step)
            case sorts.ByzantineMember(site, lie, pick, step):
                if site in self.sites:
                    self.sites[site].lying = Armed(MEMBER_LIES[lie], pick, step)
            case _:
                raise TypeError(f"no event: {event!r}")

    def _until(self, stage: str, step: int) -> None:
        place = (sorts.SETUP_STAGES + sorts.SUM_STAGES).index(stage)
        for _ in range(600):
            store = self.hub.store
            if store.state is None and store.round:
                return
            if store.state is not None:
                waiting = self.hub.stage()
                at = (sorts.SETUP_STAGES + sorts.SUM_STAGES).index(waiting)
                if (at >= place and store.step >= step) or store.step > step:
                    return
            if not self.hub.up and not any(receiver != HUB for *_rest, receiver, _data in self.flights):
                return
            self.turn()

    def _deadline(self, stale: int) -> None:
        hub = self.hub
        if not hub.up or hub.store.deadline is None:
            return
        if stale:
            self.on(HUB, partial(hub.deadline, hub.store.round - stale, self.clock(HUB)))
            return
        for _ in range(200):  # what flies lands first, as it would in so long a time
            if not self.flights:
                break
            self.turn()
        self.on(HUB, partial(hub.work, self.clock(HUB)))
        if hub.up and hub.store.deadline is not None:
            self.now = max(self.now, hub.store.deadline - self.offsets[HUB])
            self.on(HUB, partial(hub.work, self.clock(HUB)))

    def _arm(self, party: str, when: str, skip: int) -> None:
        if party in self.parties and self.parties[party].up:
            self.parties[party].armed, self.parties[party].skip = when, skip

    def _restart(self, party: str) -> None:
        if party in self.parties and not self.parties[party].up:
            self.counts["restarts"] += 1
            self.parties[party].up = True
            self.on(party, partial(self.parties[party].restart, self.clock(party)))
            if party == HUB and self.hub.store.round == 0:
                self.on(HUB, partial(self.hub.begin, self.clock(HUB)))
            self.on(party, partial(self.parties[party].work, self.clock(party)))

    # ---- time and letters ----

    def clock(self, party: str) -> float:
        return self.now + self.offsets[party]

    def on(self, party: str, act: Callable[[], Any]) -> Any:
        """Runs `act` at a party that is up; a crash takes it down."""
        if not self.parties[party].up:
            return None
        try:
            return act()
        except Crashed:
            self.counts["crashes"] += 1
            self.parties[party].crash()
            return None

    def launch(self, sender: str, receiver: str, data: bytes) -> None:
        self.counts["messages"] += 1
        if not self.cut & {sender, receiver}:
            self.order += 1
            self.flights.append((0, self.order, sender, receiver, data))

    def turn(self, pick: int = 0) -> None:
        """Posts what is due; one letter lands, or time goes on to when something is due."""
        while self.hub.raw and self.hub.up:
            receiver, data = self.hub.raw.pop()
            self.spoiled.add((receiver, decode(data, Letter).number))
            self.launch(HUB, receiver, data)
        for name, party in self.parties.items():
            if party.up:
                for receiver, data in party.due(self.clock(name)):
                    self.launch(name, receiver, data)
        if self.flights:
            self._land(pick)
        else:
            self._pass()

    def _land(self, pick: int) -> None:
        free = [place for place, flight in enumerate(self.flights) if flight[0] <= self.landed]
        place = free[pick % len(free)] if free else min(range(len(self.flights)), key=self.flights.__getitem__)
        _at, _order, sender, receiver, data = self.flights.pop(place)
        self.landed += 1
        self.now += FLIGHT
        if self.cut & {sender, receiver}:
            return
        party = self.parties[receiver]
        ack = self.on(receiver, partial(party.receive, data, self.clock(receiver)))
        if ack is not None:
            self.acks.append((receiver, sender, decode(data, Letter).number, data))
            self.launch(receiver, sender, ack)
        self.on(receiver, partial(party.work, self.clock(receiver)))

    def _pass(self) -> None:
        times = []
        for name, party in self.parties.items():
            if party.up:
                at = party.next_due(self.clock(name))
                if at is not None:
                    times.append(at - self.offsets[name])
        self.on(HUB, partial(self.hub.work, self.clock(HUB)))
        deadline = self.hub.store.deadline
        if deadline is not None and self.hub.up:
            times.append(deadline - self.offsets[HUB])
        self.now = max(self.now, min(times, default=self.now + 1.0)) + 1e-3  # past it, whatever floats round to
        self.on(HUB, partial(self.hub.work, self.clock(HUB)))
