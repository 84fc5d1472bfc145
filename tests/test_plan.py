"""A plan is the exact bytes of a question, and a question file says what it means or why it can't."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hansa.charter import Rules
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import EXAMPLES
from hansa.jobs.base import Column, Schema
from hansa.messages import encode
from hansa.plan import Plan, Question, load, make, question_from, read_question
from hansa.privacy.disclosure import Rules as Disclosure
from hansa.privacy.noise import Noise
from tests.test_charter import CHARTER, SITES

RUN = "0123456789abcdef" * 2
QUESTION = Question("summary", "patients", {"columns": ["age"]})
NAMES = ("age", "x", "ill", "ward", "weight", "sex", "arm", "result", "outcome", "group")


def having(sites: tuple[str, ...], kind: str = "") -> dict[str, Schema]:
    """The table at these sites: the kind's own example, or some columns of numbers."""
    if kind:
        return dict.fromkeys(sites, next(iter(EXAMPLES[kind].tables.values())).schema)
    return dict.fromkeys(sites, Schema("patients", tuple(Column(name, "number") for name in NAMES)))


FIELDS_OF_0_1 = tuple(Plan.__struct_fields__[:10])
PLAN = make(QUESTION, CHARTER, RUN, "a", having(SITES))
TEXT = """
kind = "summary"
table = "patients"
sites = ["b", "a", "c"]
minimum_sites = 4
[parameters]
columns = ["age"]
"""


def test_a_plan_comes_back_from_its_bytes() -> None:
    assert load(encode(PLAN), CHARTER) == PLAN
    assert PLAN.job().columns() == ("age",)
    assert PLAN.sites == SITES


def test_a_plan_of_the_first_version_keeps_its_bytes_and_says_less() -> None:
    first = make(QUESTION, CHARTER, RUN, "a", having(SITES), version=1)
    assert first.encoded == encode(tuple(getattr(first, name) for name in FIELDS_OF_0_1))
    assert load(first.encoded, CHARTER) == first
    assert (first.recipients, first.disclosure) == ((), None)


def test_who_receives_the_answer_is_who_asks_and_who_takes_part_unless_it_is_said() -> None:
    asked = replace(QUESTION, sites=("b", "c", "d"))
    assert make(asked, CHARTER, RUN, "a", having(SITES)).recipients == SITES
    assert make(replace(asked, recipients=("d", "a")), CHARTER, RUN, "a", having(SITES)).recipients == ("a", "d")
    with pytest.raises(Refused, match="'z' is to receive the answer"):
        make(replace(asked, recipients=("z",)), CHARTER, RUN, "a", having(SITES))


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_every_kind_goes_through_a_plan_unchanged(kind: str) -> None:
    job = EXAMPLES[kind].job
    parameters = {name: value for name, value in msgspec.to_builtins(job).items() if name != "kind"}
    plan = make(Question(kind, "patients", parameters), CHARTER, RUN, "a", having(SITES, kind))
    assert load(encode(plan), CHARTER).job() == job


def test_sites_stand_in_order_whatever_order_they_were_named_in() -> None:
    asked = replace(QUESTION, sites=("c", "a", "b"))
    assert make(asked, CHARTER, RUN, "a", having(SITES)).sites == ("a", "b", "c")


def test_one_question_has_one_digest_whatever_the_order_of_its_parameters() -> None:
    one, two = ({"table": "x", "kind": "glm"}, {"kind": "glm", "table": "x"})
    assert question_from(one, "PLAN.toml") == question_from(two, "PLAN.toml")
    example = msgspec.to_builtins(EXAMPLES["glm"].job)
    parameters = {name: example[name] for name in example if name != "kind"}
    turned = dict(reversed(parameters.items()))
    plans = [
        make(Question("glm", "patients", given), CHARTER, RUN, "a", having(SITES, "glm"))
        for given in (parameters, turned)
    ]
    assert plans[0].digest == plans[1].digest


CHANGES: dict[str, Any] = {
    "version": 1,
    "run": "f" * 32,
    "charter": bytes(32),
    "proposer": "b",
    "table": "others",
    "sites": SITES[:3],
    "protection": "plain",
    "minimum_sites": 4,
    "kind": "histogram",
    "parameters": b'{"columns":["weight"]}',
    "recipients": ("a",),
    "purpose": "a study",
    "expires": 1,
    "disclosure": Disclosure(minimum_cell=3),
    "noise": Noise(10**6, 10**6),
}


def test_the_digest_of_a_plan_changes_with_every_field() -> None:
    assert set(CHANGES) == set(Plan.__struct_fields__)
    digests = {replace(PLAN, **{field: value}).digest for field, value in CHANGES.items()}
    assert len(digests | {PLAN.digest}) == len(CHANGES) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 1},
        {"recipients": ()},
        {"recipients": ("b", "a")},
        {"recipients": ("z",)},
        {"disclosure": None},
        {"purpose": "two\nlines"},
        {"purpose": "x" * 201},
        {"expires": -1},
        {"run": "x"},
        {"charter": bytes(32)},
        {"charter": b""},
        {"proposer": "z"},
        {"proposer": "hub"},
        {"table": ""},
        {"table": "x" * 65},
        {"sites": ("b", "a", "c")},
        {"sites": ("a", "a", "b", "c")},
        {"sites": ("a", "b", "z")},
        {"protection": "plain"},
        {"minimum_sites": 2},
        {"minimum_sites": 1001},
        {"kind": ""},
        {"parameters": bytes(65_537)},
    ],
)
def test_a_plan_that_the_charter_does_not_allow_is_not_loaded(change: dict[str, Any]) -> None:
    with pytest.raises((ProtocolViolation, Refused)):
        load(encode(replace(PLAN, **change)), CHARTER)


def test_a_plan_below_the_floor_of_the_charter_is_not_loaded() -> None:
    strict = replace(CHARTER, rules=Rules(minimum_sites=4))
    with pytest.raises((ProtocolViolation, Refused)):
        load(encode(replace(PLAN, charter=strict.digest, minimum_sites=3)), strict)


@pytest.mark.parametrize("parameters", [b"", b"[]", b"{", b'{"columns":NaN}', b"\xff", b"null", b'{"c":["\xe8"]}'])
def test_parameters_that_are_no_json_object_are_a_violation(parameters: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        load(encode(replace(PLAN, parameters=parameters)), CHARTER).job()


def test_bytes_that_are_no_plan_are_a_violation() -> None:
    for data in (b"", b"\xc0", encode(PLAN) + b"\0", encode(PLAN)[:-1], encode(CHARTER)):
        with pytest.raises(ProtocolViolation):
            load(data, CHARTER)


def test_a_plan_never_asks_for_fewer_sites_than_the_charter() -> None:
    strict = replace(CHARTER, rules=Rules(minimum_sites=4))
    assert make(QUESTION, strict, RUN, "a", having(SITES)).minimum_sites == 4
    with pytest.raises(Refused, match="4 sites are named and at least 5 must take part"):
        make(replace(QUESTION, minimum_sites=5), strict, RUN, "a", having(SITES))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protection": "plain"}, "protection 'plain'"),
        ({"kind": "sum"}, "no kind 'sum'"),
        ({"parameters": {}}, "needs the parameter"),
        ({"parameters": {"columns": "age"}}, "'columns'"),
        ({"parameters": {"columns": ["age"], "by": 1}}, "no parameter 'by'"),
        ({"sites": ("a", "b", "z")}, "'z' is not a member"),
        ({"sites": ("a", "b", "d")}, "'d' has no table"),
    ],
)
def test_a_question_that_can_be_no_plan_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        make(replace(QUESTION, **change), CHARTER, RUN, "a", having(("a", "b", "c")))


def test_a_question_about_a_table_that_nobody_has_is_refused() -> None:
    with pytest.raises(Refused, match="no member has a table"):
        make(QUESTION, CHARTER, RUN, "a", {})


def test_only_a_member_proposes() -> None:
    with pytest.raises(Refused, match="not a member"):
        make(QUESTION, CHARTER, RUN, "z", having(SITES))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"minimum_sites": 5000}, id="a floor that no plan can have"),
        pytest.param({"sites": ("a", "a", "b", "c")}, id="a site twice"),
        pytest.param({"table": "x" * 65}, id="a table's name too long"),
        pytest.param({"parameters": {"columns": [f"{n}" * 1100 for n in range(64)]}}, id="parameters too long"),
    ],
)
def test_whatever_is_made_is_loaded_again(change: dict[str, Any]) -> None:
    try:
        plan = make(replace(QUESTION, **change), CHARTER, RUN, "a", having(SITES))
    except Refused:
        return
    assert load(encode(plan), CHARTER) == plan


# Question files


def test_a_question_file_is_read() -> None:
    assert read_question(TEXT, "PLAN.toml") == Question(
        "summary", "patients", {"columns": ["age"]}, ("b", "a", "c"), "masked", 4, ""
    )


def test_a_question_file_needs_a_kind_and_a_table_only() -> None:
    question = read_question('kind = "summary"\ntable = "patients"', "PLAN.toml")
    assert (question.sites, question.protection, question.minimum_sites, question.proposer) == ((), "masked", 3, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = ", "not a TOML file"),
        ("kind = 'a'\nkind = 'b'", "not a TOML file"),
        ("", "'kind' is missing"),
        ("kind = 'summary'", "'table' is missing"),
        ("kind = 1\ntable = 'x'", "'kind' is missing or not a text"),
        ("kind = 'summary'\ntable = ['x']", "'table' is missing or not a text"),
        ("kind = ''\ntable = 'x'", "'kind'"),
        ("kind = 'summary'\ntable = 'x'\nsite = 'a'", "unknown key 'site'"),
        ("kind = 'summary'\ntable = 'x'\nsites = 'a'", "'sites' is not a list"),
        ("kind = 'summary'\ntable = 'x'\nsites = ['a', 1]", "'sites' is not a list"),
        ("kind = 'summary'\ntable = 'x'\nsites = ['a', 'a']", "names a site twice"),
        ("kind = 'summary'\ntable = 'x'\nminimum_sites = 2", "'minimum_sites'"),
        ("kind = 'summary'\ntable = 'x'\nminimum_sites = 1001", "'minimum_sites'"),
        ("kind = 'summary'\ntable = 'x'\nminimum_sites = true", "'minimum_sites'"),
        ("kind = 'summary'\ntable = 'x'\nminimum_sites = 3.0", "'minimum_sites'"),
        ("kind = 'summary'\ntable = 'x'\nminimum_sites = '3'", "'minimum_sites'"),
        ("kind = 'summary'\ntable = 'x'\nparameters = 'of'", "'parameters' is not a table"),
        ("kind = 'summary'\ntable = 'x'\n[[parameters]]\ncolumns = ['a']", "'parameters' is not a table"),
        ("kind = 'summary'\ntable = 'x'\nprotection = 1", "'protection' is not a text"),
        ("kind = 'summary'\ntable = 'x'\nproposer = ['a']", "'proposer' is not a text"),
    ],
)
def test_what_a_question_file_can_not_mean_is_one_sentence_that_names_the_file(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        read_question(text, "PLAN.toml")
    assert str(refusal.value).startswith("PLAN.toml: ")
    assert "\n" not in str(refusal.value)
