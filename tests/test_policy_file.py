"""The policy file: every key has an example, a default and an error that says what is wrong and where."""

import re
from pathlib import Path
from typing import Any

import pytest

from hansa import toml
from hansa.errors import Refused
from hansa.privacy.disclosure import shown
from hansa_site import consent
from hansa_site import policy as policies
from hansa_site.policy import Budget, Floors, Policy
from hansa_site.settings import read_settings

TABLES = frozenset({"heart"})
TEXT = policies.example()


def test_the_example_holds_every_key_at_its_default() -> None:
    assert policies.convert(toml.parse(TEXT, "x"), TABLES, "x") == Policy()
    plain, _, disclosure = TEXT.partition("[disclosure]")
    stated = re.findall(r"^([a-z_0-9]+) =", plain, re.M)
    assert stated == [name for name in Policy.__struct_fields__ if name not in ("disclosure", "budget")]
    assert re.findall(r"^([a-z_0-9]+) =", disclosure, re.M) == list(Floors.__struct_fields__)
    assert re.findall(r"^#   ([a-z_]+) =", disclosure, re.M) == list(Budget.__struct_fields__)


def test_every_key_has_an_example_that_means_something_else_than_its_default() -> None:
    """But for the protections, of which there is one."""
    found = re.findall(r"# Example: (\w+ = .*)$|Example: (\w+ = .*)$", TEXT, re.M)
    examples = [one or other for one, other in found]
    seen = {line.partition(" =")[0] for line in examples}
    assert seen >= {*Policy.__struct_fields__, *Floors.__struct_fields__} - {"disclosure", "budget"}
    for line in examples:
        name = line.partition(" =")[0]
        text = f"[disclosure]\n{line}" if name in Floors.__struct_fields__ else line.replace("4f1c…64 digits", "4" * 64)
        assert (policies.convert(toml.parse(text, "x"), TABLES, "x") != Policy()) == (name != "protections"), line
    whole = "\n".join(re.findall(r"^#   (.*)$", TEXT, re.M))
    assert policies.convert(toml.parse(whole, "x"), TABLES, "x").budget["heart"].epsilon == "3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minimum_sites = 2", "'minimum_sites': Expected `int` >= 3"),
        ("kinds = 'glm'", "'kinds': Expected `array`"),
        (
            "kinds = ['coxx']",
            "'kinds' or 'kind_digests' names 'coxx', and no such kind is installed here; there are summary",
        ),
        ("kind_digests = { glm = 'abc' }", "'kind_digests.glm' is not 64 hexadecimal digits"),
        ("tables = ['lungs']", "'tables' names a table 'lungs'"),
        ("columns = { lungs = ['a'] }", "'columns' names a table 'lungs'"),
        ("proposers = ['No One']", "'proposers' names 'No One'"),
        ("recipients = ['']", "'recipients' names ''"),
        ("must_take_part = ['hub']", "'must_take_part' names 'hub'"),
        ("protections = ['plain']", "'protections"),
        ("protections = []", "'protections' is empty"),
        ("hours = ['all day']", "'hours' holds 'all day'"),
        ("hours = ['sun-mon 08:00-09:00']", "ends before it begins"),
        ("hours = ['10:00-10:00']", "ends before it begins"),
        ("hours = ['24:00-25:00']", "'hours' holds"),
        ("consents = 'nobody'", "'consents': Invalid enum value 'nobody'"),
        ("proposals = true", "'proposals'"),
        ("decide_hours = 0", "'decide_hours': Expected `int` >= 1"),
        ("most_numbers = 0", "'most_numbers'"),
        ("most_totals = 201", "'most_totals'"),
        ("most_epsilon = '-1'", "'most_epsilon'"),
        ("noise = 'loud'", "'noise'"),
        ("colour = 'blue'", "unknown field `colour`"),
        ("[disclosure]\nminimum_cell = 0", "'disclosure.minimum_cell': Expected `int` >= 1"),
        ("[disclosure]\ncells = 5", "'disclosure': Object contains unknown field `cells`"),
        ("[budget.lungs]\nepsilon = '1'\ndelta = '1e-6'", "'budget' names a table 'lungs'"),
        ("[budget.heart]\nepsilon = 'nan'\ndelta = '1e-6'", "'budget.heart'"),
        ("[budget.heart]\nepsilon = '1'", "budget"),
        ("[budget.heart]\nepsilon = '1'\ndelta = '1e-6'\nunit = 'person'", "'budget.heart': a budget of persons names"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_file_and_key(text: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        policies.convert(toml.parse(text, "policy.toml"), TABLES, "policy.toml")
    assert str(caught.value).startswith("policy.toml: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_policy_stands_in_a_file_of_its_own_or_in_the_sites_settings_and_not_in_both(tmp_path: Path) -> None:
    own = 'name = "a"\nmailbox = "unix:///x"\ndatabase = "sqlite:///x"\n'
    (tmp_path / "site.toml").write_text(own)
    (tmp_path / "policy.toml").write_text("minimum_sites = 5\n")
    assert read_settings(tmp_path).policy == Policy(minimum_sites=5)
    (tmp_path / "site.toml").write_text(own + "[policy]\nminimum_sites = 4\n")
    with pytest.raises(Refused, match="keep one of them"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        ((), 0, True),
        (("thu 00:00-01:00",), 0, True),  # the first of January 1970
        (("thu 00:00-01:00",), 3599, True),
        (("thu 00:00-01:00",), 3600, False),
        (("mon-wed 00:00-24:00", "fri-sun 00:00-24:00"), 0, False),
        (("mon-wed 00:00-24:00", "fri-sun 00:00-24:00"), 86_400, True),
        (("22:00-24:00",), 86_399, True),
    ],
)
def test_hours_are_of_the_week_and_in_utc(hours: tuple[str, ...], moment: int, is_open: Any) -> None:
    assert policies.open_now(Policy(hours=hours), float(moment)) == is_open


@pytest.mark.parametrize(
    ("like", "floors", "releases"),
    [
        ("datashield", Floors(minimum_cell=3, parameters_percent=33, minimum_rows=3), "policy"),
        (
            "opensafely",
            Floors(minimum_cell=8, round_to=5, parameters_percent=10, dominance_percent=50, minimum_rows=8),
            "two persons",
        ),
    ],
)
def test_the_rules_of_known_systems_are_a_policy_each(like: str, floors: Floors, releases: str) -> None:
    policy = policies.convert(toml.parse(policies.example(like), like), TABLES, like)
    assert (policy.disclosure, policy.releases) == (floors, releases)
    assert like in policies.LIKE and policy.least_difference == 3


def test_what_the_examples_of_known_systems_show() -> None:
    """DataSHIELD's nfilter.tab leaves out cells of one and two; OpenSAFELY redacts up to seven and rounds the rest."""
    found = {like: policies.convert(toml.parse(policies.example(like), like), TABLES, like) for like in policies.LIKE}
    datashield, opensafely = (consent.floors(found[like]) for like in policies.LIKE)
    assert [shown(count, datashield) for count in (0, 1, 2, 3, 4)] == [0, None, None, 3, 4]
    assert [shown(count, opensafely) for count in (0, 1, 7, 8, 12, 13)] == [0, None, None, 10, 10, 15]
