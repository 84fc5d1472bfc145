"""Two members' copies of one log, and evidence that anybody can check who has the charter."""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.cli import main
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import HUB
from hansa.verify.compare import Comparison, compare, copy_of_export, copy_of_note
from hansa.verify.forks import prove
from hansa.verify.tree import Tree, leaf, root_of_prefix
from tests import cards, exports
from tests.exports import Log, files, good, new_log, source

SIZE = 30
quick = settings(derandomize=True, database=None, deadline=None, max_examples=60)


def told(log: Log, size: int = 0) -> Any:
    if size:
        del log.leaves[size:]
    return copy_of_export("B", source(files(log)))


def other_story(place: int = 11) -> Log:
    log = good()
    log.change(place, details={"table": "another", "schema": ""})
    return log


def mine(size: int = 0) -> Any:
    log = good()
    del log.leaves[size or len(log.leaves) :]
    return copy_of_export("A", source(files(log)))


def forked(found: Comparison) -> bytes:
    assert found.outcome == "forked"
    assert found.fork is not None
    return found.fork


def test_two_copies_of_one_log_are_the_same_or_one_continues_the_other() -> None:
    assert compare(mine(), told(good())).outcome == "same"
    found = compare(mine(), told(good(), SIZE))
    assert found.outcome == "continues"
    assert found.sentence == f"A continues B with {len(good().leaves) - SIZE} entries"
    note = copy_of_note("checkpoint", files(good(), [SIZE])[f"checkpoints/{SIZE}"])
    assert compare(note, mine()).outcome == "continues"


@pytest.mark.parametrize("place", [0, 5, 12, 29])
def test_a_fork_is_found_with_its_first_entry_and_proven(place: int) -> None:
    log = other_story(place)
    for small, large in ((mine(SIZE), told(log)), (mine(), told(log))):
        found = compare(small, large)
        assert found.entry == place
        proven = prove(forked(found), good().signed[1])
        assert proven.own_charter
        assert proven.sizes == (small.checkpoint.size, len(log.leaves))
        assert set(proven.cosigned[0]) == set(proven.cosigned[1]) == set("abc")


def test_two_checkpoints_of_one_size_are_enough() -> None:
    log = other_story()
    notes = [copy_of_note(name, exports.note(one, SIZE)) for name, one in (("A", good()), ("B", log))]
    found = compare(*notes, own=log.signed[1])
    assert found.entry is None
    assert prove(forked(found)).sizes == (SIZE, SIZE)


def test_checkpoints_that_can_not_tell_are_refused() -> None:
    small, large = (copy_of_note("A", exports.note(good(), size)) for size in (SIZE, 40))
    with pytest.raises(Refused, match="only its entries tell"):
        compare(small, large, good().signed[1])
    with pytest.raises(ProtocolViolation, match="nobody knows whose"):
        compare(small, small)
    elsewhere = copy_of_note("B", exports.note(good(), SIZE, origin="hansa/other/0"))
    with pytest.raises(Refused, match="two logs"):
        compare(small, elsewhere, good().signed[1])


def test_copies_under_another_charter_than_the_readers_are_refused() -> None:
    stranger = new_log(exports.Rules(retention_years=9))
    with pytest.raises(ProtocolViolation, match="your own charter"):
        compare(mine(), mine(SIZE), stranger.signed[1])


def test_a_note_that_the_log_did_not_sign_accuses_nobody() -> None:
    log = other_story()
    log.hub = cards.hub_keys(254)
    with pytest.raises(ProtocolViolation, match="not signed by the log"):
        compare(mine(SIZE), copy_of_note("B", exports.note(log, SIZE)))


def test_a_copy_that_does_not_hold_in_itself_accuses_nobody() -> None:
    found = files(good(), checkpoint=exports.note(other_story(), len(good().leaves)))
    with pytest.raises(ProtocolViolation, match="does not hold in itself"):
        copy_of_export("B", source(found))


def proof() -> dict[str, Any]:
    return dict(json.loads(forked(compare(mine(SIZE), told(other_story())))))


def no_fork(found: dict[str, Any]) -> None:
    """One log, dressed as a fork."""
    log = good()
    tree = Tree()
    tree.append([leaf(one) for one in log.leaves])
    found["notes"] = [exports.note(log, SIZE).decode(), exports.note(log, len(log.leaves)).decode()]
    found["prefix"] = base64.b64encode(tree.root(SIZE)).decode()
    found["proof"] = [base64.b64encode(part).decode() for part in tree.consistency(SIZE)]


FALSE = {
    "no fork at all": (no_fork, "this is no fork"),
    "another prefix": (lambda one: one.update(prefix=base64.b64encode(bytes(32)).decode()), "does not join"),
    "no proof": (lambda one: one.update(proof=[]), "does not join|is empty"),
    "longer proof": (lambda one: one["proof"].append(one["proof"][0]), "longer than the tree"),
    "short digest": (lambda one: one["proof"].__setitem__(0, "AAAA"), "consistency proof"),
    "notes swapped": (lambda one: one["notes"].reverse(), "the smaller first"),
    "no charter": (lambda one: one.update(charters=[]), "nobody knows whose"),
    "not base64": (lambda one: one.update(charters=["*"]), "base64"),
    "another format": (lambda one: one.update(format="hansa fork 2"), "no evidence of a fork"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_evidence_proves_nothing(name: str) -> None:
    change, sentence = FALSE[name]
    found = proof()
    assert prove(json.dumps(found).encode())
    change(found)  # type: ignore[no-untyped-call]
    with pytest.raises(ProtocolViolation, match=sentence):
        prove(json.dumps(found).encode())


def test_evidence_under_another_charter_than_the_readers_is_refused() -> None:
    stranger = new_log(exports.Rules(retention_years=9))
    with pytest.raises(ProtocolViolation, match="your own charter"):
        prove(json.dumps(proof()).encode(), stranger.signed[1])


def test_consistency_proofs_hold_between_any_two_sizes_and_are_the_ones_of_rfc_6962() -> None:
    leaves = [bytes([at]) for at in range(40)]
    for whole in range(1, 41):
        tree = Tree()
        tree.append([leaf(one) for one in leaves[:whole]])
        assert tree.root(whole) == exports.root(leaves[:whole])
        for size in range(1, whole + 1):
            found = tree.consistency(size)
            if size < whole:
                root_of_prefix(size, exports.root(leaves[:size]), whole, tree.root(whole), found)
                for lie in (found[:-1], [*found, bytes(32)], [bytes(32), *found[1:]]):
                    with pytest.raises(ProtocolViolation):
                        root_of_prefix(size, exports.root(leaves[:size]), whole, tree.root(whole), lie)


def test_rows_of_tiles_give_the_same_roots_as_the_tree() -> None:
    leaves = [at.to_bytes(2, "big") for at in range(1_000)]
    tree = Tree()
    for start in range(0, 1_000, 256):
        tree.append([leaf(one) for one in leaves[start : start + 256]])
    for size in (0, 1, 255, 256, 257, 511, 512, 700, 999, 1_000):
        assert tree.root(size) == exports.root(leaves[:size])
        if 0 < size < 1_000:
            root_of_prefix(size, tree.root(size), 1_000, tree.root(1_000), tree.consistency(size))


@quick
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_evidence(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        prove(data)


def written(folder: Path, found: exports.Files) -> Path:
    for name, data in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def hansa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, with its exit code and everything that it said."""

    def ran(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hansa", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return ran


def test_the_commands_say_it_with_their_exit_codes(tmp_path: Path, hansa: Command) -> None:
    whole = written(tmp_path / "whole", files(good(), [SIZE]))
    lying = written(tmp_path / "lying", files(other_story()))
    pending = written(tmp_path / "pending", files(good(), cosigning=("a",)))
    charter = tmp_path / "charter"
    charter.write_bytes(good().signed[1])
    code, said = hansa("audit", "verify", whole, "--charter", charter)
    assert (code, said.split("\n")[0]) == (0, "Everything holds.")
    code, said = hansa("audit", "verify", pending)
    assert code == 1
    assert "not final, 3 must" in said
    assert "THIS CHARTER CAME WITH THE EXPORT" in said
    code, said = hansa("audit", "verify", lying)
    assert code == 2
    assert said.startswith("FALSE, first at entry 11: the signature of 'c' does not hold")
    code, said = hansa("audit", "verify", whole, "--json")
    assert (code, json.loads(said)["outcome"]) == (0, "holds")
    code, said = hansa("audit", "verify", tmp_path / "nothing")
    assert code == 2
    assert "there is no folder" in said


def test_a_fork_is_written_by_one_command_and_checked_by_another(tmp_path: Path, hansa: Command) -> None:
    whole = written(tmp_path / "whole", files(good(), [SIZE]))
    lying = written(tmp_path / "lying", files(other_story()))
    charter, out = tmp_path / "charter", tmp_path / "fork.json"
    charter.write_bytes(good().signed[1])
    assert hansa("audit", "compare", whole, whole)[0] == 0
    code, said = hansa("audit", "compare", whole, lying)
    assert code == 2
    assert "differ from entry 11 on" in said
    assert hansa("audit", "compare", whole / "checkpoints" / str(SIZE), lying, "--out", out)[0] == 2
    code, said = hansa("audit", "fork", out, "--charter", charter)
    assert code == 0
    assert "told two stories, and signed both" in said
    assert "THIS CHARTER CAME" in hansa("audit", "fork", out)[1]


def test_a_large_log_is_verified_in_several_processes(tmp_path: Path, hansa: Command) -> None:
    log = new_log()
    for _ in range(6_000):
        log.put(HUB, "signed in", "", None, {"person": "p1", "member": "a"})
    log.change(5_900, key=cards.hub_keys(254).signing)
    code, said = hansa("audit", "verify", written(tmp_path / "export", files(log)))
    assert code == 2
    assert said.startswith("FALSE, first at entry 5900: the signature of 'hub' does not hold")
    assert said.count("failed:") == 1
