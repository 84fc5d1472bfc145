"""What operators and reviewers do with the log: export, receipts, sign-off, erasure, an older database put back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hansa.audit import log as audit_log
from hansa.audit import proof, roster
from hansa.audit.log import Payload, read
from hansa.errors import ProtocolViolation, Refused
from hansa.hub import actions, checkpoints, exports, log, log_status, queries, retention
from hansa.hub.actions import Hub
from hansa.hub.log_pages import Wanted
from hansa.hub.models import CheckpointRow, EntryRow, EvidenceRow, Job, NodeRow, PayloadRow, WitnessRow
from hansa.mail import boxes
from hansa.messages import HUB, decode
from hansa.verify.tiles import Source
from hansa.verify.verdict import Verdict, verify
from hansa_site import deeds, log_state
from hansa_site.deeds import Deed
from tests.world import PERSON, World


def settled(world: World) -> None:
    """Until every entry is final, and every site has a receipt for each of its own."""

    def done() -> bool:
        with Session(world.engines[HUB]) as db:
            whole = checkpoints.newest_final(db, world.charter) == log.size(db)
        return whole and all(not unproved(world, name) for name in world.names)

    world.run_until(done)


def unproved(world: World, name: str) -> list[int]:
    with Session(world.engines[name]) as db:
        return [own.sequence for own in log_state.own(db) if own.number is None]


def source(folder: Path) -> Source:
    def content(path: str) -> bytes | None:
        return (folder / path).read_bytes() if (folder / path).is_file() else None

    def names(path: str) -> list[str]:
        return sorted(one.name for one in (folder / path).iterdir()) if (folder / path).is_dir() else []

    return Source(content, names)


def judged(folder: Path, world: World) -> Verdict:
    return verify(source(folder), world.signed)


class Kept:
    def __init__(self, world: World, run: str, hub: Hub) -> None:
        self.world, self.run, self.hub = world, run, hub


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    world = World(tmp_path, sites=3)
    run = world.propose()
    assert world.finish(run).status == "done"
    settled(world)
    yield Kept(world, run, world.hub())


def test_what_is_exported_holds_under_the_members_own_charter(kept: Kept, tmp_path: Path) -> None:
    size, final = exports.export(kept.hub, tmp_path / "export")
    verdict = judged(tmp_path / "export", kept.world)
    assert final and verdict.outcome in ("holds", "open") and verdict.first_failure is None
    assert (verdict.size, verdict.releases, verdict.final, verdict.own_charter) == (size, 1, True, True)
    assert sorted(verdict.cosigned) == kept.world.names
    with pytest.raises(Refused, match="not empty"):
        exports.export(kept.hub, tmp_path / "export")


def test_every_member_has_a_receipt_for_each_of_its_entries_and_the_hub_gives_them_for_all(kept: Kept) -> None:
    policy = roster.policy(kept.world.charter)
    size = queries.log_state(kept.hub).size
    for number in range(size):
        receipt = proof.parse(exports.receipt(kept.hub, number))
        assert (receipt.index, proof.check(receipt, policy).checkpoint.origin) == (number, kept.world.charter.origin)
    with pytest.raises(Refused, match="has no entry"):
        exports.receipt(kept.hub, size)
    for name in kept.world.names:
        with Session(kept.world.engines[name]) as db:
            for own in log_state.own(db):
                assert proof.parse(log_state.receipt(db, own.sequence)).index == own.number


def test_every_site_enters_what_it_was_told_of_the_answer_though_the_end_is_worked_off_first(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    assert world.finish(run).status == "done"
    with Session(world.engines[HUB]) as db:
        letters = [letter for letter in boxes.due(db, world.now) if letter.receiver == "s1"]
    for letter in letters:  # both lie there before the site has time for either
        world.sites["s1"].receive(letter.data, world.now)
    settled(world)
    with Session(world.engines[HUB]) as db:
        told = db.scalars(select(EntryRow.by).where(EntryRow.act == "release seen", EntryRow.run == run)).all()
    assert sorted(told) == world.names


def test_entries_are_picked_by_job_author_act_and_time(kept: Kept) -> None:
    everything = queries.log(kept.hub, 10_000)
    middle = everything[len(everything) // 2].at
    for wanted, right in (
        (Wanted(by="s1"), lambda entry: entry.by == "s1"),
        (Wanted(act="consent given"), lambda entry: entry.act == "consent given"),
        (Wanted(since=middle), lambda entry: entry.at >= middle),
        (Wanted("s1", "locked", 0.0, middle + 1e9), lambda entry: (entry.by, entry.act) == ("s1", "locked")),
        (Wanted(until=middle), lambda entry: entry.at < middle),
    ):
        assert queries.log(kept.hub, 10_000, "", wanted) == [entry for entry in everything if right(entry)]
    of_run = [entry for entry in everything if entry.run == kept.run]
    assert queries.log(kept.hub, 10_000, kept.run[:6]) == queries.log(kept.hub, 10_000, kept.run) == of_run
    assert not queries.log(kept.hub, 10_000, "%")


def test_a_reviewers_sign_off_is_an_entry_of_the_member(kept: Kept) -> None:
    world = kept.world
    with Session(world.engines["s1"]) as db, db.begin():
        deed = Deed("log reviewed", {"size": "9", "root": "00"}, b"read by the data protection officer")
        deeds.write(db, world.desks["s1"], deed, "", world.now, bytes)
    settled(world)
    newest = queries.log(kept.hub, 1)[0]
    assert (newest.act, newest.by, newest.final) == ("log reviewed", "s1", True)
    with Session(world.engines[HUB]) as db:
        row = db.scalars(select(EntryRow).order_by(EntryRow.number.desc()).limit(1)).one()
        payload = decode(db.get_one(PayloadRow, read(row.data).payload).payload, Payload)
    assert payload.content == b"read by the data protection officer"


def test_what_is_erased_of_a_job_leaves_a_log_that_holds(kept: Kept, tmp_path: Path) -> None:
    actions.erase(kept.hub, kept.run)
    with Session(kept.world.engines[HUB]) as db:
        assert not db.scalars(select(PayloadRow)).all() and not db.scalars(select(EvidenceRow)).all()
        assert db.get_one(Job, kept.run).answer is None
    exports.export(kept.hub, tmp_path / "export")
    verdict = judged(tmp_path / "export", kept.world)
    assert verdict.first_failure is None and verdict.payloads_erased == 1
    detail = queries.job(kept.hub, kept.run)
    assert detail is not None and detail.answer is None
    with pytest.raises(Refused, match="no answer to replay"):
        queries.evidence(kept.hub, kept.run)
    with pytest.raises(Refused, match="there is no job"):
        actions.erase(kept.hub, "0" * 32)


def test_a_job_that_is_open_is_not_erased(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    run = world.propose()
    with Session(world.engines[HUB]) as db, pytest.raises(Refused, match="cancel it first"):
        retention.erase(db, run)


def test_the_charters_time_erases_and_not_a_day_sooner(kept: Kept) -> None:
    years = kept.world.charter.rules.retention_years * retention.YEAR
    with Session(kept.world.engines[HUB]) as db, db.begin():
        assert retention.sweep(db, kept.hub.desk, kept.world.now + years - 86_400) == []
        assert len(db.scalars(select(PayloadRow)).all()) == 1
        assert retention.sweep(db, kept.hub.desk, kept.world.now + years + 86_400) == [kept.run]
        assert not db.scalars(select(PayloadRow)).all()


def test_an_older_database_that_was_put_back_makes_no_checkpoint_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    settled(world)
    world.engines[HUB].dispose()
    shutil.copy(tmp_path / f"{HUB}.sqlite", tmp_path / "older")
    assert world.finish(world.propose()).status == "done"
    settled(world)
    with Session(world.engines[HUB]) as db:
        seen = log.size(db)
    world.kill(HUB)
    world.engines[HUB].dispose()
    for left in tmp_path.glob(f"{HUB}.sqlite*"):
        left.unlink()
    shutil.copy(tmp_path / "older", tmp_path / f"{HUB}.sqlite")
    world.restart(HUB)
    with Session(world.engines[HUB]) as db:
        before = db.scalars(select(CheckpointRow.size)).all()
    for _ in range(200):
        world.step()
    with Session(world.engines[HUB]) as db:
        assert db.scalars(select(CheckpointRow.size)).all() == before
        assert {row.size for row in db.scalars(select(WitnessRow))} == {seen}
        says = [finding.says for finding in log_status.look(db, world.charter, world.now)]
    assert any(f"has cosigned {seen} entries: this log has" in one for one in says)


def test_who_was_shown_an_answer_is_entered_once_under_a_pseudonym(kept: Kept) -> None:
    for _ in range(2):
        actions.note_reading(kept.hub, PERSON, kept.run)
    found = [entry for entry in queries.log(kept.hub, 100, kept.run) if entry.act == "answer read"]
    assert len(found) == 1 and PERSON not in str(found[0].details)


@pytest.mark.parametrize("sort", ["an entry", "a node", "a checkpoint", "the end"])
def test_the_hubs_own_check_finds_a_database_that_was_changed(kept: Kept, sort: str) -> None:
    assert queries.check_log(kept.hub)[0] == queries.log_state(kept.hub).size
    with Session(kept.world.engines[HUB]) as db, db.begin():  # the world's databases have no triggers
        if sort == "an entry":
            db.execute(update(EntryRow).where(EntryRow.number == 3).values(data=db.get_one(EntryRow, 4).data))
        elif sort == "a node":
            db.execute(update(NodeRow).where(NodeRow.level == 3, NodeRow.place == 0).values(digest=bytes(32)))
        elif sort == "a checkpoint":
            sizes = db.scalars(select(CheckpointRow.size).order_by(CheckpointRow.size)).all()
            note = db.get_one(CheckpointRow, sizes[0]).note
            db.add(CheckpointRow(size=sizes[1] - 1, note=note, at=0.0))
        else:
            db.execute(delete(EntryRow).where(EntryRow.number >= log.size(db) - 1))
    with pytest.raises(ProtocolViolation):
        queries.check_log(kept.hub)


def test_an_entry_of_a_time_that_no_page_can_show_is_none(kept: Kept) -> None:
    with Session(kept.world.engines["s1"]) as db:
        entry = log_state.own(db)[0].entry
    for milliseconds in (audit_log.LATEST + 1, 2**53):
        data = audit_log.sign(replace(entry, milliseconds=milliseconds), kept.world.keys["s1"].consent)
        with pytest.raises(ProtocolViolation):
            audit_log.check(data, kept.world.charter)
