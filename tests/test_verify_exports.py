"""Exports that hold, that are not whole yet, and that come from consortia that changed."""

import base64
import hashlib
from pathlib import Path

import pytest

from hansa import charter as charters
from hansa import evidence_file
from hansa import plan as plans
from hansa.charter import FirstCharter, FirstRules, FirstSignedCharter, Party, Rules
from hansa.crypto.bundles import FIRST_BYTES, HubKeys, MemberKeys
from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation
from hansa.export_folder import replay_of
from hansa.messages import HUB, encode
from hansa.replay import Evidence
from hansa.verify.jobs import Recomputed
from hansa.verify.verdict import Verdict, verify
from tests import cards, exports
from tests.exports import NAMES, RUN, Files, Log, files, good, new_log, play, source
from tests.test_replay import finish, signed_charter
from tests.world import World


def sentences(verdict: Verdict, severity: str) -> list[str]:
    return [finding.sentence for finding in verdict.findings if finding.severity == severity]


def without(log: Log, act: str, by: str) -> None:
    del log.leaves[log.where(act, by)]


# ---- what holds ----


def test_a_good_export_holds_and_says_what_it_is() -> None:
    log = good()
    verdict = verify(source(files(log, [5, 12, 40])), log.signed[1])
    assert verdict.outcome == "holds", verdict.findings
    assert (verdict.size, verdict.jobs, verdict.releases) == (len(log.leaves), 1, 1)
    assert verdict.root == exports.root(log.leaves).hex()
    assert verdict.final
    assert set(verdict.cosigned) == set(NAMES)
    assert verdict.own_charter
    assert (verdict.payloads_opened, verdict.payloads_erased) == (2, 0)
    assert verdict.acts["locked"] == 6
    assert verdict.charter_digest == log.charter.digest.hex()


def test_without_the_readers_own_charter_the_verdict_says_so() -> None:
    assert not verify(source(files(good()))).own_charter


@pytest.mark.parametrize("size", [2, 255, 256, 257, 511, 513, 600])
def test_a_log_of_any_size_holds(size: int) -> None:
    log = new_log()
    while len(log.leaves) < size:
        log.add(HUB, "signed in", person="p1", member="a")
    del log.leaves[size:]
    earlier = [one for one in (3, 256, 300) if one < size]
    assert verify(source(files(log, earlier))).outcome == "holds"


def test_what_was_erased_is_counted_and_nothing_else() -> None:
    found = {name: data for name, data in files(good()).items() if not name.startswith("payloads/")}
    verdict = verify(source(found))
    assert verdict.outcome == "holds"
    assert (verdict.payloads_opened, verdict.payloads_erased) == (0, 2)


def test_members_and_keys_may_change() -> None:
    log = good()
    exports.amend(log, "abcd", {"d": cards.member_keys(9), "b": cards.member_keys(10)})
    play(log, "6" * 32)
    exports.amend(log, "abd", {})
    play(log, "7" * 32)
    verdict = verify(source(files(log, [len(log.leaves) - 3])), log.signed[2])
    assert verdict.outcome == "holds", verdict.findings
    assert (verdict.charter, verdict.own_charter) == (3, True)


def test_a_policy_may_be_newer_than_the_head_that_is_final() -> None:
    log = good()
    before = len(log.leaves)
    found = files(log)
    exports.amend(log, "abcd", {"d": cards.member_keys(9)})
    newer = {"policy": exports.policy(log.charter), "charters/2": log.signed[2]}
    verdict = verify(source(found | newer))
    assert (verdict.size, verdict.charter) == (before, 1)
    assert [finding.sentence for finding in verdict.findings] == ["this version is not adopted in the log yet"]


def test_who_changed_keys_may_deliver_what_it_signed_before_late() -> None:
    log = good()
    old = log.keys["b"].consent
    exports.amend(log, "abc", {"b": cards.member_keys(9)})
    accepted = log.leaves.pop(log.where("charter accepted", "b", 1))
    late = log.counts["b"] - 1
    log.put("b", "table added", "", None, {"table": "t"}, key=old, sequence=late)
    log.leaves.append(accepted)
    log.change(len(log.leaves) - 1, key=log.keys["b"].consent, sequence=late + 1)
    verdict = verify(source(files(log)))
    assert verdict.outcome == "holds", verdict.findings


def test_a_job_may_agree_on_keys_a_second_time() -> None:
    again = new_log()
    plan = exports.plan_for(again)
    exports.play_plan(again, plan, encode(plan))
    sites = ", ".join(plan.sites)
    again.add(HUB, "setup complete", RUN, session="7" * 64, plan=plan.digest.hex(), sites=sites)
    exports.play_step(again, RUN, plan.sites, 0, "1" * 64, "2" * 64)
    again.add(HUB, "setup complete", RUN, session="8" * 64, plan=plan.digest.hex(), sites=sites)
    exports.play_step(again, RUN, plan.sites, 0, "3" * 64, "4" * 64)
    again.add(HUB, "released", RUN, answer=exports.ANSWER, sites=sites)
    again.add(HUB, "ended", RUN, status="done")
    assert verify(source(files(again))).outcome == "holds"


def test_a_refused_and_a_cancelled_job_hold() -> None:
    log = new_log()
    for run, last in (("6" * 32, "refused"), ("7" * 32, "cancelled")):
        plan = exports.plan_for(log, run)
        exports.play_plan(log, plan, encode(plan))
        if last == "refused":
            log.add("c", "refused", run, b"too few rows", plan=plan.digest.hex())
        else:
            log.add(HUB, "cancelled", run, person="p1")
        log.add(HUB, "ended", run, status=last)
    assert verify(source(files(log))).outcome == "holds"


# ---- what is not there ----


def test_a_head_without_a_quorum_is_not_final() -> None:
    verdict = verify(source(files(good(), cosigning=("a", "b"))))
    assert (verdict.outcome, verdict.final) == ("open", False)
    assert sentences(verdict, "missing") == ["2 of 3 members cosigned: not final"]


def test_a_quorum_that_the_charter_allows_is_final() -> None:
    log = new_log(Rules(quorum=3, corrupt=1), "abcd")
    verdict = verify(source(files(log, cosigning=("a", "b", "d"))))
    assert verdict.outcome == "holds", verdict.findings


def test_half_a_cosignature_is_none() -> None:
    log = good()
    lines = exports.note(log, len(log.leaves)).decode().split("\n")
    found = files(log, checkpoint="\n".join([*lines[:-2], ""]).encode())
    assert sentences(verify(source(found)), "missing") == ["2 of 3 members cosigned: not final"]


def test_what_a_member_has_not_delivered_is_missing_and_not_false() -> None:
    log = new_log()
    play(log)
    silent = [place for place, leaf in enumerate(log.leaves) if exports.read(leaf)[1] == "c" and place > 4]
    for place in reversed(silent):
        del log.leaves[place]
    verdict = verify(source(files(log)))
    assert verdict.outcome == "open"
    assert sentences(verdict, "missing") == [
        "keys are agreed with 'c', which did not consent",
        "'c' is in the answer, and its consent is not in the log",
    ]


def test_what_a_member_would_have_delivered_before_its_younger_entries_is_an_omission() -> None:
    log = new_log()
    play(log)
    for place in reversed([at for at, leaf in enumerate(log.leaves) if exports.read(leaf)[1] == "c" and at > 4]):
        del log.leaves[place]
    log.put("c", "table added", "", None, {"table": "t"}, at=log.now + 2 * 86_400_000, sequence=1)
    assert "although younger entries of 'c' are in the log" in sentences(verify(source(files(log))), "failed")[0]


def test_missing_tiles_are_missing_and_a_missing_policy_too() -> None:
    found = {name: data for name, data in files(good()).items() if name != "policy" and not name.startswith("tile/0")}
    verdict = verify(source(found))
    assert verdict.outcome == "open"
    assert verdict.counts == {"failed": 0, "missing": 2, "note": 0}


def test_an_empty_log_does_not_hold() -> None:
    log = new_log()
    log.leaves.clear()
    assert "begins with" in sentences(verify(source(files(log))), "failed")[0]


@pytest.mark.parametrize("gone", ["checkpoint", "charters/1"])
def test_without_a_checkpoint_or_a_charter_there_is_nothing_to_judge(gone: str) -> None:
    found = {name: data for name, data in files(good()).items() if name != gone}
    with pytest.raises(ProtocolViolation, match=r"holds no charter|has no checkpoint"):
        verify(source(found))


def test_notes_are_no_failures() -> None:
    log = good()
    found: Files = files(log, **{"payloads/" + "0" * 64: b"stray"})
    log.put("a", "table added", "", None, {"table": "t"}, at=exports.START - 10 * 86_400_000)
    assert sentences(verify(source(found)), "note") == ["no entry commits to this payload"]
    head = exports.note(log, len(log.leaves), seconds=log.now // 1000)
    verdict = verify(source(files(log, checkpoint=head)))
    assert verdict.outcome == "open"
    assert sentences(verdict, "note")[0].startswith("the clock of 'a' goes back by")


def test_a_thousand_failures_are_all_counted() -> None:
    log = new_log()
    for _ in range(1_300):
        log.put(HUB, "signed in", "", None, {"person": "p1", "member": "a"}, key=cards.hub_keys(254).signing)
    verdict = verify(source(files(log)))
    assert verdict.counts["failed"] == 1_300
    assert len(verdict.findings) == 1_000


# ---- evidence ----


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str, Evidence, Path]:
    """A job of the real protocol, and an export of a log that tells of it."""
    folder = tmp_path_factory.mktemp("world")
    world = World(folder)
    run = world.propose()
    evidence = finish(world, run).evidence
    path = folder / "export" / "evidence" / run
    path.parent.mkdir(parents=True)
    evidence_file.write(path, encode(evidence), (), lambda _: b"")
    return world, run, evidence, folder / "export"


def told(world: World, run: str, evidence: Evidence, found: Recomputed) -> Log:
    log = exports.opened(world.charter, HubKeys(world._hub_seeds), world.keys)
    log.signed = {1: signed_charter(world)}
    plan = plans.load(evidence.plan, world.charter)
    exports.play_plan(log, plan, evidence.plan)
    sites = ", ".join(plan.sites)
    log.add(HUB, "setup complete", run, session="7" * 64, plan=plan.digest.hex(), sites=sites)
    for step, (survivors, total, locked) in enumerate(found.totals):
        exports.play_step(log, run, survivors, step, locked, total)
    log.add(HUB, "released", run, answer=found.answer, sites=sites)
    log.add(HUB, "ended", run, status="done")
    return log


def with_evidence(log: Log, run: str) -> Files:
    return files(log, **{f"evidence/{run}": b"read by the replay itself"})


def test_evidence_is_recomputed_and_agrees_with_the_log(replayed: tuple[World, str, Evidence, Path]) -> None:
    world, run, evidence, folder = replayed
    found = replay_of(folder, run)
    assert found.answer == hashlib.sha256(evidence.answer).hexdigest()
    assert [total for _, total, _ in found.totals] == [
        digest("sum/total", *step.opening.chunks).hex() for step in evidence.sums
    ]
    log = told(world, run, evidence, found)
    verdict = verify(source(with_evidence(log, run)), replay=lambda name: replay_of(folder, name))
    assert verdict.outcome == "holds", verdict.findings
    assert verdict.replayed == (run,)


CHANGED = {
    "total": ("total opened", "total", "the total of step 1 is not the one in the log"),
    "locked": ("total opened", "locked", "the survivors of step 1 are not those in the log"),
    "answer": ("released", "answer", "the evidence gives another answer than the log releases"),
    "plan": ("proposal asked", "plan", "the evidence is of another plan than was proposed"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_log_that_says_otherwise_than_the_evidence_is_found(
    name: str, replayed: tuple[World, str, Evidence, Path]
) -> None:
    act, detail, sentence = CHANGED[name]
    world, run, evidence, folder = replayed
    log = told(world, run, evidence, replay_of(folder, run))
    place = log.where(act, nth=1 if act == "total opened" else 0)
    log.change(place, details={**exports.read(log.leaves[place])[6], detail: "e" * 64})
    verdict = verify(source(with_evidence(log, run)), replay=lambda other: replay_of(folder, other))
    assert sentence in sentences(verdict, "failed")


def test_evidence_of_another_job_or_of_none_is_found(
    replayed: tuple[World, str, Evidence, Path], tmp_path: Path
) -> None:
    world, run, evidence, folder = replayed
    log = told(world, run, evidence, replay_of(folder, run))
    found = files(log, **{f"evidence/{'0' * 32}": b""})
    assert sentences(verify(source(found)), "failed") == ["the log knows no job of this name"]
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / RUN).write_bytes((folder / "evidence" / run).read_bytes())
    with pytest.raises(ProtocolViolation, match="another job than its name"):
        replay_of(tmp_path, RUN)
    (tmp_path / "evidence" / RUN).write_bytes(b"PK\x03\x04")
    with pytest.raises(ProtocolViolation):
        replay_of(tmp_path, RUN)


# ---- a consortium of the first format ----


def of_first_format() -> Log:
    """A hub of 0.1 that now keeps this log: it writes what it heard, and no checkpoint of it can be signed."""
    members = {name: MemberKeys(cards.seeds(place, FIRST_BYTES)) for place, name in enumerate(NAMES)}
    hub = HubKeys(cards.seeds(255, FIRST_BYTES))
    party = lambda name, keys: Party(name, keys.signing.public, keys.sealing.public)  # noqa: E731
    raw = encode(FirstCharter("old", 1, party(HUB, hub), tuple(party(*one) for one in members.items()), FirstRules()))
    signed = encode(FirstSignedCharter(raw, tuple(keys.signing.sign("charter", raw) for keys in members.values())))
    log = Log(charters.load(signed), hub, members, {1: signed})
    log.put(HUB, "log opened", "", None, {"former size": "7", "former head": "0" * 64})
    log.add(HUB, "charter adopted", version="1", charter=log.charter.digest.hex())
    return log


def unsigned(log: Log) -> bytes:
    head = base64.b64encode(exports.root(log.leaves)).decode()
    return (
        f"{log.charter.origin}\n{len(log.leaves)}\n{head}\n\n— nobody {base64.b64encode(b'12345').decode()}\n".encode()
    )


def test_a_log_under_a_charter_of_the_first_format_holds_but_nobody_signed_its_head() -> None:
    log = of_first_format()
    plan = exports.plan_for(log)
    digest_of_plan, sites = plan.digest.hex(), ", ".join(NAMES)
    said = {"kind": plan.kind, "table": plan.table, "person": "p1", "member": "a"}
    log.add(HUB, "proposal asked", RUN, encode(plan), plan=digest_of_plan, **said)
    log.add(HUB, "heard", RUN, site="a", what="proposal signed", plan=digest_of_plan)
    log.add(HUB, "consent asked", RUN, sites=sites)
    for site in NAMES:
        log.add(HUB, "heard", RUN, site=site, what="consent given", plan=digest_of_plan)
    log.add(HUB, "setup complete", RUN, session="7" * 64, plan=digest_of_plan, sites=sites)
    log.add(HUB, "survivors locked", RUN, step="0", sites=sites)
    log.add(HUB, "total opened", RUN, step="0", total="1" * 64, locked="2" * 64)
    log.add(HUB, "released", RUN, answer=exports.ANSWER, sites=sites)
    log.add(HUB, "ended", RUN, status="done")
    found = {"charters/1": log.signed[1], "checkpoint": unsigned(log), "policy": b""} | exports.tiles(log.leaves)
    verdict = verify(source(found), log.signed[1])
    assert verdict.outcome == "open"
    assert sentences(verdict, "missing") == [
        "the charter gives the log no key: nobody signs what it holds",
        "0 of 3 members cosigned: not final",
    ]
    log.change(log.where("heard", nth=2), details={"site": "b", "what": "consent given", "plan": "e" * 64})
    found |= {"checkpoint": unsigned(log)} | exports.tiles(log.leaves)
    assert verify(source(found)).outcome == "false"


def test_acts_of_a_job_of_the_former_log_are_a_note() -> None:
    log = of_first_format()
    log.add(HUB, "released", RUN, answer=exports.ANSWER, sites="a, b, c")
    found = {"charters/1": log.signed[1], "checkpoint": unsigned(log), "policy": b""} | exports.tiles(log.leaves)
    assert sentences(verify(source(found)), "note") == ["acts of a job that nobody proposed in this log"]


def test_a_charter_of_the_first_format_may_be_followed_by_one_of_the_second() -> None:
    log = of_first_format()
    keys = {name: cards.member_keys(place) for place, name in enumerate(NAMES)}
    members = [cards.member(name, place) for place, name in enumerate(NAMES)]
    after = charters.draft("old", cards.hub(), members, Rules(), log.charter.origin, log.charter)
    signatories = [charters.sign(after, name, held) for each in (log.keys, keys) for name, held in each.items()]
    log.signed[2], log.hub, log.keys = charters.sealed(after, signatories), cards.hub_keys(), keys
    exports.adopt(log, after)
    play(log)
    verdict = verify(source(files(log)), log.signed[1])
    assert verdict.outcome == "holds", verdict.findings
    assert (verdict.charter, verdict.own_charter) == (2, True)
