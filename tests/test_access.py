"""Who may do what: every role, every action, every relation, decided in one place."""

from itertools import product
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from hansa.access import ROLES, Action, Person, Role, Thing, authorise, may, roles_of
from hansa.errors import Refused
from hansa.hub import actions, models, people, queries
from hansa.messages import HUB
from hansa.plan import Question
from tests.world import EVERYTHING, PERSON, World

JOB = Thing(member="a", proposer="a", sites=("a", "b", "c"), recipients=("a", "b"))
MAY: dict[Action, tuple[str, str]] = {  # roles, and members for whom it holds
    "propose": ("analyst", "a"),
    "cancel": ("analyst administrator", "a"),
    "see job": ("analyst steward approver auditor administrator", "abc"),
    "see answer": ("analyst steward approver auditor", "ab"),
    "see evidence": ("auditor", "abc"),
    "see log": (" ".join(ROLES), "abcd"),
    "operate": ("operator", "abcd"),
    "sign proposal": ("analyst approver", "a"),
    "consent": ("approver", "a"),
    "release": ("approver steward", "a"),
    "see figures": ("steward", "a"),
    "refuse": ("approver steward", "a"),
    "stop": ("approver steward", "a"),
    "withdraw": ("steward", "a"),
    "review": ("auditor", "a"),
    "set policy": ("steward administrator", "a"),
    "manage people": ("administrator", "a"),
}


@pytest.mark.parametrize(("action", "role", "member"), [*product(MAY, ROLES, "abcd")])
def test_every_role_does_what_the_table_says_and_nothing_else(action: Action, role: Role, member: str) -> None:
    roles, members = MAY[action]
    allowed = role in roles.split() and member in members
    person = Person("ann", member, (role,))
    assert may(person, action, JOB) == allowed
    if not allowed:
        with pytest.raises(Refused, match=f"'ann' may not {action}: "):
            authorise(person, action, JOB)


def test_who_has_no_role_may_do_nothing_and_who_has_two_what_either_may() -> None:
    assert not any(may(Person("ann", "a", ()), action, JOB) for action in MAY)
    both = Person("ann", "a", ("approver", "steward"))
    assert may(both, "consent", JOB) and may(both, "withdraw", JOB) and not may(both, "propose", JOB)


@pytest.mark.parametrize("names", ["", " , ", "boss", "analyst boss", "operator, analyst"])
def test_roles_that_are_none_are_refused(names: str) -> None:
    with pytest.raises(Refused, match="role"):
        roles_of(names)


def test_people_of_members_that_do_not_receive_an_answer_see_the_job_without_it_and_strangers_nothing(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, sites=4)
    hub = world.hub()
    with Session(world.engines[HUB]) as db, db.begin():
        for place in range(1, 4):
            people.add_person(db, f"p{place}", f"s{place}", "correct horse battery", "analyst")
        people.add_person(db, "op", "", "correct horse battery", "operator")
    asked = Question(
        "summary", "numbers", {"columns": ["x"]}, ("s0", "s1", "s2"), recipients=("s0", "s1"), disclosure=EVERYTHING
    )
    run = world.ask(asked)
    assert world.finish(run).status == models.DONE
    for name, sees, reads in ((PERSON, True, True), ("p1", True, True), ("p2", True, False), ("p3", False, False)):
        who = queries.viewer(hub, name)
        detail = queries.job(hub, run, who)
        assert (detail is not None) == sees == (run in [job.run for job in queries.jobs(hub, who=who)])
        assert (queries.answer_bytes(hub, run, who) is not None) == reads
        if detail is not None:
            assert (detail.answer is not None, detail.withheld) == (reads, not reads)
    assert queries.jobs(hub, who=queries.viewer(hub, "op")) == []
    with pytest.raises(Refused, match="may not see answer"):
        actions.note_reading(hub, "p2", run)
    with pytest.raises(Refused, match="may not cancel"):
        actions.cancel(hub, "p1", run)
    with pytest.raises(Refused, match="may not propose"):
        actions.propose(hub, "op", asked)
    hub.engine.dispose()
    hub.reading.dispose()


def test_who_operates_a_hub_is_no_members_person() -> None:
    for member, roles in (("a", "operator"), ("", "analyst")):
        with pytest.raises(Refused, match="operates the hub is no member's person"):
            people.add_person(None, "ann", member, "correct horse battery", roles)  # type: ignore[arg-type]
