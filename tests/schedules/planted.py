"""Bugs, one small patch each, that the schedules must find.

`lie`: the schedules are drawn with this lie in them, because without it the bug shows nothing. A patch replaces one
function of the product, or of the parties' model of the product's stores, by one that is subtly wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from hansa.crypto import prg, shamir
from hansa.crypto.keys import derive, digest
from hansa.errors import ProtocolViolation
from hansa.messages import encode
from hansa.protocols import key_setup, masks, secure_sum
from hansa.protocols.key_setup import Floors, Invited, Paired
from hansa.protocols.masks import others
from hansa.protocols.secure_sum import Contribute, LockedSet, Masked, Shares, Waiting
from tests.schedules import parties
from tests.schedules.events import ClockJump, CrashBeforePersist, Deliver, Heal, Partition, Schedule, Until, draw
from tests.schedules.parties import HubParty, SiteParty

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@dataclass(frozen=True)
class Planted:
    name: str
    lie: str
    plant: Plant
    played: Schedule | None = None  # first, where chance brings the events together too seldom

    def schedules(self, count: int) -> Iterator[Schedule]:
        if self.played is not None:
            yield self.played
        for seed in range(count):
            yield draw(seed, self.lie)


PLANTED: list[Planted] = []


def planted(
    name: str, lie: str = "", played: Schedule | None = None
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def keep(plant: Plant) -> Plant:
        PLANTED.append(Planted(name, lie, plant, played))
        return plant

    return keep


def believed(*_any: Any) -> None:
    """In the place of `verify`."""


def except_for(purpose: str) -> Callable[..., None]:
    """`verify` that believes what is signed for `purpose`."""
    true = key_setup.verify

    def verify(public: bytes, what: str, message: bytes, signature: bytes) -> None:
        if what != purpose:
            true(public, what, message, signature)

    return verify


# ---- floors ----


def _floors(patch: Patch, change: Callable[[Floors], Floors]) -> None:
    true = Floors.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Floors], sites: int, corrupt: int, minimum: int) -> Floors:
        return change(true(cls, sites, corrupt, minimum))

    patch.setattr(Floors, "of", classmethod(of))


@planted("the threshold is one too low")
def threshold_off_by_one(patch: Patch) -> None:
    _floors(patch, lambda floors: replace(floors, threshold=floors.threshold - 1))


@planted("the floor of survivors is one too low")
def floor_off_by_one(patch: Patch) -> None:
    _floors(patch, lambda floors: replace(floors, survivors=floors.survivors - 1))


@planted("a site takes the hub's floors for the charter's", lie="lower floors")
def floors_not_checked(patch: Patch) -> None:
    true = Invited.answer

    def answer(self: Invited, request: Any, own: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Floors, "of", classmethod(lambda cls, *_any: request.floors))
            return true(self, request, own)

    patch.setattr(Invited, "answer", answer)


@planted("a survivor set below the floor is locked", lie="set below the floor")
def floor_not_checked(patch: Patch) -> None:
    def check(headers: Any, session: Any, sid: bytes, cohort: Any) -> None:
        names = [header.site for header in headers]
        if names != sorted(set(names)):
            raise ProtocolViolation("the survivors are not sorted, each once")
        for header in headers:
            secure_sum._check_header(header, session, sid, cohort)

    patch.setattr(secure_sum, "_check_survivors", check)


@planted("survivors may stand twice and in any order", lie="survivor twice")
def survivors_not_unique(patch: Patch) -> None:
    _any_order(patch)


@planted("survivors may stand in any order", lie="unsorted survivors")
def survivors_not_sorted(patch: Patch) -> None:
    _any_order(patch)


def _any_order(patch: Patch) -> None:
    def check(headers: Any, session: Any, sid: bytes, cohort: Any) -> None:
        for header in headers:
            secure_sum._check_header(header, session, sid, cohort)
        if len(headers) < session.floors.survivors:
            raise ProtocolViolation("the survivor set is below the floor")

    patch.setattr(secure_sum, "_check_survivors", check)


# ---- setup ----


@planted("an earlier attempt of setup is answered again", lie="an earlier attempt")
def attempt_not_checked(patch: Patch) -> None:
    true = Invited.answer
    patch.setattr(Invited, "answer", lambda self, request, own: true(replace(self, attempt=0), request, own))


@planted("offers are not checked against their signatures", lie="substituted offer")
def offers_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/offer"))


@planted("reveals are not checked against their signatures", lie="altered reveal")
def reveals_not_verified(patch: Patch) -> None:
    patch.setattr(key_setup, "verify", except_for("setup/reveal"))


@planted("reveals are checked by nobody but the hub", lie="two bundles")
def transcripts_not_compared(patch: Patch) -> None:
    patch.setattr(key_setup, "_check_reveals", believed)


@planted("randomness is not checked against its commitment", lie="other randomness than committed")
def rho_not_checked(patch: Patch) -> None:
    true = key_setup.digest

    def same(purpose: str, *parts: bytes) -> bytes:
        return bytes(32) if purpose == "setup/rho" else true(purpose, *parts)

    patch.setattr(key_setup, "digest", same)


@planted("all pairs have one secret")
def one_secret_for_all(patch: Patch) -> None:
    true = key_setup.derive

    def same(secret: bytes, purpose: str, *parts: bytes, **more: Any) -> bytes:
        return true(bytes(32), purpose) if purpose == "setup/pair" else true(secret, purpose, *parts, **more)

    patch.setattr(key_setup, "derive", same)


@planted("a pair's secret has the number of one end in it")
def pair_secret_of_one_end(patch: Patch) -> None:
    true = key_setup.Revealed.answer

    def answer(self: Any, request: Any, own: Any) -> Any:
        paired, ready = true(self, request, own)
        place = bytes([paired.session.roster.index(paired.site) % 2])
        pairs = {peer: derive(secret, "planted", place) for peer, secret in paired.pairs.items()}
        return replace(paired, pairs=pairs), ready

    patch.setattr(key_setup.Revealed, "answer", answer)


# ---- what names a sum ----


def _sid(patch: Patch, parts: Callable[[Contribute], tuple[bytes, ...]]) -> None:
    patch.setattr(Contribute, "sid", lambda self, session: digest("sum/sid", session.id, *parts(self)))


def _place(request: Contribute) -> bytes:
    return request.step.to_bytes(8, "big") + request.attempt.to_bytes(8, "big")


@planted("the sid leaves out the cohort")
def sid_without_cohort(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), asked.public, encode(asked.receipt)))


@planted("the sid leaves out the public state")
def sid_without_public_state(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), encode(asked.cohort), encode(asked.receipt)))


@planted("the sid leaves out the receipt", lie="other total")
def sid_without_receipt(patch: Patch) -> None:
    _sid(patch, lambda asked: (_place(asked), asked.public, encode(asked.cohort)))


# ---- contributing ----


def _check(patch: Patch, without: str) -> None:
    """`Waiting.check` that lets pass what it would refuse with a sentence that holds `without`."""
    true = Waiting.check

    def check(self: Waiting, request: Contribute) -> None:
        try:
            true(self, request)
        except ProtocolViolation as violation:
            if without not in str(violation):
                raise

    patch.setattr(Waiting, "check", check)


@planted("a step may go back", lie="lower step")
def step_goes_back(patch: Patch) -> None:
    _check(patch, "a step goes back")


@planted("a step may be left out", lie="higher step")
def step_left_out(patch: Patch) -> None:
    _check(patch, "a step goes back")


@planted("receipts are not checked", lie="other receipt")
def receipts_not_checked(patch: Patch) -> None:
    _check(patch, "the receipt is not of the sum")


@planted("a site that left comes back", lie="cohort brings back a site")
def left_site_comes_back(patch: Patch) -> None:
    _check(patch, "brings back")
    true = LockedSet._ratcheted

    def ratcheted(self: LockedSet) -> Paired:
        pairs = {peer: derive(secret, "sum/ratchet", self.locked.sid) for peer, secret in self.paired.pairs.items()}
        return replace(true(self), pairs=pairs)

    patch.setattr(LockedSet, "_ratcheted", ratcheted)


@planted("a cohort may be below the floor", lie="cohort below the floor")
def cohort_below_floor(patch: Patch) -> None:
    _check(patch, "below the floor")


@planted("both ends of an edge add")
def mask_sign(patch: Patch) -> None:
    true = masks.prg.add_stream

    def add(vector: Any, secret: bytes, info: bytes, *, subtract: bool) -> None:
        true(vector, secret, info, subtract=False if b"sum/edge" in info else subtract)

    patch.setattr(prg, "add_stream", add)


@planted("the first of a cohort takes itself for the later end")
def mask_sign_of_the_first(patch: Patch) -> None:
    def edge(vector: Any, secret: bytes, sid: bytes, site: str, other: str, *, remove: bool) -> None:
        low, high = sorted((site, other))
        later = other < site or site == "a"
        prg.add_stream(vector, secret, masks._mask_info("edge", sid, low, high), subtract=later != remove)

    patch.setattr(secure_sum, "mask_edge", edge)


@planted("the edges of the dropped are removed with the wrong sign")
def dropped_edge_sign(patch: Patch) -> None:
    true = secure_sum.mask_edge

    def edge(vector: Any, secret: bytes, sid: bytes, site: str, other: str, *, remove: bool) -> None:
        true(vector, secret, sid, site, other, remove=False)

    patch.setattr(secure_sum, "mask_edge", edge)


@planted("the self mask is derived without the sid")
def self_mask_without_sid(patch: Patch) -> None:
    true = Waiting._field
    patch.setattr(Waiting, "_field", lambda self, purpose, sid: true(self, purpose, bytes(32)))


@planted("edge secrets are derived without the sid")
def edge_without_sid(patch: Patch) -> None:
    true = secure_sum.edge_secret
    patch.setattr(secure_sum, "edge_secret", lambda pair, sid, site, other: true(pair, bytes(32), site, other))


@planted("numbers are clipped to signed 64 bits before they are masked")
def saturating(patch: Patch) -> None:
    true = Waiting.answer

    def answer(self: Waiting, request: Contribute, own: Any) -> Any:
        clipped = np.minimum(own.vector, np.uint64(2**63 - 1))
        return true(self, request, replace(own, vector=clipped))

    patch.setattr(Waiting, "answer", answer)


@planted("nothing is ratcheted forward")
def ratchet_missing(patch: Patch) -> None:
    def same(self: LockedSet) -> Paired:
        return replace(
            self.paired, pairs={peer: self.paired.pairs[peer] for peer in others(self.survivors, self.paired.site)}
        )

    patch.setattr(LockedSet, "_ratcheted", same)


# ---- locking ----


@planted("tags are not compared", lie="wrong tag")
def tags_not_checked(patch: Patch) -> None:
    patch.setattr(Masked, "_check_tag", believed)


@planted("headers are not checked against their signatures", lie="forged header")
def headers_not_verified(patch: Patch) -> None:
    patch.setattr(secure_sum, "verify", except_for("sum/header"))


@planted("a header of another sum is locked", lie="old header")
def old_header_locked(patch: Patch) -> None:
    def check(header: Any, session: Any, _sid: bytes, _cohort: Any) -> None:
        secure_sum.verify(session.key(header.site), "sum/header", header.signed(), header.signature)

    patch.setattr(secure_sum, "_check_header", check)
    patch.setattr(Masked, "_check_tag", believed)


@planted("a site locks a set without itself", lie="survivors without the site")
def locks_without_itself(patch: Patch) -> None:
    true = Masked.answer

    def answer(self: Masked, request: Any, own: Any) -> Any:
        if self.header in request.headers or not request.headers:
            return true(self, request, own)
        before = secure_sum.Before(
            self.sid, secure_sum.lock_digest(self.sid, request.headers), self.public, len(request.headers), self.size
        )
        survivors = tuple(header.site for header in request.headers)
        state = LockedSet(self.paired, self.step, before, self.cohort, survivors, {})
        return state, secure_sum.Locked(own.key.sign("sum/lock", before.locked))

    patch.setattr(Masked, "answer", answer)


# ---- unmasking ----


@planted("a threshold of one signature less unmasks", lie="fewer signatures")
def signatures_off_by_one(patch: Patch) -> None:
    true = LockedSet.answer

    def answer(self: LockedSet, request: Any, own: Any) -> Any:
        session = self.paired.session
        lower = replace(session, floors=replace(session.floors, threshold=session.floors.threshold - 1))
        following, shares = true(replace(self, paired=replace(self.paired, session=lower)), request, own)
        return replace(following, paired=replace(following.paired, session=session)), shares

    patch.setattr(LockedSet, "answer", answer)


@planted("lock signatures are not checked", lie="forged signatures")
def lock_signatures_not_verified(patch: Patch) -> None:
    patch.setattr(secure_sum, "verify", except_for("sum/lock"))


@planted("lock signatures are not checked, and there are two sets", lie="two survivor sets")
def two_sets_unmasked(patch: Patch) -> None:
    patch.setattr(secure_sum, "verify", except_for("sum/lock"))
    _without_quorum(patch)


@planted("signatures need no quorum", lie="two survivor sets")
def without_quorum(patch: Patch) -> None:
    _without_quorum(patch)


def _without_quorum(patch: Patch) -> None:
    true = LockedSet.answer

    def answer(self: LockedSet, request: Any, own: Any) -> Any:
        session = self.paired.session
        lower = replace(session, floors=replace(session.floors, threshold=0))
        following, shares = true(replace(self, paired=replace(self.paired, session=lower)), request, own)
        return replace(following, paired=replace(following.paired, session=session)), shares

    patch.setattr(LockedSet, "answer", answer)


@planted("a member releases both sorts of shares")
def both_sorts(patch: Patch) -> None:
    true = LockedSet.answer

    def answer(self: LockedSet, request: Any, own: Any) -> Any:
        following, shares = true(self, request, own)
        more = tuple(edge for site in self.survivors for edge in self.bundles[site].edges)
        return following, Shares(shares.own, (*shares.edges, more))

    patch.setattr(LockedSet, "answer", answer)


@planted("shares of edges to the wrong site are released")
def edges_off_by_one(patch: Patch) -> None:
    def edge(self: LockedSet, site: str, gone: str) -> bytes:
        edges = self.bundles[site].edges
        return edges[(others(self.cohort, site).index(gone) + 1) % len(edges)]

    patch.setattr(LockedSet, "_edge", edge)


@planted("shares are opened at indices one too low")
def share_index_off_by_one(patch: Patch) -> None:
    true = secure_sum.open_all
    patch.setattr(
        secure_sum, "open_all", lambda indices, rows, threshold: true([at + 1 for at in indices], rows, threshold)
    )


@planted("Lagrange's weights have a wrong sign")
def lagrange_wrong(patch: Patch) -> None:
    true = shamir.weights
    patch.setattr(shamir, "weights", lambda indices: tuple(-weight % shamir.PRIME for weight in true(indices)))


@planted("the secret that is opened is not checked against its commitment", lie="false share at the threshold")
def commitment_not_checked(patch: Patch) -> None:
    patch.setattr(secure_sum, "self_commitment", lambda own, sid: digest("sum/self commitment", sid))


@planted("the edges of the dropped are not checked against their tags", lie="false share of an edge")
def opened_edges_not_checked(patch: Patch) -> None:
    true = secure_sum.open_all

    def first_only(indices: Any, rows: Any, threshold: int) -> Any:
        return true(indices[:threshold], [list(row) for row in rows][:threshold], threshold)

    patch.setattr(secure_sum, "open_all", first_only)
    patch.setattr(secure_sum, "edge_tag", lambda edge, sid: bytes(16))


@planted("contributions are not checked against what was signed", lie="another vector than signed")
def root_not_checked(patch: Patch) -> None:
    patch.setattr(secure_sum, "_root", lambda masked: bytes(32))


# ---- stores, letters, rounds ----


@planted("letters are told apart by their number only", lie="two letters under one number")
def dedup_by_number_only(patch: Patch) -> None:
    true = parties.take

    def take(store: Any, letter: Any, data: bytes) -> Any:
        return store if letter.number in store.inbox.get(letter.sender, {}) else true(store, letter, data)

    patch.setattr(parties, "take", take)


@planted("a letter that comes again is worked off again")
def no_dedup(patch: Patch) -> None:
    true = parties.take

    def take(store: Any, letter: Any, data: bytes) -> Any:
        if letter.number in store.inbox.get(letter.sender, {}):
            return replace(store, done={**store.done, letter.sender: letter.number})
        return true(store, letter, data)

    patch.setattr(parties, "take", take)


@planted("an answer is given to any request under its round's number", lie="other request in the same round")
def said_by_number_only(patch: Patch) -> None:
    def said(store: Any, letter: Any) -> Any:
        before = store.said.get(letter.round)
        return None if before is None else before.reply

    patch.setattr(parties, "said_before", said)


@planted("a reply is computed again instead of sent again", lie="setup opened again")
def reply_recomputed(patch: Patch) -> None:
    true = parties.said_before

    def said(store: Any, letter: Any) -> Any:
        return None if letter.kind == "open" else true(store, letter)

    true_outcome = SiteParty.outcome

    def outcome(self: SiteParty, letter: Any) -> Any:
        if letter.kind == "open" and letter.round in self.store.said:
            self.store = replace(self.store, attempt=self.store.attempt - 1)
        return true_outcome(self, letter)

    patch.setattr(parties, "said_before", said)
    patch.setattr(SiteParty, "outcome", outcome)


@planted("a letter is acknowledged before it is kept")
def ack_before_keeping(patch: Patch) -> None:
    true = parties.Party.receive

    def receive(self: Any, data: bytes, now: float) -> Any:
        letter = parties.decode(data, parties.Letter)
        if self.armed == "before" and letter.kind != "ack":
            self.armed = ""
            return parties.encode(
                parties.Letter(self.name, letter.sender, letter.number, "ack", 0, parties.hashlib.sha256(data).digest())
            )
        return true(self, data, now)

    patch.setattr(parties.Party, "receive", receive)


@planted("a letter is marked as worked off before its effect is kept")
def done_before_effect(patch: Patch) -> None:
    def work(self: SiteParty, now: float) -> None:
        while (letter := parties.ready(self.store)) is not None:
            applied = parties.Applied(self.name, letter.sender, letter.number)
            self.persist(parties.worked_off(self.store, letter), applied)
            try:
                store, notes = self.outcome(letter)
            except ProtocolViolation as violation:
                store = parties.write(self.store, self.name, "hub", "refusal", letter.round, str(violation).encode())
                notes = [parties.SetAside(self.name, str(violation))]
            self.persist(store, *notes)

    patch.setattr(SiteParty, "work", work)


@planted("a state is kept without the answer that it made")
def state_without_reply(patch: Patch) -> None:
    true = SiteParty.persist

    def persist(self: SiteParty, store: Any, *notes: Any) -> None:
        if any(isinstance(note, parties.Answered) for note in notes) and self.armed == "before":
            self.store = replace(self.store, state=store.state)
        true(self, store, *notes)

    patch.setattr(SiteParty, "persist", persist)


@planted("the timer of a round closes whichever is open")
def deadline_without_round(patch: Patch) -> None:
    patch.setattr(parties, "timer_counts", lambda store, number, now: True)


@planted("replies of an earlier round are taken for the open one's", lie="the same request again")
def reply_without_round(patch: Patch) -> None:
    true = HubParty._applied

    def applied(self: HubParty, store: Any, letter: Any, now: float, notes: Any) -> Any:
        if letter.kind == "reply":
            letter = replace(letter, round=store.round)
        return true(self, store, letter, now, notes)

    patch.setattr(HubParty, "_applied", applied)


@planted("a later reply replaces an earlier one of its round", lie="other bytes for an answered round")
def last_reply_counts(patch: Patch) -> None:
    true = HubParty._applied

    def applied(self: HubParty, store: Any, letter: Any, now: float, notes: Any) -> Any:
        if letter.kind == "reply" and letter.round == store.round:
            store = replace(store, replies={at: body for at, body in store.replies.items() if at != letter.sender})
        return true(self, store, letter, now, notes)

    patch.setattr(HubParty, "_applied", applied)


@planted("what a restart finds unacknowledged is not sent again")
def not_sent_again(patch: Patch) -> None:
    def restart(self: Any, now: float) -> None:
        sent = {(to, at) for to, letters in self.store.outbox.items() for at in range(len(letters))}
        self.given_up = sent - self.store.acked

    patch.setattr(SiteParty, "restart", restart)


@planted("a refusal of a site that was left out ends the job")
def late_refusal(patch: Patch) -> None:
    patch.setattr(parties, "refusal_counts", lambda store, site: True)


SET_BACK_AT_SITE = (Until("AwaitContributions"), Partition("a"), Until("AwaitLocks"), ClockJump("a", -1), Heal())
SET_BACK_AT_HUB = (Until("AwaitContributions"), CrashBeforePersist("a", 2), ClockJump("hub", -1), Deliver(80))


@planted("a letter waits for a time that a clock set back put a day off", played=Schedule(1, 4, 1, SET_BACK_AT_SITE))
def retry_not_mended(patch: Patch) -> None:
    patch.setattr(parties, "is_due", lambda at, now: at <= now)


@planted("a round waits for a deadline that a clock set back put a day off", played=Schedule(1, 4, 1, SET_BACK_AT_HUB))
def deadline_not_mended(patch: Patch) -> None:
    patch.setattr(parties, "mended", lambda deadline, now: deadline)
