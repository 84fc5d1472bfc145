"""What is under way between two parties: never more than a window, and nobody is made to work without end."""

from pathlib import Path

import pytest

from hansa.crypto.merkle import leaf
from hansa.mail.blobs import Folder
from hansa.mail.boxes import Desk
from hansa.mail.carriage import Carriage
from hansa.mail.flight import AGAIN_SECONDS, LONGEST_PATIENCE, PATIENCE, PAUSE_SECONDS, WINDOW, Asked, Laid
from hansa.mail.letters import TO_HUB, TO_SITE, Here, Wanted
from hansa.messages import HUB
from tests import cards

RUN, OTHER = "0" * 31 + "a", "0" * 31 + "b"
MANY = [leaf(bytes([number])) for number in range(40)]


def test_no_more_than_a_window_is_asked_for_until_something_came() -> None:
    asked = Asked()
    assert asked.next(RUN, MANY, 0) == MANY[:WINDOW]
    assert asked.next(RUN, MANY, 0.1) == []
    asked.came(RUN, MANY[:3], 0.2)
    assert asked.next(RUN, MANY[3:], 0.2) == MANY[WINDOW : WINDOW + 3]


def test_two_runs_share_the_window_and_neither_waits_for_the_other_to_end() -> None:
    asked = Asked()
    assert len(asked.next(RUN, MANY, 0)) == WINDOW
    assert asked.next(OTHER, MANY, 0.1) == []
    asked.came(RUN, MANY[:4], 0.2)
    assert asked.next(RUN, MANY[4:], 0.2) == []
    assert len(asked.next(OTHER, MANY, 0.3)) == WINDOW // 2


def test_what_does_not_come_is_asked_for_again_ever_later_and_on_a_slow_line_not_before_its_time() -> None:
    asked, now, waited = Asked(), 0.0, list[float]()
    asked.next(RUN, MANY[:1], now)
    for _ in range(8):
        since = now
        while not asked.next(RUN, MANY[:1], now):
            now += 0.5
        waited.append(now - since)
    assert waited[0] == PATIENCE and waited == sorted(waited) and waited[-1] == LONGEST_PATIENCE
    slow = Asked()
    slow.next(RUN, MANY[:1], 0)
    slow.came(RUN, MANY[:1], 1.9)
    slow.next(RUN, MANY[1:2], 2)
    assert slow.next(RUN, MANY[1:2], 5) == []
    assert slow.next(RUN, MANY[1:2], 6) == MANY[1:2]


def test_after_a_full_disk_one_chunk_is_tried_and_the_window_opens_again_when_it_was_kept() -> None:
    asked = Asked()
    first = asked.next(RUN, MANY, 0)
    asked.no_room(RUN, first, 1)
    assert asked.next(RUN, MANY, 1 + PAUSE_SECONDS / 2) == []
    assert asked.next(RUN, MANY, 1 + PAUSE_SECONDS) == MANY[:1]
    asked.came(RUN, MANY[:1], 8)
    assert len(asked.next(RUN, MANY[1:], 8)) == WINDOW


def test_a_clock_that_is_set_back_leaves_nothing_under_way_for_ever() -> None:
    asked = Asked()
    asked.next(RUN, MANY, 1000)
    assert asked.next(RUN, MANY, 10) == MANY[:WINDOW]


def test_every_chunk_may_be_laid_once_and_no_more_than_a_window_again_in_a_while() -> None:
    laid = Laid()
    assert all(laid.may_lay(name, 0) for name in MANY)
    laid.laid(MANY, 0)
    assert [laid.may_lay(name, 5) for name in MANY] == [True] * WINDOW + [False] * (len(MANY) - WINDOW)
    assert not laid.may_lay(MANY[-1], 5 + AGAIN_SECONDS / 2)
    assert laid.may_lay(MANY[-1], 5 + AGAIN_SECONDS)


# Two parties and a mailbox between them


class Shelf(dict[bytes, bytes]):
    """A mailbox that counts."""

    offered = 0

    def offer(self, name: bytes, box: bytes) -> None:
        self.offered += 1
        self[name] = box

    def take(self, name: bytes) -> bytes | None:
        return self.get(name)

    def forget(self, names: list[bytes]) -> None:
        for name in names:
            self.pop(name, None)

    def reset(self) -> None:
        raise AssertionError("nothing broke")


class Pair:
    """A hub that misses chunks and a site that has them. Letters lie still until somebody reads them."""

    def __init__(self, folder: Path) -> None:
        charter, keys = cards.charter("abc"), {HUB: cards.hub_keys(), "a": cards.member_keys(0)}
        self.now, self.shelf, self.letters = 0.0, Shelf(), list[bytes]()
        self.desks = {name: Desk(name, charter, keys[name], Folder(folder / name)) for name in (HUB, "a")}
        self.hub, self.site = self.end(HUB, "a"), self.end("a", HUB)

    def end(self, name: str, peer: str) -> Carriage:
        return Carriage(self.desks[name], peer, self.shelf, self.letters.append, bytes, lambda: self.now)

    def read(self) -> Wanted | Here:
        """The oldest letter."""
        data = self.letters.pop(0)
        for desk, kinds in zip(self.desks.values(), (TO_HUB, TO_SITE), strict=True):
            if b"\xa3hub" in data[:80] and data.index(desk.name.encode()) >= 0:
                try:
                    header, envelope = desk.read(data, kinds)
                except Exception:  # it is for the other
                    continue
                payload = desk.open(header, envelope)
                assert isinstance(payload, Wanted | Here)
                return payload
        raise AssertionError("nobody's letter")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def filled(pair: Pair, count: int) -> list[bytes]:
    return [pair.desks["a"].folder.put(RUN, bytes([number])) for number in range(count)]


def test_the_next_half_is_asked_for_while_the_first_is_still_to_be_taken(pair: Pair) -> None:
    due = filled(pair, 20)
    pair.hub.want(RUN, due)
    first, second = pair.read(), pair.read()
    assert isinstance(first, Wanted) and isinstance(second, Wanted)
    assert [*first.digests, *second.digests] == due[:WINDOW]
    pair.site.offer(RUN, first.digests)
    here = pair.read()
    assert isinstance(here, Here) and pair.hub.take(RUN, here, due)
    assert pair.hub.want(RUN, due) == due[4:]
    third = pair.read()
    assert isinstance(third, Wanted) and list(third.digests) == due[WINDOW : WINDOW + 4]
    assert len(pair.shelf) == 4  # and the second half was not yet laid


def test_a_transfer_ends_whole_with_no_more_than_a_window_in_the_mailbox(pair: Pair) -> None:
    due, most = filled(pair, 37), 0
    pair.hub.want(RUN, due)
    while pair.letters:
        letter = pair.read()
        if isinstance(letter, Wanted):
            pair.site.offer(RUN, letter.digests)
            most = max(most, len(pair.shelf))
        elif pair.hub.take(RUN, letter, due):
            for name in list(pair.shelf)[: len(letter.digests)]:
                pair.shelf.pop(name)  # as the hub's end of a mailbox does
            pair.hub.want(RUN, due)
    assert pair.desks[HUB].folder.missing(RUN, due) == []
    assert most <= WINDOW and pair.shelf.offered == len(due)


def test_a_letter_that_comes_twice_breeds_no_talk_and_no_boxes(pair: Pair) -> None:
    due = filled(pair, 2)
    pair.hub.want(RUN, due)
    wanted = pair.read()
    assert isinstance(wanted, Wanted)
    for _ in range(3):
        pair.site.offer(RUN, wanted.digests)
    assert pair.shelf.offered == 2
    here = pair.read()
    assert isinstance(here, Here)
    assert [pair.hub.take(RUN, here, due) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("change", [b"", b"another", None, "swapped"])
def test_a_box_that_was_changed_in_the_mailbox_did_not_arrive_and_comes_again(
    pair: Pair, change: bytes | str | None
) -> None:
    due = filled(pair, 2)
    pair.site.offer(RUN, due)
    here, names = pair.read(), list(pair.shelf)
    assert isinstance(here, Here)
    true = dict(pair.shelf)
    if change == "swapped":
        pair.shelf.update({names[0]: true[names[1]], names[1]: true[names[0]]})
    elif change is None:
        pair.shelf[names[0]] = true[names[0]][:-1] + bytes([true[names[0]][-1] ^ 1])
    elif isinstance(change, bytes):
        pair.shelf[names[0]] = change
    pair.hub.take(RUN, here, due)
    assert due[0] in pair.desks[HUB].folder.missing(RUN, due)
    pair.now += AGAIN_SECONDS
    pair.site.offer(RUN, due)
    again = pair.read()
    assert isinstance(again, Here) and pair.hub.take(RUN, again, due)
    assert pair.desks[HUB].folder.missing(RUN, due) == []


def test_a_site_that_asks_for_one_chunk_for_ever_gets_few_boxes(pair: Pair) -> None:
    due = [pair.desks[HUB].folder.put(RUN, bytes([number])) for number in range(3)]
    for _ in range(1000):
        pair.now += 0.01
        pair.hub.offer(RUN, due)
    assert pair.shelf.offered <= 3 + WINDOW * (10 / AGAIN_SECONDS + 1)


def test_on_a_slow_line_the_peer_hears_of_each_chunk(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    due = filled(pair, 4)

    def slow(name: bytes, box: bytes) -> None:
        pair.now += 20
        pair.shelf[name] = box

    monkeypatch.setattr(pair.shelf, "offer", slow)
    pair.site.offer(RUN, due)
    assert [len(letter.digests) for _ in range(4) if isinstance(letter := pair.read(), Here)] == [1, 1, 1, 1]
