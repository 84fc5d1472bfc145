"""The privacy budget at the site that owns the table: whole numbers, never below zero, and nothing is forgotten."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.orm import Session

from hansa.charter import Rules
from hansa.errors import Refused
from hansa.hub import actions, models, queries
from hansa.mail.database import open_engine
from hansa.messages import HUB
from hansa.plan import Plan, Question, make, noise_from
from hansa.privacy.noise import Noise
from hansa_site import budget, journal
from hansa_site.journal import BudgetLine
from hansa_site.policy import Budget, Policy
from tests.seeds import seeds
from tests.test_charter import CHARTER, SITES
from tests.test_plan import having
from tests.world import EVERYTHING, OPEN, PERSON, Faults, World

NOISE = Noise(1_000_000, 1_000_000)  # ε 1, δ 1e-6
THREE = Budget("3", "1e-6")
BOUNDED = replace(OPEN, budget={"numbers": THREE})
BINS = {"column": "x", "low": 0.0, "high": 100.0, "bins": 4}


def asked(number: int = 0, noise: Noise | None = NOISE, table: str = "numbers", run: str = "") -> Plan:
    question = Question("histogram", table, {**BINS, "high": 100.0 + number}, noise=noise)
    return make(question, CHARTER, run or f"{number:032x}", "a", having(SITES))


@pytest.fixture
def db(tmp_path: Path) -> Any:
    engine = open_engine(f"sqlite:///{tmp_path}/site.sqlite")
    journal.Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        yield session
    engine.dispose()


def policy(epsilon: str = "3", delta: str = "1e-6", **more: Any) -> Policy:
    return Policy(budget={"numbers": Budget(epsilon, delta, **more)})


# The ledger


def test_answers_cost_what_their_rho_adds_up_to_and_the_budget_ends_before_zero(db: Session) -> None:
    total, each = budget.total_of(THREE), NOISE.nano_rho
    fit = total // each
    assert 5 < fit < 9  # under plain addition of ε it would be three
    for number in range(fit):
        assert len(budget.reserve(db, policy(), asked(number), 0.0)) == 1
    with pytest.raises(
        Refused, match=r"does not bear this question: it costs 1\d\.\d % of the budget, and \d+\.\d % is"
    ):
        budget.reserve(db, policy(), asked(fit), 0.0)
    standing = budget.standing(db, "numbers", THREE)
    assert (standing.spent, standing.reserved) == (0, fit * each)
    assert 0 <= standing.left < each


def test_what_is_reserved_is_spent_total_by_total_and_the_rest_comes_back(db: Session) -> None:
    plan = asked()
    budget.reserve(db, policy(), plan, 0.0)
    line = db.get_one(BudgetLine, plan.run)
    line.totals = 3
    parts = [int(budget.spend(db, plan.run)[0].details["nano-rho"]) for _ in range(2)]
    assert parts == [-(-line.reserved // 3)] * 2
    back = budget.close(db, plan.run, 1.0)[0]
    assert back.act == "budget given back" and int(back.details["nano-rho"]) == line.reserved - sum(parts)
    assert budget.close(db, plan.run, 2.0) == ()
    standing = budget.standing(db, "numbers", THREE)
    assert (standing.spent, standing.reserved) == (sum(parts), 0)
    with pytest.raises(Refused, match="given back"):
        budget.spend(db, plan.run)


def test_the_parts_of_a_cost_are_never_less_than_the_whole(db: Session) -> None:
    plan = asked()
    budget.reserve(db, policy(), plan, 0.0)
    line = db.get_one(BudgetLine, plan.run)
    line.totals = 7
    for _ in range(9):
        budget.spend(db, plan.run)
    assert line.spent == line.reserved == NOISE.nano_rho
    assert budget.close(db, plan.run, 1.0) == ()


def test_the_same_question_is_not_answered_with_new_noise(db: Session) -> None:
    plan, again = asked(), asked(run="f" * 32)
    budget.reserve(db, policy(), plan, 0.0)
    budget.refuse_unaffordable(db, policy(), again)  # nothing was shown yet
    budget.spend(db, plan.run)
    budget.close(db, plan.run, 1.0)
    for same in (again, replace(again, proposer="b", recipients=("b",), purpose="again", minimum_sites=4, expires=1)):
        with pytest.raises(Refused, match=f"answered in job {plan.run}"):
            budget.reserve(db, policy(), same, 2.0)
    budget.reserve(db, policy(), asked(1), 2.0)


@pytest.mark.parametrize(
    ("rules", "plan", "words"),
    [
        (Policy(), asked(), "no privacy budget"),
        (policy(), asked(table="others"), "no privacy budget"),
        (policy("0.1"), asked(), "does not bear"),
        (policy(unit="person", id_column="x"), asked(), "counts persons by 'x'"),
        (policy(unit="member"), asked(), "counts members"),
    ],
)
def test_a_table_without_a_budget_that_fits_is_never_asked_under_noise(
    db: Session, rules: Policy, plan: Plan, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        budget.reserve(db, rules, plan, 0.0)
    assert list(db.scalars(select(BudgetLine))) == []


def test_a_question_without_noise_costs_nothing(db: Session) -> None:
    plan = asked(noise=None)
    assert (
        budget.reserve(db, policy(), plan, 0.0) == budget.spend(db, plan.run) == budget.close(db, plan.run, 1.0) == ()
    )


def test_a_thousand_reservations_at_once_never_take_more_than_there_is(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/site.sqlite", durable=False)
    journal.Base.metadata.create_all(engine)
    rules, taken, refused = policy("10"), list[str](), list[str]()

    def reserve(first: int) -> None:
        for number in range(first, 1000, 4):
            plan = asked(number)
            try:
                with Session(engine) as session, session.begin():
                    budget.reserve(session, rules, plan, 0.0)
                    if number % 3 == 0:
                        raise KeyError  # whoever crashes before the commit has reserved nothing
                taken.append(plan.run)
            except Refused:
                refused.append(plan.run)
            except KeyError:
                continue

    threads = [threading.Thread(target=reserve, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Session(engine) as session:
        lines = {line.run: line.reserved for line in session.scalars(select(BudgetLine))}
    engine.dispose()
    assert set(lines) == set(taken) and refused
    assert len(lines) == budget.total_of(Budget("10", "1e-6")) // NOISE.nano_rho


@pytest.mark.parametrize("amount", ["-1", "0", "nan", "inf", "1e400", "", "one", None, True, -1, 0, 1e-7, "0x1"])
def test_no_amount_that_is_none_makes_a_budget_or_a_plan(amount: Any) -> None:
    with pytest.raises(Refused, match=r"plan\.toml: 'noise'"):
        noise_from({"epsilon": amount, "delta": "1e-6"}, "plan.toml")
    with pytest.raises(Refused, match=r"plan\.toml: 'noise'"):
        noise_from({"epsilon": "1", "delta": amount if amount != 1e-7 else 2}, "plan.toml")


# In a consortium


def lines(world: World, site: str) -> list[tuple[int, int, bool]]:
    with Session(world.engines[site]) as session:
        rows = session.scalars(select(BudgetLine).order_by(BudgetLine.at)).all()
    return [(row.reserved, row.spent, row.closed_at is not None) for row in rows]


def question(**more: Any) -> Question:
    return Question("histogram", "numbers", {**BINS, **more}, disclosure=EVERYTHING, noise=NOISE, valid_hours=8760)


def test_an_answer_under_noise_says_how_loud_it_is_and_every_site_has_paid_for_it(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, policy=BOUNDED)
    job = world.finish(world.ask(question()))
    assert job.status == models.DONE, job.reason
    answer = msgspec.json.decode(job.answer or b"")
    assert (answer["noise"]["epsilon"], answer["noise"]["delta"], answer["noise"]["unit"]) == (1.0, 1e-6, "row")
    assert 1 < answer["std_error"] < 20
    world.drain()
    for site in world.names:
        assert lines(world, site) == [(NOISE.nano_rho, NOISE.nano_rho, True)]


def test_the_noise_of_two_answers_differs_and_the_same_question_gets_the_stored_one(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, policy=BOUNDED)
    hub = world.hub()
    with Session(world.engines[HUB]) as session, session.begin():
        for row in session.scalars(select(models.Person)):
            row.roles = "analyst"
    first = actions.propose(hub, PERSON, question())
    assert world.finish(first).status == models.DONE
    assert actions.propose(hub, PERSON, question()) == first
    other = actions.propose(hub, PERSON, question(high=101.0))
    assert other != first and world.finish(other).status == models.DONE
    counts = [msgspec.json.decode(world.job(run).answer or b"")["counts"] for run in (first, other)]
    assert counts[0] != counts[1]
    hub.engine.dispose()
    hub.reading.dispose()


def test_a_hub_that_asks_the_same_again_is_refused_by_every_site(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, policy=BOUNDED)
    assert world.finish(world.ask(question())).status == models.DONE
    again = world.finish(world.ask(question()))
    assert again.status == models.REFUSED and "this very question was answered" in again.reason
    assert all(len(lines(world, site)) == 1 for site in world.names)


def test_a_budget_that_is_used_up_answers_nothing_more_under_noise(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, policy=replace(OPEN, budget={"numbers": Budget("1.5", "1e-6")}))
    ended = [world.finish(world.ask(question(high=100.0 + number))) for number in range(4)]
    done = [job.status == models.DONE for job in ended]
    assert done == sorted(done, reverse=True) and done[0] and not done[-1]
    assert "does not bear this question" in ended[-1].reason


@pytest.mark.parametrize("seed", seeds(2))
def test_crashes_forget_no_cost_and_count_none_twice(tmp_path: Path, seed: int) -> None:
    faults = Faults(drop=0.05, repeat=0.1, delay=0.3)
    world = World(tmp_path, sites=4, seed=seed, faults=faults, rules=Rules(round_seconds=60), policy=BOUNDED)
    runs = [world.ask(question(high=100.0 + number)) for number in range(3)]
    for name in (*world.names, HUB) * 2:
        for _ in range(40):
            world.step()
        world.kill(name)
        world.step()
        world.restart(name)
    for run in runs:
        world.finish(run)
    world.drain()
    released = sum(world.job(run).status == models.DONE for run in runs)
    for site in world.names:
        found = lines(world, site)
        assert all(spent in (0, NOISE.nano_rho) and closed for _reserved, spent, closed in found)
        assert sum(spent for _reserved, spent, _closed in found) >= released * NOISE.nano_rho


def test_a_hub_that_wants_another_total_gets_none_without_its_cost(tmp_path: Path) -> None:
    """Noise is agreed for so many totals; the next is refused before anything is computed for it."""
    from hansa.errors import ProtocolViolation
    from hansa.jobs.under_noise.noisy import Noisy, shares

    job = asked().job()
    assert isinstance(job, Noisy) and job.totals == 1
    step = job.begin([next(iter(having(SITES).values()))], 4)
    shares(job, 0, step, 2)
    with pytest.raises(ProtocolViolation, match="more totals are asked"):
        shares(job, 1, step, 2)


def test_people_see_what_a_question_costs_before_they_ask(tmp_path: Path) -> None:
    world = World(tmp_path, sites=4, policy=BOUNDED)
    world.drain()
    hub = world.hub()
    before = queries.costs(hub, question())
    assert [cost.site for cost in before] == world.names and all(cost.fits and cost.left == 100.0 for cost in before)
    world.finish(world.ask(question()))
    world.drain()
    for _ in range(50):
        world.step()
    after = queries.costs(hub, question(high=200.0))
    assert all(abs(cost.left - (100.0 - cost.cost)) < 1e-6 for cost in after)
    assert queries.costs(hub, replace(question(), noise=None)) == []
    hub.engine.dispose()
    hub.reading.dispose()
