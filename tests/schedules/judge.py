"""What must hold after a schedule, written against `secure-sum.md` and not against the code.

A rule is a method that yields a sentence for each way in which it is broken.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

from hansa.crypto.keys import digest
from hansa.messages import HUB, decode, encode
from hansa.protocols.secure_sum import AwaitContributions, AwaitShares
from tests.schedules.boxes import Answered, Applied, Closed, Declined, Ended, Letter, Repeated, SetAside
from tests.schedules.evidence import floors
from tests.schedules.network import World
from tests.schedules.parties import DONE, FAILED, MAX_SETUPS, NOT_ENOUGH, SETUP
from tests.schedules.rules_of_setup import SetupRules
from tests.schedules.rules_of_sites import SiteRules
from tests.schedules.rules_of_totals import TotalRules

SETUP_NAMES = {state.__name__ for state in SETUP}


class Judge(SetupRules, SiteRules, TotalRules):
    def broken(self) -> list[str]:
        rules = (
            self.letters,
            self.answers,
            self.consequences,
            self.setups,
            self.sessions,
            self.pair_secrets,
            self.contributions,
            self.fresh_masks,
            self.locks,
            self.releases,
            self.totals,
            self.closings,
            self.outcome,
        )
        with self.world.schedule.conditions():
            return [f"{rule.__name__}: {sentence}" for rule in rules for sentence in rule()]

    # ---- letters ----

    def letters(self) -> Iterator[str]:
        """Nothing acknowledged is lost, everything stored arrives, nothing is applied twice."""
        world = self.world
        if not world.quiet():
            yield "the world hangs"
        if world.now > 80_000:  # clocks jump by a day, time doesn't
            yield f"the job takes {world.now:.0f} s"
        if world.now - world.healed_at > 3600:
            yield f"healed, the world takes {world.now - world.healed_at:.0f} s to be quiet"
        for name, party in self.world.parties.items():
            for receiver, sent in party.store.outbox.items():
                kept = self.world.parties[receiver].store.inbox.get(name, {})
                for number, data in enumerate(sent):
                    if kept.get(number) != data and (receiver, number) not in self.world.spoiled:
                        self.lost += 1
                        yield f"letter {number} of {name} to {receiver} is not where it was sent"
            for sender, kept in party.store.inbox.items():
                for number in kept:
                    data = self.world.parties[sender].store.outbox.get(name, ())
                    raw = (name, number) in self.world.spoiled and sender == HUB
                    if number >= len(data) or (data[number] != kept[number] and not raw):
                        yield f"{name} holds a letter that {sender} did not send"
        for receiver, sender, number, data in self.world.acks:
            if self.world.parties[receiver].store.inbox.get(sender, {}).get(number) != data:
                self.lost += 1
                yield f"{receiver} acknowledged letter {number} of {sender} and doesn't hold it"
        for (party, sender, number), times in Counter(
            (note.party, note.sender, note.number) for note in self.of[Applied]
        ).items():
            if times > 1:
                self.doubled += 1
                yield f"{party} applied letter {number} of {sender} {times} times"

    def answers(self) -> Iterator[str]:
        """A round number has one request and one answer, for ever."""
        for site in self.honest:
            first: dict[int, Answered] = {}
            for note in self.said[site]:
                if note.round in first:
                    yield f"{site} computed two answers to round {note.round}"
                first[note.round] = note
            for again in self.of[Repeated]:
                if again.site == site:
                    note = first[again.round]
                    if (again.content, again.beside) != (note.content, note.beside):
                        yield f"{site} gave round {note.round} other bytes than the first time"
                    if again.request != digest("request", encode(note.request)):
                        yield f"{site} answered another request under round {note.round}"

    def consequences(self) -> Iterator[str]:
        """Every request that a site worked off before the job's end has its reply or its refusal in the outbox."""
        for site in self.honest:
            store = self.world.sites[site].store
            kept = store.inbox.get(HUB, {})
            letters = [decode(kept[number], Letter) for number in range(store.done.get(HUB, 0))]
            requests = list(takewhile(lambda letter: letter.kind != "end", letters))
            if any(note.site == site for note in self.of[Declined]):
                continue
            if len(requests) != len(store.outbox.get(HUB, ())):
                yield f"{site} worked off {len(requests)} requests and sent {len(store.outbox.get(HUB, ()))} letters"

    # ---- the end ----

    def closings(self) -> Iterator[str]:
        """A round closes without somebody only when its own time is over, and with the first reply of each to it."""
        first: dict[tuple[str, int], bytes] = {}
        for site, party in self.world.sites.items():
            for data in party.store.outbox.get(HUB, ()):
                letter = decode(data, Letter)
                if letter.kind == "reply":
                    first.setdefault((site, letter.round), letter.body)
        for note in self.of[Closed]:
            for site, body in note.replies.items():
                if first.get((site, note.round)) != body:
                    yield f"round {note.round} was closed with something else than the first reply of {site} to it"
            if note.missing and note.late < 0:
                yield f"round {note.round} was closed {-note.late:.0f} s before its deadline"

    def outcome(self) -> Iterator[str]:
        """Where nobody lies, a job is done as long as enough sites stay, and nothing is set aside."""
        store = self.world.hub.store
        if self.world.hub_lies or self.world.corrupt:
            return
        for note in self.of[SetAside]:
            yield f"{note.party} set aside what an honest party sent: {note.reason}"
        if store.status not in (DONE, NOT_ENOUGH) and not self._declined_in_time():
            yield f"an honest job ends {store.status}: {store.reason}"
        if store.status == NOT_ENOUGH and self._enough():
            yield f"enough sites stayed, and the job ends for want of sites: {store.reason}"
        if store.status == FAILED and not self.of[Ended]:
            yield "a job failed without an end"

    def _declined_in_time(self) -> bool:
        """A site that was still part of the job said no."""
        gone = {site for note in self.of[Closed] for site in note.missing}
        return any(note.site not in gone for note in self.of[Declined])

    def _enough(self) -> bool:
        """Fewer fell silent than the floors bear: those of setup leave the roster, the others a cohort."""
        in_setup = {site for note in self.of[Closed] if note.stage in SETUP_NAMES for site in note.missing}
        later = {site for note in self.of[Closed] if note.stage not in SETUP_NAMES for site in note.missing}
        roster = len(self.world.names) - len(in_setup)
        if self.world.schedule.large:
            return self._enough_in(self.of[Closed][-1])
        return roster >= 3 and floors(roster, len(self.world.names), False).survivors <= roster - len(later)

    def _enough_in(self, note: Closed) -> bool:
        """Of a committee and a sparse graph it is of importance who fell silent, and in which round."""
        if note.stage in SETUP_NAMES:
            left = len(note.replies)
            needed = max(3, floors(left, len(self.world.names), True).survivors)
            return left >= needed and self.world.hub.store.attempt < MAX_SETUPS
        state = note.state
        row = self.floors(state.session)
        committee, stayed = set(state.session.committee), set(note.replies)
        if isinstance(state, AwaitShares):  # all is open, and the next cohort is too small
            survivors = {header.site for header in state.headers}
            stayed = survivors - (committee - stayed)
        elif not isinstance(state, AwaitContributions):
            return len(stayed) >= row.threshold
        while lonely := self.lonely(state.session, stayed):
            stayed -= set(lonely)
        return len(stayed) >= row.survivors and len(stayed & committee) >= row.threshold


def refusals(world: World) -> Sequence[str]:
    """Why things were set aside, without the names in it."""
    return [re.sub(r"'[^']*'", "a site", note.reason)[:70] for note in world.notes if isinstance(note, SetAside)]
