"""What a hub with every key of its own does to a log: the offline verifier names each by its sentence.

In most, the witnesses cosign whatever the hub made of its log: only what entries say and who signed them is left.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from hansa.messages import HUB, encode
from hansa.verify.findings import Finding
from hansa.verify.verdict import Verdict, verify
from tests import cards, exports
from tests.exports import RUN, Files, Log, files, good, plan_for, play, source

Play = Callable[[Log], Files]
OTHER = "e" * 64
LIES: dict[str, tuple[str, Play]] = {}


def lie(sentence: str) -> Callable[[Play], Play]:
    """A manipulation, and a part of the sentence that names it."""

    def told(played: Play) -> Play:
        LIES[played.__name__.replace("_", " ")] = sentence, played
        return played

    return told


def judged(found: Files, **more: Any) -> Verdict:
    return verify(source(found), **more)


def failures(verdict: Verdict) -> list[Finding]:
    return [finding for finding in verdict.findings if finding.severity == "failed"]


# ---- the log as a whole ----


@lie("does not hold")
def an_entry_is_edited_by_the_hub_that_has_no_key_of_its_author(log: Log) -> Files:
    log.change(log.where("table added", "b"), details={"table": "other", "schema": "4" * 64})
    return files(log)


@lie("history was rewritten")
def an_entry_of_the_hub_is_edited_after_it_was_witnessed(log: Log) -> Files:
    witnessed = files(log, [10])
    log.change(log.where("signed in"), details={"person": "p2", "member": "a"})
    return files(log, **{"checkpoints/10": witnessed["checkpoints/10"]})


@lie("the tile does not hold the digests")
def a_bundle_of_entries_is_edited_and_its_tile_is_not(log: Log) -> Files:
    before = files(log)
    log.change(log.where("signed in"), details={"person": "p2", "member": "a"})
    bundle = next(name for name in before if name.startswith("tile/entries"))
    return before | {bundle: files(log)[bundle]}


@lie("the hub left out, of entries of 'b', number 2")
def an_entry_of_a_member_is_deleted(log: Log) -> Files:
    del log.leaves[log.where("consent given", "b")]
    return files(log)


@lie("the hub's own entries of 'hub', number 5")
def an_entry_of_the_hub_is_deleted(log: Log) -> Files:
    del log.leaves[log.where("site seen", nth=2)]
    return files(log)


@lie("or an older one")
def two_entries_of_a_member_are_reordered(log: Log) -> Files:
    one, two = log.where("contributed", "a"), log.where("locked", "a")
    log.leaves[one], log.leaves[two] = log.leaves[two], log.leaves[one]
    return files(log)


@lie("back-dated")
def an_entry_is_back_dated(log: Log) -> Files:
    log.change(log.where("released"), milliseconds=exports.START + 3_000)
    return files(log)


@lie("post-dated")
def an_entry_is_post_dated(log: Log) -> Files:
    log.put(HUB, "signed in", "", None, {"person": "p1", "member": "a"}, at=log.now + 3 * 86_400_000)
    return files(log, **{"checkpoint": exports.note(log, len(log.leaves), seconds=log.now // 1000)})


@lie("history was rewritten")
def an_entry_is_inserted_before_what_was_witnessed(log: Log) -> Files:
    witnessed = files(log, [20])
    log.put(HUB, "signed in", "", None, {"person": "p9", "member": "c"})
    log.leaves.insert(6, log.leaves.pop())
    return files(log, **{"checkpoints/20": witnessed["checkpoints/20"]})


@lie("this export ends after 30: the rest is left out")
def a_tail_is_omitted_that_was_witnessed(log: Log) -> Files:
    witnessed = files(log, [40])
    del log.leaves[30:]
    return files(log, **{"checkpoints/40": witnessed["checkpoints/40"]})


@lie("is cut off in the middle of an entry")
def a_bundle_is_truncated(log: Log) -> Files:
    found = files(log)
    bundle = next(name for name in found if name.startswith("tile/entries"))
    return found | {bundle: found[bundle][:-3]}


@lie("holds 47 entries; the checkpoint says 48")
def a_bundle_lacks_its_last_entry(log: Log) -> Files:
    found = files(log)
    log.leaves.pop()
    return found | {exports.tile("entries", 0, 48): files(log)[exports.tile("entries", 0, 47)]}


@lie("are not in the export")
def a_bundle_is_left_out(log: Log) -> Files:
    found = files(log)
    return {name: data for name, data in found.items() if not name.startswith("tile/entries")}


@lie("history was rewritten")
def an_earlier_checkpoint_is_of_another_history(log: Log) -> Files:
    return files(log, **{"checkpoints/12": exports.note(log, 12, root=bytes(32))})


@lie("holds the checkpoint of size 12")
def an_earlier_checkpoint_stands_under_another_size(log: Log) -> Files:
    return files(log, **{"checkpoints/13": exports.note(log, 12)})


@lie("do not give the root")
def the_head_is_of_another_history(log: Log) -> Files:
    return files(log, checkpoint=exports.note(log, len(log.leaves), root=bytes(32)))


@lie("is of the log 'hansa/other/0'")
def the_checkpoint_is_of_another_log(log: Log) -> Files:
    return files(log, checkpoint=exports.note(log, len(log.leaves), origin="hansa/other/0"))


@lie("under the note does not hold")
def a_cosignature_is_of_another_tree(log: Log) -> Files:
    found = files(log)
    mine, other = found["checkpoint"].decode(), exports.note(log, 20).decode()
    head, rest = mine.split("\n\n")
    return found | {"checkpoint": (head + "\n\n" + rest.split("\n")[0] + "\n" + other.split("\n", 5)[5]).encode()}


@lie("not signed by the log")
def the_checkpoint_is_signed_by_a_stranger(log: Log) -> Files:
    log.hub = cards.hub_keys(254)
    found = files(log)
    log.hub = cards.hub_keys()
    return found


@lie("it is of the log 'hansa/other/0'")
def an_entry_of_another_log_is_brought_in(log: Log) -> Files:
    log.put("a", "table added", "", None, {"table": "t", "schema": ""}, origin="hansa/other/0")
    return files(log)


@lie("of number 3, or an older one")
def a_member_signs_two_entries_with_one_number(log: Log) -> Files:
    log.put("a", "table added", "", None, {"table": "t", "schema": ""}, sequence=3)
    return files(log)


@lie("may not do the act")
def an_act_that_nobody_knows(log: Log) -> Files:
    log.add("a", "everything allowed")
    return files(log)


@lie("'hub' may not do the act 'consent given'")
def the_hub_acts_as_a_member(log: Log) -> Files:
    log.add(HUB, "consent given", RUN, plan=plan_for(log).digest.hex())
    return files(log)


@lie("'c' may not do the act 'released'")
def a_member_acts_as_the_hub(log: Log) -> Files:
    log.add("c", "released", RUN, answer=OTHER, sites="a, b, c")
    return files(log)


@lie("which signs itself")
def the_hub_says_that_it_heard_a_consent(log: Log) -> Files:
    log.add(HUB, "heard", RUN, site="c", what="consent given", plan=plan_for(log).digest.hex())
    return files(log)


@lie("is not on the charter that is in force")
def a_stranger_writes(log: Log) -> Files:
    log.put("z", "table added", "", None, {"table": "t"}, key=cards.member_keys(9).consent)
    return files(log)


@lie("is opened by its first entry, and by no other")
def the_log_is_opened_twice(log: Log) -> Files:
    log.add(HUB, "log opened")
    return files(log)


@lie("is not in its one encoding")
def an_entry_has_a_second_encoding(log: Log) -> Files:
    leaf = log.leaves[5]
    assert leaf[1] == 0xC4  # a short byte string, made a long one
    log.leaves[5] = leaf[:1] + b"\xc5\x00" + leaf[2:]
    return files(log)


# ---- a job ----


@lie("the signature of 'c' does not hold")
def a_consent_is_forged(log: Log) -> Files:
    log.change(log.where("consent given", "c"), key=log.hub.signing)
    return files(log)


@lie("did 'consent given' for another plan")
def a_consent_to_another_plan_is_used(log: Log) -> Files:
    log.change(log.where("consent given", "c"), key=log.keys["c"].consent, details={"plan": OTHER})
    return files(log)


@lie("consents a second time")
def a_consent_is_used_twice(log: Log) -> Files:
    log.add("c", "consent given", RUN, plan=plan_for(log).digest.hex())
    return files(log)


@lie("before it was asked")
def a_consent_stands_before_the_question(log: Log) -> Files:
    question, answer = log.where("consent asked"), log.where("consent given", "a")
    log.leaves.insert(question, log.leaves.pop(answer))
    return files(log)


@lie("the plan is another one than was proposed")
def the_plan_is_swapped_after_consent(log: Log) -> Files:
    other = encode(plan_for(log, proposer="b"))
    log.change(log.where("proposal asked"), payload=log.pay(other))
    return files(log)


@lie("the payload is not the one that the entry commits to")
def a_payload_is_swapped(log: Log) -> Files:
    names = sorted(log.payloads)
    log.payloads[names[0]], log.payloads[names[1]] = log.payloads[names[1]], log.payloads[names[0]]
    return files(log)


@lie("'b' signed a proposal of 'a'")
def a_proposal_is_signed_by_another_member(log: Log) -> Files:
    log.change(log.where("proposal signed"), by="b", key=log.keys["b"].consent, sequence=99)
    return files(log)


@lie("locked another survivor set")
def a_total_is_of_another_survivor_set(log: Log) -> Files:
    place = log.where("total opened", nth=1)
    log.change(place, details={**exports.read(log.leaves[place])[6], "locked": OTHER})
    return files(log)


@lie("'c' locked another survivor set in step 0")
def a_member_is_shown_another_survivor_set(log: Log) -> Files:
    place = log.where("locked", "c")
    log.change(place, key=log.keys["c"].consent, details={"step": "0", "survivors": OTHER})
    return files(log)


@lie("2 sites survive; at least 3 must")
def too_few_survive(log: Log) -> Files:
    log.change(log.where("survivors locked", nth=1), details={"step": "1", "sites": "a, b"})
    log.change(log.where("released"), details={"answer": exports.ANSWER, "sites": "a, b"})
    return files(log)


@lie("stands in another place")
def a_step_is_opened_twice(log: Log) -> Files:
    log.change(log.where("total opened", nth=1), details={"step": "0", "total": OTHER, "locked": exports.LOCKED[0]})
    return files(log)


@lie("and its consent is not in the log")
def a_site_is_in_the_answer_that_never_consented(log: Log) -> Files:
    place = log.where("consent given", "b")
    log.change(place, act="refused", key=log.keys["b"].consent)
    return files(log)


@lie("said to be of other sites than survived")
def the_answer_claims_other_sites(log: Log) -> Files:
    log.change(log.where("released"), details={"answer": exports.ANSWER, "sites": "a, b"})
    return files(log)


@lie("was shown another answer than the log releases: a fork")
def the_answer_is_changed_in_the_log(log: Log) -> Files:
    log.change(log.where("released"), details={"answer": OTHER, "sites": "a, b, c"})
    return files(log)


@lie("'b' was shown another answer than the log releases: a fork")
def one_member_is_shown_another_answer(log: Log) -> Files:
    log.change(log.where("release seen", "b"), key=log.keys["b"].consent, details={"answer": OTHER})
    return files(log)


@lie("saw an answer that the log does not release")
def a_release_is_dropped(log: Log) -> Files:
    log.change(log.where("released"), act="cancelled", details={"person": "p1"})
    return files(log)


@lie("an answer is released a second time")
def an_answer_is_released_twice(log: Log) -> Files:
    log.add(HUB, "released", RUN, answer=exports.ANSWER, sites="a, b, c")
    return files(log)


@lie("stands after the job's end")
def a_job_goes_on_after_its_end(log: Log) -> Files:
    log.add(HUB, "survivors locked", RUN, step="2", sites="a, b, c")
    return files(log)


@lie("its answer is not in the log")
def a_job_is_done_without_an_answer(log: Log) -> Files:
    run = "6" * 32
    plan = plan_for(log, run)
    exports.play_plan(log, plan, encode(plan))
    log.add(HUB, "ended", run, status="done")
    return files(log)


@lie("acts of a job that nobody proposed")
def a_job_is_never_proposed(log: Log) -> Files:
    log.add(HUB, "released", "6" * 32, answer=OTHER, sites="a, b, c")
    return files(log)


@lie("the job is proposed a second time")
def a_job_is_proposed_twice(log: Log) -> Files:
    plan = plan_for(log)
    details = {"kind": plan.kind, "table": plan.table, "person": "p1", "member": "a", "plan": plan.digest.hex()}
    log.put(HUB, "proposal asked", RUN, encode(plan), details)
    return files(log)


@lie("does not say its 'sites'")
def an_act_keeps_back_what_it_must_say(log: Log) -> Files:
    log.change(log.where("released"), details={"answer": exports.ANSWER})
    return files(log)


# ---- charters ----


@lie("version 2 is signed by 2 of its members; 3 must")
def a_charter_lacks_a_signature(log: Log) -> Files:
    exports.amend(log, "abcd", {"d": cards.member_keys(9)})
    few = {name: log.keys[name] for name in ("a", "b")}
    return files(log, **{"charters/2": cards.signed(log.charter, few)})


@lie("is not in the chain")
def a_newer_charter_is_left_out(log: Log) -> Files:
    exports.amend(log, "abcd", {"d": cards.member_keys(9)})
    found = files(log)
    return {name: data for name, data in found.items() if name != "charters/2"}


@lie("is adopted after version 2")
def an_old_charter_is_adopted_again(log: Log) -> Files:
    old = log.charter
    exports.amend(log, "abcd", {"d": cards.member_keys(9)})
    log.add(HUB, "charter adopted", version="1", charter=old.digest.hex())
    return files(log)


@lie("another charter is adopted than version 1")
def another_charter_is_adopted(log: Log) -> Files:
    log.change(1, details={"version": "1", "charter": OTHER})
    return files(log)


@lie("'d' is not on the charter that is in force here")
def a_removed_member_writes_on(log: Log) -> Files:
    exports.amend(log, "abcd", {"d": cards.member_keys(9)})
    exports.amend(log, "abc", {})
    log.add("d", "table added", table="t", schema="")
    return files(log)


@lie("signed with a key that it had given up")
def a_key_is_used_after_its_successor(log: Log) -> Files:
    old = log.keys["b"].consent
    exports.amend(log, "abc", {"b": cards.member_keys(9)})
    log.put("b", "table added", "", None, {"table": "t"}, key=old)
    return files(log)


@lie("does not follow from version 1")
def a_charter_of_another_chain_follows(log: Log) -> Files:
    other = exports.new_log(exports.Rules(retention_years=9))
    exports.amend(other, "abcd", {"d": cards.member_keys(9)})
    return files(log, **{"charters/2": other.signed[2]})


@lie("trusts a witness that is not on the charter")
def the_policy_trusts_a_stranger(log: Log) -> Files:
    stranger = exports.verifier(f"{log.charter.origin}/a", 4, cards.member("a", 9).witness)
    mine = exports.verifier(f"{log.charter.origin}/a", 4, log.charter.member("a").witness)
    return files(log, policy=exports.policy(log.charter).replace(mine.encode(), stranger.encode()))


@lie("the charter's is 3")
def the_policy_asks_for_fewer_witnesses(log: Log) -> Files:
    return files(log, policy=exports.policy(log.charter).replace(b"members 3", b"members 2"))


def test_the_log_that_is_changed_here_holds_as_it_is() -> None:
    assert judged(files(good(), [5, 12, 40])).outcome == "holds"


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named(name: str) -> None:
    sentence, played = LIES[name]
    verdict = judged(played(good()))
    assert verdict.outcome == "false"
    said = [finding.sentence for finding in failures(verdict)]
    assert any(sentence in one for one in said), said
    assert verdict.first_failure == failures(verdict)[0]
    assert verdict.counts["failed"] == len(said)


def test_the_wrong_charter_is_named() -> None:
    stranger = exports.new_log(exports.Rules(retention_years=9))
    verdict = judged(files(good()), own=stranger.signed[1])
    assert "your own charter" in failures(verdict)[0].sentence
    assert not verdict.own_charter


def test_every_second_lie_is_told_of_a_younger_job_too() -> None:
    """What is found does not hang on the lie being in the first job."""
    log = good()
    play(log, "6" * 32, hashlib.sha256(b"[]").hexdigest())
    log.change(log.where("released", nth=1), details={"answer": OTHER, "sites": "a, b, c"})
    found = failures(judged(files(log)))
    assert len(found) == 3
    assert all("job 66666666" in finding.where for finding in found)
