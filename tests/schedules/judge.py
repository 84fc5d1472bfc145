"""What must hold after a schedule, written against `secure-sum.md` and not against the code.

The judge knows all that every party stored, in order. Floors, the threshold, the weights of Lagrange and the
plain total are computed here once more. A rule is a method that yields a sentence for each way in which it is broken.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from msgspec.structs import replace

from hansa.crypto.keys import digest, open_box, verify
from hansa.errors import ProtocolViolation
from hansa.messages import HUB, decode, encode
from hansa.protocols import masks
from hansa.protocols.base import Own
from hansa.protocols.key_setup import Manifest, Offers, Reveals
from hansa.protocols.secure_sum import Bundle, Contribute, Lock, Unmask
from tests.schedules.network import World, key_of, numbers, vector
from tests.schedules.parties import (
    DONE,
    FAILED,
    NOT_ENOUGH,
    PLAN,
    SETUP,
    Answered,
    Applied,
    Closed,
    Declined,
    Ended,
    Letter,
    Opened,
    Repeated,
    SetAside,
)

PRIME = 2**255 - 19
SETUP_NAMES = {state.__name__ for state in SETUP}


def floors(sites: int) -> tuple[int, int]:
    """(threshold, smallest survivor set)"""
    corrupt = (sites - 1) // 3
    threshold = (sites + corrupt) // 2 + 1
    return threshold, max(threshold, 3, corrupt + 2)


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


class Judge:
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
        self._verified: dict[tuple[bytes, str, bytes, bytes], bool] = {}

    def broken(self) -> list[str]:
        rules = (
            self.letters,
            self.answers,
            self.consequences,
            self.setups,
            self.pair_secrets,
            self.contributions,
            self.fresh_masks,
            self.locks,
            self.releases,
            self.totals,
            self.closings,
            self.outcome,
        )
        return [f"{rule.__name__}: {sentence}" for rule in rules for sentence in rule()]

    def answered(self, site: str, sort: type) -> list[Answered]:
        """What the site answered to this sort of request; a liar's junk is no answer."""
        return [
            note for note in self.said[site] if isinstance(note.request, sort) and not isinstance(note.reply, bytes)
        ]

    def holds(self, site: str, purpose: str, message: bytes, signature: bytes) -> bool:
        key = (key_of(site).public, purpose, message, signature)
        if key not in self._verified:
            try:
                verify(*key)
                self._verified[key] = True
            except ProtocolViolation:
                self._verified[key] = False
        return self._verified[key]

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
                    if again.content != note.content:
                        yield f"{site} gave round {note.round} other bytes than the first time"
                    if again.request != digest("request", encode(note.request)):
                        yield f"{site} answered another request under round {note.round}"

    # ---- setup ----

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

    def setups(self) -> Iterator[str]:
        for site in self.honest:
            last = -1
            for note in self.answered(site, Manifest):
                manifest = note.request
                if manifest.attempt <= last:
                    yield f"{site} answered attempt {manifest.attempt} of setup after {last}"
                last = manifest.attempt
                given = (manifest.floors.threshold, manifest.floors.survivors)
                if given != floors(len(manifest.roster)) or manifest.plan != PLAN:
                    yield f"{site} takes part under floors that are not the charter's, or in another plan"
            for note in self.answered(site, Offers):
                yield from self._offers(note)
            for note in self.answered(site, Reveals):
                yield from self._reveals(note)

    def _offers(self, note: Answered) -> Iterator[str]:
        manifest = note.before.manifest
        publics = {offer.public for offer in note.request.offers}
        if len(publics) != len(manifest.roster) or len(note.request.offers) != len(manifest.roster):
            yield f"{note.site} accepted offers that are not one key a site"
        for site, offer in zip(manifest.roster, note.request.offers, strict=False):
            made = [reply.reply for reply in self.answered(site, Manifest) if reply.request == manifest]
            if site in self.honest and offer not in made:
                yield f"{note.site} accepted an offer that {site} did not make"
            if not self.holds(site, "setup/offer", offer.signed(manifest.digest, site), offer.signature):
                yield f"{note.site} accepted an unsigned offer of {site}"

    def _reveals(self, note: Answered) -> Iterator[str]:
        manifest, offers = note.before.manifest, note.before.offers
        transcript = digest("setup/transcript", encode(manifest), encode(offers))
        for site, offer, reveal in zip(manifest.roster, offers.offers, note.request.reveals, strict=True):
            if not self.holds(site, "setup/reveal", reveal.signed(transcript, site), reveal.signature):
                yield f"{note.site} accepted a reveal of {site} that is not signed for its transcript"
            if digest("setup/rho", reveal.rho) != offer.commitment:
                yield f"{note.site} accepted other randomness of {site} than it committed to"

    def pair_secrets(self) -> Iterator[str]:
        """In one session both ends of a pair have one secret, and no two pairs the same."""
        ends: dict[tuple[bytes, frozenset[str]], set[bytes]] = defaultdict(set)
        for site in self.honest:
            for note in self.answered(site, Reveals):
                paired = note.after.paired
                for peer, secret in paired.pairs.items():
                    if peer in self.honest:
                        ends[paired.session.id, frozenset((site, peer))].add(secret)
        for (_session, pair), secrets in ends.items():
            if len(secrets) > 1:
                yield f"{sorted(pair)} have two secrets in one session"
        every = [secret for secrets in ends.values() for secret in secrets]
        if len(set(every)) < len(every):
            yield "two pairs have one secret"

    # ---- sums, at the sites ----

    def contributions(self) -> Iterator[str]:
        requests: dict[bytes, set[bytes]] = defaultdict(set)
        for site in self.honest:
            before: tuple[bytes, bytes, int] | None = None
            cohort: set[str] | None = None
            step = 0
            for note in self.said[site]:
                if isinstance(note.request, Contribute):
                    request = note.request
                    requests[note.reply.header.sid].add(encode(request))
                    session = note.before.paired.session
                    shown = request.receipt and (
                        request.receipt.sid,
                        request.receipt.locked,
                        len(request.receipt.total),
                    )
                    if request.step != step:
                        yield f"{site} contributed to step {request.step} when step {step} was due"
                    if shown != before:
                        yield f"{site} contributed after a receipt that is not of the sum it locked"
                    names = list(request.cohort)
                    if names != sorted(set(names)) or not set(names) <= (cohort or set(session.roster)):
                        yield f"{site} contributed in a cohort that brings back a site, or is no sorted set"
                    if len(names) < floors(len(session.roster))[1] or site not in names:
                        yield f"{site} contributed in a cohort below the floor or without it"
                elif isinstance(note.request, Unmask):
                    state = note.before
                    before = (state.locked.sid, state.locked.locked, state.locked.size)
                    cohort, step = set(state.survivors), state.step + 1
        for asked in requests.values():
            if len(asked) > 1:
                yield "two requests for a contribution have one sid"

    def fresh_masks(self) -> Iterator[str]:
        """No mask serves twice, and what a site would answer to another request has no secret in common."""
        seen: set[int] = set()
        notes = [note for site in self.honest for note in self.answered(site, Contribute)]
        for note in notes:
            mask = np.frombuffer(note.reply.masked, dtype="<u8") - vector(note.site, note.request.step)
            if seen & set(mask.tolist()):
                yield f"{note.site} used a mask twice"
            seen |= set(mask.tolist())
        if notes:
            yield from self._asked_otherwise(notes[self.world.schedule.seed % len(notes)])

    def _asked_otherwise(self, note: Answered) -> Iterator[str]:
        request, state = note.request, note.before
        peers = masks.others(request.cohort, note.site)
        others = [replace(request, public=request.public + b"?")]
        if len(request.cohort) > floors(len(state.paired.session.roster))[1]:
            others.append(replace(request, cohort=tuple(masks.others(request.cohort, peers[0]))))
        first = self._secrets(note.site, state, request, note.reply)
        for other in others:
            own = Own(key_of(note.site), vector(note.site, request.step))
            _following, reply = state.answer(other, own)
            if reply.header.sid == note.reply.header.sid:
                yield f"{note.site} has one sid for two requests"
            elif first & self._secrets(note.site, state, other, reply):
                yield f"{note.site} has one secret in two sums"

    def _secrets(self, site: str, state: Any, request: Contribute, reply: Any) -> set[int]:
        """What the sealed letters of a contribution share out: b and every h."""
        roster = state.paired.session.roster
        points: list[dict[int, int]] = [{} for _ in range(len(request.cohort))]
        threshold = floors(len(roster))[0]
        sid = reply.header.sid
        for peer, sealed in list(zip(masks.others(request.cohort, site), reply.sealed, strict=True))[:threshold]:
            key = masks.seal_key(state.paired.pairs[peer], sid, site, peer)
            bundle = decode(open_box(key, sealed, sid), Bundle)
            for place, share in enumerate((bundle.own, *bundle.edges)):
                points[place][roster.index(peer) + 1] = int.from_bytes(share, "little")
        return {at_zero(shares) for shares in points if len(shares) >= threshold}

    def locks(self) -> Iterator[str]:
        for site in self.honest:
            sids = set()
            for note in self.answered(site, Lock):
                state, headers = note.before, note.request.headers
                if state.sid in sids:
                    yield f"{site} locked two survivor sets for one sum"
                sids.add(state.sid)
                names = [header.site for header in headers]
                if names != sorted(set(names)) or not set(names) <= set(state.cohort) or site not in names:
                    yield f"{site} locked survivors that are no sorted set of the cohort with itself in it"
                if len(set(names)) < floors(len(state.paired.session.roster))[1]:
                    yield f"{site} locked a set below the floor"
                for header in headers:
                    yield from self._header(note, header)

    def _header(self, note: Answered, header: Any) -> Iterator[str]:
        state, site = note.before, note.site
        if header.sid != state.sid:
            yield f"{site} locked a header of another sum"
        if not self.holds(header.site, "sum/header", header.signed(), header.signature):
            yield f"{site} locked a header that {header.site} did not sign"
        if header.site != site and header.site in state.cohort and len(header.tags) == len(state.header.tags):
            theirs = header.tags[masks.others(state.cohort, header.site).index(site)]
            if theirs != state.header.tags[masks.others(state.cohort, site).index(header.site)]:
                yield f"{site} locked a header of {header.site} whose tag of their edge is another"

    def releases(self) -> Iterator[str]:
        sets: dict[bytes, set[tuple[str, ...]]] = defaultdict(set)
        for site in self.honest:
            for note in self.answered(site, Unmask):
                state = note.before
                sets[state.locked.sid].add(state.survivors)
                threshold = floors(len(state.paired.session.roster))[0]
                signed = [
                    name
                    for name, signature in note.request.signatures.items()
                    if name in state.survivors and self.holds(name, "sum/lock", state.locked.locked, signature)
                ]
                if len(signed) < threshold or len(signed) < len(note.request.signatures):
                    yield f"{site} released for {len(signed)} signatures that hold of {len(note.request.signatures)}"
                yield from self._shares(note)
                yield from self._erased(note)
        for shown in sets.values():
            if len(shown) > 1:
                yield f"honest sites released for {len(shown)} survivor sets of one sum"

    def _shares(self, note: Answered) -> Iterator[str]:
        """Of the survivors their own masks', of their edges to the dropped the edges', and nothing else."""
        state, reply = note.before, note.reply
        released = {share for row in (reply.own, *reply.edges) for share in row}
        for site, bundle in state.bundles.items():
            for peer, edge in zip(masks.others(state.cohort, site), bundle.edges, strict=True):
                if peer in state.survivors and edge in released and bundle.own in released:
                    yield f"{note.site} released both sorts of shares of {site}"
        allowed = len(state.survivors) * (1 + len(state.cohort) - len(state.survivors))
        if len(released) > allowed:
            yield f"{note.site} released {len(released)} shares where {allowed} are due"

    def _erased(self, note: Answered) -> Iterator[str]:
        """What a site holds afterwards opens nothing of the step."""
        kept = encode(note.after)
        old = note.before.paired
        if any(secret in kept for secret in (old.seed, *old.pairs.values())):
            yield f"{note.site} still holds a secret of a step that is over"

    # ---- at the hub ----

    def totals(self) -> Iterator[str]:
        steps = Counter(note.step for note in self.of[Opened])
        if any(times > 1 for times in steps.values()):
            self.wrong += 1
            yield "a step has two totals"
        for note in self.of[Opened]:
            sentences = list(self._total(note))
            self.wrong += bool(sentences)
            yield from sentences

    def _total(self, note: Opened) -> Iterator[str]:
        survivors, session = note.summed.survivors, note.state.session
        expected = [
            sum(column) % 2**64
            for column in zip(*(numbers(self.world.names.index(site), note.step) for site in survivors), strict=True)
        ]
        if note.summed.vector().tolist() != expected:
            yield f"the total of step {note.step} is not the sum over {survivors}"
        if len(set(survivors)) < floors(len(session.roster))[1] or list(survivors) != sorted(set(survivors)):
            yield f"the total of step {note.step} is over a set below the floor"
        headers = {header.site: header for header in note.state.headers}
        for site in survivors:
            made = [answer.reply.header for answer in self.answered(site, Contribute)]
            if site in self.honest and headers[site] not in made:
                yield f"the total of step {note.step} holds a header that {site} did not make"
        for site, reply in note.replies.items():
            made = [answer.content for answer in self.answered(site, Unmask)]
            if site in self.honest and encode(reply) not in made:
                yield f"the total of step {note.step} is opened with shares that {site} did not give"
            if site in self.world.corrupt and encode(reply) not in made:
                yield f"the total of step {note.step} is opened with a second reply of {site}"
        if self._replayed(note) != note.summed.receipt.total:
            yield f"a replay of step {note.step} gives another total"

    def _replayed(self, note: Opened) -> bytes:
        """The total once more, from the last of the shares and the vectors that were signed."""
        session, state = note.state.session, note.state
        threshold = floors(len(session.roster))[0]
        members = sorted(note.replies)[-threshold:]
        survivors = note.summed.survivors
        total = np.zeros(len(note.summed.vector()), dtype=np.uint64)
        for site in survivors:
            made = [a.reply.masked for a in self.answered(site, Contribute) if a.reply.header.sid == state.sid]
            if made and len(made[0]) == 8 * len(total):
                total += np.frombuffer(made[0], dtype="<u8")

        def opened(pick: Any) -> bytes:
            points = {
                session.roster.index(site) + 1: int.from_bytes(pick(note.replies[site]), "little") for site in members
            }
            return at_zero(points).to_bytes(32, "little")

        for place, site in enumerate(survivors):
            masks.mask_self(total, opened(lambda r, at=place: r.own[at]), state.sid, site, remove=True)
        for row, gone in enumerate([site for site in state.cohort if site not in survivors]):
            for place, site in enumerate(survivors):
                edge = opened(lambda r, row=row, at=place: r.edges[row][at])
                masks.mask_edge(total, edge, state.sid, site, gone, remove=True)
        return total.astype("<u8").tobytes()

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
        return roster >= 3 and floors(roster)[1] <= roster - len(later)


def refusals(world: World) -> Sequence[str]:
    """Why things were set aside, without the names in it."""
    return [re.sub(r"'[^']*'", "a site", note.reason)[:70] for note in world.notes if isinstance(note, SetAside)]
