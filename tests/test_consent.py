"""The one place where a site says yes: each rule of its policy, and the settings they are read from."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hansa.errors import Refused
from hansa.jobs.base import Column, Schema
from hansa_site.consent import may_propose, may_take_part, survivors_allowed
from hansa_site.policy import Floors, Policy
from hansa_site.settings import Settings, TableSource, convert, read_settings
from tests.test_plan import PLAN

NOW = 1_800_000_000.0
SCHEMA = Schema("patients", (Column("age", "number"), Column("sex", "text")))


def test_the_policy_of_a_new_site_answers_every_kind_and_every_member() -> None:
    may_take_part(Policy(), PLAN, "b", SCHEMA, NOW)
    may_propose(Policy(), PLAN, "a")
    survivors_allowed(Policy(), "b", ["b", "c", "d"])


def test_a_policy_that_covers_the_question_says_yes() -> None:
    policy = Policy(
        kinds=("summary",),
        tables=("patients",),
        columns={"patients": ("age",)},
        proposers=("a",),
        recipients=("a", "b", "c", "d"),
        purposes=("", "a study"),
        must_take_part=("a", "d"),
        hours=("mon-sun 00:00-24:00",),
        sign_proposals=False,
    )
    may_take_part(policy, PLAN, "b", SCHEMA, NOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kinds": ()}, "kind 'summary'"),
        ({"kinds": ("table", "glm")}, "kind 'summary'"),
        ({"tables": ("others",)}, "table 'patients'"),
        ({"proposers": ("b", "c")}, "questions of 'a'"),
        ({"minimum_sites": 4}, "at least 4 sites, the plan 3"),
        ({"must_take_part": ("a", "e")}, "'e' to take part"),
        ({"recipients": ("a",)}, "no answer to 'b'"),
        ({"purposes": ("a study",)}, "the purpose ''"),
        ({"columns": {"patients": ("sex",)}}, "column 'age' of 'patients'"),
        ({"kind_digests": {"summary": "0" * 64}}, "other code than is installed"),
        ({"hours": ("sat-sun 00:00-24:00",)}, "in its hours only"),
        ({"disclosure": Floors(minimum_cell=11)}, "counts below 11"),
        ({"disclosure": Floors(round_to=5)}, "multiples of 5"),
        ({"disclosure": Floors(parameters_percent=10)}, "10 parameters per hundred"),
        ({"disclosure": Floors(dominance_percent=80)}, "80 % of a sum"),
        ({"disclosure": Floors(minimum_rows=4)}, "at least 4 rows"),
    ],
)
def test_each_rule_of_a_policy_refuses_by_itself_and_says_so(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        may_take_part(replace(Policy(), **change), PLAN, "b", SCHEMA, NOW)


def test_a_plan_that_does_not_name_the_site_is_refused() -> None:
    with pytest.raises(Refused, match="does not name this site"):
        may_take_part(Policy(), replace(PLAN, sites=("a", "c", "d")), "b", SCHEMA, NOW)


def test_a_floor_above_the_policys_is_no_reason_to_refuse() -> None:
    may_take_part(Policy(minimum_sites=4), replace(PLAN, minimum_sites=4), "b", SCHEMA, NOW)


@pytest.mark.parametrize(
    "schema",
    [
        Schema("patients", (Column("sex", "text"),)),
        Schema("patients", (Column("age", "text"),)),
        Schema("patients", ()),
    ],
)
def test_a_question_that_the_table_can_not_answer_is_refused(schema: Schema) -> None:
    with pytest.raises(Refused, match="age"):
        may_take_part(Policy(), PLAN, "b", schema, NOW)


@pytest.mark.parametrize("parameters", [b'{"columns":[]}', b'{"of":["age"]}', b"{}"])
def test_parameters_that_the_kind_does_not_know_are_refused(parameters: bytes) -> None:
    with pytest.raises(Refused):
        may_take_part(Policy(), replace(PLAN, parameters=parameters), "b", SCHEMA, NOW)


@pytest.mark.parametrize("site", ["b", "hub", ""])
def test_no_site_signs_a_proposal_in_another_members_name(site: str) -> None:
    with pytest.raises(Refused, match="another member's name"):
        may_propose(Policy(), PLAN, site)


def test_a_policy_may_let_nobody_propose() -> None:
    with pytest.raises(Refused, match="lets nobody propose"):
        may_propose(Policy(sign_proposals=False), PLAN, "a")


def test_a_survivor_set_without_a_member_that_must_take_part_is_not_locked() -> None:
    policy = Policy(must_take_part=("b", "d"))
    survivors_allowed(policy, "b", ["a", "b", "d"])
    survivors_allowed(policy, "a", ["a", "b", "c", "d"])
    for survivors in (["a", "b", "c"], ["b"], []):
        with pytest.raises(Refused, match="'d' to take part, and it has left"):
            survivors_allowed(policy, "b", survivors)


# Settings

SETTINGS = {"name": "b", "mailbox": "unix:///x", "database": "sqlite:///x", "table": [{"name": "t", "path": "t.csv"}]}


def test_settings_are_read() -> None:
    settings = convert({**SETTINGS, "policy": {"kinds": ["glm"], "must_take_part": ["a"]}}, "site.toml")
    assert settings.policy == Policy(kinds=("glm",), must_take_part=("a",))
    assert settings.source("t") == TableSource("t", path="t.csv")
    with pytest.raises(Refused, match="no table 'u'"):
        settings.source("u")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "B"},
        {"name": "hub"},
        {"name": 1},
        {"colour": "blue"},
        {"policy": {"minimum_sites": 2}},
        {"policy": {"minimum_sites": "3"}},
        {"policy": {"minimum": 3}},
        {"policy": {"kinds": "glm"}},
        {"policy": {"sign_proposals": 1}},
        {"table": [{"name": "t", "path": "t.csv"}, {"name": "t", "path": "u.csv"}]},
        {"table": [{"name": "t"}]},
        {"table": [{"name": "t", "path": "t.csv", "url": "sqlite://", "query": "SELECT 1"}]},
        {"table": [{"name": "t", "url": "sqlite://"}]},
        {"table": [{"name": "t", "path": "t.csv", "query": "SELECT 1"}]},
        {"table": [{"name": "1t", "path": "t.csv"}]},
        {"table": [{"name": "t", "path": "t.csv", "categories": {"sex": "f"}}]},
    ],
)
def test_settings_that_mean_nothing_are_refused_in_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"^site\.toml: [^\n]+$"):
        convert({**SETTINGS, **change}, "site.toml")


def test_a_folder_that_is_no_home_of_a_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no site\.toml"):
        read_settings(tmp_path)
    (tmp_path / "site.toml").write_text("name = ")
    with pytest.raises(Refused, match="not a TOML file"):
        read_settings(tmp_path)


def test_settings_do_not_print_the_addresses_that_may_hold_passwords() -> None:
    settings = Settings("b", "redis://:secret@host", "sqlite://", (TableSource("t", url="x://:secret@h", query="q"),))
    assert "secret" not in repr(settings)
    assert "secret" not in repr(settings.table)
