"""The plan: the exact bytes of a question. Its digest is what members sign."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from hansa import toml
from hansa.charter import Charter
from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import parse
from hansa.jobs.base import Job, Schema
from hansa.messages import Digest, RunId, SiteId, decode, encode

SIGNED_BY_PROPOSER, SIGNED_BY_MEMBER = "plan/proposal", "plan/consent"
_KEYS = {"kind", "table", "sites", "protection", "parameters", "minimum_sites", "proposer"}


class Plan(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is asked of whom. `parameters` are the JSON of the job's fields, with its kind."""

    version: Literal[1]
    run: RunId
    charter: Digest
    proposer: SiteId
    table: Annotated[str, Meta(min_length=1, max_length=64)]
    sites: tuple[SiteId, ...]  # sorted
    protection: Literal["masked"]
    minimum_sites: Annotated[int, Meta(ge=3, le=1000)]
    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    parameters: Annotated[bytes, Meta(max_length=65_536)]

    @property
    def digest(self) -> bytes:
        return digest("plan", encode(self))

    def job(self) -> Job:
        return parse(self.kind, _json(self.parameters))


def _json(data: bytes) -> dict[str, object]:
    import msgspec

    try:
        return msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("the parameters of a plan are not JSON") from error


def load(data: bytes, charter: Charter, former: Sequence[Charter] = ()) -> Plan:
    """A plan that this charter allows, or the one of `former` that it names; anything else is the sender's fault."""
    plan = decode(data, Plan)
    charter = next((one for one in former if one.digest == plan.charter), charter)
    if plan.charter != charter.digest:
        raise ProtocolViolation("the plan is of another charter")
    if charter.rules.kinds and plan.kind not in charter.rules.kinds:
        raise ProtocolViolation(f"the charter's rules allow no '{plan.kind}'")
    names = {member.id for member in charter.members}
    if plan.proposer not in names or not set(plan.sites) <= names:
        raise ProtocolViolation("the plan names a site that is not on the charter")
    if plan.minimum_sites < charter.rules.minimum_sites:
        raise ProtocolViolation("the plan asks for fewer sites than the charter's rules")
    if list(plan.sites) != sorted(set(plan.sites)):
        raise ProtocolViolation("the plan's sites are not sorted, each once")
    return plan


class Question(Struct, frozen=True):
    """What a person asks, before it is a plan: a PLAN.toml or the form's contents."""

    kind: str
    table: str
    parameters: dict[str, Any] = {}
    sites: tuple[str, ...] = ()  # default: every member that has the table
    protection: str = "masked"
    minimum_sites: int = 3
    proposer: str = ""  # default: the person's own member


def read_question(text: str, where: str) -> Question:
    """A PLAN.toml; refuses in one sentence what it can't mean."""
    return question_from(toml.parse(text, where), where)


def question_from(table: Mapping[str, Any], where: str) -> Question:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise Refused(f"{where}: unknown key '{unknown[0]}'; a plan has {', '.join(sorted(_KEYS))}")
    for key in ("kind", "table"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise Refused(f"{where}: '{key}' is missing or not a text")
    sites = table.get("sites", [])
    if not isinstance(sites, list) or not all(isinstance(site, str) for site in sites):
        raise Refused(f"{where}: 'sites' is not a list of site names")
    if len(set(sites)) != len(sites):
        raise Refused(f"{where}: 'sites' names a site twice")
    minimum = table.get("minimum_sites", 3)
    if isinstance(minimum, bool) or not isinstance(minimum, int) or not 3 <= minimum <= 1000:
        raise Refused(f"{where}: 'minimum_sites' is not a whole number from 3")
    if not isinstance(table.get("parameters", {}), dict):
        raise Refused(f"{where}: 'parameters' is not a table")
    for key in ("protection", "proposer"):
        if not isinstance(table.get(key, ""), str):
            raise Refused(f"{where}: '{key}' is not a text")
    return Question(
        table["kind"],
        table["table"],
        dict(table.get("parameters", {})),
        tuple(sites),
        table.get("protection", "masked"),
        minimum,
        table.get("proposer", ""),
    )


class Resolved(Struct, frozen=True):
    """A question over the members that can answer it."""

    job: Job
    sites: tuple[SiteId, ...]
    minimum: int


def resolve(question: Question, members: Sequence[SiteId], schemas: Mapping[SiteId, Schema], floor: int) -> Resolved:
    """What `question` means where `schemas` are those of its table; refuses in one sentence what can't be asked."""
    job = parse(question.kind, question.parameters)
    if question.protection != "masked":
        raise Refused(f"protection '{question.protection}' is not known; 'masked' is")
    for site in question.sites:
        if site not in members:
            raise Refused(f"'{site}' is not a member of the consortium")
    if not schemas:
        raise Refused(f"no member has a table '{question.table}'")
    sites = tuple(sorted(question.sites or schemas))
    for site in sites:
        if site not in schemas:
            raise Refused(f"'{site}' has no table '{question.table}', or has not been seen yet")
        try:
            job.check(schemas[site])
        except Refused as refusal:
            raise Refused(f"{site}: {refusal}") from refusal
    minimum = max(question.minimum_sites, floor)
    if len(sites) < minimum:
        raise Refused(f"{len(sites)} sites are named and at least {minimum} must take part")
    return Resolved(job, sites, minimum)


def make(question: Question, charter: Charter, run: RunId, proposer: SiteId, schemas: Mapping[SiteId, Schema]) -> Plan:
    """The plan of `question`; `schemas` are those of its table, by member."""
    import msgspec

    members = [member.id for member in charter.members]
    if proposer not in members:
        raise Refused(f"'{proposer}' is not a member of the consortium")
    if charter.rules.kinds and question.kind not in charter.rules.kinds:
        raise Refused(f"the charter's rules allow no '{question.kind}': {', '.join(charter.rules.kinds)}")
    found = resolve(question, members, schemas, charter.rules.minimum_sites)
    raw = msgspec.to_builtins(found.job)
    parameters = msgspec.json.encode({name: raw[name] for name in raw if name != "kind"}, order="deterministic")
    kind, table = question.kind, question.table
    plan = Plan(1, run, charter.digest, proposer, table, found.sites, "masked", found.minimum, kind, parameters)
    try:
        return load(encode(plan), charter)  # what a site would not take is not asked
    except ProtocolViolation as violation:
        raise Refused(f"this question is no plan: {violation}") from violation
