"""Outbox and inbox over real databases: nothing lost, nothing doubled, whatever the way between them does."""

import hashlib
import random
import shutil
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import Engine, func, inspect, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from hansa.errors import ProtocolViolation
from hansa.hub import checkpoints, models
from hansa.hub.gateway import Door
from hansa.hub.log import record
from hansa.mail import boxes, letters
from hansa.mail.boxes import (
    FIRST_RETRY,
    LONGEST_RETRY,
    SILENT_ATTEMPTS,
    Desk,
    Inbox,
    Outbox,
    SetAside,
    claim,
    due,
    posted,
    ready,
    take,
)
from hansa.mail.database import migrate, open_engine
from hansa.mail.letters import STANDING, TO_HUB, TO_SITE, Ack, Refusal, Reply, Round, sentence
from hansa.mail.poster import Poster
from hansa.messages import Header, read_envelope
from hansa_site import journal
from tests import cards
from tests.world import AtOnce

NAMES = ("hub", "a", "b", "c")
CHARTER = cards.charter("abc")
KEYS = {"hub": cards.hub_keys(), **{name: cards.member_keys(place) for place, name in enumerate("abc")}}
FOLDER: Any = None  # no chunk travels here
DESKS = {name: Desk(name, CHARTER, KEYS[name], FOLDER) for name in NAMES}
HUB, SITE = DESKS["hub"], DESKS["a"]
RUN, OTHER = "0" * 31 + "1", "0" * 31 + "2"
METADATA = {
    "hub": [models.Base.metadata, boxes.Base.metadata],
    "site": [journal.Base.metadata, boxes.Base.metadata],
}


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A database of each side, empty and up to date."""
    folder, found = tmp_path_factory.mktemp("databases"), {}
    for tree in METADATA:
        found[tree] = folder / f"{tree}.sqlite"
        engine = open_engine(f"sqlite:///{found[tree]}")
        migrate(engine, tree)
        engine.dispose()
    return found


@pytest.fixture
def databases(templates: dict[str, Path], tmp_path: Path) -> Iterator[dict[str, Engine]]:
    engines = {}
    for tree, template in templates.items():
        shutil.copy(template, tmp_path / template.name)
        engines[tree] = open_engine(f"sqlite:///{tmp_path / template.name}")
    yield engines
    for engine in engines.values():
        engine.dispose()


@pytest.fixture
def hub(databases: dict[str, Engine]) -> Engine:
    return databases["hub"]


@pytest.fixture
def site(databases: dict[str, Engine]) -> Engine:
    return databases["site"]


def wrote(engine: Engine, desk: Desk, receiver: str, *texts: str, run: str = RUN, now: float = 0.0) -> list[bytes]:
    """Letters written in one transaction, as bytes."""
    with Session(engine) as db, db.begin():
        for each in texts:
            kind = "round" if desk is HUB else "reply"
            payload = Round(0, each.encode()) if desk is HUB else Reply(0, each.encode())
            desk.write(db, receiver, run, kind, payload, now)
    with Session(engine) as db:
        query = select(Outbox.data).where(Outbox.receiver == receiver, Outbox.run == run).order_by(Outbox.sequence)
        return list(db.scalars(query))[-len(texts) :]


def header_of(data: bytes) -> Header:
    return read_envelope(data)[0]


def message_of(desk: Desk, data: bytes) -> bytes:
    payload = desk.open(*read_envelope(data))
    assert isinstance(payload, Reply | Round)
    return payload.message


def taken(engine: Engine, *data: bytes, now: float = 0.0) -> list[str]:
    with Session(engine) as db, db.begin():
        return [take(db, header_of(letter), letter, now) for letter in data]


def _next(db: Session, run: str | None) -> Inbox | None:
    if run is not None:
        return ready(db, run)
    number = claim(db, "one")
    return None if number is None else db.get_one(Inbox, number)


def worked_off(engine: Engine, run: str | None = None) -> list[bytes]:
    """Every letter that is ready, in the order in which it became so."""
    found = []
    with Session(engine) as db, db.begin():
        while (row := _next(db, run)) is not None:
            found.append(row.data)
            row.done_at = 1.0
            db.flush()
    return found


def count(engine: Engine, table: type) -> int:
    with Session(engine) as db:
        return db.scalar(select(func.count()).select_from(table)) or 0


# Writing and believing


def test_letters_of_one_run_are_numbered_one_after_another(hub: Engine) -> None:
    first, second = wrote(hub, HUB, "a", "one", "two")
    (elsewhere,) = wrote(hub, HUB, "a", "three", run=OTHER)
    (another,) = wrote(hub, HUB, "b", "four")
    assert [header_of(data).sequence for data in (first, second, elsewhere, another)] == [0, 1, 0, 0]


def test_a_letter_belongs_to_the_transaction_that_wrote_it(hub: Engine) -> None:
    with Session(hub) as db, pytest.raises(RuntimeError), db.begin():
        HUB.write(db, "a", RUN, "round", Round(0, b"never"), 0.0)
        raise RuntimeError
    assert count(hub, Outbox) == 0
    assert header_of(wrote(hub, HUB, "a", "one")[0]).sequence == 0


def test_a_letter_carries_the_payload_of_its_kind_only(hub: Engine) -> None:
    with Session(hub) as db, db.begin(), pytest.raises(TypeError, match="carries a Round"):
        HUB.write(db, "a", RUN, "round", Refusal("no"), 0.0)


def test_a_letter_is_read_by_whom_it_is_for(hub: Engine) -> None:
    (letter,) = wrote(hub, HUB, "a", "hello")
    header, envelope = SITE.read(letter, TO_SITE)
    assert header.sender == "hub"
    assert SITE.open(header, envelope) == Round(0, b"hello")
    with pytest.raises(ProtocolViolation, match="somebody else"):
        DESKS["b"].read(letter, TO_SITE)


def test_a_letter_of_a_kind_that_is_not_due_here_is_not_believed(hub: Engine) -> None:
    (letter,) = wrote(hub, HUB, "a", "hello")
    with pytest.raises(ProtocolViolation, match="kind not due"):
        SITE.read(letter, TO_HUB)


def test_a_letter_of_another_charter_or_of_a_stranger_is_not_believed(site: Engine) -> None:
    newer = Desk("a", replace(CHARTER, version=2), KEYS["a"], FOLDER)
    with pytest.raises(ProtocolViolation, match="charter's version 2"):
        HUB.read(wrote(site, newer, "hub", "x")[0], TO_HUB)
    much_newer = Desk("a", replace(CHARTER, version=3), KEYS["a"], FOLDER)
    with pytest.raises(ProtocolViolation, match="does not hold here"):
        HUB.read(wrote(site, much_newer, "hub", "x", run="e" * 32)[0], TO_HUB)
    stranger = Desk("z", CHARTER, KEYS["a"], FOLDER)
    with pytest.raises(ProtocolViolation, match="not a member"):
        HUB.read(wrote(site, stranger, "hub", "x", run=OTHER)[0], TO_HUB)
    impostor = Desk("b", CHARTER, KEYS["a"], FOLDER)
    with pytest.raises(ProtocolViolation, match="signature"):
        HUB.read(wrote(site, impostor, "hub", "x", run="f" * 32)[0], TO_HUB)


def test_every_kind_goes_one_way_only_but_acks_and_talk_of_chunks() -> None:
    assert {"ack", "acks", "wanted", "here"} == TO_SITE & TO_HUB
    assert set(letters.PAYLOADS) == TO_SITE | TO_HUB


@pytest.mark.parametrize(
    ("words", "line"),
    [("  two\nlines\t", "two lines"), ("", "no reason given"), ("x" * 600, "x" * 497 + "…"), ("x" * 498, "x" * 498)],
)
def test_a_sentence_is_one_line_of_at_most_five_hundred_characters(words: str, line: str) -> None:
    assert sentence(words) == line


# The inbox


def test_a_letter_is_taken_once(site: Engine, hub: Engine) -> None:
    (letter,) = wrote(site, SITE, "hub", "hello")
    assert taken(hub, letter, letter) == ["new", "again"]
    assert taken(hub, letter) == ["again"]
    assert worked_off(hub) == [letter]
    assert taken(hub, letter) == ["again"]
    assert worked_off(hub) == []


def test_two_letters_under_one_number_are_equivocation(site: Engine, hub: Engine) -> None:
    (letter,) = wrote(site, SITE, "hub", "yes")
    taken(hub, letter)
    forger = Desk("a", CHARTER, KEYS["a"], FOLDER)
    again = forger._seal("hub", RUN, 0, "reply", Reply(0, b"no"))
    assert taken(hub, again) == ["other"]
    same = forger._seal("hub", RUN, 0, "reply", Reply(0, b"yes"))  # HPKE draws chance: other bytes, so another letter
    assert taken(hub, same) == ["other"]
    assert worked_off(hub) == [letter]


def test_letters_are_worked_off_in_the_order_of_their_numbers(site: Engine, hub: Engine) -> None:
    written = wrote(site, SITE, "hub", "0", "1", "2", "3")
    taken(hub, written[2], written[1])
    assert worked_off(hub) == []
    taken(hub, written[0])
    assert worked_off(hub) == written[:3]
    taken(hub, written[3])
    assert worked_off(hub) == written[3:]


def test_a_gap_in_one_run_or_of_one_sender_holds_up_no_other(databases: dict[str, Engine]) -> None:
    hub, site = databases["hub"], databases["site"]
    _, late = wrote(site, SITE, "hub", "0", "1")
    (other,) = wrote(site, SITE, "hub", "0", run=OTHER)
    with Session(site) as db, db.begin():
        db.execute(text("DELETE FROM outbox"))
    (neighbour,) = wrote(site, DESKS["b"], "hub", "0")
    taken(hub, late, other, neighbour)
    assert worked_off(hub, OTHER) == [other]
    assert worked_off(hub) == [neighbour]


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_arrival_gives_one_order_of_work(databases: dict[str, Engine], seed: int) -> None:
    written = wrote(databases["site"], SITE, "hub", *map(str, range(8)))
    chance, worked = random.Random(seed), []
    for letter in chance.sample(written, 8):
        taken(databases["hub"], letter)
        worked += worked_off(databases["hub"])
    assert worked == written


# Acks


def ack_of(desk: Desk, letter: bytes, of: bytes) -> bytes:
    """As a party writes it that was not heard to speak version 2."""
    header = header_of(letter)
    return desk._seal(header.sender, header.run, header.sequence, "ack", Ack(hashlib.sha256(of).digest()))


def acked(engine: Engine, desk: Desk, ack: bytes, kinds: frozenset[str]) -> None:
    header, envelope = desk.read(ack, kinds)
    with Session(engine) as db, db.begin():
        desk.acked(db, header, desk.open(header, envelope), 5.0)


def test_an_ack_closes_its_letter_and_no_other(site: Engine) -> None:
    first, second = wrote(site, SITE, "hub", "one", "two")
    (elsewhere,) = wrote(site, SITE, "hub", "three", run=OTHER)
    acked(site, SITE, ack_of(HUB, first, first), TO_SITE)
    with Session(site) as db:
        assert [letter.data for letter in due(db, 10.0)] == [second, elsewhere]
    acked(site, SITE, ack_of(HUB, first, first), TO_SITE)  # a second ack changes nothing
    assert count(site, Outbox) == 3


def test_an_ack_of_other_bytes_of_another_number_or_of_nobody_closes_nothing(site: Engine) -> None:
    first, second = wrote(site, SITE, "hub", "one", "two")
    for ack in (
        ack_of(HUB, first, second),
        ack_of(HUB, second, first),
        HUB._seal("a", RUN, 7, "ack", Ack(bytes(32))),
        HUB._seal("a", OTHER, 0, "ack", Ack(bytes(32))),
        DESKS["b"]._seal("a", RUN, 0, "ack", HUB.open(*read_envelope(ack_of(SITE, HUBS, HUBS)))),
    ):
        with pytest.raises(ProtocolViolation, match="not sent"):
            acked(site, SITE, ack, TO_SITE)
    with Session(site) as db:
        assert len(due(db, 10.0)) == 2


HUBS = HUB._seal("a", RUN, 0, "round", Round(0, b""))


# The poster


class Way:
    """A broker that may be away, lose or repeat, as its chance says."""

    def __init__(self, seed: int = 0, away: float = 0.0, lost: float = 0.0, twice: float = 0.0) -> None:
        self.chance, self.away, self.lost, self.twice = random.Random(seed), away, lost, twice
        self.arrived: list[bytes] = []
        self.sent: list[bytes] = []
        self.resets = 0

    def send(self, letter: bytes) -> None:
        if self.chance.random() < self.away:
            raise ConnectionError("the broker is away")
        self.sent.append(letter)
        if self.chance.random() >= self.lost:
            self.arrived += [letter] * (2 if self.chance.random() < self.twice else 1)

    def room(self) -> int:
        return 1000

    def reset(self) -> None:
        self.resets += 1


def poster(engine: Engine, desk: Desk, **ways: Way) -> Poster:
    return Poster(engine, engine, desk, ways, threading.Event(), threading.Event(), AtOnce())


def test_a_letter_is_sent_again_ever_more_rarely_and_its_bytes_never_change(site: Engine) -> None:
    (letter,) = wrote(site, SITE, "hub", "hello")
    way, now, times = Way(), 0.0, []
    post = poster(site, SITE, hub=way)
    for tenth in range(3000):
        now = tenth / 10
        if post.post(now):
            times.append(now)
    assert set(way.sent) == {letter}
    waits = [after - before for before, after in pairwise(times)]
    assert waits[0] < 1.5 * FIRST_RETRY
    assert all(after > 0.5 * min(2 * before, LONGEST_RETRY) for before, after in pairwise(waits))
    assert LONGEST_RETRY / 2 < max(waits[:SILENT_ATTEMPTS]) < LONGEST_RETRY * 1.5
    assert SILENT_ATTEMPTS < len(times) < SILENT_ATTEMPTS + 4


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_each_wait_is_longer_than_the_one_before_up_to_a_quarter_of_a_minute(site: Engine, chance: float) -> None:
    wrote(site, SITE, "hub", "hello")
    waits, now = [], 0.0
    for _ in range(9):
        with Session(site) as db, db.begin():
            posted(db, due(db, now), now, chance)
        with Session(site) as db:
            at = db.scalar(select(Outbox.next_at)) or 0.0
        waits.append(at - now)
        now = at
    assert waits == pytest.approx(sorted(waits))
    assert waits[0] == pytest.approx(FIRST_RETRY * (0.75 + 0.5 * chance))
    assert waits[-1] == pytest.approx(LONGEST_RETRY * (0.75 + 0.5 * chance))


def test_a_receiver_that_is_away_stops_no_other(hub: Engine) -> None:
    wrote(hub, HUB, "a", "one", "two")
    (letter,) = wrote(hub, HUB, "b", "three")
    ways = {"a": Way(away=1.0), "b": Way()}
    assert poster(hub, HUB, **ways).post(0.0) == 3
    assert ways["b"].arrived == [letter]
    assert ways["a"].sent == []
    assert ways["a"].resets == 1


def test_letters_to_one_receiver_leave_in_order(hub: Engine) -> None:
    written = wrote(hub, HUB, "a", *map(str, range(120)))
    way = Way()
    post = poster(hub, HUB, a=way)
    assert post.post(0.0) == 100
    assert post.post(0.0) == 20
    assert post.post(0.0) == 0
    assert way.arrived == written


def test_a_crash_between_sending_and_noting_it_sends_twice_and_never_not_at_all(site: Engine) -> None:
    (letter,) = wrote(site, SITE, "hub", "hello")
    way = Way()
    with Session(site) as db:
        for found in due(db, 0.0):
            way.send(found.data)  # and here the process ends
    poster(site, SITE, hub=way).post(0.0)
    assert way.sent == [letter, letter]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_over_ways_that_are_away_lose_and_repeat(
    databases: dict[str, Engine], seed: int
) -> None:
    site, hub = databases["site"], databases["hub"]
    written = wrote(site, SITE, "hub", *map(str, range(12)))
    up, down = Way(seed, 0.3, 0.3, 0.3), Way(seed + 100, lost=0.4, twice=0.3)
    post, door, chance = poster(site, SITE, hub=up), Door(hub, HUB, "a", FOLDER), random.Random(seed)
    worked: list[bytes] = []
    for second in range(2000):
        post.post(float(second))
        chance.shuffle(up.arrived)
        while up.arrived:
            door.receive([up.arrived.pop()], float(second))
        for ack in HUB.acks(float(second)).get("a", []):
            down.send(ack)
        worked += worked_off(hub)
        while down.arrived:
            acked(site, SITE, down.arrived.pop(), TO_SITE)
        with Session(site) as db:
            if not due(db, 1e9):
                break
    assert [message_of(HUB, data) for data in worked] == [str(number).encode() for number in range(12)]
    assert worked == written
    assert set(up.sent) == set(written)
    assert count(hub, SetAside) == 0


# The door


def test_what_is_no_letter_is_set_aside_and_stops_nothing(databases: dict[str, Engine]) -> None:
    hub, site = databases["hub"], databases["site"]
    door = Door(hub, HUB, "a", FOLDER)
    (letter,) = wrote(site, SITE, "hub", "hello")
    (neighbours,) = wrote(site, DESKS["b"], "hub", "hello", run=OTHER)
    for rubbish in (b"", b"\xc1", b"\x91" * 5000, letter[:-1], letter + b"\0", neighbours, HUBS):
        assert door.receive([rubbish], 1.0) == set()
    assert count(hub, SetAside) == 7
    assert count(hub, Inbox) == 0
    assert door.receive([letter], 1.0) == {RUN}
    assert HUB.acks(2.0)["a"]
    assert door.receive([letter], 2.0) == set()
    assert HUB.acks(3.0)["a"]


def test_what_is_set_aside_is_bounded(hub: Engine) -> None:
    with Session(hub) as db, db.begin():
        for number in range(1010):
            boxes.set_aside(db, "x" * 40, "y" * 600, b"z" * 70_000 if number > 1005 else b"z", float(number))
    with Session(hub) as db:
        rows = db.scalars(select(SetAside).order_by(SetAside.id)).all()
        assert len(rows) == 1000
        assert [rows[0].at, rows[-1].at] == [10.0, 1009.0]
        assert (len(rows[-1].came_by), len(rows[-1].reason), len(rows[-1].data)) == (32, 500, 65_536)


def test_standing_letters_are_of_no_job() -> None:
    assert STANDING == "0" * 32


# The databases


@pytest.mark.parametrize("tree", METADATA)
def test_the_migrations_make_what_the_models_say(databases: dict[str, Engine], tree: str) -> None:
    with databases[tree].connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA[tree]) == []  # type: ignore[arg-type]
        names = {name for metadata in METADATA[tree] for name in metadata.tables}
        assert set(inspect(connection).get_table_names()) == names | {"alembic_version"}


@pytest.mark.parametrize("tree", METADATA)
def test_every_migration_is_in_one_line_and_asking_twice_changes_nothing(
    databases: dict[str, Engine], tree: str
) -> None:
    script = ScriptDirectory(str(Path(__file__).parents[1] / "migrations" / tree))
    assert len(script.get_heads()) == len(script.get_bases()) == 1
    migrate(databases[tree], tree)
    with databases[tree].connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == script.get_current_head()


def test_sqlite_commits_are_durable_and_erased_bytes_are_overwritten(hub: Engine) -> None:
    with hub.connect() as connection:
        found = [
            connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    assert found == ["wal", 2, 1, 1]


@pytest.fixture
def logged(hub: Engine) -> Engine:
    with Session(hub) as db, db.begin():
        for _ in range(3):
            record(db, HUB, 1.0, "site seen")
        checkpoints.make(db, HUB, 1.0)
    return hub


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entry SET data = x'00' WHERE number = 1",
        "UPDATE log_entry SET number = 9 WHERE number = 2",
        "DELETE FROM log_entry WHERE number = 2",
        "DELETE FROM log_entry",
        "INSERT INTO log_entry VALUES (1, x'00', 'hub', 9, 'ended', '', 0)",
        "INSERT OR REPLACE INTO log_entry VALUES (1, x'00', 'hub', 9, 'ended', '', 0)",
        "INSERT OR REPLACE INTO log_entry VALUES (9, x'00', 'hub', 1, 'ended', '', 0)",
        "UPDATE log_node SET digest = x'00'",
        "DELETE FROM log_node",
        "INSERT OR REPLACE INTO log_node VALUES (0, 1, x'00')",
        "UPDATE log_checkpoint SET note = x'00'",
        "DELETE FROM log_checkpoint",
        "INSERT OR REPLACE INTO log_checkpoint VALUES (3, x'00', 0)",
    ],
)
def test_the_log_can_not_be_changed_through_sql(logged: Engine, statement: str) -> None:
    with pytest.raises(DatabaseError), logged.begin() as connection:
        connection.execute(text(statement))
    assert [count(logged, table) for table in (models.EntryRow, models.NodeRow, models.CheckpointRow)] == [3, 4, 1]
