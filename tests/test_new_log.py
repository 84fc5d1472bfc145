"""An older database is put back, and the members begin a new log: nothing is silently lost, nobody does it alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hansa.audit.log import ROWS, Entry, first_row
from hansa.audit.log import sign as sign_entry
from hansa.charter import Charter, threshold
from hansa.cli import app
from hansa.crypto.merkle import leaf, root
from hansa.errors import ProtocolViolation, Refused
from hansa.export_folder import replay_of, source_of
from hansa.hub import checkpoints, exports, log, log_status, new_log, queries
from hansa.hub.models import CheckpointRow, CosignatureRow, EntryRow, NodeRow, WitnessRow
from hansa.mail import boxes
from hansa.mail.boxes import SetAside
from hansa.mail.letters import Submitted
from hansa.messages import HUB
from hansa.verify.compare import compare, copy_of_export, copy_of_note
from hansa.verify.former import source_of as former_of
from hansa.verify.lost import find
from hansa.verify.verdict import Verdict, verify
from hansa_site import deeds, log_state, witness
from hansa_site.deeds import Deed
from hansa_site.journal import OwnEntry, Witnessed
from hansa_site.settings import Policy
from tests import anew
from tests.test_second_verifier import run_script
from tests.witnesses import NOW, Trio
from tests.world import World

# ---- the whole of it, as deploy/README.md tells it ----


class Story:
    """Three jobs: the second is lost, the third runs in the new log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = world = World(folder, sites=3)
        world.idle_seconds = 2.5
        self.first = world.propose()
        assert world.finish(self.first).status == "done"
        world.run_until(lambda: anew.settled(world))
        anew.back_up(world, folder / "backup")
        with Session(world.engines[HUB]) as db:
            self.held = log.size(db)
        self.lost = world.propose()
        assert world.finish(self.lost).status == "done"
        world.run_until(lambda: anew.settled(world))  # so that every member has cosigned what will be lost
        with Session(world.engines[HUB]) as db:
            self.seen = log.head(db)
        self.old = world.charter
        self.refused: list[str] = []
        self.restore()

    def restore(self) -> None:
        """The backup; what `hansa hub status` says of it; a new version of the charter; and the log goes on."""
        world = self.world
        anew.put_back(world, self.folder / "backup")
        before = anew.made(world)
        world.run_until(lambda: anew.all_heard(world))
        assert anew.made(world) == before
        self.says = [(one.says, one.mend) for one in self.status()]
        with Session(world.engines[HUB]) as db:
            new_log.check_due(db, world.charter)
        anew.accept_all(world, anew.draft(world))
        self.third = world.propose()
        assert world.finish(self.third).status == "done"
        world.run_until(lambda: anew.settled(world))

    def status(self) -> list[log_status.Finding]:
        with Session(self.world.engines[HUB]) as db:
            return [one for one in log_status.look(db, self.world.charter, self.world.now) if one.mark == "wrong"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def export(story: Story) -> Iterator[Path]:
    exports.export(story.world.hub(), story.folder / "export")
    yield story.folder / "export"


def judged(export: Path, story: Story) -> Verdict:
    return verify(source_of(export), story.world.signed, lambda run: replay_of(export, run))


def test_status_says_that_a_new_log_is_due_and_which_command_begins_it(story: Story) -> None:
    says, mend = story.says[0]
    assert says == "a new log is due; 3 of 3 members have said how far they cosigned this one"
    assert "`hansa charter new-log`" in mend
    assert any("this database is older than what members have seen" in mend for _, mend in story.says[1:])
    assert story.status() == []


def test_the_new_log_holds_and_the_verdict_names_what_was_lost_of_the_one_before(story: Story, export: Path) -> None:
    verdict = judged(export, story)
    lost = f"entries {story.held} to {story.seen.size - 1} are lost"
    assert [(one.severity, lost in one.sentence) for one in verdict.findings] == [("missing", True)], verdict.findings
    assert (verdict.outcome, verdict.final, verdict.own_charter, verdict.former) == ("open", True, True, (1,))
    assert verdict.replayed == (story.third,)
    assert verdict.origin == f"{story.old.origin}/v2"


def test_the_log_before_is_in_the_export_as_far_as_the_hub_has_it_and_holds_as_ever(story: Story, export: Path) -> None:
    former = former_of(source_of(export), 1)
    verdict = verify(former, None, lambda run: replay_of(export / "former" / "1", run))
    assert verdict.outcome == "holds", verdict.findings
    assert (verdict.size, verdict.origin, verdict.replayed) == (story.held, story.old.origin, (story.first,))
    mine = verify(former, (export / "charters" / "1").read_bytes())
    assert mine.own_charter


def test_the_first_entry_commits_to_what_is_held_and_to_what_members_had_cosigned(story: Story) -> None:
    with Session(story.world.engines[HUB]) as db:
        entry = log.read_entry(db, 0, first_row(story.world.charter))
        held = log.head(db)
    assert entry.details["former log"] == story.old.origin
    assert (entry.details["former size"], entry.details["former root"]) == (str(held.size), held.root.hex())
    assert checkpoints.seen_head(story.old, (), entry.details["witnessed"].encode()) == story.seen
    assert entry.details["heard"] == "s0, s1, s2"


def test_each_member_begins_with_what_it_wrote_and_cosigned_and_its_own_copy_shows_it(story: Story) -> None:
    for name in story.world.names:
        with Session(story.world.engines[name]) as db:
            own = [one.entry for one in log_state.own(db)]
            kept = log_state.own_data(db, story.old.origin)
            seen = db.get_one(Witnessed, story.old.origin)
            late = [one.entry for one in log_state.own(db) if one.entry.log != story.old.origin]
        assert late[0].act == "log continued" and late[1].act == "charter accepted"
        assert late[0].details == {
            "log": story.old.origin,
            "entries": str(len(kept)),
            "digest": root(map(leaf, kept)).hex(),
            "size": str(story.seen.size),
            "root": story.seen.root.hex(),
        }
        assert seen.size == story.seen.size
        assert [entry.sequence for entry in late] == list(range(len(late)))
        told = [entry.act for entry in own if entry.run == story.lost]
        assert "release seen" in told and "contributed" in told  # what the hub has lost, its author has


def test_receipts_of_both_logs_are_the_members_own(story: Story, export: Path) -> None:
    with Session(story.world.engines["s1"]) as db:
        for one in log_state.own(db):
            assert one.number is not None
            assert log_state.receipt(db, one.sequence, one.entry.log).startswith(b"c2sp.org/tlog-proof@v1\n")
        assert log_state.receipt(db, 0) == log_state.receipt(db, 0, story.world.charter.origin)
        assert log_state.receipt(db, 0) != log_state.receipt(db, 0, story.old.origin)
    assert exports.receipt(story.world.hub(), 0).startswith(b"c2sp.org/tlog-proof@v1\n")


def test_a_members_head_of_the_log_before_is_compared_with_the_new_one(story: Story, export: Path) -> None:
    with Session(story.world.engines["s1"]) as db:
        note = log_state.head(db, origin=story.old.origin)
    copy = copy_of_export("the export", source_of(export))
    assert compare(copy_of_note("s1", note), copy).sentence == "the export begins where s1 ended, or later"
    old = copy_of_note("the backup", (export / "former" / "1" / "checkpoint").read_bytes())
    assert compare(copy, old).outcome == "continues"
    assert copy.before is not None and old.checkpoint.size == story.held
    less = replace(copy, before=replace(copy.before, witnessed=old.checkpoint, note=old.note))
    found = compare(copy_of_note("s1", note), less)
    assert (found.outcome, found.fork) == ("lost", None)
    assert f"s1 is of {story.seen.size} entries of the log before" in found.sentence


def test_the_hub_shows_both_logs_and_its_own_check_holds(story: Story) -> None:
    hub = story.world.hub()
    with Session(story.world.engines[HUB]) as db:
        there = log.size(db, first_row(story.world.charter))
    assert queries.log_state(hub).size == queries.log_state(hub).final == queries.check_log(hub)[0] == there
    newest = queries.log(hub, there)
    assert [one.number for one in newest] == list(range(there))[::-1] and newest[-1].act == "log opened"
    of_first = queries.log(hub, 100, story.first)
    assert {one.log for one in of_first} == {story.old.origin} and all(one.final for one in of_first)
    assert queries.job(hub, story.first) is not None and queries.job(hub, story.lost) is None


def test_a_second_verifier_says_the_same(story: Story, export: Path) -> None:
    code, said = run_script(export, story.world.signed)
    assert code == 1, said
    lost = f"LOST: entries {story.held} to {story.seen.size - 1} of {story.old.origin}: members had cosigned"
    assert lost in said and "FALSE" not in said


def test_the_command_prints_both_logs_and_its_exit_code_says_that_something_is_missing(
    story: Story, export: Path
) -> None:
    own = story.folder / "mine"
    own.write_bytes(story.world.signed)
    done = CliRunner().invoke(app, ["audit", "verify", str(export), "--charter", str(own)])
    assert done.exit_code == 1
    assert "The log before, which began with version 1 of the charter:\nEverything holds." in done.output
    assert "THIS CHARTER CAME" not in done.output
    done = CliRunner().invoke(app, ["audit", "verify", str(export), "--json"])
    assert json.loads(done.output)["former"]["1"]["outcome"] == "holds"


def test_an_auditor_with_a_members_copy_sees_what_the_hub_lost_of_it(story: Story, export: Path) -> None:
    with Session(story.world.engines["s2"]) as db:
        copy = log_state.copy(db, story.old.origin)
    found = find(source_of(export), copy, story.world.signed)
    assert (found.site, found.log, found.size) == ("s2", story.old.origin, story.seen.size)
    assert {entry.run for entry in found.entries} == {story.lost}
    assert {"consent given", "contributed", "locked", "release seen"} <= {one.act for one in found.entries}
    assert found.held + len(found.entries) == len(json.loads(copy)["entries"])
    (story.folder / "kept").write_bytes(copy)
    done = CliRunner().invoke(app, ["audit", "lost", str(export), str(story.folder / "kept")])
    assert done.exit_code == 1
    assert done.output.count(f"job {story.lost[:8]}") == len(found.entries)


@pytest.mark.parametrize("sort", ["an entry left out", "an entry of another", "no note", "another log", "no JSON"])
def test_a_copy_that_its_member_did_not_commit_to_shows_nothing(sort: str, story: Story, export: Path) -> None:
    with Session(story.world.engines["s2"]) as db:
        copy = json.loads(log_state.copy(db, story.old.origin))
    with Session(story.world.engines["s1"]) as db:
        other = json.loads(log_state.copy(db, story.old.origin))
    change = {
        "an entry left out": copy["entries"].pop,
        "an entry of another": lambda: copy["entries"].__setitem__(2, other["entries"][2]),
        "no note": lambda: copy.update(note=""),
        "another log": lambda: copy.update(log="hansa/elsewhere/0"),
        "no JSON": lambda: copy.update(more=1),
    }
    change[sort]()
    with pytest.raises((ProtocolViolation, Refused)):
        find(source_of(export), json.dumps(copy).encode())


def test_no_site_raises_an_alarm_for_an_honest_hub_and_nothing_of_the_new_log_is_set_aside(story: Story) -> None:
    for name in story.world.names:
        with Session(story.world.engines[name]) as db:
            assert [one.sort for one in log_state.open_alarms(db)] == []
    with Session(story.world.engines[HUB]) as db:
        assert (
            db.scalars(select(EntryRow.act).where(EntryRow.number >= ROWS, EntryRow.act == "letter set aside")).all()
            == []
        )


# ---- one at a time ----


@pytest.fixture
def trio(tmp_path: Path) -> Trio:
    return Trio(tmp_path)


def restored(trio: Trio) -> None:
    """A hub that has lost all but the first entry, and knows nothing of its witnesses."""
    with Session(trio.engine) as db, db.begin():
        for row in (CosignatureRow, CheckpointRow, WitnessRow):
            db.execute(delete(row))
        db.execute(delete(EntryRow).where(EntryRow.number >= 1))
        db.execute(delete(NodeRow).where(or_(NodeRow.level > 0, NodeRow.place >= 1)))
        new_log.open_log(db, trio.desk, trio.now)
    trio.restart()


def due(trio: Trio) -> None:
    with Session(trio.engine) as db:
        new_log.check_due(db, trio.charter)


def begun(trio: Trio) -> Charter:
    """The hub and its sites live under the version that begins a new log."""
    before = trio.charter
    members = list(before.members)
    from hansa import charter as charters

    after = charters.draft(before.consortium, before.hub, members, before.rules, charters.next_origin(before), before)
    for desk in (trio.desk, *trio.sites.values()):
        desk.charter, desk.former = after, (before,)
    trio.charter = after
    return before


def opened(trio: Trio) -> dict[str, str]:
    with Session(trio.engine) as db, db.begin():
        new_log.open_log(db, trio.desk, trio.now)
        return log.read_entry(db, 0, first_row(trio.charter)).details


def test_a_hub_whose_log_can_go_on_begins_no_other(trio: Trio) -> None:
    trio.round()
    with pytest.raises(Refused, match="its log can go on"):
        due(trio)


def test_a_new_log_waits_until_enough_members_have_said_what_they_know(trio: Trio) -> None:
    trio.act()
    trio.round()
    restored(trio)
    trio.round(5.0, away=("b", "c"))
    assert threshold(trio.charter) == 2
    with pytest.raises(Refused, match=r"1 members have said how far they cosigned the log, and 2 must.*b, c"):
        due(trio)
    trio.round(60.0, away=("c",))
    due(trio)


def test_who_was_heard_of_a_log_that_was_whole_is_asked_again_after_a_start(trio: Trio) -> None:
    trio.round()
    with Session(trio.engine) as db, db.begin():
        assert new_log.heard(db, trio.charter) == ["a", "b", "c"]
        new_log.open_log(db, trio.desk, trio.now)
        assert new_log.heard(db, trio.charter) == []


def test_who_was_heard_when_a_part_was_known_to_be_lost_is_still_heard_after_a_start(trio: Trio) -> None:
    trio.act()
    trio.round()
    restored(trio)
    trio.round(5.0)
    with Session(trio.engine) as db, db.begin():
        new_log.open_log(db, trio.desk, trio.now)
        assert new_log.heard(db, trio.charter) == ["a", "b", "c"]


def test_a_member_that_says_a_size_and_shows_no_checkpoint_of_it_stops_no_log(trio: Trio) -> None:
    trio.round()
    trio.act()
    said = trio.look("a", trio.ask(60.0)["a"])
    lies = [
        replace(said, status=409, body=b"1000000\n", seen=b""),
        replace(said, status=409, body=b"1000000\n", seen=b"x"),
    ]
    for lie in lies:
        trio.take("a", lie)
        assert "shows no such checkpoint" in trio.known("a").refusal
    with pytest.raises(Refused, match="its log can go on"):
        due(trio)
    trio.act()
    for _ in range(3):
        trio.round(61.0)
    assert trio.final() == 3


def test_a_member_that_cosigned_another_tree_shows_it_and_a_new_log_is_due(trio: Trio) -> None:
    """The restored hub was alone when it started, and has signed another checkpoint of that size."""
    trio.act()
    trio.round()
    restored(trio)
    trio.act("signed in", person="other", member="a")
    trio.act()
    with Session(trio.engine) as db, db.begin():
        checkpoints.make(db, trio.desk, trio.now)
    for _ in range(3):
        trio.round(61.0)
    assert {alarm for name in "abc" for alarm in trio.alarms(name)} == {("fork", True)}
    due(trio)
    before = begun(trio)
    details = opened(trio)
    assert (details["former log"], details["former size"]) == (before.origin, "3")


def test_the_first_entry_of_a_new_log_is_the_opening_and_nobody_writes_before(trio: Trio) -> None:
    begun(trio)
    with pytest.raises(Refused, match="version 2 of the charter begins a new log: start the hub anew"):
        trio.act()
    opened(trio)
    trio.act()
    assert trio.size() == 1  # of the log that is over
    with Session(trio.engine) as db:
        assert log.size(db, first_row(trio.charter)) == 2


def test_a_hub_that_lacks_the_version_before_opens_no_new_log(trio: Trio) -> None:
    begun(trio)
    trio.desk.former = ()
    with pytest.raises(Refused, match="put `charters` back"):
        opened(trio)


def test_a_hub_under_an_older_charter_does_not_touch_a_database_with_a_later_log(trio: Trio) -> None:
    before = begun(trio)
    opened(trio)
    trio.desk.charter, trio.desk.former = before, ()
    with Session(trio.engine) as db, pytest.raises(Refused, match="holds a later log"):
        new_log.open_log(db, trio.desk, trio.now)


def test_what_a_site_wrote_for_a_log_that_is_over_is_passed_over_and_stays_in_its_journal(trio: Trio) -> None:
    trio.deed("a", 2)
    trio.deed("a", submit=False)
    with Session(trio.engines["a"]) as db:
        late = Submitted(db.get_one(OwnEntry, 2).data)
    begun(trio)
    opened(trio)
    with Session(trio.engine) as db, db.begin():
        log.take_entries(db, trio.desk, "a", [late], NOW)
        assert log.size(db, first_row(trio.charter)) == 1 and log.size(db) == 3
    with Session(trio.engines["a"]) as db, db.begin():
        deeds.begin(db, trio.sites["a"], NOW, bytes)
        deeds.begin(db, trio.sites["a"], NOW, bytes)
        said = log_state.own(db)[-1]
    assert (said.entry.act, said.sequence, said.entry.details["entries"]) == ("log continued", 0, "3")
    assert (said.entry.details["size"], len(said.entry.details["root"])) == ("0", 64)


def test_a_site_counts_sends_and_watches_the_entries_of_the_new_log_alone(trio: Trio) -> None:
    trio.deed("a", 3, submit=False)
    begun(trio)
    opened(trio)
    with Session(trio.engines["a"]) as db, db.begin():
        deeds.begin(db, trio.sites["a"], NOW, bytes)
        deeds.write(db, trio.sites["a"], Deed("policy changed", {"policy": "x"}), "", NOW, bytes)
        assert deeds.submit(db, trio.sites["a"], NOW) == 2
        first = first_row(trio.charter)
        assert deeds.unsent(db) and not deeds.unsent(db, first)
        assert [row.sequence - first for row in deeds.overdue(db, NOW + 61, first)] == [0, 1]
        witness.watch(db, NOW + 61, first)
    assert trio.alarms("a") == [("omission", True)]


def test_settings_are_entered_anew_in_a_new_log(trio: Trio) -> None:
    for _ in range(2):
        with Session(trio.engines["a"]) as db, db.begin():
            deeds.begin(db, trio.sites["a"], NOW, bytes)
            found = [deed.act for deed in deeds.of_settings(db, trio.charter, Policy(), ())]
            for act in found:
                deeds.write(db, trio.sites["a"], Deed(act, {}), "", NOW, bytes)
        assert found == ["charter accepted", "policy changed"]
        if trio.charter.version == 1:
            begun(trio)


def test_a_site_that_was_away_for_a_whole_log_says_what_it_knows_of_both(trio: Trio) -> None:
    trio.deed("a", 2)
    trio.round()
    first = begun(trio)
    second = trio.charter
    third = begun(trio) and trio.charter
    trio.sites["a"].former = (first, second)
    with Session(trio.engines["a"]) as db, db.begin():
        deeds.begin(db, trio.sites["a"], NOW, bytes)
        said = [one.entry for one in log_state.own(db) if one.entry.log == third.origin]
    assert [(one.details["log"], one.details["entries"]) for one in said] == [(first.origin, "2"), (second.origin, "0")]


def test_a_member_that_came_later_has_nothing_to_say_of_a_log_before_it(trio: Trio) -> None:
    begun(trio)
    desk = trio.sites["c"]
    desk.former = ()
    with Session(trio.engines["c"]) as db, db.begin():
        deeds.begin(db, desk, NOW, bytes)
        assert log_state.own(db) == []


def test_sites_cosign_the_new_log_from_its_beginning(trio: Trio) -> None:
    trio.act()
    trio.round()
    restored(trio)
    trio.round(5.0)
    begun(trio)
    opened(trio)
    trio.restart()
    trio.round()
    assert trio.final() == 1
    assert trio.known("a").seen is None
    with Session(trio.engines["a"]) as db:
        assert db.scalar(select(func.count()).select_from(Witnessed)) == 2


def test_a_late_answer_about_the_log_before_changes_nothing_in_the_new_one(trio: Trio) -> None:
    trio.act()
    trio.round()
    restored(trio)
    late = {name: trio.look(name, shown) for name, shown in trio.ask(5.0).items()}
    for name, said in late.items():
        trio.take(name, said)
    begun(trio)
    opened(trio)
    trio.take("a", late["a"])
    assert (trio.known("a").size, trio.known("a").seen) == (0, None)
    with Session(trio.engine) as db:
        assert not new_log.is_due(db)


def test_letters_that_belong_to_no_job_are_counted_anew_with_a_new_log(trio: Trio) -> None:
    first = trio.desk.standing
    begun(trio)
    assert (first, trio.desk.standing) == ("0" * 32, f"{1:032x}")


def test_letters_of_a_site_that_still_writes_under_the_log_before_wait_for_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, sites=3)
    world.idle_seconds = 2.5
    world.run_until(lambda: anew.settled(world))
    charter = anew.draft(world)
    anew.accept(world, charter, HUB)
    world.sites["s1"].hello(world.now)
    for _ in range(40):
        world.step()
    with Session(world.engines[HUB]) as db:
        waiting = select(func.count()).select_from(boxes.Inbox).where(boxes.Inbox.done_at.is_(None))
        assert db.scalar(waiting) == 0
    for name in world.names:
        anew.accept(world, charter, name)
    world.run_until(lambda: anew.settled(world))
    with Session(world.engines[HUB]) as db:
        assert not [one for one in db.scalars(select(SetAside.reason)) if "equivocation" in one]


def test_an_entry_of_a_log_before_is_none_of_the_new_one(trio: Trio) -> None:
    before = begun(trio)
    opened(trio)
    entry = Entry(before.origin, "a", 0, 1, "policy changed", "", {"policy": "x"}, b"")
    foreign = replace(entry, log="hansa/elsewhere/0")
    key = trio.sites["a"].keys.consent  # type: ignore[union-attr]  # a member's
    with Session(trio.engine) as db, db.begin():
        log.take_entries(db, trio.desk, "a", [Submitted(sign_entry(entry, key))], NOW)
        with pytest.raises(ProtocolViolation, match="of the log 'hansa/elsewhere/0'"):
            log.take_entries(db, trio.desk, "a", [Submitted(sign_entry(foreign, key))], NOW)
        assert log.size(db, first_row(trio.charter)) == 1
