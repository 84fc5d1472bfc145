"""`hansa audit show EXPORT`: what a person sees of an export, and what never reaches the terminal."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hansa.cli import app, main
from hansa.errors import ProtocolViolation
from hansa.messages import HUB, encode
from hansa.verify.shown import Shown, Wanted, clean, show
from tests import exports
from tests.exports import RUN, START, Files, Log, files, good, new_log, play, source

EVERYTHING = Wanted()
HOSTILE = "\x1b[2J\x1b]8;;http://x\x07few\rrows\u202e\x00\n[bold]second line[/bold]"


def written(found: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def run(*command: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "show", *map(str, command)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def shown(log: Log | Files, wanted: Wanted = EVERYTHING, newest: int = 10_000) -> list[Shown]:
    found = files(log) if isinstance(log, Log) else log
    size = int(found["checkpoint"].split(b"\n")[1])
    return list(show(source(found), size, wanted, newest))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return written(files(good()), tmp_path / "export")


# What is shown


def test_an_export_is_shown_under_its_verdict(export: Path, tmp_path: Path) -> None:
    own = tmp_path / "charter"
    own.write_bytes(good().signed[1])
    code, said = run(export, "--charter", own, "--limit", 1_000)
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "Everything holds."
    assert any(line.startswith("verified; ") for line in lines)
    assert f"      0  {stamp(0)}  hub          log opened" in lines
    assert any("consent given  job 55555555" in line for line in lines)
    assert '         says: {"columns":["x"]}' in lines
    assert "         says: nothing strange" in lines
    assert "THIS CHARTER CAME WITH" not in said


def stamp(place: int) -> str:
    return datetime.fromtimestamp(START / 1000 + 1 + place, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def test_every_entry_is_shown_once_and_in_order() -> None:
    log = good()
    entries = shown(log)
    assert [entry.place for entry in entries] == list(range(len(log.leaves)))
    assert not any(entry.wrong for entry in entries)
    assert [entry.place for entry in shown(log, newest=3)] == list(range(len(log.leaves)))[-3:]


@pytest.mark.parametrize("size", [256, 257, 600])
def test_a_log_of_several_bundles_is_shown_whole(size: int) -> None:
    log = new_log()
    while len(log.leaves) < size:
        log.add(HUB, "signed in", person="p1", member="a")
    assert len(shown(log)) == size


def test_entries_are_picked_by_member_job_act_and_time() -> None:
    log = good()
    play(log, "6" * 32)
    everything = shown(log)
    for wanted, right in (
        (Wanted(member="b"), lambda entry: entry.by == "b"),
        (Wanted(member="hub"), lambda entry: entry.by == "hub"),
        (Wanted(run=RUN[:4]), lambda entry: entry.run == RUN),
        (Wanted(act="locked"), lambda entry: entry.act == "locked"),
        (Wanted(since=START + 9_000), lambda entry: entry.milliseconds >= START + 9_000),
        (Wanted(until=START + 9_000), lambda entry: entry.milliseconds < START + 9_000),
        (Wanted("a", "6", "unmasked"), lambda entry: (entry.by, entry.run[:1], entry.act) == ("a", "6", "unmasked")),
    ):
        expected = [entry for entry in everything if right(entry)]
        assert shown(log, wanted) == expected and 0 < len(expected) < len(everything)


def test_the_command_has_the_same_filters(export: Path) -> None:
    def places(*options: str) -> list[int]:
        code, said = run(export, "--json", "--limit", 1_000, *options)
        assert code == 0
        return [entry["place"] for entry in json.loads(said)["entries"]]

    everything = shown(good())
    moment = datetime.fromtimestamp(START / 1000 + 20, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    of_b = [entry.place for entry in everything if entry.by == "b"]
    assert places("--member", "b") == of_b
    assert places("--run", "55") == [entry.place for entry in everything if entry.run]
    assert places("--act", "released") == [good().where("released")]
    assert places("--since", moment) + places("--until", moment) != []
    assert sorted(places("--since", moment) + places("--until", moment)) == [entry.place for entry in everything]


# What a person typed


def test_what_was_erased_is_said_to_be(tmp_path: Path) -> None:
    found = {name: data for name, data in files(good()).items() if not name.startswith("payloads/")}
    code, said = run(written(found, tmp_path / "export"), "--act", "log reviewed")
    assert code == 0
    assert "(what it says was erased, or is not in the export)" in said and "nothing strange" not in said


def test_what_does_not_match_its_commitment_is_never_shown(tmp_path: Path) -> None:
    found = files(good())
    for name in [name for name in found if name.startswith("payloads/")]:
        found[name] = found[name].replace(b"nothing strange", b"all very strange").replace(b'"x"', b'"y"')
    code, said = run(written(found, tmp_path / "export"), "--limit", 1_000)
    assert code == 2
    assert "strange" not in said and '"y"' not in said
    assert said.count("does not match its commitment, and is not shown") == 2


def test_no_control_character_reaches_the_terminal(tmp_path: Path) -> None:
    log = new_log()
    plan = exports.plan_for(log)
    exports.play_plan(log, plan, encode(plan))
    log.add("c", "refused", RUN, HOSTILE.encode(), plan=plan.digest.hex(), reason=HOSTILE)
    log.put("c", "refused", RUN, b"\xff\xfe", {HOSTILE: "x", "plan": plan.digest.hex()})
    log.add(HUB, "ended", RUN, status=HOSTILE)
    said = run(written(files(log), tmp_path / "export"), "--limit", 1_000)[1]
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "?[2J?]8;;http://x?few / rows?? / [bold]second line[/bold]" in said
    said = run(tmp_path / "export", "--json", "--limit", 1_000)[1]
    texts = [entry["text"] for entry in json.loads(said)["entries"]]
    assert all(letter.isprintable() for text in texts for letter in text)


def test_a_hostile_act_is_no_command_to_the_terminal(tmp_path: Path) -> None:
    log = good()
    log.change(len(log.leaves) - 1, key=log.keys["b"].consent, act=HOSTILE[:30])
    code, said = run(written(files(log), tmp_path / "export"))
    assert code == 2
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "can't be read: 'b' may not do the act '?[2J?" in said


def test_an_error_is_no_command_to_the_terminal_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hansa", "audit", "show", "\x1b[2Jexport"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.startswith("hansa: there is no folder ?[2Jexport: ")


def test_a_long_text_is_cut() -> None:
    assert clean("x" * 9_000) == "x" * 2_000 + "…"


# What is false


def test_a_false_export_is_shown_with_its_verdict_on_top(tmp_path: Path) -> None:
    log = good()
    place = log.where("consent given", "b")
    log.change(place)  # by the hub's key
    code, said = run(written(files(log), tmp_path / "export"), "--member", "b")
    lines = said.splitlines()
    assert code == 2
    assert lines[0].startswith(f"FALSE, first at entry {place}")
    assert "THIS EXPORT DOES NOT HOLD. What follows is what it says, and not what happened:" in lines
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{place:>7}  "))
    assert any(line.strip().startswith("FAILED: ") for line in lines[at + 1 : at + 4])


def test_what_is_missing_is_shown_as_open(tmp_path: Path) -> None:
    code, said = run(written(files(good(), cosigning=("a", "b")), tmp_path / "export"))
    assert code == 1
    assert said.startswith("Nothing is false, but not everything is shown.")


def test_an_entry_that_cannot_be_read_is_shown_whatever_is_asked_for() -> None:
    log = good()
    log.leaves[5] = b"\xc0"
    [unread] = shown(log, Wanted(act="no such act"))
    assert unread.place == 5 and "malformed" in unread.wrong


def test_a_bundle_that_is_not_there_is_named_and_the_rest_is_shown() -> None:
    log = new_log()
    while len(log.leaves) < 300:
        log.add(HUB, "signed in", person="p1", member="a")
    found = files(log)
    del found["tile/entries/000"]
    entries = shown(found)
    assert entries[0].wrong == "tile/entries/000 is not in the export: entries up to 255 are missing"
    assert [entry.place for entry in entries[1:]] == list(range(256, 300))


def test_a_folder_that_is_no_export_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProtocolViolation, match="holds no charter"):
        run(tmp_path)


def test_a_policy_of_strange_digits_is_a_finding_and_no_error_of_ours() -> None:
    from hansa.verify.verdict import verify

    found = files(good())
    for strange in ("²", "٣", "9" * 5_000):
        policy = found["policy"].replace(b"group members 3", f"group members {strange}".encode())
        assert verify(source(found | {"policy": policy})).outcome == "false"
