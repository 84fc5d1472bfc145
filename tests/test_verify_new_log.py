"""A new log and the one before it, as the verifiers hold them to each other: what the hub hides of the old one is
named."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hansa.charter import Rules
from hansa.messages import HUB
from hansa.verify.charters import load
from hansa.verify.former import source_of
from hansa.verify.verdict import Verdict, verify
from tests import cards, exports
from tests.exports import NAMES, Files, Log, begin_anew, carry_on, files, good, play, source
from tests.test_second_verifier import run_script
from tests.test_verify_compare import written

HELD, SEEN = 30, 44
Play = Callable[[], tuple[Log, Files]]
LIES: dict[str, tuple[str, Play]] = {}


def lie(sentence: str) -> Callable[[Play], Play]:
    def told(played: Play) -> Play:
        LIES[played.__name__.replace("_", " ")] = sentence, played
        return played

    return told


def whole(new: Log, former: Files) -> Files:
    return files(new) | former


def said(verdict: Verdict, severity: str) -> list[str]:
    return [one.sentence for one in verdict.findings if one.severity == severity]


def without(log: Log, place: int, act: str = "log continued") -> None:
    """The author's later entries are numbered anew, with its own key."""
    by = exports.read(log.leaves[place])[1]
    assert exports.read(log.leaves[place])[4] == act
    del log.leaves[place]
    for later, leaf in enumerate(log.leaves):
        entry = exports.read(leaf)
        if later >= place and entry[1] == by:
            log.change(later, sequence=entry[2] - 1, key=log.keys[by].consent)


# ---- what holds ----


def test_an_honest_new_log_says_what_was_lost_and_nothing_else() -> None:
    new, former = begin_anew(good(), HELD, SEEN)
    play(new)
    verdict = verify(source(whole(new, former)), new.signed[1])
    assert said(verdict, "failed") == said(verdict, "note") == []
    assert said(verdict, "missing") == [
        "of the log before, entries 30 to 43 are lost: members had cosigned 44, the hub holds 30"
    ]
    assert verdict.former == (1,)
    assert verify(source_of(source(whole(new, former)), 1)).size == HELD


def test_a_third_log_names_the_second_and_the_first_still_lies_beside_them() -> None:
    second, first = begin_anew(good(), HELD, SEEN)
    second_held = len(second.leaves)
    second.add(HUB, "signed in", person="p1", member="a")
    third, former = begin_anew(second, second_held, second_held + 1)
    found = whole(third, first | former)
    verdict = verify(source(found), third.signed[2])
    assert (said(verdict, "failed"), verdict.former, verdict.origin) == ([], (1, 2), f"{cards.ORIGIN}/v3")
    middle = verify(source_of(source(found), 2))
    assert said(middle, "failed") == [] and "entries 30 to 43 are lost" in said(middle, "missing")[0]


def test_a_member_that_was_not_asked_and_had_cosigned_more_is_a_note_and_no_lie() -> None:
    log = good()
    new, former = begin_anew(log, HELD, SEEN, ("a", "b"))
    without(new, new.where("log continued", "c"))
    new.leaves = [leaf for leaf in new.leaves if exports.read(leaf)[1] != "c"]
    new.counts["c"] = 0
    carry_on(new, log, "c", SEEN + 2)
    verdict = verify(source(whole(new, former)))
    assert said(verdict, "failed") == []
    assert said(verdict, "note") == [
        "'c' had cosigned 46 entries of the log before, and this log's first entry commits to 44; it was not asked"
    ]


def test_a_member_that_has_said_nothing_yet_is_missing() -> None:
    new, former = begin_anew(good(), HELD, SEEN)
    new.leaves = [leaf for leaf in new.leaves if exports.read(leaf)[1] != "c"]
    assert "'c' has not said yet what it saw of it" in said(verify(source(whole(new, former))), "missing")


def test_an_export_without_the_log_before_lacks_it() -> None:
    new, _ = begin_anew(good(), HELD, SEEN)
    verdict = verify(source(files(new)))
    assert "the log before is not in the export" in said(verdict, "missing")
    assert said(verdict, "failed") == []


def test_a_log_that_stands_under_a_later_version_than_the_one_that_began_it_is_a_note() -> None:
    new, former = begin_anew(good(), HELD, SEEN)
    leaves = [leaf for leaf in new.leaves if exports.read(leaf)[4] not in ("charter adopted", "charter accepted")]
    new.leaves, new.counts[HUB] = leaves, 1
    exports.amend(new, NAMES, {"a": cards.member_keys(9)})
    new.leaves.insert(1, new.leaves.pop(new.where("charter adopted")))
    notes = said(verify(source(whole(new, former))), "note")
    assert any("version 2 of the charter begins this log, and 3 is the first that it adopts" in one for one in notes)


# ---- what does not ----


@lie("'a' had cosigned 46 entries of the log before, and this log's first entry commits to 44")
def it_commits_to_less_than_a_member_had_cosigned() -> tuple[Log, Files]:
    log = good()
    new, former = begin_anew(log, HELD, SEEN)
    details = exports.read(new.leaves[new.where("log continued", "a")])[6]
    more = details | {"size": "46", "root": exports.root(log.leaves[:46]).hex()}
    new.change(new.where("log continued", "a"), details=more, key=new.keys["a"].consent)
    return new, former


@lie("another log before of 44 entries")
def it_commits_to_another_history_than_members_had_cosigned() -> tuple[Log, Files]:
    log = good()
    other = good()
    other.change(40, details={"step": "0"})
    return begin_anew(log, HELD, SEEN, witnessed=exports.note(other, SEEN, ()).decode())


@lie("the log before does not begin with what|history was rewritten")
def what_is_left_of_the_log_before_is_not_what_a_member_had_cosigned() -> tuple[Log, Files]:
    new, former = begin_anew(good(), HELD, SEEN)
    details = exports.read(new.leaves[new.where("log continued", "b")])[6]
    changed = details | {"size": "20", "root": "5" * 64}
    new.change(new.where("log continued", "b"), details=changed, key=new.keys["b"].consent)
    return new, former


@lie("1 members were asked how far they had cosigned the log before")
def only_one_member_was_asked() -> tuple[Log, Files]:
    return begin_anew(good(), HELD, SEEN, ("a",))


@lie("not the entries of the log before that this log's first commits to|commits to other entries of the log before")
def the_log_before_is_rewritten_in_the_export() -> tuple[Log, Files]:
    new, _ = begin_anew(good(), HELD, SEEN)
    other = good()
    other.change(12, details={"site": "a", "version": "9", "tables": "1"})
    return new, begin_anew(other, HELD, SEEN)[1]


@lie("not signed by the log")
def the_checkpoint_of_the_log_before_is_signed_by_a_stranger() -> tuple[Log, Files]:
    log = good()
    log.hub = cards.hub_keys(254)
    false = exports.note(log, SEEN, ()).decode()
    return begin_anew(good(), HELD, SEEN, witnessed=false)


@lie("the log before is not the one of version 1 of the charter|entry 0 does not name the log that went before")
def it_names_another_log_before_it() -> tuple[Log, Files]:
    other = exports.note(good(), SEEN, (), origin="hansa/other/0").decode()
    return begin_anew(good(), HELD, SEEN, former_log="hansa/other/0", witnessed=other)


@lie("does not say what went before it|entry 0 does not name the log that went before")
def it_says_nothing_of_the_log_before() -> tuple[Log, Files]:
    new, former = begin_anew(good(), HELD, SEEN)
    new.change(0, details={})
    return new, former


@lie("no version of the charter begins a new one")
def a_new_log_begins_without_a_new_charter() -> tuple[Log, Files]:
    log = good()
    said = exports.read(begin_anew(log, HELD, SEEN)[0].leaves[0])[6]
    log.change(0, details=said)
    return log, {}


@lie("of the log 'hansa/test/0'|is of another log")
def an_old_entry_is_replayed_in_the_new_log() -> tuple[Log, Files]:
    log = good()
    new, former = begin_anew(log, HELD, SEEN)
    new.leaves.append(log.leaves[log.where("table added", "a")])
    return new, former


@lie("not as the first that it says")
def a_member_says_only_later_what_it_had_seen() -> tuple[Log, Files]:
    log = good()
    new, former = begin_anew(log, HELD, SEEN)
    carry_on(new, log, "a", SEEN)
    carry_on(new, log, "a", SEEN)
    return new, former


ONLY_THE_FIRST = {"a member says only later what it had seen"}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_the_log_before_is_named(name: str) -> None:
    sentence, played = LIES[name]
    verdict = verify(source(whole(*played())))
    assert verdict.outcome == "false"
    assert any(part in one for part in sentence.split("|") for one in said(verdict, "failed")), verdict.findings


@pytest.mark.parametrize("name", [name for name in LIES if name not in ONLY_THE_FIRST])
def test_the_second_verifier_finds_it_too(name: str, tmp_path: Path) -> None:
    _sentence, played = LIES[name]
    code, told = run_script(written(tmp_path / "export", whole(*played())))
    assert code == 2, told


def test_the_second_verifier_says_what_was_lost(tmp_path: Path) -> None:
    new, former = begin_anew(good(), HELD, SEEN)
    code, told = run_script(written(tmp_path / "export", whole(new, former)), new.signed[1])
    assert (code, told.split("\n")[0]) == (1, "LOST: entries 30 to 43 of hansa/test/0: members had cosigned 44")
    assert told.split("\n")[-2] == "Nothing is false, but not all is final and here."


# ---- the charter ----


def second(change: Callable[[Any], Any], signing: Sequence[str] = NAMES) -> bytes:
    from msgspec.structs import replace

    log = good()
    new, _ = begin_anew(log, HELD, SEEN)
    changed = replace(new.charter, **change(new.charter))
    return cards.signed(changed, {name: new.keys[name] for name in signing})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda _: {"origin": "hansa/other/0"}, "names another log, and not one that it begins"),
        (lambda one: {"origin": f"{one.origin}/v2"}, "names another log, and not one that it begins"),
        (lambda _: {"rules": Rules(quorum=2, corrupt=0)}, "begins a new log, and changes something else too"),
        (lambda one: {"members": one.members[:2] + one.members[3:]}, "at least three"),
        (lambda _: {"hub": cards.hub(9)}, "begins a new log, and changes something else too"),
        (lambda one: {"origin": f"{cards.ORIGIN}/v3"}, "a later version is to begin"),
    ],
)
def test_a_charter_begins_a_new_log_and_does_nothing_else(change: Any, sentence: str) -> None:
    first = load(good().signed[1])
    assert load(second(lambda _: {}), first).log_began == 2
    with pytest.raises(Exception, match=sentence):
        load(second(change), first)


def test_a_new_log_is_the_word_of_the_threshold_of_the_members() -> None:
    first = load(good().signed[1])
    assert load(second(lambda _: {}, ("a", "b")), first).version == 2
    with pytest.raises(Exception, match="signed by 1 of its members; 2 must"):
        load(second(lambda _: {}, ("a",)), first)
