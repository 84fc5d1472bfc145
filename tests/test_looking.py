"""Lists of jobs: what SQL finds is what access allows, read from an index, a page at a time."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from hansa.access import ROLES, Person, may
from hansa.crypto.bundles import HUB_BYTES
from hansa.hub import actions, looking, models, queries, settings
from hansa.hub.actions import Hub
from hansa.hub.looking import AT_ONCE, Which
from hansa.hub.models import Concerned, Job, Participant
from hansa.jobs.base import Column, Schema
from hansa.mail import boxes
from hansa.mail.boxes import Outbox
from hansa.messages import encode
from hansa.plan import Plan, Question, make
from hansa.wrapping import Way
from tests import cards

MEMBERS = ("a", "b", "c", "d", "e")
SCHEMA = Schema("heart", (Column("age", "number"), Column("ill", "number")))
QUESTIONS = (
    Question("histogram", "heart", {"column": "age"}),
    Question("summary", "heart", {"columns": ["age", "ill"]}),
    Question("glm", "lungs", {"formula": "ill ~ age", "family": "binomial"}),
)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    charter = cards.charter(MEMBERS)
    signed = cards.signed(charter, {site: cards.member_keys(place) for place, site in enumerate(MEMBERS)})
    settings.make_keys(tmp_path, cards.seeds(255, HUB_BYTES), Way(passphrase_file="passphrase"))
    (tmp_path / "charter").write_bytes(signed)
    (tmp_path / "hub.toml").write_text(f'database = "sqlite:///{tmp_path}/hub.db"\nprivate = ""\n[mailboxes]\n')
    hub = Hub(tmp_path)
    models.Base.metadata.create_all(hub.engine)
    boxes.Base.metadata.create_all(hub.engine)
    yield hub
    hub.engine.dispose()
    hub.reading.dispose()


def a_plan(hub: Hub, chance: random.Random) -> Plan:
    """Some sites, some recipients, somebody's question; some as Hansa 0.1 wrote them, which name no recipients."""
    sites = tuple(sorted(chance.sample(MEMBERS, 3)))
    asked = replace(chance.choice(QUESTIONS), sites=sites)
    schema = replace(SCHEMA, table=asked.table)
    receive = tuple(chance.sample(MEMBERS, chance.randint(1, 2)))
    version = chance.choice((1, 2, 2, 2))
    asked = replace(asked, recipients=receive) if version == 2 else asked
    run = f"{chance.getrandbits(128):032x}"
    schemas = dict.fromkeys(MEMBERS, schema)
    return make(asked, hub.desk.charter, run, chance.choice(MEMBERS), schemas, version=version)  # type: ignore[arg-type]


def propose(hub: Hub, plans: list[Plan]) -> None:
    with Session(hub.engine) as db, db.begin():
        for at, plan in enumerate(plans):
            actions.store_proposal(db, hub.desk, plan, "ann", 1000.0 + at)


def end(hub: Hub, run: str, status: str = "done", at: float = 9999.0) -> None:
    with Session(hub.engine) as db, db.begin():
        job = db.get_one(Job, run)
        job.status, job.ended_at = status, at


def every_page(hub: Hub, who: Person | None, which: Which = looking.ALL) -> list[str]:
    found, number = [], 1
    while page := looking.page(hub, who, which, number):
        found += [job.run for job in page]
        number += 1
    return found


def test_everybody_lists_exactly_the_jobs_that_access_allows_the_newest_first(hub: Hub) -> None:
    chance = random.Random(11)
    plans = [a_plan(hub, chance) for _ in range(60)]
    propose(hub, plans)
    assert {plan.version for plan in plans} == {1, 2}
    for member in (*MEMBERS, "", "stranger"):
        for role in ROLES:
            who = Person("p", member, (role,))
            due = [plan.run for plan in plans[::-1] if may(who, "see job", actions.thing_in(hub.desk, plan))]
            assert every_page(hub, who) == due, (member, role)
            assert looking.count(hub, who) == len(due)
            assert [job.run for job in queries.jobs(hub, who=who)] == due
    assert every_page(hub, None) == [plan.run for plan in plans[::-1]]


def test_what_the_index_wrongly_names_is_held_back_by_access(hub: Hub) -> None:
    plan = make(
        replace(QUESTIONS[0], sites=("a", "b", "c")), hub.desk.charter, "0" * 32, "a", dict.fromkeys("abc", SCHEMA)
    )
    propose(hub, [plan])
    with Session(hub.engine) as db, db.begin():
        db.add(Concerned(run=plan.run, member="e", place=0))
    assert looking.page(hub, Person("p", "e", ("analyst",))) == []
    assert len(looking.page(hub, Person("p", "c", ("analyst",)))) == 1


def test_every_filter_leaves_the_jobs_that_are_like_it_and_counts_them(hub: Hub) -> None:
    chance = random.Random(5)
    plans = [a_plan(hub, chance) for _ in range(40)]
    propose(hub, plans)
    for plan in plans[::3]:
        end(hub, plan.run, "done")
    for plan in plans[1::3]:
        end(hub, plan.run, "refused")
    ended = {plan.run for plan in (*plans[::3], *plans[1::3])}
    who = Person("p", "b", ("auditor",))
    mine = [plan for plan in plans[::-1] if may(who, "see job", actions.thing_in(hub.desk, plan))]
    run = mine[0].run
    likes: list[tuple[Which, list[Plan]]] = [
        (Which(state="open"), [plan for plan in mine if plan.run not in ended]),
        (Which(state="ended"), [plan for plan in mine if plan.run in ended]),
        (Which(kind="glm"), [plan for plan in mine if plan.kind == "glm"]),
        (Which(table="lungs"), [plan for plan in mine if plan.table == "lungs"]),
        (Which(status="refused"), [plan for plan in mine if plan in plans[1::3]]),
        (Which(member="d"), [plan for plan in mine if "d" in (plan.proposer, *plan.sites)]),
        (Which(run=run[:9].upper()), mine[:1]),
        (Which(run="not hexadecimal"), []),
        (Which(state="ended", kind="glm", table="heart"), []),
    ]
    for which, due in likes:
        assert every_page(hub, who, which) == [plan.run for plan in due], which
        assert looking.count(hub, who, which) == len(due)
    assert all(due for _which, due in likes[:7])


@pytest.fixture
def full(hub: Hub) -> Hub:
    """Ten thousand jobs, every hundredth of them of 'e'."""
    schemas = dict.fromkeys(MEMBERS, SCHEMA)
    few, many = (
        make(replace(QUESTIONS[0], sites=sites), hub.desk.charter, "0" * 32, sites[0], schemas)
        for sites in (("c", "d", "e"), ("a", "b", "c"))
    )
    jobs, concerned = [], []
    for place in range(10_000):
        plan = replace(few if place % 100 == 0 else many, run=f"{place:032x}")
        is_open = place >= 9_990
        jobs.append(
            {
                "run": plan.run, "plan": plan.encoded, "person": "ann", "status": "consenting" if is_open else "done",
                "reason": "", "created_at": float(place), "place": place, "table_name": plan.table, "kind": plan.kind,
                "proposer": plan.proposer, "ended_at": None if is_open else place + 1.0, "attempt": 0, "agreed": 0,
                "step": 0, "round": 0, "quorum": 0,
            }
        )  # fmt: skip
        concerned += [{"run": plan.run, "member": member, "place": place} for member in actions.concerned(plan)]
    with hub.engine.begin() as connection:
        connection.execute(insert(Job), jobs)
        connection.execute(insert(Concerned), concerned)
    return hub


@pytest.mark.parametrize(
    "which",
    [
        looking.ALL,
        Which(state="open"),
        Which(status="done"),
        Which(kind="histogram"),
        Which(member="c"),
        Which(run="0a"),
    ],
)
@pytest.mark.parametrize("member", ["a", "e"])
def test_a_page_of_ten_thousand_jobs_is_read_from_an_index_and_no_table_is_read_through(
    full: Hub, member: str, which: Which
) -> None:
    steps: list[str] = []

    @event.listens_for(full.reading, "before_cursor_execute")
    def _explain(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[attr-defined]
            steps.extend(row[3] for row in plan.fetchall())

    who = Person("p", member, ("analyst",))
    looking.page(full, who, which)
    looking.count(full, who, which)
    assert any("concerned" in step and "INDEX" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step], steps


def test_the_last_page_of_ten_thousand_jobs_holds_the_oldest(full: Hub) -> None:
    who = Person("p", "c", ("analyst",))
    assert looking.count(full, who) == 10_000
    last = looking.page(full, who, number=10_000 // AT_ONCE)
    assert [job.run for job in last] == [f"{place:032x}" for place in range(24, -1, -1)]
    assert looking.page(full, who, number=10_000 // AT_ONCE + 1) == []


def test_an_overview_names_jobs_that_wait_for_the_viewers_own_people_and_nobody_elses(hub: Hub) -> None:
    plans = [
        make(
            replace(QUESTIONS[0], sites=("a", "b", "c")),
            hub.desk.charter,
            str(number) * 32,
            "b",
            dict.fromkeys("abc", SCHEMA),
        )
        for number in range(3)
    ]
    propose(hub, plans)
    with Session(hub.engine) as db, db.begin():
        db.get_one(Participant, (plans[0].run, "a")).waits_until = 5000.0
        db.get_one(Job, plans[0].run).status = "consenting"
        db.get_one(Job, plans[1].run).waits_until = 6000.0
    told = {
        member: [(job.run, until) for job, until in looking.for_people(hub, Person("p", member, ("approver",)))]
        for member in "abc"
    }
    assert told == {"a": [(plans[0].run, 5000.0)], "b": [(plans[1].run, 6000.0)], "c": []}
    with Session(hub.engine) as db, db.begin():  # signed meanwhile, though the time once given still stands there
        db.get_one(Job, plans[1].run).status = "waiting"
    assert looking.for_people(hub, Person("p", "b", ("approver",))) == []


def test_an_overview_names_what_ended_badly_lately_and_not_what_was_cancelled_or_is_long_ago(hub: Hub) -> None:
    plans = [
        make(
            replace(QUESTIONS[0], sites=("a", "b", "c")),
            hub.desk.charter,
            str(number) * 32,
            "a",
            dict.fromkeys("abc", SCHEMA),
        )
        for number in range(5)
    ]
    propose(hub, plans)  # at 1000, 1001, …
    for plan, status in zip(plans, ("refused", "failed", "cancelled", "not enough sites", "done"), strict=True):
        end(hub, plan.run, status)
    who = Person("p", "a", ("analyst",))
    assert [job.run[0] for job in looking.ended_badly(hub, who, 1001.0, 9)] == ["3", "1"]
    assert [job.run[0] for job in looking.ended_badly(hub, who, 0.0, 2)] == ["3", "1"]
    assert looking.ended_badly(hub, Person("p", "d", ("analyst",)), 0.0, 9) == []


def test_a_site_is_silent_that_was_never_heard_or_acknowledges_nothing(hub: Hub) -> None:
    with Session(hub.engine) as db, db.begin():
        for site in ("a", "b", "c", "d"):
            db.add(models.Member(site=site, version="0.2.0", tables=encode((SCHEMA,)), seen_at=50.0))
        for place, (site, attempts) in enumerate((("b", 9), ("b", 9), ("c", 1))):
            row = {"run": "0" * 32, "sequence": place, "kind": "end", "data": b"", "attempts": attempts}
            db.add(Outbox(receiver=site, next_at=0.0, acked_at=None, **row))
        db.add(models.WitnessRow(site="b", size=0, receipted=0, refusal="", at=70.0))
    assert [(one.site, one.letters, one.heard_at) for one in looking.silent(hub)] == [("b", 2, 70.0), ("e", 0, None)]


def test_a_proposal_writes_down_whom_it_concerns(hub: Hub) -> None:
    asked = replace(QUESTIONS[0], sites=("a", "b", "c"), recipients=("e",))
    plan = make(asked, hub.desk.charter, "7" * 32, "d", dict.fromkeys("abc", SCHEMA))
    propose(hub, [plan])
    with Session(hub.reading) as db:
        job = db.get_one(Job, plan.run)
        assert (job.kind, job.proposer, job.table_name) == ("histogram", "d", "heart")
        assert sorted(db.scalars(select(Concerned.member))) == ["a", "b", "c", "d", "e"]
