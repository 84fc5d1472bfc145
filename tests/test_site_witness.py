"""A site as a witness: what it stores before it signs, what it takes as a receipt, and when it raises an alarm."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hansa.audit import roster, witnessing
from hansa.audit.checkpoint import Checkpoint, cosigned
from hansa.audit.log import check as check_entry
from hansa.audit.note import parse
from hansa.audit.proof import check as check_receipt
from hansa.audit.proof import parse as parse_receipt
from hansa.audit.tree import EMPTY_HEAD, Head
from hansa.audit.witnessing import CONFLICT, GRANTED, INCONSISTENT, Asked
from hansa.errors import ProtocolViolation
from hansa.hub.checkpoints import note_of
from hansa.jobs.base import Column, Schema
from hansa.mail.boxes import Outbox
from hansa.mail.letters import MOST_ENTRIES, Place, Shown
from hansa_site import deeds, witness
from hansa_site.deeds import MERGE_DELAY, Deed
from hansa_site.journal import Alarm, OwnEntry, Witnessed
from hansa_site.settings import Policy
from tests.witnesses import NOW, Trio


@pytest.fixture
def trio(tmp_path: Path) -> Trio:
    return Trio(tmp_path)


def head_of(trio: Trio, site: str) -> tuple[int, bytes] | None:
    with Session(trio.engines[site]) as db:
        row = db.scalar(select(Witnessed))
        return None if row is None else (row.size, row.note)


def forged(trio: Trio, head: Head, old: int, proof: Sequence[bytes] = ()) -> Shown:
    """A checkpoint that the log's key signed, of a tree that nobody has."""
    signer = roster.log_signer(trio.charter, trio.desk.keys)  # type: ignore[arg-type]  # the hub's
    note = signer.sign(Checkpoint(trio.charter.origin, head).text)
    return Shown(bytes(Asked(old, tuple(proof), note)))


# ---- cosigning ----


def test_what_is_cosigned_is_stored_first_and_by_both_keys(trio: Trio) -> None:
    shown = trio.ask()["a"]
    with Session(trio.engines["a"]) as db, db.begin():
        said = witness.look(db, trio.sites["a"], shown, trio.now)
    assert head_of(trio, "a") == (1, bytes(witnessing.parse(shown.body).note))
    note = parse(bytes(witnessing.parse(shown.body).note) + said().body)
    keys = roster.witness_keys(trio.charter, trio.charter.member("a"))
    assert cosigned(note, {"a": keys}) == {"a": int(NOW)}


def test_a_crash_before_the_commit_leaves_nothing_and_the_question_may_come_again(trio: Trio) -> None:
    shown = trio.ask()["a"]
    with Session(trio.engines["a"]) as db:
        witness.look(db, trio.sites["a"], shown, trio.now)
    assert head_of(trio, "a") is None
    assert trio.look("a", shown).status == GRANTED


def test_a_crash_between_storing_and_signing_costs_one_more_question(trio: Trio) -> None:
    shown = trio.ask()["a"]
    with Session(trio.engines["a"]) as db, db.begin():
        witness.look(db, trio.sites["a"], shown, trio.now)
    said = trio.look("a", shown)
    assert (said.status, said.body) == (CONFLICT, b"1\n")
    trio.take("a", said)
    trio.round(60.0)
    assert trio.final() == 1


def test_an_older_checkpoint_that_comes_late_is_neither_cosigned_nor_an_alarm(trio: Trio) -> None:
    late = trio.ask()["a"]
    trio.take("a", trio.look("a", late))
    trio.act()
    trio.round(60.0)
    assert trio.look("a", late).status == CONFLICT
    assert head_of(trio, "a") is not None
    assert trio.alarms("a") == []


def test_a_log_that_does_not_continue_is_an_alarm_with_both_notes_and_nothing_is_cosigned(trio: Trio) -> None:
    trio.round()
    before = head_of(trio, "a")
    shown = forged(trio, Head(2, bytes(32)), 1, [bytes(32)])
    for _ in range(2):
        assert trio.look("a", shown).status == INCONSISTENT
    assert head_of(trio, "a") == before
    assert trio.alarms("a") == [("fork", True)]
    with Session(trio.engines["a"]) as db:
        evidence = db.scalars(select(Alarm.evidence)).one()
    assert before is not None
    assert evidence == before[1] + b"\n" + bytes(witnessing.parse(shown.body).note)


def test_another_root_of_the_size_that_was_cosigned_is_a_fork(trio: Trio) -> None:
    trio.round()
    assert trio.look("a", forged(trio, Head(1, bytes(32)), 1)).status == INCONSISTENT
    assert trio.alarms("a") == [("fork", True)]


def test_an_empty_tree_with_another_root_is_not_cosigned(trio: Trio) -> None:
    assert trio.look("a", forged(trio, Head(0, bytes(32)), 0)).status == INCONSISTENT
    assert trio.look("a", forged(trio, EMPTY_HEAD, 0)).status == GRANTED


def test_a_checkpoint_under_a_charter_of_the_first_format_is_refused(trio: Trio) -> None:
    shown = trio.ask()["a"]
    trio.sites["a"].charter = replace(trio.charter, format=1)
    with pytest.raises(ProtocolViolation, match="names no key for a log"):
        trio.look("a", shown)
    assert head_of(trio, "a") is None


def test_a_site_keeps_the_newest_final_checkpoint_and_nothing_that_is_called_one(trio: Trio) -> None:
    trio.round()
    trio.act()
    shown = trio.ask(60.0)
    trio.look("a", shown["a"])
    trio.look("b", replace(shown["b"], final=bytes(witnessing.parse(shown["b"].body).note)))
    kept = {}
    for site in ("a", "b"):
        with Session(trio.engines[site]) as db:
            kept[site] = db.scalars(select(Witnessed.final)).one()
    assert kept == {"a": shown["a"].final, "b": b""}
    assert shown["a"].final.count(b"hansa/test/0/") == 6


# ---- receipts ----


def test_a_receipt_holds_for_whoever_has_the_policy_once_the_checkpoint_is_final(trio: Trio) -> None:
    trio.deed("a", 3)
    trio.round()
    with Session(trio.engines["a"]) as db:
        rows = db.scalars(select(OwnEntry).order_by(OwnEntry.sequence)).all()
    assert [row.number for row in rows] == [1, 2, 3]
    assert all(row.receipt is not None and row.receipt.startswith(b"c2sp.org/tlog-proof@v1\n") for row in rows)
    assert [check_entry(row.data, trio.charter).sequence for row in rows] == [0, 1, 2]
    with Session(trio.engine) as db:
        whole = note_of(db, 4)
    for row in rows:
        receipt = parse_receipt(row.receipt or b"")
        check_receipt(replace(receipt, checkpoint=whole), roster.policy(trio.charter))


@pytest.mark.parametrize("wrong", ["another place", "another path", "beyond the tree"])
def test_a_receipt_that_proves_nothing_is_an_alarm_until_one_does(trio: Trio, wrong: str) -> None:
    trio.deed("a", 2)
    shown = trio.ask()["a"]
    first = shown.places[0]
    lies = {
        "another place": shown.places[1],
        "another path": Place(first.index, (bytes(32),) * len(first.path)),
        "beyond the tree": Place(2**40, first.path),
    }
    said = trio.look("a", replace(shown, places=(lies[wrong], shown.places[1])))
    assert (said.status, said.receipted) == (GRANTED, 0)  # the tree is right, so it is cosigned
    assert trio.alarms("a") == [("receipt", True)]
    trio.take("a", said)
    trio.round(60.0)
    assert trio.receipts("a") == 2
    assert trio.alarms("a") == [("receipt", False)]


def test_a_receipt_for_what_this_site_never_wrote_is_passed_over(trio: Trio) -> None:
    shown = trio.ask()["a"]
    trio.look("a", replace(shown, first=7, places=(Place(0, ()),)))
    assert trio.receipts("a") == 0
    assert trio.alarms("a") == []


def test_an_entry_without_a_receipt_after_the_merge_delay_is_an_alarm_until_it_has_one(trio: Trio) -> None:
    trio.deed("a")
    trio.now += MERGE_DELAY
    trio.watch("a")
    assert trio.alarms("a") == []
    trio.now += 1
    for _ in range(2):
        trio.watch("a")
    assert trio.alarms("a") == [("omission", True)]
    with Session(trio.engines["a"]) as db:
        alarm, own = db.scalars(select(Alarm)).one(), db.scalars(select(OwnEntry.data)).one()
    assert alarm.evidence == own
    assert "for our entry 0 within 60 seconds" in alarm.text
    trio.round()
    trio.watch("a")
    assert trio.alarms("a") == [("omission", False)]
    trio.deed("a")
    trio.now += MERGE_DELAY + 1
    trio.watch("a")
    assert trio.alarms("a") == [("omission", False), ("omission", True)]


# ---- deeds ----


def test_entries_leave_in_letters_of_64_and_each_once(trio: Trio) -> None:
    trio.deed("a", MOST_ENTRIES + 3, submit=False)
    desk, sent = trio.sites["a"], []
    for _ in range(4):
        with Session(trio.engines["a"]) as db, db.begin():
            sent.append(deeds.submit(db, desk, NOW))
    assert sent == [MOST_ENTRIES, 3, 0, 0]
    with Session(trio.engines["a"]) as db:
        assert not deeds.unsent(db)
        assert db.scalars(select(Outbox.kind)).all() == ["entries", "entries"]


def test_a_crash_before_a_deed_is_stored_leaves_no_gap_in_the_members_count(trio: Trio) -> None:
    desk = trio.sites["a"]
    for stored in (True, False, True):
        with Session(trio.engines["a"]) as db:
            deeds.write(db, desk, Deed("policy changed", {"policy": str(stored)}), "", NOW, bytes)
            if stored:
                db.commit()
    with Session(trio.engines["a"]) as db:
        assert db.scalars(select(OwnEntry.sequence).order_by(OwnEntry.sequence)).all() == [0, 1]


def test_under_a_charter_of_the_first_format_a_site_writes_no_entries(trio: Trio) -> None:
    desk = trio.sites["a"]
    desk.charter = replace(trio.charter, format=1)
    with Session(trio.engines["a"]) as db, db.begin():
        deeds.write(db, desk, Deed("refused"), "", NOW, bytes)
        assert deeds.of_settings(db, desk.charter, Policy(), ()) == []
        assert not deeds.unsent(db)


def test_settings_are_entered_when_they_change_and_only_then(trio: Trio) -> None:
    one, two = (Schema(name, (Column("x", "number"),)) for name in ("one", "two"))
    wider = Schema("one", (Column("x", "number"), Column("y", "number")))
    said = []
    for policy, tables in [
        (Policy(), (one,)),
        (Policy(), (one,)),
        (Policy(minimum_sites=5), (one, two)),
        (Policy(minimum_sites=5), (wider,)),
    ]:
        with Session(trio.engines["a"]) as db, db.begin():
            found = deeds.of_settings(db, trio.charter, policy, tables)
        said.append([(deed.act, deed.details.get("table", "")) for deed in found])
    assert said == [
        [("charter accepted", ""), ("policy changed", ""), ("table added", "one")],
        [],
        [("policy changed", ""), ("table added", "two")],
        [("table withdrawn", "two"), ("table added", "one")],
    ]


def test_what_a_deed_holds_of_a_text_is_its_commitment_alone(trio: Trio) -> None:
    with Session(trio.engines["a"]) as db, db.begin():
        deeds.write(
            db, trio.sites["a"], Deed("refused", {}, b"we do not open this table"), "", NOW, lambda n: b"\7" * n
        )
        row = db.scalars(select(OwnEntry)).one()
        assert b"open this table" not in row.data
        assert b"open this table" in row.payload
        db.execute(delete(OwnEntry))
