"""What an institution lets its site answer: `policy.toml` in the site's home, or `[policy]` in site.toml.

Every key has a default and is explained, with an example, in `policy.example.toml` beside this file; a test holds the
two together. What the file does not allow the site refuses, with the rule that says no.
"""

import re
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hansa import installed, toml
from hansa.crypto.keys import digest
from hansa.errors import Refused
from hansa.jobs.base import MAX_ELEMENTS
from hansa.messages import is_site_id
from hansa.privacy import accounting
from hansa.privacy.noise import Unit

POLICY, EXAMPLE = "policy.toml", "policy.example.toml"
LIKE: Final = ("datashield", "opensafely")  # whose rules an example expresses
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
Decides = Literal["policy", "person", "two persons"]
_PERSONS: Final[dict[Decides, int]] = {"policy": 0, "person": 1, "two persons": 2}


class Floors(Struct, frozen=True, forbid_unknown_fields=True):
    """The least that a plan's rules of disclosure must ask (`privacy/disclosure.py` says what each means)."""

    minimum_cell: Annotated[int, Meta(ge=1, le=10_000)] = 10
    round_to: Annotated[int, Meta(ge=1, le=1_000)] = 1
    parameters_percent: Annotated[int, Meta(ge=1, le=100)] = 33
    dominance_percent: Annotated[int, Meta(ge=1, le=100)] = 100
    minimum_rows: Annotated[int, Meta(ge=1, le=10**9)] = 3


class Budget(Struct, frozen=True, forbid_unknown_fields=True):
    """What all answers over a table may cost together; `id_column` where the unit is a person."""

    epsilon: str
    delta: str
    unit: Unit = "row"
    id_column: str = ""


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    kinds: tuple[str, ...] = ("summary", "histogram", "table", "glm")
    kind_digests: dict[str, str] = {}
    tables: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = {}
    proposers: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    protections: tuple[Literal["masked"], ...] = ("masked",)
    minimum_sites: Annotated[int, Meta(ge=3, le=1_000)] = 3
    must_take_part: tuple[str, ...] = ()
    most_numbers: Annotated[int, Meta(ge=1, le=MAX_ELEMENTS)] = MAX_ELEMENTS
    most_totals: Annotated[int, Meta(ge=1, le=200)] = 200
    hours: tuple[str, ...] = ()
    proposals: Literal["policy", "person"] = "policy"
    sign_proposals: bool = True
    consents: Decides = "policy"
    releases: Decides = "policy"
    least_difference: Annotated[int, Meta(ge=1, le=1_000)] = 3
    sites_may_leave: bool = True
    noise: Literal["optional", "required"] = "optional"
    most_epsilon: str = ""
    decide_hours: Annotated[int, Meta(ge=1, le=8_760)] = 72
    plans_of_0_1: bool = False
    disclosure: Floors = Floors()
    budget: dict[str, Budget] = {}

    @property
    def persons(self) -> int:
        """How many people must say yes before this site consents."""
        return _PERSONS[self.consents]

    @property
    def releasers(self) -> int:
        """How many people must say yes before this site agrees to a release."""
        return _PERSONS[self.releases]


def check(policy: Policy, tables: frozenset[str], where: str) -> Policy:
    """Refuses what could never mean anything, and names the key."""
    installed.refuse_unfit(policy.kind_digests, policy.kinds, f"{where}: 'kinds' or 'kind_digests'")
    for kind, due in policy.kind_digests.items():
        if _DIGEST.fullmatch(due) is None:
            raise Refused(f"{where}: 'kind_digests.{kind}' is not 64 hexadecimal digits: `hansa site policy kinds`")
    for key in ("proposers", "recipients", "must_take_part"):
        for name in getattr(policy, key):
            if not is_site_id(name):
                raise Refused(f"{where}: '{key}' names '{name}', which is no site name")
    for key in ("tables", "columns", "budget"):
        for name in getattr(policy, key):
            if name not in tables:
                raise Refused(f"{where}: '{key}' names a table '{name}', and this site has none of that name")
    _check_noise(policy, where)
    for span in policy.hours:
        _span(span, where)
    if not policy.protections:
        raise Refused(f"{where}: 'protections' is empty, so nothing could ever be answered; there is masked")
    return policy


def _check_noise(policy: Policy, where: str) -> None:
    try:
        if policy.most_epsilon:
            accounting.parse_epsilon(policy.most_epsilon)
    except Refused as refusal:
        raise Refused(f"{where}: 'most_epsilon': {refusal}") from refusal
    for table, budget in policy.budget.items():
        try:
            accounting.rho_of(accounting.parse_epsilon(budget.epsilon), accounting.parse_delta(budget.delta))
        except Refused as refusal:
            raise Refused(f"{where}: 'budget.{table}': {refusal}") from refusal
        if (budget.unit == "person") != bool(budget.id_column):
            raise Refused(
                f"{where}: 'budget.{table}': a budget of persons names their id_column, one of rows or members none"
            )


def convert(raw: object, tables: frozenset[str], where: str) -> Policy:
    try:
        return check(msgspec.convert(raw, Policy), tables, where)
    except msgspec.ValidationError as error:
        raise Refused(f"{where}: {_said(str(error))}") from error


def _said(error: str) -> str:
    """msgspec's sentence, with the key first."""
    what, _, at = error.partition(" - at `")
    key = re.sub(r"\[[.\d]+\]$", "", at.rstrip("`").removeprefix("$").removeprefix("."))
    return f"'{key}': {what}" if key else what


def read(path: Path, tables: frozenset[str]) -> Policy:
    return convert(toml.read(path), tables, str(path))


def example(like: str = "") -> str:
    """Every key explained at its default; or the rules of a system that is known, `like` one of `LIKE`."""
    name = f"policy.{like}.toml" if like else EXAMPLE
    return resources.files("hansa_site").joinpath(name).read_text(encoding="utf-8")


def open_now(policy: Policy, now: float) -> bool:
    """Whether `now` (seconds since 1970) lies within the hours of the policy, which are UTC."""
    at = datetime.fromtimestamp(now, UTC)
    minute = 60 * at.hour + at.minute
    spans = [_span(span, "policy") for span in policy.hours]
    return not spans or any(at.weekday() in days and begin <= minute < end for days, begin, end in spans)


def _span(text: str, where: str) -> tuple[frozenset[int], int, int]:
    """(days from Monday as 0, first minute, minute after the last)."""
    found = _HOURS.fullmatch(text)
    first, last = (found[1] or "mon", found[2] or found[1] or "sun") if found else ("", "")
    if found is None or first not in DAYS or last not in DAYS:
        raise Refused(f"{where}: 'hours' holds '{text}'; they are like 'mon-fri 08:00-18:00' or '22:00-24:00', in UTC")
    begin, end = 60 * int(found[3]) + int(found[4]), 60 * int(found[5]) + int(found[6])
    if not begin < end <= 1440 or DAYS.index(first) > DAYS.index(last):
        raise Refused(f"{where}: 'hours' holds '{text}', which ends before it begins; write it as two")
    return frozenset(range(DAYS.index(first), DAYS.index(last) + 1)), begin, end


def fingerprint(policy: Policy) -> bytes:
    """What the log knows a policy by: its meaning, whatever comments stand beside it."""
    return digest("policy", msgspec.json.encode(policy))
