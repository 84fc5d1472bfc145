"""What commitments open to. Salt and content lie beside the log and can be erased; then the commitment stays.

payload    = [salt of 32 bytes, content]          commitment = SHA-256(salt ‖ content)
plan       = content of a `proposal asked`        digest     = SHA-256("hansa/v1/plan" ‖ 0x00 ‖ length ‖ plan)
"""

from hashlib import sha256
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hansa.errors import ProtocolViolation
from hansa.verify.charters import Charter, Key32, Name
from hansa.verify.encoding import canonical, digest
from hansa.verify.entries import Entry, Read, about
from hansa.verify.findings import Findings
from hansa.verify.tiles import Source

MOST_BYTES = 2**21


class Payload(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    salt: Key32
    content: Annotated[bytes, Meta(max_length=2**20)]


class Plan(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The question of a job. `parameters` are JSON."""

    version: Literal[1, 2]
    run: str
    charter: Key32
    proposer: Name
    table: str
    sites: tuple[Name, ...]
    protection: str
    minimum_sites: Annotated[int, Meta(ge=3)]
    kind: str
    parameters: bytes


class Disclosure(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: Literal[1]
    minimum_cell: Annotated[int, Meta(ge=1)]
    round_to: Annotated[int, Meta(ge=1)]
    parameters_percent: Annotated[int, Meta(ge=1, le=100)]
    dominance_percent: Annotated[int, Meta(ge=1, le=100)]
    minimum_rows: Annotated[int, Meta(ge=1)]


class Noise(Struct, frozen=True, forbid_unknown_fields=True):
    micro_epsilon: Annotated[int, Meta(ge=1)]
    pico_delta: Annotated[int, Meta(ge=1)]
    unit: Literal["row", "person", "member"]
    id_column: str
    rows_per_person: Annotated[int, Meta(ge=1)]


class SecondPlan(Plan, frozen=True):
    """Since Hansa 0.2. `expires` in seconds since 1970."""

    recipients: Annotated[tuple[Name, ...], Meta(min_length=1)]
    purpose: str
    expires: Annotated[int, Meta(ge=0, le=2**40)]
    disclosure: Disclosure
    noise: Noise | None


def read_plan(content: bytes) -> Plan:
    """By how many fields it has, and then it says the version of that format."""
    first = content[:1] == b"\x9a"  # an array of ten
    plan = canonical(content, Plan if first else SecondPlan, "the plan")
    if (plan.version == 1) != first:
        raise ProtocolViolation("a plan of one version stands in the bytes of another")
    return plan


def content_of(source: Source, commitment: bytes) -> bytes | None:
    """What `commitment` opens to; None where it was erased."""
    data = source.read(f"payloads/{commitment.hex()}")
    if data is None:
        return None
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the payload is larger than 2 MiB")
    payload = canonical(data, Payload, "the payload")
    if sha256(payload.salt + payload.content).digest() != commitment:
        raise ProtocolViolation("the payload is not the one that the entry commits to")
    return payload.content


class Payloads:
    """Opens what can be opened, and keeps the plans."""

    def __init__(self, source: Source, findings: Findings) -> None:
        self.plans: dict[str, Plan] = {}
        self.opened = self.erased = 0
        self._source, self._findings = source, findings
        self._named: set[str] = set()

    def take(self, read: Read, charter: Charter | None) -> None:
        entry = read.entry
        if not entry.payload:
            return
        self._named.add(entry.payload.hex())
        with self._findings.at(f"entry {read.place}, payload {entry.payload.hex()[:16]}…"):
            content = content_of(self._source, entry.payload)
            self.opened, self.erased = self.opened + (content is not None), self.erased + (content is None)
            if content is not None and entry.act == "proposal asked" and charter is not None:
                self.plans.setdefault(entry.run, plan_of(entry, content, charter))

    def note_stray(self) -> None:
        for name in self._source.names("payloads"):
            if name not in self._named:
                self._findings.note(f"payloads/{about(name)}", "no entry commits to this payload")


def plan_of(entry: Entry, content: bytes, charter: Charter) -> Plan:
    """The plan in the payload of a `proposal asked`, if it is the one that the entry names and the charter allows."""
    if digest("plan", content).hex() != entry.details["plan"]:
        raise ProtocolViolation("the plan is another one than was proposed: its digest differs")
    plan = read_plan(content)
    said = {"kind": plan.kind, "table": plan.table, "member": plan.proposer}
    for name, value in said.items():
        if entry.details[name] != value:
            raise ProtocolViolation(f"the entry says another '{name}' than the plan")
    if plan.run != entry.run or plan.charter != charter.digest:
        raise ProtocolViolation("the plan is of another job, or of another charter than the one in force")
    if isinstance(plan, SecondPlan):
        received = plan.recipients
        if list(received) != sorted(set(received)) or not set(received) <= set(charter.members):
            raise ProtocolViolation("a recipient is not on the charter, or they are not sorted")
    if list(plan.sites) != sorted(set(plan.sites)) or not {*plan.sites, plan.proposer} <= set(charter.members):
        raise ProtocolViolation("the plan names a site that is not on the charter, or its sites are not sorted")
    if plan.minimum_sites < charter.rules.minimum_sites:
        raise ProtocolViolation("the plan asks for fewer sites than the charter's rules")
    if charter.rules.kinds and plan.kind not in charter.rules.kinds:
        raise ProtocolViolation(f"the charter does not allow the kind '{plan.kind}'")
    return plan
