"""Evidence: whoever has it recomputes the totals, finds every change, and sees no input."""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import delete
from sqlalchemy.orm import Session

from hansa import charter as charters
from hansa import evidence_file
from hansa import replay as replays
from hansa.charter import Rules
from hansa.cli import main
from hansa.crypto import merkle, prg
from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation, Refused
from hansa.evidence_file import EvidenceFile
from hansa.hub import evidence as kept
from hansa.hub.models import EvidenceRow
from hansa.jobs.base import Column, Reals, Schema, Step, Table, to_ring
from hansa.messages import HUB, decode, encode
from hansa.plan import load
from hansa.protocols import release
from hansa.protocols.secure_sum import Opened, Summed
from hansa.protocols.survivors import Receipt, headers_digest, lock_digest
from hansa.replay import Evidence, SecondEvidence, Setup, Sum, read, replay
from tests.test_world import BAD_DAY, check_right, took_part
from tests.world import World

GONE = "s2"


@dataclass
class Finished:
    """A world whose job has its answer."""

    world: World
    run: str
    signed: bytes  # charter
    evidence: Evidence


def signed_charter(world: World) -> bytes:
    return world.signed


def evidence_of(world: World, run: str) -> Evidence:
    with Session(world.engines[HUB]) as db:
        return kept.assemble(db, run, signed_charter(world))


def finish(world: World, run: str) -> Finished:
    assert world.finish(run).status == "done", world.job(run).reason
    return Finished(world, run, signed_charter(world), evidence_of(world, run))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    world = World(tmp_path_factory.mktemp("quiet"))
    return finish(world, world.propose())


@pytest.fixture(scope="module")
def vanished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A site vanishes before it contributes to the second step: its edges to the survivors are opened."""
    world = World(tmp_path_factory.mktemp("vanished"), seed=1)
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1)
    world.kill(GONE)
    return finish(world, run)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A site vanishes after it contributed to the second step: it survives that step, and is in no later one."""
    world = World(tmp_path_factory.mktemp("left"), seed=2)
    run = world.propose()
    world.run_until(lambda: world.job(run).step == 1 and world.participants(run)[GONE].reply is not None)
    world.kill(GONE)
    return finish(world, run)


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    world = World(tmp_path_factory.mktemp("lossy"), sites=5, seed=3, faults=BAD_DAY, rules=Rules(round_seconds=600))
    return finish(world, world.propose())


def refuses(job: Finished, evidence: Evidence, match: str = ".") -> None:
    with pytest.raises(ProtocolViolation, match=match):
        replay(read(encode(evidence)), job.world.charter)


def put(holder: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """`holder` with what lies at `path` changed."""
    if not path:
        return change(holder)
    head, rest = path[0], path[1:]
    if isinstance(holder, Struct):
        return replace(holder, **{head: put(getattr(holder, head), rest, change)})
    if isinstance(holder, dict):
        return {**holder, head: put(holder[head], rest, change)}
    return (*holder[:head], put(holder[head], rest, change), *holder[head + 1 :])


def places(holder: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value inside `holder`, down to the single fields, with its path."""
    if path:
        yield path, holder
    if isinstance(holder, Struct):
        for name in holder.__struct_fields__:
            yield from places(getattr(holder, name), (*path, name))
    elif isinstance(holder, dict):
        for key in holder:
            yield from places(holder[key], (*path, key))
    elif isinstance(holder, tuple):
        for place, value in enumerate(holder):
            yield from places(value, (*path, place))


def alter(value: Any, chance: random.Random) -> Any:
    """The smallest change: one bit, one more, another letter."""
    if isinstance(value, bytes):
        bit = chance.randrange(8 * len(value)) if value else 0
        content = bytearray(value or b"\0")
        content[bit // 8] ^= 1 << bit % 8
        return bytes(content)
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1] != "x" else "y")
    if value is None:
        return Receipt(bytes(32), (), bytes(32), {}, (bytes(32),))
    return value + 1


# What holds


@pytest.mark.parametrize("which", ["quiet", "vanished", "left", "lossy"])
def test_replay_gives_the_totals_and_the_answer_of_the_job(which: str, request: pytest.FixtureRequest) -> None:
    job: Finished = request.getfixturevalue(which)
    replayed = replay(read(encode(job.evidence)), job.world.charter)
    assert replayed.exact
    assert replayed.plan.run == job.run
    assert len(replayed.steps) == len(job.evidence.sums) > 2
    assert list(replayed.steps[-1].survivors) == took_part(job.world, job.run)
    check_right(job.world, job.run)


def test_the_site_that_vanished_is_dropped_in_the_step_it_missed(vanished: Finished, left: Finished) -> None:
    steps = replay(vanished.evidence, vanished.world.charter).steps
    assert [step.dropped for step in steps[:3]] == [(), (GONE,), ()]
    steps = replay(left.evidence, left.world.charter).steps
    assert [GONE in step.survivors for step in steps[:3]] == [True, True, False]
    assert GONE not in left.evidence.sums[1].opening.shares


def test_an_answer_of_another_machine_holds_within_the_tolerance_and_is_said_to(quiet: Finished) -> None:
    answer = msgspec.json.decode(quiet.evidence.answer)
    for factor, holds in ((1 + 1e-12, True), (1 + 1e-5, False)):
        answer["columns"]["x"]["mean"] *= factor
        content = msgspec.json.encode(answer)
        evidence = replace(quiet.evidence, answer=content, answer_digest=replays.sha256(content).digest())
        plan = load(evidence.plan, quiet.world.charter).digest
        keys = {site: quiet.world.keys[site].consent for site in evidence.releases}
        signed = {site: release.agree(key, plan, content).signature for site, key in keys.items()}
        evidence = replace(evidence, releases=signed)
        if holds:
            assert not replay(evidence, quiet.world.charter).exact
        else:
            refuses(quiet, evidence, "not what the last total gives")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda signed: {}, "fewer sites agreed"),
        (lambda signed: dict(list(signed.items())[:2]), "fewer sites agreed"),
        (lambda signed: signed | {"s9": bytes(64)}, "'s9' agreed to the release and is not in the last total"),
        (lambda signed: signed | {"s1": signed["s0"]}, "the signature of 's1' on the release does not hold"),
        (lambda signed: signed | {"s1": bytes(64)}, "the signature of 's1' on the release does not hold"),
    ],
)
def test_a_release_that_too_few_agreed_to_is_found(quiet: Finished, change: Any, words: str) -> None:
    refuses(quiet, replace(quiet.evidence, releases=change(dict(quiet.evidence.releases))), words)


def test_evidence_says_of_its_plans_version_whether_a_release_was_asked(quiet: Finished) -> None:
    second = SecondEvidence(*(getattr(quiet.evidence, name) for name in SecondEvidence.__struct_fields__))
    older = read(encode(replace(second, version=2)))
    with pytest.raises(ProtocolViolation, match="another version than its plan calls for"):
        replay(older, quiet.world.charter)
    with pytest.raises(ProtocolViolation, match="in the bytes of another"):
        read(encode(replace(quiet.evidence, version=2)))


# What is found


@pytest.mark.parametrize("which", ["quiet", "vanished", "left"])
def test_a_change_of_any_one_field_is_found(which: str, request: pytest.FixtureRequest) -> None:
    job: Finished = request.getfixturevalue(which)
    chance, found = random.Random(7), set()
    for path, value in places(job.evidence):
        if not isinstance(value, (tuple, dict, Struct)):
            refuses(job, put(job.evidence, path, lambda value: alter(value, chance)))
            found.add(tuple(part for part in path if isinstance(part, str)))
    for field in ("root", "commitment", "sealed", "tags", "signature", "sid", "site"):
        assert ("sums", "contributions", "headers", field) in found
    assert {("sums", "contributions", "request", "cohort"), ("sums", "contributions", "request", "public")} < found
    assert {("setup", "offers", "offers", "public"), ("setup", "reveals", "reveals", "rho"), ("consents",)} < found


@pytest.mark.parametrize("which", ["quiet", "vanished"])
def test_whatever_is_left_out_doubled_or_swapped_in_a_list_is_found(which: str, request: pytest.FixtureRequest) -> None:
    job: Finished = request.getfixturevalue(which)
    for path, value in places(job.evidence):
        if isinstance(value, tuple) and value:
            refuses(job, put(job.evidence, path, lambda value: value[:-1]))
            refuses(job, put(job.evidence, path, lambda value: (*value, value[-1])))
        if isinstance(value, tuple) and len(value) > 1 and value[0] != value[1]:
            refuses(job, put(job.evidence, path, lambda value: (value[1], value[0], *value[2:])))


def test_shares_and_locks_under_another_name_or_too_few_are_found(quiet: Finished) -> None:
    for path, value in places(quiet.evidence):
        if isinstance(value, dict):
            first, second, *others = value
            swapped = {**value, first: value[second], second: value[first]}
            refuses(quiet, put(quiet.evidence, path, lambda _, new=swapped: new))
            renamed = {**{name: value[name] for name in (second, *others)}, "s9": value[first]}
            refuses(quiet, put(quiet.evidence, path, lambda _, new=renamed: new))
            few = {first: value[first], second: value[second]}
            refuses(quiet, put(quiet.evidence, path, lambda _, new=few: new))


def added_to(total: bytes, place: int, number: int) -> bytes:
    """`total` with `number` more at one of its coordinates, in the ring."""
    ring = np.frombuffer(total, dtype="<u8").copy()
    ring[place : place + 1] += np.uint64(number)
    return ring.tobytes()


def false_total(step: Sum, total: bytes) -> Sum:
    """The step with another total, under its own digest."""
    opening = replace(step.opening, total=total, chunks=(merkle.leaf(total),))
    return replace(step, opening=opening)


def test_a_number_added_to_any_one_coordinate_of_a_total_is_found(vanished: Finished) -> None:
    """Refusal 7. The steps before are replayed once, as they are."""
    evidence, charter, opened = vanished.evidence, vanished.world.charter, None
    plan = load(evidence.plan, charter)
    session = replays._check_setup(evidence.setup, plan, charter)
    for number, step in enumerate(evidence.sums):
        rest = number, plan.job(), session, opened, replays.nowhere, range
        for place in range(len(step.opening.total) // 8):
            for more in (1, 2**31):
                false = false_total(step, added_to(step.opening.total, place, more))
                with pytest.raises(ProtocolViolation, match="the total is not the sum"):
                    replays._replay_sum(false, *rest)
        opened = replays._replay_sum(step, *rest)


def test_a_false_total_that_the_next_receipt_repeats_is_found(vanished: Finished) -> None:
    sums = vanished.evidence.sums
    for number in range(len(sums) - 1):
        step = false_total(sums[number], added_to(sums[number].opening.total, 0, 2**31))
        false = put(vanished.evidence, ("sums", number), lambda _, new=step: new)
        shown = ("sums", number + 1, "contributions", "request", "receipt", "chunks")
        chunks = step.opening.chunks
        refuses(vanished, put(false, shown, lambda _, new=chunks: new), f"^step {number + 1}: the total is not the sum")


@pytest.mark.parametrize("number", [1, 3])
def test_a_hub_that_shows_a_false_total_to_everybody_ends_with_evidence_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The attack itself: sites go on, as each sees the same total; replay names the step."""
    honest, opened = Opened.summed, []

    def summed(state: Opened, *rest: Any) -> Summed:
        true = honest(state, *rest)
        opened.append(state)
        if len(opened) != number + 1:
            return true
        content = added_to(true.content, len(true.content) // 8 - 1, 1)
        return replace(true, receipt=state.receipt([merkle.leaf(content)]), content=content)

    monkeypatch.setattr(Opened, "summed", summed)
    world = World(tmp_path)
    job = finish(world, world.propose())
    refuses(job, job.evidence, f"^step {number + 1}: the total is not the sum")


def test_steps_left_out_or_in_another_order_are_found(quiet: Finished) -> None:
    sums = quiet.evidence.sums
    refuses(quiet, replace(quiet.evidence, sums=()), "holds no step")
    refuses(quiet, replace(quiet.evidence, sums=sums[:-1]), "ends before the step 'moments'")
    refuses(quiet, replace(quiet.evidence, sums=(sums[0], *sums[2:])), "^step 2: a step is left out")
    refuses(quiet, replace(quiet.evidence, sums=(sums[0], sums[2], sums[1], *sums[3:])), "^step 2: ")
    renumbered = put(sums[2], ("contributions", "request", "step"), lambda _: 1)
    refuses(quiet, replace(quiet.evidence, sums=(sums[0], renumbered, *sums[3:])), "^step 2: ")


def test_another_vector_of_a_site_is_found_even_with_its_root(quiet: Finished) -> None:
    masked = quiet.evidence.sums[1].contributions.beside[2]
    other = random.Random(1).randbytes(len(masked))
    path = ("sums", 1, "contributions")
    false = put(quiet.evidence, (*path, "beside", 2), lambda _: other)
    refuses(quiet, false, "^step 2: the contribution of 's2' is not the one it signed")
    false = put(false, (*path, "chunks", 2), lambda _: (merkle.leaf(other),))
    refuses(quiet, false, "^step 2: the contribution of 's2' is not the one it signed")
    false = put(false, (*path, "headers", 2, "root"), lambda _: merkle.root([merkle.leaf(other)]))
    refuses(quiet, false, "^step 2: the signature of 's2' on its contribution does not hold")


def test_a_survivor_left_out_with_everything_of_it_is_found(quiet: Finished) -> None:
    def without(kept: Sum) -> Sum:
        found = kept.contributions
        opening = {
            site: replace(shares, own=shares.own[:-32]) for site, shares in kept.opening.shares.items() if site != "s3"
        }
        locks = {site: lock for site, lock in kept.locks.signatures.items() if site != "s3"}
        found = replace(found, headers=found.headers[:-1], chunks=found.chunks[:-1], beside=found.beside[:-1])
        return Sum(found, replace(kept.locks, signatures=locks), replace(kept.opening, shares=opening))

    refuses(quiet, put(quiet.evidence, ("sums", 3), without), "^step 4: the signature of 's0' on the survivor set")


def test_another_answer_plan_charter_or_job_is_found(quiet: Finished, vanished: Finished) -> None:
    answer = vanished.evidence.answer
    assert answer != quiet.evidence.answer
    refuses(quiet, replace(quiet.evidence, answer=answer), "digest is of another answer")
    false = replace(quiet.evidence, answer=answer, answer_digest=vanished.evidence.answer_digest)
    refuses(quiet, false, "not what the last total gives")
    plan = load(quiet.evidence.plan, quiet.world.charter)
    for other in (
        replace(plan, run="0" * 32),
        replace(plan, minimum_sites=4),
        replace(plan, parameters=b'{"columns":["y"]}'),
    ):
        refuses(quiet, replace(quiet.evidence, plan=encode(other)), "keys were agreed for another plan")
    with pytest.raises(ProtocolViolation, match="another charter"):
        replay(quiet.evidence, vanished.world.charter)
    refuses(quiet, replace(quiet.evidence, charter=vanished.signed), "another charter")
    unsigned = encode(charters.SignedCharter(quiet.world.charter.encoded, ()))
    refuses(quiet, replace(quiet.evidence, charter=unsigned), "not signed by every member")
    refuses(quiet, replace(quiet.evidence, setup=vanished.evidence.setup), "another plan")


# What is found although every site signs it anew


def signed_setup(job: Finished, setup: Setup) -> Evidence:
    """The evidence with this setup, signed by everybody as if it were so."""
    keys, manifest = job.world.keys, setup.manifest
    offers, reveals = [], []
    for site, offer in zip(manifest.roster, setup.offers.offers, strict=True):
        signature = keys[site].signing.sign("setup/offer", offer.signed(manifest.digest, site))
        offers.append(replace(offer, signature=signature))
    shown = replace(setup.offers, offers=tuple(offers))
    transcript = digest("setup/transcript", encode(manifest), encode(shown))
    for site, reveal in zip(manifest.roster, setup.reveals.reveals, strict=True):
        reveals.append(
            replace(reveal, signature=keys[site].signing.sign("setup/reveal", reveal.signed(transcript, site)))
        )
    return replace(job.evidence, setup=Setup(manifest, shown, replace(setup.reveals, reveals=tuple(reveals))))


def signed_step(job: Finished, number: int, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Evidence:
    """The evidence with one thing changed in a step, and headers and survivor set signed by everybody as if so."""
    step: Sum = put(job.evidence.sums[number], path, change)
    session = replays._check_setup(job.evidence.setup, load(job.evidence.plan, job.world.charter), job.world.charter)
    sid, keys, headers = step.contributions.request.sid(session), job.world.keys, []
    for header in step.contributions.headers:
        anew = replace(header, sid=sid)
        headers.append(replace(anew, signature=keys[header.site].signing.sign("sum/header", anew.signed())))
    locked = lock_digest(sid, [header.site for header in headers], headers_digest(headers))
    locks = {site: keys[site].signing.sign("sum/lock", locked) for site in step.locks.signatures}
    step = put(step, ("contributions", "headers"), lambda _: tuple(headers))
    return put(job.evidence, ("sums", number), lambda _: put(step, ("locks", "signatures"), lambda _: locks))


def test_a_setup_that_the_rules_do_not_allow_is_found_even_if_everybody_signed_it(quiet: Finished) -> None:
    setup = quiet.evidence.setup
    for path, new, sentence in (
        (("manifest", "floors", "survivors"), 2, "threshold and floor"),
        (("manifest", "floors", "corrupt"), 0, "threshold and floor"),
        (("manifest", "roster"), ("s1", "s0", "s2", "s3"), "not a sorted part"),
        (("offers", "offers", 1, "public"), setup.offers.offers[0].public, "two sites offer the same key"),
        (("reveals", "reveals", 1, "rho"), bytes(32), "other randomness"),
        (("manifest", "ring"), 32, "the ring is not"),
    ):
        refuses(quiet, signed_setup(quiet, put(setup, path, lambda _, new=new: new)), sentence)
    assert signed_setup(quiet, setup) == quiet.evidence


def test_a_setup_that_a_site_did_not_sign_is_found_and_the_site_named(quiet: Finished) -> None:
    for path, whose in (
        (("offers", "offers", 0), "'s0' on its offer"),
        (("reveals", "reveals", 2), "'s2' on its reveal"),
    ):
        false = put(quiet.evidence, ("setup", *path, "signature"), lambda _: bytes(64))
        refuses(quiet, false, f"^the signature of {whose} does not hold")


def test_a_step_that_does_not_follow_is_found_even_if_everybody_signed_it(quiet: Finished, vanished: Finished) -> None:
    contributions = ("contributions", "request")
    huge = encode(Step("magnitudes", (Reals("x", (1,), 1e9, 2.0**-60),)))
    first = vanished.evidence.sums[1].contributions.request.receipt

    def wider(public: bytes) -> bytes:
        step = decode(public, Step)
        return encode(replace(step, blocks=tuple(replace(block, bound=block.bound * 1.01) for block in step.blocks)))

    def gone_tag(tags: bytes) -> bytes:
        return tags[:16] + bytes(16) + tags[32:]

    for job, number, path, change, sentence in (
        (quiet, 0, (*contributions, "public"), lambda _: huge, "could overflow"),
        (quiet, 1, (*contributions, "public"), wider, "does not follow"),
        (quiet, 1, (*contributions, "receipt"), lambda _: None, "receipt is not of the total before"),
        (quiet, 1, (*contributions, "receipt", "chunks", 0), lambda chunk: bytes(32), "receipt is not of"),
        (vanished, 2, (*contributions, "receipt"), lambda _: first, "receipt is not of the total before"),
        (vanished, 2, (*contributions, "cohort"), lambda _: tuple(vanished.world.names), "sites that were left"),
        (quiet, 1, ("contributions", "headers", 0, "tags"), lambda tags: bytes(16) + tags[16:], "has two tags"),
        (quiet, 1, ("contributions", "headers", 0, "commitment"), lambda _: bytes(32), "another than it committed to"),
        (vanished, 1, ("contributions", "headers", 0, "tags"), gone_tag, "open another secret"),
    ):
        refuses(job, signed_step(job, number, path, change), f"^step {number + 1}: .*{sentence}")
    assert signed_step(quiet, 1, (*contributions, "step"), int) == quiet.evidence


def test_too_few_survivors_or_shares_are_found_even_if_they_signed(quiet: Finished) -> None:
    def two(kept: Sum) -> Sum:
        found = kept.contributions
        locks = {site: kept.locks.signatures[site] for site in ("s0", "s1")}
        opening = {
            site: replace(kept.opening.shares[site], own=kept.opening.shares[site].own[:64]) for site in ("s0", "s1")
        }
        found = replace(found, headers=found.headers[:2], chunks=found.chunks[:2], beside=found.beside[:2])
        return Sum(found, replace(kept.locks, signatures=locks), replace(kept.opening, shares=opening))

    refuses(quiet, signed_step(quiet, 3, (), two), "^step 4: the survivor set is below the floor")
    few = {site: quiet.evidence.sums[3].opening.shares[site] for site in ("s0", "s1")}
    false = signed_step(quiet, 3, ("opening", "shares"), lambda _: few)
    refuses(quiet, false, "^step 4: fewer members than the threshold")


# What chance finds


@settings(max_examples=600, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_no_file_with_a_flipped_byte_is_accepted(quiet: Finished, vanished: Finished, data: st.DataObject) -> None:
    job = data.draw(st.sampled_from([quiet, vanished]))
    content = bytearray(encode(job.evidence))
    for _ in range(data.draw(st.integers(1, 2))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    if bytes(content) != encode(job.evidence):
        with pytest.raises(ProtocolViolation):
            replay(read(bytes(content)), job.world.charter)


# What is not shown


@pytest.mark.parametrize("which", ["quiet", "vanished", "left"])
def test_evidence_shows_no_input_even_with_every_mask_removed_that_it_opens(
    which: str, request: pytest.FixtureRequest
) -> None:
    job: Finished = request.getfixturevalue(which)
    evidence, charter = job.evidence, job.world.charter
    content, asked = encode(evidence), load(evidence.plan, charter).job()
    session = replays._check_setup(evidence.setup, load(evidence.plan, charter), charter)
    schema, seen = Schema("numbers", (Column("x", "number"),)), 0
    for step in evidence.sums:
        request_, headers = step.contributions.request, step.contributions.headers
        asked_step, sid = decode(request_.public, Step), request_.sid(session)
        masks = replays._open_masks(step, session, sid)
        for header, masked, (own, info, subtract) in zip(headers, step.contributions.beside, masks, strict=False):
            table = Table(schema, 1, {"x": np.array([job.world.values[header.site]])})
            plain = to_ring(asked_step, asked.encode(table, asked_step), bytes)
            assert plain.astype("<u8").tobytes() not in content or not plain.any()
            half = np.frombuffer(masked, dtype="<u8").copy()
            prg.add_stream(half, own, info, subtract=subtract)
            assert not (half == plain).any()
            seen += np.count_nonzero(plain)
    assert seen > 20


# Where it is kept


def test_a_job_without_answer_or_without_all_its_evidence_can_not_be_replayed(quiet: Finished) -> None:
    with pytest.raises(Refused, match="there is no job"):
        evidence_of(quiet.world, "0" * 32)
    with pytest.raises(Refused, match="no answer to replay: it is proposed"):
        evidence_of(quiet.world, quiet.world.propose())
    for kept_rounds in ([], [2, 5], range(6, 17)):
        with Session(quiet.world.engines[HUB]) as db:
            wanted = EvidenceRow.run == quiet.run, EvidenceRow.round.not_in(kept_rounds)
            db.execute(delete(EvidenceRow).where(*wanted))
            with pytest.raises(Refused, match="not whole"):
                kept.assemble(db, quiet.run, quiet.signed)
            db.rollback()


def test_a_setup_that_came_to_nothing_is_not_taken_for_the_one_that_held(tmp_path: Path) -> None:
    world = World(tmp_path, seed=4)
    run = world.propose()
    world.run_until(lambda: world.job(run).round == 3)
    world.kill(GONE)
    job = finish(world, run)
    assert GONE not in job.evidence.setup.manifest.roster
    assert job.evidence.setup.manifest.attempt == 1
    assert replay(job.evidence, world.charter).exact


def hansa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["hansa", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_the_command_replays_from_a_hub_and_from_a_file_alone(
    vanished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file, run = tmp_path / "home", tmp_path / "job.evidence", vanished.run
    home.mkdir()
    (home / "hub.toml").write_text(
        f'database = "{vanished.world.engines[HUB].url}"\nprivate = "unix://x"\n[mailboxes]\n', encoding="utf-8"
    )
    (home / "charter").write_bytes(vanished.signed)
    (home / "keys").write_bytes(bytes(128))
    code, said = hansa(monkeypatch, capsys, "audit", "replay", run, "--home", home)
    assert code == 0, said
    assert "s0, s1, s3" in said and "spreads" in said and "to the byte" in said
    assert vanished.world.charter.digest.hex() in said and "Compare its digest" in said
    code, said = hansa(monkeypatch, capsys, "audit", "evidence", run, "--home", home, "--out", file)
    assert code == 0, said
    one, two = read(EvidenceFile(file).evidence()), vanished.evidence
    assert [n for n in one.__struct_fields__ if getattr(one, n) != getattr(two, n)] == []
    monkeypatch.delenv("HANSA_HOME", raising=False)
    code, said = hansa(monkeypatch, capsys, "audit", "replay", "--file", file, "--charter", home / "charter")
    assert code == 0 and "Compare its digest" not in said
    (home / "charter").write_bytes(encode(charters.SignedCharter(b"", ())))
    assert hansa(monkeypatch, capsys, "audit", "replay", "--file", file, "--charter", home / "charter")[0] == 2
    false = put(vanished.evidence, ("sums", 1), lambda step: false_total(step, bytes(len(step.opening.total))))
    evidence_file.write(file, encode(false), (), bytes)
    code, said = hansa(monkeypatch, capsys, "audit", "replay", "--file", file)
    assert (code, said) == (2, "hansa: step 2: the total is not the sum of the contributions without their masks\n")
    for words in (("--file", tmp_path / "none"), (), (run, "--file", file)):
        assert hansa(monkeypatch, capsys, "audit", "replay", *words)[0] == 2
