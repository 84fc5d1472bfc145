"""What an institution's people decide at its own site: signed by a person's key, about one thing, used once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit.log import read as read_entry
from hansa.charter import Rules
from hansa.crypto.keys import SigningKey
from hansa.errors import Refused
from hansa.hub import models
from hansa.mail.letters import Waits
from hansa.messages import HUB, encode
from hansa.plan import read as read_plan
from hansa_site import people
from hansa_site.deciding import table_digest
from hansa_site.journal import Decided, Member, OwnEntry, Run, Waiting
from hansa_site.people import Decision
from hansa_site.policy import Policy
from tests.world import OPEN, World

PERSON_DECIDES = replace(OPEN, consents="person")
TWO_DECIDE = replace(OPEN, consents="two persons", proposals="person")
ROLES = {"ann": "approver", "bob": "approver", "sue": "steward", "ada": "analyst", "ed": "auditor, administrator"}


class People:
    """Everybody of `ROLES` at every site of a world, and what they sign."""

    def __init__(self, folder: Path, policy: Policy, rules: Rules | None = None) -> None:
        self.world = World(folder, sites=3, policy=policy, rules=rules)
        self.keys = {name: SigningKey(bytes([place]) * 32) for place, name in enumerate(ROLES)}
        self._nonces = iter(range(10**6))
        for site in self.world.names:
            with Session(self.world.engines[site]) as db, db.begin():
                for name, roles in ROLES.items():
                    public = self.keys[name].public
                    row = {"name": name, "roles": roles, "public": public, "pseudonym": f"{name}-of-{site}"}
                    db.add(Member(**row, added_at=0.0, removed_at=None))

    def decision(self, site: str, name: str, what: Any, run: str, about: bytes, **more: Any) -> Decision:
        nonce = next(self._nonces).to_bytes(16, "big")
        plain = Decision(site, name, what, run, about, "", int(self.world.now) + 3600, nonce)
        return replace(plain, **more)

    def hand_in(self, site: str, decision: Decision, key: SigningKey | None = None) -> bytes:
        data = encode(decision)
        signature = (key or self.keys[decision.person]).sign("person/decision", data)
        with Session(self.world.engines[site]) as db, db.begin():
            return people.hand_in(db, data, signature, self.world.now)

    def decide(self, site: str, name: str, what: Any, run: str, **more: Any) -> str:
        """What came of it: empty if it counts."""
        about = more.pop("about", None) or self.plan(run).digest
        return self.outcome(site, self.hand_in(site, self.decision(site, name, what, run, about, **more)))

    def outcome(self, site: str, key: bytes) -> str:
        self.world.sites[site].decide(self.world.now)
        with Session(self.world.engines[site]) as db:
            found = people.outcome(db, key)
        assert found is not None
        return found

    def plan(self, run: str) -> Any:
        return read_plan(self.world.job(run).plan)

    def waits(self, site: str, run: str) -> str:
        with Session(self.world.engines[site]) as db:
            rows = db.scalars(select(Waiting).where(Waiting.run == run, Waiting.closed_at.is_(None))).all()
        return ", ".join(row.what for row in rows)

    def until_waiting(self, run: str, *sites: str) -> None:
        self.world.run_until(lambda: all(self.waits(site, run) for site in sites))

    def acts(self, site: str) -> list[tuple[str, dict[str, str]]]:
        with Session(self.world.engines[site]) as db:
            rows = db.scalars(select(OwnEntry.data).order_by(OwnEntry.sequence)).all()
        return [(entry.act, entry.details) for entry in map(read_entry, rows)]

    def status(self, run: str) -> str:
        return self.world.job(run).status


@pytest.fixture
def one(tmp_path: Path) -> People:
    return People(tmp_path, PERSON_DECIDES)


@pytest.fixture
def two(tmp_path: Path) -> People:
    return People(tmp_path, TWO_DECIDE)


def later(found: People, seconds: float) -> None:
    """Time passes in which nobody decides."""
    end = found.world.now + seconds
    found.world.run_until(lambda: found.world.now >= end)


def test_a_job_waits_for_people_far_longer_than_for_a_machine_and_then_runs(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, *one.world.names)
    later(one, 200)
    assert one.status(run) == "consenting"
    for site in one.world.names:
        assert one.decide(site, "ann", "consent", run) == ""
    assert one.world.finish(run).status == models.DONE
    for site in one.world.names:
        given = [details for act, details in one.acts(site) if act == "consent given"]
        assert given == [
            {"plan": one.plan(run).digest.hex(), "person": f"ann-of-{site}", "decision": one_key(one, site)}
        ]


def one_key(found: People, site: str) -> str:
    with Session(found.world.engines[site]) as db:
        return db.scalars(select(Decided.digest)).one().hex()


def test_a_no_is_told_to_everybody_with_its_reason(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, *one.world.names)
    assert one.decide("s1", "sue", "refuse", run, reason="not without our ethics board") == ""
    for site in ("s0", "s2"):
        assert one.decide(site, "ann", "consent", run) == ""
    job = one.world.finish(run)
    assert job.status == models.NOT_ENOUGH and "not without our ethics board" in job.reason


def test_nobody_who_decides_in_time_is_a_no(tmp_path: Path) -> None:
    found = People(tmp_path, replace(PERSON_DECIDES, decide_hours=1))
    run = found.world.propose()
    found.until_waiting(run, *found.world.names)
    found.world.idle_seconds = 10
    job = found.world.finish(run)
    assert (job.status, job.reason.partition(": ")[2]) == (models.REFUSED, "nobody decided in time")
    assert found.decide("s1", "ann", "consent", run) == "no consent of this job waits for a decision"


def test_two_people_consent_where_the_policy_says_two_and_one_person_is_no_two(two: People) -> None:
    run = two.world.propose()
    two.until_waiting(run, "s0")
    assert two.waits("s0", run) == "proposal" and two.status(run) == "proposed"
    assert two.decide("s0", "ann", "sign proposal", run) == ""
    two.until_waiting(run, *two.world.names)
    for site in two.world.names[1:]:
        assert two.decide(site, "ann", "consent", run) == ""
        assert two.decide(site, "ann", "consent", run) == ""  # says so again, and is one person still
        assert two.waits(site, run) == "consent"
        assert two.decide(site, "bob", "consent", run) == ""
    assert two.decide("s0", "ann", "consent", run) == "'ann' signed this proposal, and so can't consent to it too"
    assert two.decide("s0", "bob", "consent", run) == ""
    assert two.status(run) == "consenting"
    with Session(two.world.engines["s0"]) as db, db.begin():
        db.add(Member(name="cy", roles="approver", public=two.keys["ann"].public, pseudonym="c", added_at=0.0))
    key = two.hand_in("s0", two.decision("s0", "cy", "consent", run, two.plan(run).digest), two.keys["ann"])
    assert two.outcome("s0", key) == ""
    assert two.world.finish(run).status == models.DONE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "ada"}, "may not consent: that takes the role approver"),
        ({"name": "sue"}, "may not consent"),
        ({"name": "ed"}, "may not consent"),
        ({"about": bytes(32)}, "another consent than the one that waits"),
        ({"expires": 1_800_000_000}, "has expired"),
        ({"expires": 2**39}, "has expired"),
        ({"member": "s2"}, "another than was handed in"),
        ({"run": "f" * 32}, "no consent of this job waits"),
        ({"what": "sign proposal"}, "no proposal of this job waits|that takes the role"),
    ],
)
def test_a_decision_that_is_not_this_persons_on_this_plan_counts_for_nothing(
    one: People, change: dict[str, Any], words: str
) -> None:
    run = one.world.propose()
    one.until_waiting(run, "s1")
    asked: dict[str, Any] = {"name": "ann", "what": "consent", "about": one.plan(run).digest, **change}
    name, what, about = asked.pop("name"), asked.pop("what"), asked.pop("about")
    key = one.hand_in("s1", one.decision("s1", name, what, asked.pop("run", run), about, **asked))
    assert re.search(words, one.outcome("s1", key))
    assert one.waits("s1", run) == "consent"
    assert ("decision refused", {"what": what}) in one.acts("s1")


@pytest.mark.parametrize("key", [SigningKey(bytes([9]) * 32), SigningKey(bytes([1]) * 32)], ids=["stranger", "bob"])
def test_a_decision_that_somebody_else_signed_counts_for_nothing(one: People, key: SigningKey) -> None:
    run = one.world.propose()
    one.until_waiting(run, "s1")
    used = one.hand_in("s1", one.decision("s1", "ann", "consent", run, one.plan(run).digest), key)
    assert one.outcome("s1", used) == "the decision was not signed by 'ann'"


def test_a_decision_is_used_once(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, "s1")
    decision = one.decision("s1", "ann", "consent", run, one.plan(run).digest)
    one.hand_in("s1", decision)
    with pytest.raises(Refused, match="used once"):
        one.hand_in("s1", decision)


def test_who_was_removed_decides_nothing_any_more(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, "s1")
    with Session(one.world.engines["s1"]) as db, db.begin():
        people.remove(db, "ann", one.world.now)
    key = one.hand_in("s1", one.decision("s1", "ann", "consent", run, one.plan(run).digest))
    assert "no person 'ann'" in one.outcome("s1", key)


def test_a_person_can_say_yes_to_no_more_than_the_policy_does(tmp_path: Path) -> None:
    found = People(tmp_path, replace(PERSON_DECIDES, hours=("mon-sun 00:00-24:00",)))
    run = found.world.propose()
    found.until_waiting(run, "s1")
    found.world.policy = replace(found.world.policy, kinds=("table",))
    found.world.restart("s1")
    assert found.decide("s1", "ann", "consent", run) == "the policy does not allow the kind 'summary'"


def test_what_waits_is_still_there_after_a_crash(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, *one.world.names)
    for name in (*one.world.names, HUB):
        one.world.kill(name)
        one.world.restart(name)
    for site in one.world.names:
        assert one.decide(site, "ann", "consent", run) == ""
    assert one.world.finish(run).status == models.DONE


def test_a_cancelled_job_leaves_nothing_to_decide(one: People) -> None:
    run = one.world.propose()
    one.until_waiting(run, *one.world.names)
    with Session(one.world.engines[HUB]) as db, db.begin():
        from hansa.hub import rounds

        rounds.end(db, one.world.desks[HUB], db.get_one(models.Job, run), models.CANCELLED, "", one.world.now)
    one.world.run_until(lambda: not any(one.waits(site, run) for site in one.world.names))
    assert one.decide("s1", "ann", "consent", run) == "no consent of this job waits for a decision"


# Stopping, and taking a table back


def running(found: People) -> str:
    """A job in the middle of its steps."""
    run = found.world.propose()

    def begun() -> bool:
        with Session(found.world.engines["s1"]) as db:
            row = db.get(Run, run)
            return row is not None and row.steps >= 1

    found.world.run_until(begun)
    return run


def test_a_site_that_claims_a_person_decides_holds_up_consents_and_no_round_of_a_job_that_runs(tmp_path: Path) -> None:
    found = People(tmp_path, OPEN)
    run, world = running(found), found.world
    until = int(world.now) + 86_400
    with Session(world.engines["s1"]) as db, db.begin():
        world.desks["s1"].write(db, HUB, run, "waits", Waits(until), world.now)
    waits = set()

    def over() -> bool:
        waits.add(world.participants(run)["s1"].waits_until)
        return world.job(run).status not in models.OPEN

    world.run_until(over)
    assert world.job(run).status == models.DONE and waits == {None}


@pytest.mark.parametrize("what", ["stop", "withdraw"])
def test_a_steward_stops_a_job_or_takes_back_its_table_and_nothing_secret_stays(tmp_path: Path, what: str) -> None:
    found = People(tmp_path, OPEN)
    run = running(found)
    about = found.plan(run).digest if what == "stop" else table_digest("numbers")
    decision = found.decision("s1", "sue", what, run if what == "stop" else "", about)
    assert found.outcome("s1", found.hand_in("s1", decision)) == ""
    assert found.world.state("s1", run) is None
    assert found.world.finish(run).status in (models.REFUSED, models.NOT_ENOUGH)
    again = found.world.propose()
    ended = found.world.finish(again)
    assert (ended.status == models.DONE) == (what == "stop")
    if what == "withdraw":
        assert "was withdrawn by its institution" in ended.reason
        assert [act for act, _details in found.acts("s1")].count("table closed") == 1


@pytest.mark.parametrize(
    ("name", "what", "about", "words"),
    [
        ("ada", "stop", None, "takes the role approver or steward"),
        ("ann", "withdraw", table_digest("numbers"), "takes the role steward"),
        ("sue", "withdraw", table_digest("others"), "no table of the name"),
        ("sue", "stop", bytes(32), "another plan"),
    ],
)
def test_only_who_may_stops_or_withdraws_and_only_what_is_there(
    tmp_path: Path, name: str, what: str, about: bytes | None, words: str
) -> None:
    found = People(tmp_path, OPEN)
    run = running(found)
    signed = about or found.plan(run).digest
    decision = found.decision("s1", name, what, "" if what == "withdraw" else run, signed)
    assert words in found.outcome("s1", found.hand_in("s1", decision))
    assert found.world.finish(run).status == models.DONE


# The people themselves


def test_the_first_person_is_an_administrator_and_only_one_lets_in_others(tmp_path: Path) -> None:
    from hansa.wrapping import Way

    way: Callable[[str], Way] = lambda name: Way(passphrase_file=str(tmp_path / name))  # noqa: E731
    world = World(tmp_path, sites=3)
    with Session(world.engines["s0"]) as db, db.begin():
        with pytest.raises(Refused, match="first person of a site is its administrator"):
            people.add(db, tmp_path, "ann", "approver", 0.0, way("a"))
        people.add(db, tmp_path, "ed", "administrator", 0.0, way("e"))
        people.prove(db, tmp_path, "ed", "s0")
        people.add(db, tmp_path, "ann", "approver", 0.0, way("a"))
        for name, roles, words in (
            ("ann", "approver", "there already"),
            ("Bob", "approver", "no name for a person"),
            ("bob", "boss", "no role"),
            ("bob", "", "at least one role"),
            ("bob", "operator", "a site has none"),
        ):
            with pytest.raises(Refused, match=words):
                people.add(db, tmp_path, name, roles, 0.0, way(name))
        with pytest.raises(Refused, match="may not manage people"):
            people.prove(db, tmp_path, "ann", "s0")
        people.remove(db, "ed", 1.0)
        with pytest.raises(Refused, match="no person 'ed'"):
            people.prove(db, tmp_path, "ed", "s0")
