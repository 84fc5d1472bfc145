"""Planted bugs: stores, letters, rounds."""

import hashlib
from typing import Any

from msgspec.structs import replace

from hansa.errors import ProtocolViolation
from hansa.messages import decode, encode
from tests.schedules import boxes, parties
from tests.schedules.boxes import Answered, Applied, Letter, Party, SetAside, ready, worked_off, write
from tests.schedules.events import ClockJump, CrashBeforePersist, Deliver, Heal, Partition, Schedule, Until
from tests.schedules.parties import HubParty, SiteParty
from tests.schedules.planting import Patch, planted


@planted("letters are told apart by their number only", lie="two letters under one number")
def dedup_by_number_only(patch: Patch) -> None:
    true = boxes.take

    def take(store: Any, letter: Any, data: bytes) -> Any:
        return store if letter.number in store.inbox.get(letter.sender, {}) else true(store, letter, data)

    patch.setattr(boxes, "take", take)


@planted("a letter that comes again is worked off again")
def no_dedup(patch: Patch) -> None:
    true = boxes.take

    def take(store: Any, letter: Any, data: bytes) -> Any:
        if letter.number in store.inbox.get(letter.sender, {}):
            return replace(store, done={**store.done, letter.sender: letter.number})
        return true(store, letter, data)

    patch.setattr(boxes, "take", take)


@planted("an answer is given to any request under its round's number", lie="other request in the same round")
def said_by_number_only(patch: Patch) -> None:
    def said(store: Any, letter: Any) -> Any:
        before = store.said.get(letter.round)
        return before

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
    true = Party.receive

    def receive(self: Any, data: bytes, now: float) -> Any:
        letter = decode(data, Letter)
        if self.armed == "before" and letter.kind != "ack":
            self.armed = ""
            return encode(Letter(self.name, letter.sender, letter.number, "ack", 0, hashlib.sha256(data).digest()))
        return true(self, data, now)

    patch.setattr(Party, "receive", receive)


@planted("a letter is marked as worked off before its effect is kept")
def done_before_effect(patch: Patch) -> None:
    def work(self: SiteParty, now: float) -> None:
        while (letter := ready(self.store)) is not None:
            applied = Applied(self.name, letter.sender, letter.number)
            self.persist(worked_off(self.store, letter), applied)
            try:
                store, notes = self.outcome(letter)
            except ProtocolViolation as violation:
                store = write(self.store, self.name, "hub", "refusal", letter.round, str(violation).encode())
                notes = [SetAside(self.name, str(violation))]
            self.persist(store, *notes)

    patch.setattr(SiteParty, "work", work)


@planted("a state is kept without the answer that it made")
def state_without_reply(patch: Patch) -> None:
    true = SiteParty.persist

    def persist(self: SiteParty, store: Any, *notes: Any) -> None:
        if any(isinstance(note, Answered) for note in notes) and self.armed == "before":
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
    patch.setattr(boxes, "is_due", lambda at, now: at <= now)


@planted("a round waits for a deadline that a clock set back put a day off", played=Schedule(1, 4, 1, SET_BACK_AT_HUB))
def deadline_not_mended(patch: Patch) -> None:
    patch.setattr(parties, "mended", lambda deadline, now: deadline)
