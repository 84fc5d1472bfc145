"""Acks travel together, and a poster whose ways are full, broken or slow does nobody else any harm."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

import hansa
from hansa.errors import ProtocolViolation
from hansa.hub.coordinator import Coordinator
from hansa.hub.gateway import Door
from hansa.mail import boxes
from hansa.mail.acks import WAIT_SECONDS, Owed
from hansa.mail.boxes import FIRST_RETRY, Desk, Outbox
from hansa.mail.database import open_engine
from hansa.mail.letters import MOST_ACKS, STANDING, TO_HUB, TO_SITE, Acked, Acks, Hello, Reply, Round
from hansa.mail.poster import LANES, Poster, lanes
from hansa.messages import read_envelope
from tests.test_letters import CHARTER, FOLDER, KEYS, OTHER, RUN, databases, templates  # noqa: F401
from tests.world import AtOnce

DIGEST = hashlib.sha256(b"").digest()
NEXT = 10.0


def ack(number: int) -> Acked:
    return Acked(RUN, number, DIGEST)


def new(name: str) -> Desk:
    """A desk that owes nothing and has heard nobody."""
    return Desk(name, CHARTER, KEYS[name], FOLDER)


@pytest.fixture
def hub(databases: dict[str, Engine]) -> Engine:  # noqa: F811
    return databases["hub"]


@pytest.fixture
def site(databases: dict[str, Engine]) -> Engine:  # noqa: F811
    return databases["site"]


def write(engine: Engine, desk: Desk, receiver: str, count: int, run: str = RUN) -> list[bytes]:
    with Session(engine) as db, db.begin():
        for number in range(count):
            kind, payload = ("round", Round(0, b"%d" % number)), Reply(0, b"%d" % number)
            if desk.name == "hub":
                desk.write(db, receiver, run, *kind, 0.0)
            else:
                desk.write(db, receiver, run, "reply", payload, 0.0)
    with Session(engine) as db:
        query = select(Outbox.data).where(Outbox.receiver == receiver, Outbox.run == run)
        return list(db.scalars(query.order_by(Outbox.sequence)))


def attempts(engine: Engine, receiver: str) -> list[int]:
    with Session(engine) as db:
        return list(db.scalars(select(Outbox.attempts).where(Outbox.receiver == receiver).order_by(Outbox.id)))


def open_letters(engine: Engine) -> int:
    with Session(engine) as db:
        return db.scalar(select(func.count()).select_from(Outbox).where(Outbox.acked_at.is_(None))) or 0


def kinds(letters: list[bytes]) -> list[str]:
    return [read_envelope(letter)[0].kind for letter in letters]


class Way:
    """A mailbox with so much room; `wrong` is what it raises."""

    def __init__(self, places: int = 1000, wrong: Exception | None = None) -> None:
        self.places, self.wrong, self.sent = places, wrong, list[bytes]()

    def send(self, letter: bytes) -> None:
        if self.wrong is not None:
            raise self.wrong
        self.sent.append(letter)

    def room(self) -> int:
        return max(self.places - len(self.sent), 0)

    def reset(self) -> None:
        pass


def poster(engine: Engine, desk: Desk, leads: bool = True, **ways: Way) -> Poster:
    return Poster(engine, engine, desk, ways, threading.Event(), threading.Event(), AtOnce(), lambda: leads)


# What is owed


def test_acks_wait_a_quarter_of_a_second_and_go_out_together() -> None:
    owed = Owed()
    for number in range(3):
        owed.note("hub", ack(number), NEXT + number / 100)
    assert WAIT_SECONDS == 0.25 < FIRST_RETRY / 2
    assert owed.take(NEXT + 0.24) == {}
    assert owed.take(NEXT + 0.25) == {"hub": (ack(0), ack(1), ack(2))}
    assert owed.take(NEXT + 99) == {}


def test_a_full_letter_of_acks_goes_at_once_and_the_rest_waits_its_own_time() -> None:
    owed = Owed()
    for number in range(MOST_ACKS + 4):
        owed.note("hub", ack(number), NEXT)
    assert owed.take(NEXT) == {"hub": tuple(map(ack, range(256)))}
    assert owed.take(NEXT + 0.2) == {}
    assert owed.take(NEXT + 0.25) == {"hub": tuple(map(ack, range(256, 260)))}


def test_a_letter_that_came_twice_in_that_time_is_acked_once() -> None:
    owed = Owed()
    for _ in range(2 * MOST_ACKS):
        owed.note("hub", ack(7), NEXT)
    assert owed.take(NEXT) == {}
    assert owed.take(NEXT + 1) == {"hub": (ack(7),)}


def test_each_peer_has_its_own_time_and_a_clock_that_is_set_back_keeps_no_ack() -> None:
    owed = Owed()
    owed.note("a", ack(0), NEXT)
    owed.note("b", ack(1), NEXT + 0.2)
    assert owed.take(NEXT + 0.3) == {"a": (ack(0),)}
    assert owed.take(NEXT - 1000) == {"b": (ack(1),)}


# Letters of acks


def owe(desk: Desk, letters: list[bytes]) -> None:
    for letter in letters:
        desk.owe(read_envelope(letter)[0], letter, 0.0)


def test_a_peer_that_was_not_heard_to_speak_version_2_gets_single_acks(site: Engine) -> None:
    letters, desk = write(site, new("a"), "hub", 3), new("hub")
    owe(desk, letters)
    assert kinds(desk.acks(1.0)["a"]) == ["ack"] * 3
    owe(desk, letters)
    desk.hear("b", 2)
    assert kinds(desk.acks(2.0)["a"]) == ["ack"] * 3


def test_a_peer_of_version_2_gets_them_in_one_letter_and_all_are_closed(site: Engine) -> None:
    letters, desk, theirs = write(site, new("a"), "hub", 3), new("hub"), new("a")
    desk.hear("a", 2)
    desk.hear("a", 1)  # an old letter that came late makes it no younger
    owe(desk, letters)
    (together,) = desk.acks(1.0)["a"]
    header, envelope = theirs.read(together, TO_SITE)
    assert (header.kind, header.run, header.version) == ("acks", STANDING, 2)
    with Session(site) as db, db.begin():
        theirs.acked(db, header, theirs.open(header, envelope), 2.0)
    assert open_letters(site) == 0


def test_whoever_read_a_letter_of_version_2_answers_with_acks_together(hub: Engine) -> None:
    desk, theirs = new("a"), new("hub")
    desk.read(theirs.note("a", STANDING, "acks", Acks((ack(0),))), TO_SITE)
    owe(desk, write(hub, theirs, "a", 2))
    assert kinds(desk.acks(1.0)["hub"]) == ["acks"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_wrong_ack_among_many_closes_none(site: Engine, place: int) -> None:
    letters, desk = write(site, new("a"), "hub", 2), new("a")
    right = [Acked(RUN, number, hashlib.sha256(letter).digest()) for number, letter in enumerate(letters)]
    for wrong in (Acked(RUN, 0, DIGEST), Acked(RUN, 2, DIGEST), Acked(OTHER, 0, right[0].letter)):
        header, envelope = desk.read(
            new("hub").note("a", STANDING, "acks", Acks((*right[:place], wrong, *right[place:]))), TO_SITE
        )
        with Session(site) as db, pytest.raises(ProtocolViolation, match="not sent"), db.begin():
            desk.acked(db, header, desk.open(header, envelope), 2.0)
        with Session(site) as db, db.begin(), pytest.raises(ProtocolViolation):
            desk.acked(db, header, desk.open(header, envelope), 2.0)  # as a door does, which commits what else came
        assert open_letters(site) == 2


def test_an_ack_that_a_crash_swallowed_is_owed_again_when_its_letter_comes_again(
    databases: dict[str, Engine],  # noqa: F811
) -> None:
    (letter,) = write(databases["site"], new("a"), "hub", 1)
    first, again = new("hub"), new("hub")
    assert Door(databases["hub"], first, "a", FOLDER).receive([letter], NEXT) == {RUN}
    door = Door(databases["hub"], again, "a", FOLDER)  # the first process ended before its poster came round
    assert again.acks(NEXT + 99) == {}
    assert door.receive([letter], NEXT + 2) == set()
    theirs = new("a")
    with Session(databases["site"]) as db, db.begin():
        for data in again.acks(NEXT + 3)["a"]:
            header, envelope = theirs.read(data, TO_SITE)
            theirs.acked(db, header, theirs.open(header, envelope), NEXT + 3)
    assert open_letters(databases["site"]) == 0


# The poster


def test_a_poster_that_does_not_lead_pays_its_acks_and_posts_nothing_else(site: Engine, hub: Engine) -> None:
    desk, way = new("a"), Way()
    write(site, desk, "hub", 2)
    owe(desk, write(hub, new("hub"), "a", 1))
    second = poster(site, desk, leads=False, hub=way)
    assert second.post(1.0) == 0
    assert kinds(way.sent) == ["ack"]
    assert attempts(site, "hub") == [0, 0]
    assert poster(site, desk, hub=way).post(2.0) == 2
    assert kinds(way.sent) == ["ack", "reply", "reply"]


def test_acks_go_ahead_of_letters(site: Engine, hub: Engine) -> None:
    desk, way = new("hub"), Way()
    owe(desk, write(site, new("a"), "hub", 1))
    write(hub, desk, "a", 2)
    poster(hub, desk, a=way).post(1.0)
    assert kinds(way.sent) == ["ack", "round", "round"]


@pytest.mark.parametrize("wrong", [ConnectionError("away"), RuntimeError("a bug")], ids=["away", "a bug"])
def test_a_receiver_whose_way_raises_is_put_off_without_an_attempt_being_counted(hub: Engine, wrong: Exception) -> None:
    desk, ways = new("hub"), {"a": Way(wrong=wrong), "b": Way()}
    write(hub, desk, "a", 2)
    write(hub, desk, "b", 2)
    post = Poster(hub, hub, desk, ways, threading.Event(), threading.Event(), (pool := lanes()))
    for second in range(0, 60, 2):
        post.post(float(second))
        until(lambda: post._back.qsize() == len(post._busy))
        post.post(second + 0.5)
    pool.shutdown()
    assert attempts(hub, "a") == [0, 0]
    ways["a"].wrong = None
    poster(hub, desk, **ways).post(100.0)
    assert attempts(hub, "a") == [1, 1]
    assert len(ways["a"].sent) == 2


def until(done: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


class Hanging(Way):
    """A mailbox whose server takes a letter and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def send(self, letter: bytes) -> None:
        assert self.let_go.wait(30)
        super().send(letter)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Engine]:
    """For a poster in a thread of its own."""
    engine = open_engine(f"sqlite:///{tmp_path}/outbox.sqlite", durable=False)
    boxes.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_a_way_that_hangs_holds_up_no_other_and_gets_nothing_twice_meanwhile(quick: Engine) -> None:
    desk, ways, stop, bell = new("hub"), {"a": Hanging(), "b": Way(), "c": Way()}, threading.Event(), threading.Event()
    for name in ways:
        write(quick, desk, name, 3)
    post = Poster(quick, quick, desk, ways, bell, stop, lanes())
    post.start()
    try:
        until(lambda: all(attempts(quick, name) == [1, 1, 1] for name in "bc"))
        assert attempts(quick, "a") == [0, 0, 0]
        assert LANES > 1
        write(quick, desk, "b", 2, run=OTHER)
        bell.set()
        until(lambda: len(ways["b"].sent) == 5)
        assert ways["a"].sent == []
        ways["a"].let_go.set()  # type: ignore[attr-defined]
        until(lambda: attempts(quick, "a") == [1, 1, 1])
        assert len(ways["a"].sent) == 3
    finally:
        ways["a"].let_go.set()  # type: ignore[attr-defined]
        stop.set()
        post.join(5)


def test_no_more_is_put_into_a_mailbox_than_it_has_room_for(hub: Engine) -> None:
    desk, way = new("hub"), Way(places=3)
    letters = write(hub, desk, "a", 5)
    post = poster(hub, desk, a=way)
    assert post.post(0.0) == 5
    assert way.sent == letters[:3]
    assert attempts(hub, "a") == [1, 1, 1, 0, 0]  # what was left waits, and was no attempt
    way.places = 5
    post.post(boxes.WAIT_SECONDS)
    assert way.sent == letters
    assert attempts(hub, "a") == [1] * 5


def test_acks_need_no_room(site: Engine, hub: Engine) -> None:
    """A full mailbox must not keep the other side from closing what it sent."""
    desk, way = new("hub"), Way(places=0)
    owe(desk, write(site, new("a"), "hub", 1))
    write(hub, desk, "a", 1)
    poster(hub, desk, a=way).post(1.0)
    assert kinds(way.sent) == ["ack"]


# Whoever shows that it is up


def test_a_hello_brings_back_what_the_site_had_been_silent_about(databases: dict[str, Engine]) -> None:  # noqa: F811
    hub, site = databases["hub"], databases["site"]
    ours, theirs, ways = new("hub"), new("a"), {"a": Way(), "b": Way()}
    write(hub, ours, "a", 2)
    write(hub, ours, "b", 1)
    for second in range(0, 4000, 5):
        poster(hub, ours, **ways).post(float(second))
    before = {name: len(way.sent) for name, way in ways.items()}
    with Session(hub) as db:
        assert boxes.due(db, 3995.0) == []
    with Session(site) as db, db.begin():
        theirs.write(db, "hub", STANDING, "hello", Hello(hansa.__version__, ()), 3995.0)
    with Session(site) as db:
        hello = db.scalars(select(Outbox.data)).one()
    theirs.read(ours.note("a", STANDING, "acks", Acks((ack(0),))), TO_SITE)
    assert read_envelope(hello)[0].kind in TO_HUB
    Door(hub, ours, "a", FOLDER).receive([hello], 3995.0)
    Coordinator(hub, hub, ours).turn(STANDING, 3995.0)
    poster(hub, ours, **ways).post(3995.0)
    came = kinds(ways["a"].sent[before["a"] :])
    assert came == ["round", "round", "welcome"]
    assert len(ways["b"].sent) == before["b"]
    assert attempts(hub, "a") == [1, 1, 1]
    assert attempts(hub, "b")[0] > boxes.SILENT_ATTEMPTS


def test_hurrying_leaves_alone_what_was_never_sent_and_what_is_acked(hub: Engine) -> None:
    desk, way = new("hub"), Way()
    write(hub, desk, "a", 2)
    poster(hub, desk, a=way).post(0.0)
    with Session(hub) as db, db.begin():
        db.scalars(select(Outbox)).first().acked_at = 0.5  # type: ignore[union-attr]
    write(hub, desk, "a", 1, run=OTHER)
    with Session(hub) as db, db.begin():
        boxes.hurry(db, "a", 1.0)
        assert [row.attempts for row in db.scalars(select(Outbox).order_by(Outbox.id))] == [1, 0, 0]
        assert [letter.attempts for letter in boxes.due(db, 1.0)] == [0, 0]
