"""What somebody does with a session at the hub that isn't theirs, and with the account and keys of an analyst: refused
at the sites, and entered in the log.

The session's moves go through the hub's own door (`hub/actions.py`), as the page's do, and the hub believes them. The
analyst's are decisions handed in at the analyst's own site, where that key may do least.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit.log import read as read_entry
from hansa.errors import Refused
from hansa.hub import actions, models
from hansa.mail.boxes import Outbox
from hansa.messages import HUB
from hansa.plan import Disclosure, Question
from hansa.privacy.noise import Noise
from hansa_site.deciding import table_digest
from hansa_site.journal import BudgetLine, OwnEntry
from hansa_site.policy import Budget, Floors, Policy
from tests.test_deciding import People
from tests.world import EVERYTHING, World

EPSILON_1 = Noise(1_000_000, 1_000_000)
BINS = {"column": "x", "low": 0.0, "high": 100.0, "bins": 4}
RULES = Disclosure(minimum_cell=5, round_to=2, parameters_percent=20, dominance_percent=90, minimum_rows=1)
STRICT = Policy(
    kinds=("histogram",),
    proposers=("s0", "s1"),
    recipients=("s0", "s1", "s2", "s3"),
    purposes=("a study",),
    minimum_sites=4,
    must_take_part=("s2",),
    noise="required",
    most_epsilon="1",
    disclosure=Floors(minimum_cell=5, round_to=2, parameters_percent=20, dominance_percent=90, minimum_rows=1),
    budget={"numbers": Budget("2.5", "1e-6")},
)


def question(**change: Any) -> Question:
    """One that every policy here agrees to, with a change."""
    asked: dict[str, Any] = {
        "kind": "histogram",
        "table": "numbers",
        "parameters": BINS,
        "minimum_sites": 4,
        "purpose": "a study",
        "recipients": ("s0", "s1"),
        "valid_hours": 8760,
        "disclosure": RULES,
        "noise": EPSILON_1,
    }
    return Question(**{**asked, **change})


class Stolen:
    """A world of five sites, and the sessions of people at its hub."""

    def __init__(self, folder: Path, policy: Policy = STRICT) -> None:
        self.world = World(folder, sites=5, policy=policy)
        self.world.run_until(lambda: all(self.world._seen(name) for name in self.world.names))
        self.hub = self.world.hub()
        for name in self.world.names:
            actions.add_person(self.hub, f"of-{name}", name, "correct horse battery")

    def ask(self, asked: Question, person: str = "of-s0") -> models.Job:
        return self.world.finish(actions.propose(self.hub, person, asked))

    def refused(self, run: str) -> bool:
        """No site gave a number, and those who were asked said no in the log."""
        self.world.drain()
        entries = []
        for site in self.world.names:
            with Session(self.world.engines[site]) as db:
                entries += [read_entry(data) for data in db.scalars(select(OwnEntry.data))]
                assert "contributed" not in {entry.act for entry in entries if entry.run == run}
                assert not db.scalar(select(BudgetLine.spent).where(BudgetLine.run == run))
        return "refused" in {entry.act for entry in entries if entry.run == run}


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Stolen:
    return Stolen(tmp_path_factory.mktemp("stolen"))


def lax(**change: Any) -> dict[str, Any]:
    return {"disclosure": replace(RULES, **change)}


ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "a kind that nobody allows": ({"kind": "summary", "parameters": {"columns": ["x"]}, "noise": None}, "'summary'"),
    "another such kind": ({"kind": "table", "parameters": {"rows": "x"}, "noise": None}, "kind 'table'"),
    "a model": ({"kind": "glm", "parameters": {"family": "gaussian", "formula": "x ~ 1"}, "noise": None}, "kind 'glm'"),
    "exact figures": ({"noise": None}, "under noise only"),
    "an ε that is larger": ({"noise": Noise(1_000_001, 1_000_000)}, "ε of at most 1"),
    "an ε that is far larger": ({"noise": Noise(50_000_000, 1_000_000)}, "ε of at most 1"),
    "a δ that costs more than there is": ({"noise": Noise(1_000_000, 999_999_999_999)}, "does not bear"),
    "a purpose that nobody allows": ({"purpose": "marketing"}, "purpose 'marketing'"),
    "a purpose that nearly is one": ({"purpose": "a study "}, "purpose 'a study '"),
    "no purpose": ({"purpose": ""}, "purpose ''"),
    "a recipient that nobody allows": ({"recipients": ("s0", "s4")}, "no answer to 's4'"),
    "that recipient alone": ({"recipients": ("s4",)}, "no answer to 's4'"),
    "everybody for a recipient": ({"recipients": ()}, "no answer to 's4'"),
    "without a member who must take part": ({"sites": ("s0", "s1", "s3", "s4")}, "wants 's2' to take part"),
    "fewer sites": ({"minimum_sites": 3}, "wants at least 4 sites"),
    "a smaller group": ({"minimum_sites": 3, "sites": ("s0", "s1", "s2")}, "wants at least 4 sites"),
    "smaller cells": (lax(minimum_cell=4), "counts below 5"),
    "figures that are not rounded": (lax(round_to=1), "multiples of 2"),
    "figures rounded to what is no multiple": (lax(round_to=3), "multiples of 2"),
    "models with more parameters": (lax(parameters_percent=21), "20 parameters per hundred"),
    "sums that one row makes up": (lax(dominance_percent=100), "90 % of a sum"),
}


@pytest.mark.parametrize("move", list(ASKED))
def test_a_stolen_session_gets_nothing_that_the_sites_do_not_allow(stolen: Stolen, move: str) -> None:
    change, words = ASKED[move]
    job = stolen.ask(question(**change))
    assert job.status in (models.REFUSED, models.NOT_ENOUGH) and re.search(words, job.reason), job.reason
    assert job.answer is None and stolen.refused(job.run)


def test_a_stolen_session_of_a_member_that_may_not_ask_gets_nothing(stolen: Stolen) -> None:
    job = stolen.ask(question(), "of-s3")
    assert job.status == models.REFUSED and "questions of 's3'" in job.reason and stolen.refused(job.run)


def test_a_stolen_session_asks_in_no_other_members_name(stolen: Stolen) -> None:
    with pytest.raises(Refused, match="asks in the name of 's4'"):
        actions.propose(stolen.hub, "of-s4", question(proposer="s0"))


def test_a_stolen_session_spends_no_more_than_the_budget_and_draws_no_noise_twice(tmp_path: Path) -> None:
    thief = Stolen(tmp_path)
    first = thief.ask(question())
    assert first.status == models.DONE, first.reason
    assert actions.propose(thief.hub, "of-s1", question()) == first.run, "the answer that is there"
    with pytest.raises(Refused, match="may not see answer"):
        actions.propose(thief.hub, "of-s2", question())
    again = question(parameters={"bins": 4, "high": 100.0, "low": 0.0, "column": "x"}, purpose="a study")
    assert actions.propose(thief.hub, "of-s0", again) == first.run, "the same question in another order"
    statuses = [thief.ask(question(parameters={**BINS, "bins": bins})).status for bins in range(5, 12)]
    done = statuses.count(models.DONE)
    assert 0 < done < len(statuses) and statuses == [models.DONE] * done + statuses[done:]
    for site in thief.world.names:
        with Session(thief.world.engines[site]) as db:
            rows = db.execute(select(BudgetLine.spent, BudgetLine.reserved)).all()
        assert sum(row.spent for row in rows) == (1 + done) * EPSILON_1.nano_rho


def test_a_stolen_session_subtracts_no_site(tmp_path: Path) -> None:
    """The same question, a filter that differs by one site, a retry without one: of the exact figures."""
    floors = Floors(minimum_cell=1, minimum_rows=1)
    policy = replace(STRICT, noise="optional", minimum_sites=3, must_take_part=(), disclosure=floors)
    thief, asked = Stolen(tmp_path, policy), {"noise": None, "minimum_sites": 3, "disclosure": EVERYTHING}
    everybody = thief.ask(question(**asked))
    assert everybody.status == models.DONE, everybody.reason
    for sites in (("s0", "s1", "s2", "s3"), ("s0", "s1", "s2")):
        for parameters in (BINS, {**BINS, "bins": 8}):
            smaller = thief.ask(question(**asked, sites=sites, parameters=parameters))
            assert smaller.status == models.REFUSED and "so few sites hold" in smaller.reason
            assert smaller.answer is None
            thief.world.drain()
            with Session(thief.world.engines["s1"]) as db:
                said = [read_entry(data) for data in db.scalars(select(OwnEntry.data))]
                kinds = db.scalars(select(Outbox.kind).where(Outbox.run == smaller.run)).all()
            assert "refused" in {entry.act for entry in said if entry.run == smaller.run} and "refusal" in kinds


# ---- the account and the key of an analyst ----

TWO = Policy(
    disclosure=Floors(minimum_cell=1, minimum_rows=1), consents="two persons", proposals="person", releases="person"
)
Handed = Callable[[People, str], Any]


def by(name: str, what: str, **change: Any) -> Handed:
    """A decision in the name of a person of s1, signed with the analyst's key."""

    def make(found: People, run: str) -> Any:
        about = change.get("about", found.plan(run).digest)
        more = {key: value for key, value in change.items() if key not in ("about", "run")}
        return found.decision("s1", name, what, change.get("run", run), about, **more)

    return make


ROLE, SIGNED = "takes the role", "not signed by"
HELD: dict[str, tuple[Handed, str]] = {
    "consents": (by("ada", "consent"), ROLE),
    "agrees to a release": (by("ada", "release"), ROLE),
    "refuses": (by("ada", "refuse"), ROLE),
    "stops": (by("ada", "stop"), ROLE),
    "withdraws the table": (by("ada", "withdraw", run="", about=table_digest("numbers")), ROLE),
    "withdraws another table": (by("ada", "withdraw", run="", about=table_digest("others")), ROLE),
    "consents as an approver": (by("ann", "consent"), SIGNED),
    "consents as the other approver": (by("bob", "consent"), SIGNED),
    "agrees as a steward": (by("sue", "release"), SIGNED),
    "stops as a steward": (by("sue", "stop"), SIGNED),
    "withdraws as a steward": (by("sue", "withdraw", run="", about=table_digest("numbers")), SIGNED),
    "refuses as an approver": (by("ann", "refuse"), SIGNED),
    "consents as somebody who is not there": (by("zoe", "consent"), "no person 'zoe'"),
    "signs another proposal": (by("ada", "sign proposal", about=bytes(32)), "no proposal of this job waits"),
    "signs a proposal that nobody asked": (by("ada", "sign proposal", run="f" * 32), "no proposal of this job"),
    "signs one for another member": (by("ada", "sign proposal", member="s0"), "another than was handed in"),
    "signs for ever": (by("ada", "sign proposal", expires=2**39), "has expired"),
    "signs in the past": (by("ada", "sign proposal", expires=1_700_000_000), "has expired"),
    "signs a proposal of others": (by("ada", "sign proposal"), "no proposal of this job waits"),
    "consents for another member": (by("ada", "consent", member="s2"), "another than was handed in"),
    "consents to another job": (by("ada", "consent", run="e" * 32), ROLE),
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> tuple[People, str]:
    """A job of s0 that waits for two people of s1."""
    found = People(tmp_path_factory.mktemp("office"), TWO)
    run = found.world.propose()
    found.until_waiting(run, "s0")
    assert found.decide("s0", "ada", "sign proposal", run) == ""
    found.until_waiting(run, "s1")
    return found, run


@pytest.mark.parametrize("move", list(HELD))
def test_an_analysts_key_decides_nothing_that_is_not_an_analysts(office: tuple[People, str], move: str) -> None:
    found, run = office
    make, words = HELD[move]
    decision = make(found, run)
    before = [details for act, details in found.acts("s1") if act == "decision refused"]
    key = found.hand_in("s1", decision, found.keys["ada"])
    assert re.search(words, found.outcome("s1", key)), found.outcome("s1", key)
    assert found.waits("s1", run) == "consent"
    refused = [details for act, details in found.acts("s1") if act == "decision refused"]
    assert refused == [*before, {"what": decision.what}]
    with Session(found.world.engines["s1"]) as db:
        assert not set(db.scalars(select(Outbox.kind).where(Outbox.receiver == HUB))) & {"consent", "refusal"}


def test_an_analyst_who_signed_a_proposal_is_no_second_person(tmp_path: Path) -> None:
    """An analyst who is an approver too consents to no question of its own, and releases no answer of it."""
    found = People(tmp_path, TWO)
    run = found.world.propose()
    found.until_waiting(run, "s0")
    assert found.decide("s0", "ann", "sign proposal", run) == ""
    found.until_waiting(run, *found.world.names)
    assert "signed this proposal" in found.decide("s0", "ann", "consent", run)
    assert found.decide("s0", "bob", "consent", run) == ""
    assert found.waits("s0", run) == "consent", "one person is no two"
