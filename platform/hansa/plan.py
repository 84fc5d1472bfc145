"""The plan: the exact bytes of a question. Its digest is what members sign.

Version 1 is Hansa 0.1's: it names no recipients, purpose, expiry, disclosure rules or noise. It is read, and made only
where a site that is to take part knows no other; a site answers it only if its policy says so.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from hansa import toml
from hansa.charter import Charter
from hansa.crypto.keys import digest
from hansa.errors import ProtocolViolation, Refused
from hansa.jobs import parse
from hansa.jobs.base import Answer, Job, Schema
from hansa.messages import Digest, RunId, SiteId, decode, encode
from hansa.privacy import accounting
from hansa.privacy import disclosure as rules_of
from hansa.privacy import noise as noise_of

SIGNED_BY_PROPOSER, SIGNED_BY_MEMBER = "plan/proposal", "plan/consent"
_FIELDS_OF_FIRST_VERSION = 10
NEVER = 253_402_300_799  # the end of the year 9999
Disclosure = rules_of.Rules
Noise = noise_of.Noise
Purpose = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,200}\Z")]


class FirstPlan(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Version 1. `parameters` are the JSON of the job's fields, with its kind."""

    version: Literal[1, 2]
    run: RunId
    charter: Digest
    proposer: SiteId
    table: Annotated[str, Meta(min_length=1, max_length=64)]
    sites: tuple[SiteId, ...]  # sorted
    protection: Literal["masked"]
    minimum_sites: Annotated[int, Meta(ge=3, le=1000)]
    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    parameters: Annotated[bytes, Meta(max_length=65_536)]


class Plan(FirstPlan, frozen=True):
    """What is asked of whom, and who receives the answer. `expires`: seconds since 1970 after which no consent to it is
    given. Its bytes are `encoded`, whatever its version."""

    recipients: tuple[SiteId, ...] = ()  # sorted; of version 1 unsaid, so everybody
    purpose: Purpose = ""
    expires: Annotated[int, Meta(ge=0, le=NEVER)] = NEVER
    disclosure: Disclosure | None = None
    noise: Noise | None = None

    @property
    def encoded(self) -> bytes:
        first = self.version == 1
        return encode(FirstPlan(*(getattr(self, name) for name in FirstPlan.__struct_fields__)) if first else self)

    @property
    def digest(self) -> bytes:
        return digest("plan", self.encoded)

    @property
    def question(self) -> bytes:
        """The digest of what is computed over whose rows: the same for whoever asks it again."""
        asked = self.table, self.sites, self.protection, self.kind, self.parameters, self.noise
        return digest("question", encode(asked))

    def job(self) -> Job:
        """With its noise, if it has any."""
        return _under(self.noise, parse(self.kind, _json(self.parameters)))

    def release(self, answer: Answer) -> Answer:
        """The answer as it may be shown; refuses one that may not. What carries noise tells of nobody, and is shown."""
        return answer if self.disclosure is None or self.noise is not None else answer.disclosed(self.disclosure)


def _under(noise: Noise | None, job: Job) -> Job:
    return job if noise is None else job.under_noise(noise)


def _json(data: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("the parameters of a plan are not JSON") from error


def read(data: bytes) -> Plan:
    """A plan's bytes, of either version; what stands in it is not looked at."""
    fields = data[0] & 0x0F if data and data[0] & 0xF0 == 0x90 else 0  # of the array that MessagePack begins with
    if fields == _FIELDS_OF_FIRST_VERSION:
        first = decode(data, FirstPlan)
        plan = Plan(*(getattr(first, name) for name in FirstPlan.__struct_fields__))
    else:
        plan = decode(data, Plan)
    if (plan.version == 1) != (fields == _FIELDS_OF_FIRST_VERSION):
        raise ProtocolViolation("a plan of one version stands in the bytes of another")
    return plan


def load(data: bytes, charter: Charter, former: Sequence[Charter] = ()) -> Plan:
    """A plan that this charter allows, or the one of `former` that it names; anything else is the sender's fault."""
    plan = read(data)
    charter = next((one for one in former if one.digest == plan.charter), charter)
    if plan.charter != charter.digest:
        raise ProtocolViolation("the plan is of another charter")
    if charter.rules.kinds and plan.kind not in charter.rules.kinds:
        raise ProtocolViolation(f"the charter's rules allow no '{plan.kind}'")
    names = {member.id for member in charter.members}
    if plan.proposer not in names or not {*plan.sites, *plan.recipients} <= names:
        raise ProtocolViolation("the plan names a site that is not on the charter")
    if plan.minimum_sites < charter.rules.minimum_sites:
        raise ProtocolViolation("the plan asks for fewer sites than the charter's rules")
    for listed in (plan.sites, plan.recipients):
        if list(listed) != sorted(set(listed)):
            raise ProtocolViolation("the plan's sites are not sorted, each once")
    if plan.version > 1 and (not plan.recipients or plan.disclosure is None):
        raise ProtocolViolation("the plan says nobody who receives the answer, or no rules of disclosure")
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
    recipients: tuple[str, ...] = ()  # default: the proposer and the sites
    purpose: str = ""
    valid_hours: int = 72  # how long consents may be given
    disclosure: Disclosure = Disclosure()
    noise: Noise | None = None


def read_question(text: str, where: str) -> Question:
    """A PLAN.toml; refuses in one sentence what it can't mean."""
    return question_from(toml.parse(text, where), where)


_KEYS = frozenset(Question.__struct_fields__)


def question_from(table: Mapping[str, Any], where: str) -> Question:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise Refused(f"{where}: unknown key '{unknown[0]}'; a plan has {', '.join(sorted(_KEYS))}")
    for key in ("kind", "table"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise Refused(f"{where}: '{key}' is missing or not a text")
    minimum, hours = table.get("minimum_sites", 3), table.get("valid_hours", 72)
    if isinstance(minimum, bool) or not isinstance(minimum, int) or not 3 <= minimum <= 1000:
        raise Refused(f"{where}: 'minimum_sites' is not a whole number from 3")
    if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= 8760:
        raise Refused(f"{where}: 'valid_hours' is not a whole number of hours from 1 to 8760")
    if not isinstance(table.get("parameters", {}), dict):
        raise Refused(f"{where}: 'parameters' is not a table")
    for key in ("protection", "proposer"):
        if not isinstance(table.get(key, ""), str):
            raise Refused(f"{where}: '{key}' is not a text")
    return Question(
        kind=table["kind"],
        table=table["table"],
        parameters=dict(table.get("parameters", {})),
        sites=_names(table, "sites", where),
        protection=table.get("protection", "masked"),
        minimum_sites=minimum,
        proposer=table.get("proposer", ""),
        recipients=_names(table, "recipients", where),
        purpose=_purpose(table.get("purpose", ""), where),
        valid_hours=hours,
        disclosure=disclosure_from(table.get("disclosure", {}), where),
        noise=noise_from(table["noise"], where) if "noise" in table else None,
    )


def _names(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = table.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(f"{where}: '{key}' is not a list of site names")
    if len(set(names)) != len(names):
        raise Refused(f"{where}: '{key}' names a site twice")
    return tuple(names)


def _purpose(said: object, where: str) -> str:
    try:
        return msgspec.convert(said, Purpose)
    except msgspec.ValidationError as error:
        raise Refused(f"{where}: 'purpose' is not one line of at most 200 characters") from error


def disclosure_from(said: object, where: str) -> Disclosure:
    """Rules of disclosure as a table of a TOML file; what it leaves out is as strict as by default."""
    names = [name for name in Disclosure.__struct_fields__ if name != "version"]
    if not isinstance(said, dict) or not set(said) <= set(names):
        raise Refused(f"{where}: 'disclosure' is not a table of {', '.join(names)}")
    values = [1, *(said.get(name, getattr(Disclosure(), name)) for name in names)]
    try:
        return msgspec.convert(values, Disclosure)
    except msgspec.ValidationError as error:
        at = re.search(r"\$\[(\d+)\]", str(error))
        name = names[int(at[1]) - 1] if at else "disclosure"
        raise Refused(f"{where}: 'disclosure.{name}' is out of range: {str(error).partition(' - ')[0]}") from error


_NOISE = ("epsilon", "delta", "unit", "id_column", "rows_per_person")


def noise_from(said: object, where: str) -> Noise:
    """Noise as a table of a TOML file: `epsilon` and `delta` as they are written, "1.5" and "1e-6"."""
    if not isinstance(said, dict) or not set(said) <= set(_NOISE) or not {"epsilon", "delta"} <= set(said):
        raise Refused(f"{where}: 'noise' is not a table of epsilon, delta and perhaps {', '.join(_NOISE[2:])}")
    try:
        exact = {
            "micro_epsilon": accounting.parse_epsilon(said["epsilon"]),
            "pico_delta": accounting.parse_delta(said["delta"]),
        }
        noise = msgspec.convert({**exact, **{name: said[name] for name in _NOISE[2:] if name in said}}, Noise)
        noise.check()
    except (Refused, msgspec.ValidationError) as error:
        raise Refused(f"{where}: 'noise': {error}") from error
    return noise


class Resolved(Struct, frozen=True):
    """A question over the members that can answer it; `job` is without noise."""

    job: Job
    sites: tuple[SiteId, ...]
    minimum: int


def resolve(question: Question, members: Sequence[SiteId], schemas: Mapping[SiteId, Schema], floor: int) -> Resolved:
    """What `question` means where `schemas` are those of its table; refuses in one sentence what can't be asked."""
    job = parse(question.kind, question.parameters)
    asked = _under(question.noise, job)
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
            asked.check(schemas[site])
        except Refused as refusal:
            raise Refused(f"{site}: {refusal}") from refusal
    minimum = max(question.minimum_sites, floor)
    if len(sites) < minimum:
        raise Refused(f"{len(sites)} sites are named and at least {minimum} must take part")
    return Resolved(job, sites, minimum)


def make(
    question: Question,
    charter: Charter,
    run: RunId,
    proposer: SiteId,
    schemas: Mapping[SiteId, Schema],
    *,
    expires: int = NEVER,
    version: Literal[1, 2] = 2,
) -> Plan:
    """The plan of `question`; `schemas` are those of its table, by member. Of version 1 if who takes part knows no
    other."""
    members = [member.id for member in charter.members]
    if proposer not in members:
        raise Refused(f"'{proposer}' is not a member of the consortium")
    if charter.rules.kinds and question.kind not in charter.rules.kinds:
        raise Refused(f"the charter's rules allow no '{question.kind}': {', '.join(charter.rules.kinds)}")
    found = resolve(question, members, schemas, charter.rules.minimum_sites)
    for name in question.recipients:
        if name not in members:
            raise Refused(f"'{name}' is to receive the answer and is not a member of the consortium")
    raw = msgspec.to_builtins(found.job)
    parameters = msgspec.json.encode({name: raw[name] for name in raw if name != "kind"}, order="deterministic")
    kind, table = question.kind, question.table
    plan = Plan(version, run, charter.digest, proposer, table, found.sites, "masked", found.minimum, kind, parameters)
    if version > 1:
        recipients = tuple(sorted(set(question.recipients or (proposer, *found.sites))))
        plan = replace(
            plan,
            recipients=recipients,
            purpose=question.purpose,
            expires=expires,
            disclosure=question.disclosure,
            noise=question.noise,
        )
    elif question.noise is not None:
        raise Refused("a site that is to take part is of Hansa 0.1, which knows no noise")
    try:
        return load(plan.encoded, charter)  # what a site would not take is not asked
    except ProtocolViolation as violation:
        raise Refused(f"this question is no plan: {violation}") from violation
