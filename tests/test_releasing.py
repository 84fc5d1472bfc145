"""The last look at an answer: at the sites whose rows are in it, by policy or by a person, before anybody has it."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.access import Person, Thing, may
from hansa.hub import models
from hansa.hub.evidence import assemble
from hansa.hub.models import Job
from hansa.jobs import decode_answer
from hansa.mail.letters import Round
from hansa.messages import HUB, decode, encode
from hansa.plan import Question
from hansa.plan import read as read_plan
from hansa.protocols.release import Releasing, released
from hansa.replay import replay
from hansa_site import pending
from hansa_site.journal import Agreed, Run, Waiting
from hansa_site.people import here, person_of
from hansa_site.policy import Floors
from hansa_site.releasing import Candidate
from tests.test_deciding import People, later
from tests.world import EVERYTHING, OPEN, World

PERSON = replace(OPEN, releases="person")
TWO = replace(OPEN, releases="two persons")


def candidate(found: People, site: str, run: str) -> Candidate:
    with Session(found.world.engines[site]) as db:
        return decode(db.get_one(Waiting, (run, "release")).content, Candidate)


def agree(found: People, site: str, name: str, run: str, what: str = "release") -> str:
    return found.decide(site, name, what, run, about=candidate(found, site, run).digest)


def waiting(tmp_path: Path, policy: object = PERSON) -> tuple[People, str]:
    found = People(tmp_path, policy)  # type: ignore[arg-type]
    run = found.world.propose()
    found.until_waiting(run, *found.world.names)
    return found, run


def test_every_site_in_an_answer_agrees_to_it_and_says_so_in_the_log(tmp_path: Path) -> None:
    found = People(tmp_path, OPEN)
    run = found.world.propose()
    job = found.world.finish(run)
    assert job.status == models.DONE
    with Session(found.world.engines[HUB]) as db:
        evidence = assemble(db, run, found.world.signed)
    assert evidence.version == 3 and sorted(evidence.releases) == found.world.names
    assert replay(evidence, found.world.charter).exact
    for site in found.world.names:
        said = [details for act, details in found.acts(site) if act == "release agreed"]
        assert said == [{"plan": found.plan(run).digest.hex(), "answer": (job.answer_digest or b"").hex()}]


def test_nobody_has_an_answer_before_people_at_every_site_agree(tmp_path: Path) -> None:
    found, run = waiting(tmp_path)
    later(found, 200)
    assert found.status(run) == "releasing" and found.world.job(run).answer is None
    assert agree(found, "s0", "ann", run) == "" and agree(found, "s1", "sue", run) == ""
    later(found, 60)
    assert found.status(run) == "releasing"
    assert agree(found, "s2", "bob", run) == ""
    job = found.world.finish(run)
    assert job.status == models.DONE and job.answer == candidate(found, "s2", run).answer
    said = [details for act, details in found.acts("s1") if act == "release agreed"]
    assert [details["person"] for details in said] == ["sue-of-s1"]


def test_a_no_ends_the_job_and_nobody_has_the_answer(tmp_path: Path) -> None:
    found, run = waiting(tmp_path)
    assert agree(found, "s0", "ann", run) == ""
    about = candidate(found, "s1", run).digest
    assert found.decide("s1", "sue", "refuse", run, about=about, reason="our board wants to see it") == ""
    job = found.world.finish(run)
    assert (job.status, job.answer) == (models.REFUSED, None) and "our board wants to see it" in job.reason
    found.world.drain()
    for site in found.world.names:
        assert not found.waits(site, run) and found.world.state(site, run) is None


def test_nobody_who_decides_in_time_is_a_no(tmp_path: Path) -> None:
    found, run = waiting(tmp_path, replace(PERSON, decide_hours=1))
    found.world.idle_seconds = 10
    job = found.world.finish(run)
    assert (job.status, job.answer) == (models.REFUSED, None) and "nobody decided in time" in job.reason


def test_two_people_agree_where_the_policy_says_two(tmp_path: Path) -> None:
    found, run = waiting(tmp_path, TWO)
    for site in found.world.names:
        assert agree(found, site, "ann", run) == "" and agree(found, site, "ann", run) == ""
        assert found.waits(site, run) == "release", "one person is no two"
        assert agree(found, site, "sue", run) == ""
    assert found.world.finish(run).status == models.DONE


@pytest.mark.parametrize(
    ("name", "words"), [("ada", "takes the role approver or steward"), ("ed", "takes the role approver or steward")]
)
def test_who_may_not_release_does_not(tmp_path: Path, name: str, words: str) -> None:
    found, run = waiting(tmp_path)
    assert words in agree(found, "s1", name, run)
    assert "another release than the one that waits" in found.decide("s1", "ann", "release", run, about=bytes(32))
    plan = found.plan(run).digest
    assert "another release than" in found.decide("s1", "ann", "release", run, about=plan), "a consent is no release"
    assert found.waits("s1", run) == "release"


def test_what_waits_is_still_there_after_a_crash_of_everybody(tmp_path: Path) -> None:
    found, run = waiting(tmp_path)
    for name in (*found.world.names, HUB):
        found.world.kill(name)
        found.world.restart(name)
    for site in found.world.names:
        assert agree(found, site, "ann", run) == ""
    assert found.world.finish(run).status == models.DONE


def test_a_steward_sees_exact_figures_that_nobody_else_will(tmp_path: Path) -> None:
    """The rules of the plan leave out counts below ten: of three rows everything but the average."""
    policy = replace(PERSON, disclosure=Floors(minimum_cell=1, minimum_rows=1))
    found = People(tmp_path, policy)
    rules = replace(EVERYTHING, minimum_cell=3)
    asked = Question("histogram", "numbers", {"column": "x", "low": 0.0, "high": 9.0, "bins": 2}, disclosure=rules)
    run = found.world.ask(asked)
    found.until_waiting(run, "s0")
    shown = decode_answer(candidate(found, "s0", run).answer)
    with Session(found.world.engines["s0"]) as db:
        exact = decode_answer(pending.figures(db, run))
        (steward, analyst) = [person_of(here(db, name), "s0") for name in ("sue", "ada")]
    assert msgspec.to_builtins(exact)["n"] == 3 and None in msgspec.to_builtins(shown)["counts"]
    assert may(steward, "see figures", Thing(member="s0")) and not may(analyst, "see figures", Thing(member="s0"))
    assert not may(Person("sue", "s1", ("steward",)), "see figures", Thing(member="s0"))


# ---- a hub that lies ----


def forged(world: World, run: str, site: str, change: object) -> None:
    """The hub's next request for a release is another one."""
    asked = world.coordinator._desk
    write = asked.write

    def lie(db: Session, receiver: str, name: str, kind: str, payload: object, now: float) -> int:
        if kind == "ask-release" and receiver == site and isinstance(payload, Round):
            payload = Round(payload.number, encode(change(decode(payload.message, Releasing))), payload.beside)  # type: ignore[operator]
        return write(db, receiver, name, kind, payload, now)  # type: ignore[arg-type]

    object.__setattr__(asked, "write", lie)


def other_answer(asked: Releasing) -> Releasing:
    plain = msgspec.json.decode(asked.answer)
    plain["columns"]["x"]["mean"] += 1
    return replace(asked, answer=msgspec.json.encode(plain))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_answer, "not what the total gives"),
        (lambda asked: replace(asked, answer=b"{}"), "not what the total gives"),
        (lambda asked: replace(asked, answer=b"\xff"), "not JSON"),
        (lambda asked: replace(asked, receipt=replace(asked.receipt, sid=bytes(32))), "not of the sum"),
        (lambda asked: replace(asked, receipt=replace(asked.receipt, survivors=("s0", "s1"))), "not of the survivor"),
    ],
)
def test_a_site_agrees_to_no_answer_that_its_total_does_not_give(tmp_path: Path, change: object, words: str) -> None:
    world = World(tmp_path, sites=3, policy=OPEN)
    run = world.propose()
    forged(world, run, "s1", change)
    job = world.finish(run)
    assert job.status == models.REFUSED and words in job.reason and job.answer is None
    with Session(world.engines["s1"]) as db:
        assert db.scalars(select(Agreed)).all() == []


def test_a_plan_that_was_swapped_in_the_middle_of_its_job_gets_no_release(tmp_path: Path) -> None:
    """The sites sign for the plan that they consented to, and that is another."""
    world = World(tmp_path, sites=3, policy=OPEN)
    run = world.propose()
    world.run_until(lambda: world.job(run).status == "running")
    with Session(world.engines[HUB]) as db, db.begin():
        job = db.get_one(Job, run)
        job.plan = encode(replace(read_plan(job.plan), purpose="something else"))
    ended = world.finish(run)
    assert (ended.status, ended.answer) == (models.NOT_ENOUGH, None)


def test_an_answer_is_agreed_to_once_and_kept_as_it_was(tmp_path: Path) -> None:
    found = People(tmp_path, OPEN)
    run = found.world.propose()
    job: Job = found.world.finish(run)
    with Session(found.world.engines["s1"]) as db:
        row, kept = db.get_one(Agreed, run), db.get_one(Run, run)
        assert (row.answer, row.plan) == (job.answer, kept.plan)
        assert decode(row.sites, tuple[str, ...]) == tuple(found.world.names)
    assert released(found.plan(run).digest, job.answer or b"") != found.plan(run).digest
