"""The chain of charters, of both formats, read from their bytes alone.

    digest    = SHA-256("hansa/v1/charter" ‖ 0x00 ‖ length ‖ charter)
    signature = Ed25519("hansa/v1/charter" ‖ 0x00 ‖ charter), and from format 2 on ML-DSA-65 over the same

A version may begin a new log: its origin then ends in "/v" and the version, and nothing else of it differs.

The first version is signed by all that it names; each later one by the threshold of its own members and of the members
of the one before, whose digest it names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hansa.errors import ProtocolViolation
from hansa.verify.encoding import canonical, digest, ed25519_holds, label, lattice_holds
from hansa.verify.notes import LATTICE_WITNESS, LOG, WITNESS, Key

HUB = "hub"
_LATER_LOG = re.compile(r"(.+)/v([1-9][0-9]{0,9})")
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]


class FirstParty(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    id: Name
    signing: Key32
    sealing: bytes


class FirstRules(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    minimum_sites: Annotated[int, Meta(ge=3, le=1000)]
    corrupt: Annotated[int, Meta(ge=-1, le=1000)]
    round_seconds: Annotated[int, Meta(ge=1)]


class FirstCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    consortium: str
    version: Annotated[int, Meta(ge=1)]
    hub: FirstParty
    members: tuple[FirstParty, ...]
    rules: FirstRules


class FirstSigned(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    charter: bytes
    signatures: tuple[bytes, ...]


class HubParty(FirstParty, frozen=True):
    log: Key32


class MemberParty(FirstParty, frozen=True):
    name: str
    consent: Key32
    lasting: bytes
    witness: Key32
    witness_lattice: bytes


class Rules(FirstRules, frozen=True):
    quorum: Annotated[int, Meta(ge=0, le=1000)]
    kinds: tuple[str, ...]
    retention_years: Annotated[int, Meta(ge=1, le=100)]


class SecondCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: Literal[2]
    consortium: str
    version: Annotated[int, Meta(ge=1, le=2**31)]
    previous: Key32
    origin: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9./-]{0,99}\Z")]
    hub: HubParty
    members: tuple[MemberParty, ...]
    rules: Rules


class Signatory(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    site: Name
    signature: bytes
    lasting: bytes


class Signed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    charter: bytes
    signatories: tuple[Signatory, ...]


class Member(Struct, frozen=True):
    """`lasting` and the witness keys are empty under format 1."""

    id: str
    name: str
    consent: bytes
    lasting: bytes
    witness: bytes
    witness_lattice: bytes


class Charter(Struct, frozen=True):
    """Of either format. `log` is empty under format 1. `agreed`: all that a version leaves as it is which begins a new
    log."""

    format: int
    consortium: str
    version: int
    previous: bytes
    origin: str
    hub: bytes
    log: bytes
    members: Mapping[str, Member]
    rules: Rules
    digest: bytes
    agreed: tuple[object, ...]

    @property
    def log_began(self) -> int:
        """The version with which this log began."""
        return log_began(self.origin)

    @property
    def quorum(self) -> int:
        return self.rules.quorum or len(self.members)

    @property
    def threshold(self) -> int:
        """How many members sign what follows."""
        sites, corrupt = len(self.members), self.rules.corrupt
        return (sites + ((sites - 1) // 3 if corrupt < 0 else min(corrupt, sites - 1))) // 2 + 1

    def word_of(self, author: str) -> bytes | None:
        """The key that signs the entries of a party; None for who is none."""
        if author == HUB:
            return self.hub
        return self.members[author].consent if author in self.members else None

    @property
    def log_key(self) -> Key:
        return Key(self.origin, LOG, self.log)

    def witnesses(self, site: str) -> tuple[Key, Key]:
        """Both keys with which a member cosigns."""
        member, name = self.members[site], f"{self.origin}/{site}"
        return Key(name, WITNESS, member.witness), Key(name, LATTICE_WITNESS, member.witness_lattice)


def log_began(origin: str) -> int:
    later = _LATER_LOG.fullmatch(origin)
    return int(later[2]) if later else 1


def read(data: bytes) -> Charter:
    """A charter's bytes; nobody's signature is looked at."""
    charter = _read_first(data) if data[:1] == b"\x95" else _read_second(data)
    names = list(charter.members)
    if len(names) < 3 or names != sorted(names) or HUB in names:
        raise ProtocolViolation("the charter does not name at least three members in order")
    if (charter.version == 1) != (charter.previous == bytes(32)):
        raise ProtocolViolation("the charter does not say which one it follows")
    if charter.log_began > charter.version:
        raise ProtocolViolation("the charter names a log that a later version is to begin")
    if not charter.threshold <= charter.quorum <= len(names):
        raise ProtocolViolation("the charter's quorum would let two histories both be final")
    return charter


def _read_second(data: bytes) -> Charter:
    raw = canonical(data, SecondCharter, "the charter")
    if raw.hub.id != HUB or len({member.id for member in raw.members}) != len(raw.members):
        raise ProtocolViolation("the charter does not name the hub, and each member once")
    members = {
        one.id: Member(one.id, one.name, one.consent, one.lasting, one.witness, one.witness_lattice)
        for one in raw.members
    }
    keys = [raw.hub.signing, raw.hub.log]
    for one in raw.members:
        keys += [one.signing, one.consent, one.witness]
    if len(set(keys)) != len(keys):
        raise ProtocolViolation("two members of the charter share a key, or one key is there for two things")
    return Charter(
        2,
        raw.consortium,
        raw.version,
        raw.previous,
        raw.origin,
        raw.hub.signing,
        raw.hub.log,
        members,
        raw.rules,
        digest("charter", data),
        (raw.consortium, raw.hub, raw.members, raw.rules),
    )


def _read_first(data: bytes) -> Charter:
    raw = canonical(data, FirstCharter, "the charter")
    if raw.hub.id != HUB or len({member.id for member in raw.members}) != len(raw.members):
        raise ProtocolViolation("the charter does not name the hub, and each member once")
    named = digest("charter", data)
    members = {one.id: Member(one.id, one.id, one.signing, b"", b"", b"") for one in raw.members}
    rules = Rules(raw.rules.minimum_sites, raw.rules.corrupt, raw.rules.round_seconds, 0, (), 6)
    origin = f"hansa/{named.hex()[:32]}"
    return Charter(1, raw.consortium, raw.version, bytes(32), origin, raw.hub.signing, b"", members, rules, named, ())


def load(data: bytes, previous: Charter | None = None) -> Charter:
    """The charter in `data`, if enough signed it, and if it follows from `previous` where that is given."""
    try:
        first = canonical(data, FirstSigned, "the charter")
    except ProtocolViolation:
        return _load_second(canonical(data, Signed, "the signed charter"), previous)
    charter = read(first.charter)
    if charter.format != 1 or len(first.signatures) != len(charter.members) or previous is not None:
        raise ProtocolViolation("the charter is not signed by every member")
    for member, signature in zip(charter.members.values(), first.signatures, strict=True):
        if not ed25519_holds(member.consent, label("charter") + first.charter, signature):
            raise ProtocolViolation(f"the signature of '{member.id}' under the charter does not hold")
    return charter


def _load_second(signed: Signed, previous: Charter | None) -> Charter:
    charter = read(signed.charter)
    if charter.format == 1:
        raise ProtocolViolation("a charter of the first format stands in the second's bytes")
    own, due = len(_signers(signed, charter)), len(charter.members) if charter.version == 1 else charter.threshold
    if own < due:
        raise ProtocolViolation(f"version {charter.version} is signed by {own} of its members; {due} must")
    if previous is not None:
        if (charter.version, charter.previous) != (previous.version + 1, previous.digest):
            raise ProtocolViolation(f"version {charter.version} does not follow from version {previous.version}")
        if charter.consortium != previous.consortium:
            raise ProtocolViolation(f"version {charter.version} is of another consortium")
        if charter.origin != previous.origin:
            _check_new_log(charter, previous)
        before = len(_signers(signed, previous))
        if before < previous.threshold:
            raise ProtocolViolation(
                f"version {charter.version} is signed by {before} members of the version before; "
                f"{previous.threshold} must"
            )
    return charter


def _check_new_log(charter: Charter, previous: Charter) -> None:
    later = _LATER_LOG.fullmatch(previous.origin)
    base = later[1] if later else previous.origin
    if charter.origin != f"{base}/v{charter.version}":
        raise ProtocolViolation(f"version {charter.version} names another log, and not one that it begins")
    if charter.agreed != previous.agreed:
        raise ProtocolViolation(f"version {charter.version} begins a new log, and changes something else too")


def _signers(signed: Signed, roster: Charter) -> set[str]:
    found, message = set(), label("charter") + signed.charter
    for one in signed.signatories:
        member = roster.members.get(one.site)
        if member is None or not ed25519_holds(member.consent, message, one.signature):
            continue
        if roster.format == 1 or lattice_holds(65, member.lasting, message, one.lasting):
            found.add(one.site)
    return found


def chain(signed: Sequence[bytes]) -> list[Charter]:
    """Each version after the one before, from their signed bytes in that order; the first may be any."""
    found: list[Charter] = []
    for data in signed:
        found.append(load(data, found[-1] if found else None))
    return found
