"""The hub asks for cosignatures: who is away holds up finality and nothing else, and nothing is asked in a circle."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hansa.audit import witnessing
from hansa.audit.witnessing import CONFLICT, GRANTED
from hansa.charter import Rules
from hansa.errors import ProtocolViolation
from hansa.hub import checkpoints
from hansa.hub.checkpoints import EVERY, LONGEST_AGAIN, PATIENCE
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, WitnessRow
from hansa.mail.letters import MOST_ENTRIES, Place, Shown
from hansa.messages import HUB
from hansa_site.journal import OwnEntry
from tests.witnesses import NAMES, Trio
from tests.world import Faults, World


@pytest.fixture
def trio(tmp_path: Path) -> Trio:
    return Trio(tmp_path)


def checkpoints_of(trio: Trio) -> dict[int, bytes]:
    with Session(trio.engine) as db:
        return {row.size: row.note for row in db.scalars(select(CheckpointRow))}


def test_a_checkpoint_that_everybody_cosigned_is_final(trio: Trio) -> None:
    assert {said.status for said in trio.round().values()} == {GRANTED}
    assert trio.final() == trio.size() == 1


def test_where_nothing_was_written_there_is_no_new_checkpoint_and_nobody_is_asked(trio: Trio) -> None:
    trio.round()
    for _ in range(5):
        assert trio.ask(EVERY) == {}
    assert len(checkpoints_of(trio)) == 1


def test_a_release_gets_its_checkpoint_at_once_and_anything_else_within_seconds(trio: Trio) -> None:
    trio.round()
    trio.act()
    assert trio.ask(EVERY / 2) == {}
    assert set(trio.round(EVERY / 2)) == set(NAMES)
    trio.act("released", answer="0" * 64, sites="a, b, c")
    assert set(trio.round(0.1)) == set(NAMES)
    assert trio.final() == trio.size() == 3


def test_a_site_that_is_down_holds_up_finality_and_nobody_elses_receipts(trio: Trio) -> None:
    trio.deed("a")
    trio.round(away="c")
    assert (trio.final(), trio.receipts("a")) == (None, 1)
    trio.deed("b")
    trio.round(PATIENCE, away="c")
    assert (trio.final(), trio.receipts("b")) == (None, 1)
    trio.round(LONGEST_AGAIN)
    assert trio.final() == trio.size()


def test_an_explicit_quorum_is_final_without_the_one_that_is_down(tmp_path: Path) -> None:
    trio = Trio(tmp_path, Rules(quorum=2, corrupt=0))
    trio.round(away="c")
    assert trio.final() == 1


def test_a_site_that_comes_back_cosigns_from_where_it_was(trio: Trio) -> None:
    trio.round()
    for _ in range(3):
        trio.act()
        trio.round(PATIENCE, away="c")
    shown = trio.ask(LONGEST_AGAIN)["c"]
    assert witnessing.parse(shown.body).old == 1
    trio.take("c", trio.look("c", shown))
    assert trio.known("c").size == trio.final() == 4


def test_a_hub_that_forgot_its_witnesses_is_told_how_far_they_are_and_asks_from_there(trio: Trio) -> None:
    trio.deed("a")
    trio.round()
    with Session(trio.engine) as db, db.begin():
        db.execute(delete(WitnessRow))
    trio.act()
    trio.restart()
    said = trio.round(EVERY)
    assert {one.status for one in said.values()} == {CONFLICT}
    assert trio.known("a").size == 2
    assert {one.status for one in trio.round(1.0).values()} == {GRANTED}
    assert trio.final() == 3


def test_a_log_that_is_shorter_than_what_a_witness_saw_is_told_so_and_not_cosigned(trio: Trio) -> None:
    trio.act()
    trio.round()
    with Session(trio.engine) as db, db.begin():  # an older database
        for row in (CosignatureRow, CheckpointRow, WitnessRow):
            db.execute(delete(row))
        db.execute(delete(EntryRow).where(EntryRow.number == 1))
    trio.restart()
    trio.round(EVERY)
    assert trio.known("a").refusal == "it has cosigned 2 entries, and this log has 1"
    assert trio.final() is None


def test_a_site_that_gets_no_further_is_asked_less_and_less_often(trio: Trio) -> None:
    """Its receipt proves nothing, so it asks for another for ever: the hub must not ask it at every tick."""
    trio.deed("a")
    with Session(trio.engines["a"]) as db, db.begin():
        row = db.get_one(OwnEntry, 0)
        row.data += b"\0"
    asked = sum("a" in trio.round(1.0) for _ in range(120))
    assert 2 <= asked <= 8
    assert trio.final() == trio.size()


def test_many_entries_of_one_site_are_receipted_letter_after_letter(trio: Trio) -> None:
    for _ in range(3):
        trio.deed("b", MOST_ENTRIES - 4)
    letters = [len(shown["b"].places) for shown in _asked_until_done(trio)]
    assert letters == [64, 64, 52]
    assert trio.receipts("b") == 180


def _asked_until_done(trio: Trio) -> list[dict[str, Shown]]:
    found = []
    while "b" in (shown := trio.ask(0.2)):
        found.append(shown)
        for site, one in shown.items():
            trio.take(site, trio.look(site, one))
    return found


def test_a_hub_that_dies_before_it_asked_asks_with_the_same_text(trio: Trio) -> None:
    trio.ask()  # nobody gets it
    before = checkpoints_of(trio)
    trio.restart()
    said = trio.round(1.0)
    assert set(said) == set(NAMES)
    assert checkpoints_of(trio) == before
    assert trio.final() == 1


def test_an_answer_that_is_lost_is_given_again(trio: Trio) -> None:
    """Nothing else is written, so no later checkpoint stands in for this one."""
    for site, shown in trio.ask().items():
        said = trio.look(site, shown)
        if site != "b":
            trio.take(site, said)
    assert trio.round(2.0)["b"].status == CONFLICT
    assert trio.round(2.0)["b"].status == GRANTED
    assert trio.final() == 1
    assert trio.ask(LONGEST_AGAIN) == {}


def test_an_answer_that_comes_twice_counts_once(trio: Trio) -> None:
    shown = trio.ask()["a"]
    said = trio.look("a", shown)
    trio.take("a", said)
    trio.take("a", said)
    with Session(trio.engine) as db:
        assert db.scalar(select(func.count()).select_from(CosignatureRow)) == 1


def test_cosignatures_of_no_checkpoint_of_another_tree_or_by_one_key_are_refused(trio: Trio) -> None:
    shown = trio.ask()
    said = trio.look("a", shown["a"])
    with pytest.raises(ProtocolViolation, match="there is none"):
        trio.take("a", replace(said, size=9))
    with pytest.raises(ProtocolViolation, match="one key and not with both"):
        trio.take("a", replace(said, body=said.body.split(b"\n")[0] + b"\n"))
    with pytest.raises(ProtocolViolation):
        trio.take("b", said)
    assert trio.final() is None


def test_a_refusal_is_kept_in_one_line_and_no_cosignature_with_it(trio: Trio) -> None:
    shown = trio.ask()["a"]
    said = trio.look("a", replace(shown, body=shown.body.replace(b"hansa/test/0\n", b"hansa/other/0\n", 1)))
    trio.take("a", said)
    assert trio.known("a").refusal == "404: this witness knows no log of that origin"
    assert trio.known("a").size == 0


def test_places_that_are_shown_twice_give_one_receipt(trio: Trio) -> None:
    trio.deed("a")
    shown = trio.ask()["a"]
    assert [type(place) for place in shown.places] == [Place]
    for _ in range(2):
        trio.look("a", shown)
    assert trio.receipts("a") == 1
    assert trio.alarms("a") == []


@pytest.mark.parametrize("seed", range(2))
def test_everything_becomes_final_though_letters_are_lost_doubled_and_late(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed, faults=Faults(drop=0.3, repeat=0.3, delay=2.0))

    def done() -> bool:
        with Session(world.engines[HUB]) as db:
            size = db.scalar(select(func.max(EntryRow.number))) or 0
            seen = db.scalars(select(WitnessRow)).all()
            final = checkpoints.newest_final(db, world.charter)
        return final == size + 1 and all(row.receipted == 3 for row in seen)

    world.run_until(done)
    with Session(world.engines[HUB]) as db:
        assert all(not row.refusal for row in db.scalars(select(WitnessRow)))
