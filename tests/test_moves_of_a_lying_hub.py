"""What a hub with all its keys asks of a site beyond what the institution agreed to: refused at the site, and noted.

Each move is a letter that the hub signs and seals as any other. Where the proposer is said to help, the plan has its
true signature: only the site's own policy, ledger and journal stand against it then.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.audit.log import read as read_entry
from hansa.hub import models
from hansa.mail.boxes import Outbox, SetAside
from hansa.mail.letters import AskConsent, End, Open, Payload, Released, Round, SignPlan, Standing, Waits
from hansa.messages import HUB, encode
from hansa.plan import SIGNED_BY_PROPOSER, Disclosure, Plan, Question, make
from hansa.privacy.noise import Noise
from hansa_site.journal import Act, BudgetLine, OwnEntry, Run
from hansa_site.policy import Budget, Policy
from tests.test_plan import having
from tests.world import EVERYTHING, OPEN, World

SITE, RUN = "s1", "ab" * 16
NOISE = Noise(1_000_000, 1_000_000)
STRICT: Policy = replace(
    OPEN,
    kinds=("histogram",),
    columns={"numbers": ("x",)},
    recipients=("s0", "s1", "s2", "s3"),
    purposes=("a study",),
    noise="required",
    most_epsilon="1",
    must_take_part=("s2",),
    budget={"numbers": Budget("3", "1e-6")},
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, sites=4, policy=STRICT)


def plan_of(world: World, **change: Any) -> Plan:
    """A plan that the site's policy agrees to, with a change."""
    question = Question(
        "histogram",
        "numbers",
        {"column": "x", "low": 0.0, "high": 100.0, "bins": 4},
        purpose="a study",
        disclosure=EVERYTHING,
        noise=NOISE,
    )
    made = make(question, world.charter, RUN, "s0", having(tuple(world.names)))
    return replace(made, **change)


def proposed(world: World, plan: Plan, signer: str = "s0") -> AskConsent:
    return AskConsent(plan.encoded, world.keys[signer].consent.sign(SIGNED_BY_PROPOSER, plan.digest))


def tell(world: World, kind: str, payload: Payload, run: str = RUN) -> None:
    """The hub sends a letter of its own making, and it arrives."""
    with Session(world.engines[HUB]) as db, db.begin():
        world.desks[HUB].write(db, SITE, run, kind, payload, world.now)
    for _ in range(60):
        world.step()


def words_of(world: World) -> str:
    """What the site noted of what it was asked: its acts, what it set aside, and its entries for the log."""
    with Session(world.engines[SITE]) as db:
        acts = [act.text for act in db.scalars(select(Act))]
        aside = list(db.scalars(select(SetAside.reason)))
    return "\n".join([*acts, *aside])


def gave_nothing(world: World, run: str = RUN) -> None:
    """No consent, no contribution, nothing spent."""
    with Session(world.engines[SITE]) as db:
        kinds = set(db.scalars(select(Outbox.kind).where(Outbox.run == run)))
        entered = {read_entry(data).act for data in db.scalars(select(OwnEntry.data)) if read_entry(data).run == run}
        assert not kinds & {"consent", "reply", "plan-signed"}, kinds
        assert not entered & {"consent given", "contributed", "proposal signed", "budget reserved"}, entered
        assert db.scalars(select(BudgetLine).where(BudgetLine.run == run)).all() == []


def test_what_the_policy_agrees_to_is_answered(world: World) -> None:
    """The moves below fail for what they change."""
    tell(world, "ask-consent", proposed(world, plan_of(world)))
    with Session(world.engines[SITE]) as db:
        assert "consent" in set(db.scalars(select(Outbox.kind).where(Outbox.run == RUN)))
        assert db.get_one(BudgetLine, RUN).reserved == NOISE.nano_rho


HELPED: dict[str, tuple[dict[str, Any], str]] = {
    "an unapproved site": ({"sites": ("s0", "s2", "s3")}, "does not name this site"),
    "a smaller group": ({"sites": ("s0", "s1", "s3")}, "wants 's2' to take part"),
    "fewer sites than the policy wants": ({"minimum_sites": 2}, "malformed|is not a|fewer"),
    "another kind": ({"kind": "summary", "parameters": b'{"columns":["x"]}'}, "kind 'summary'"),
    "another table": ({"table": "others"}, "no table 'others'"),
    "another column": ({"parameters": b'{"bins":4,"column":"y","high":1.0,"low":0.0}'}, "'y'"),
    "another recipient": ({"recipients": ("s9",)}, "not on the charter"),
    "another purpose": ({"purpose": "marketing"}, "purpose 'marketing'"),
    "no noise": ({"noise": None}, "under noise only"),
    "less noise": ({"noise": Noise(2_000_000, 1_000_000)}, "ε of at most 1"),
    "laxer rules of disclosure": (
        {"disclosure": Disclosure(minimum_rows=1, minimum_cell=1, parameters_percent=90)},
        "90",
    ),
    "an expired plan": ({"expires": 1_700_000_000}, "has expired"),
    "a plan of another charter": ({"charter": bytes(32)}, "another charter"),
    "a plan of another job": ({"run": "cd" * 16}, "another run"),
    "a plan of the first version": ({"version": 1}, "Hansa 0.1"),
    "a question that was never a kind": ({"kind": "everything"}, "everything"),
    "parameters that are none": ({"parameters": b"{"}, "not JSON"),
}


@pytest.mark.parametrize("move", list(HELPED))
def test_a_hub_that_the_proposer_helps_gets_no_consent_beyond_the_policy(world: World, move: str) -> None:
    import re

    change, words = HELPED[move]
    tell(world, "ask-consent", proposed(world, plan_of(world, **change)))
    gave_nothing(world)
    assert re.search(words, words_of(world)), words_of(world)


SWAPPED: dict[str, dict[str, Any]] = {
    "swapped recipients": {"recipients": ("s3",)},
    "a swapped question": {"parameters": b'{"bins":5,"column":"x","high":100.0,"low":0.0}'},
    "swapped sites": {"sites": ("s0", "s1", "s2")},
    "a swapped expiry": {"expires": 2_000_000_000},
    "a swapped proposer": {"proposer": "s2"},
}


@pytest.mark.parametrize("move", list(SWAPPED))
def test_a_plan_that_was_swapped_after_the_proposer_signed_gets_no_consent(world: World, move: str) -> None:
    signed = proposed(world, plan_of(world))
    swapped = plan_of(world, **SWAPPED[move])
    tell(world, "ask-consent", AskConsent(swapped.encoded, signed.proposal))
    gave_nothing(world)
    assert "a signature for 'plan/proposal' does not hold" in words_of(world)


Move = Callable[[World], tuple[str, Payload]]
OUT_OF_TURN: dict[str, tuple[Move, str]] = {
    "a proposal in another member's name": (
        lambda world: ("sign-plan", SignPlan(plan_of(world).encoded)),
        "another member's name",
    ),
    "keys before a consent": (lambda _: ("open", Open(1, b"")), "takes no part in any more"),
    "a round before a consent": (lambda _: ("round", Round(1, b"")), "takes no part in any more"),
    "an answer of a job without this site": (lambda _: ("released", Released(bytes(32))), "takes no part in"),
    "a word that only sites say": (lambda _: ("waits", Waits(0)), "of a kind not due here"),
    "a reset of the budget": (
        lambda _: ("budgets", _budgets()),
        "of a kind not due here",
    ),
}


def _budgets() -> Payload:
    from hansa.mail.letters import Budgets

    return Budgets((Standing("numbers", 10**12, 0, 0, "99", "1e-6", "row", ""),))


@pytest.mark.parametrize("move", list(OUT_OF_TURN))
def test_a_letter_out_of_turn_changes_nothing(world: World, move: str) -> None:
    make_move, words = OUT_OF_TURN[move]
    tell(world, *make_move(world))
    gave_nothing(world)
    assert words in words_of(world)


# With a job that the site has agreed to


@pytest.fixture
def answered(tmp_path: Path) -> tuple[World, str]:
    """A job under noise that is done."""
    found = World(tmp_path, sites=4, policy=STRICT)
    asked = Question(
        "histogram",
        "numbers",
        {"column": "x", "low": 0.0, "high": 100.0, "bins": 4},
        purpose="a study",
        disclosure=EVERYTHING,
        noise=NOISE,
    )
    run = found.ask(asked)
    assert found.finish(run).status == models.DONE, found.job(run).reason
    found.drain()
    return found, run


def spent(world: World) -> list[tuple[int, int]]:
    with Session(world.engines[SITE]) as db:
        return [(line.reserved, line.spent) for line in db.scalars(select(BudgetLine))]


@pytest.mark.parametrize(
    "move", ["the consent again", "another job's plan", "the same question anew", "a further total", "its keys again"]
)
def test_a_consent_is_used_once_and_noise_is_drawn_once(answered: tuple[World, str], move: str) -> None:
    world, run = answered
    before, job = spent(world), world.job(run)
    asked = AskConsent(job.plan, job.proposal or b"")
    plan = world.desks[HUB].plan(job.plan)
    letters: dict[str, tuple[str, Payload, str, str]] = {
        "the consent again": ("ask-consent", asked, run, "asked twice"),
        "another job's plan": ("ask-consent", asked, RUN, "another run than its letter"),
        "the same question anew": (
            "ask-consent",
            proposed(world, replace(plan, run=RUN)),
            RUN,
            f"answered in job {run}",
        ),
        "a further total": ("round", Round(9, b"x"), run, "takes no part in any more"),
        "its keys again": ("open", Open(9, b"x"), run, "takes no part in any more"),
    }
    kind, payload, at, words = letters[move]
    tell(world, kind, payload, at)
    assert words in words_of(world)
    assert spent(world) == before == [(NOISE.nano_rho, NOISE.nano_rho)]
    gave_nothing(world)


def test_an_end_gives_no_budget_back_that_was_spent(answered: tuple[World, str]) -> None:
    world, run = answered
    before = spent(world)
    for _ in range(2):
        tell(world, "end", End("never happened"), run)
    assert spent(world) == before
    with Session(world.engines[SITE]) as db:
        assert db.get_one(Run, run).ended_at is not None
        assert encode(db.get_one(Run, run).plan)
