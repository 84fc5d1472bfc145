"""The charter: who the members are, their keys, and the rules they agreed.

Deterministic bytes. The first version is signed by every member it names; version N + 1 by `threshold` members of N
and by as many of N + 1, and it names the digest of N. A signature is two: Ed25519 by the member's consent key, and
ML-DSA-65 by its lasting one. Nothing is trusted on first use: a site acts on a charter that names its own keys.

A version may begin a new log, where the hub's database was lost and an older one put back. Its origin then ends in
the version's own number, and it changes nothing else: so nobody comes to a new log by accident, or back to an old one.

    digest    = SHA-256("hansa/v1/charter" ‖ 0x00 ‖ length ‖ charter)
    signature = Ed25519("hansa/v1/charter" ‖ 0x00 ‖ charter), ML-DSA-65(the same)

Format 1 is Hansa 0.1's: two keys a party, no log key, no witnesses, one version. It is read, and never made any more:
`witnessed` says so of a charter.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from hansa.crypto.bundles import HubKeys, MemberKeys, log_public, witness_publics
from hansa.crypto.keys import LASTING_PUBLIC_BYTES, LASTING_SIGNATURE_BYTES, digest, verify, verify_lasting
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import HUB, Digest, Signature, SiteId, decode, encode, is_site_id

_PURPOSE = "charter"
_FIELDS_OF_FIRST_FORMAT = 5
FIRST = bytes(32)  # `previous` of a first version
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
HybridPublicKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
LastingPublicKey = Annotated[bytes, Meta(min_length=LASTING_PUBLIC_BYTES, max_length=LASTING_PUBLIC_BYTES)]
WitnessLatticeKey = Annotated[bytes, Meta(min_length=1312, max_length=1312)]  # ML-DSA-44
LastingSignature = Annotated[bytes, Meta(min_length=LASTING_SIGNATURE_BYTES, max_length=LASTING_SIGNATURE_BYTES)]
Institution = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,100}\Z")]
Origin = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9./-]{0,99}\Z")]
_LATER_LOG = re.compile(r"(.+)/v([1-9][0-9]{0,9})")


class Party(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who gets and signs letters: its id, its Ed25519 key and its sealing key."""

    id: str
    signing: PublicKey
    sealing: HybridPublicKey


class HubParty(Party, frozen=True):
    """`log` is the Ed25519 key that signs checkpoints."""

    log: PublicKey


class Member(Party, frozen=True):
    """`name` is the institution's. Each further key is for one thing (`crypto/bundles.py`)."""

    name: Institution
    consent: PublicKey
    lasting: LastingPublicKey
    witness: PublicKey
    witness_lattice: WitnessLatticeKey


class FirstRules(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    minimum_sites: Annotated[int, Meta(ge=3, le=1000)] = 3
    corrupt: Annotated[int, Meta(ge=-1, le=1000)] = -1
    round_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 20


class Rules(FirstRules, frozen=True):
    """What the members agreed on for every job.

    `minimum_sites`: fewer survivors give no total. `corrupt`: how many members may collude with the hub (−1: a third
    of the participants, rounded down as `secure_sum` does). `round_seconds`: how long a round waits for a silent site.
    `quorum`: how many members must cosign a checkpoint until it is final (0: all of them). `kinds`: what may be asked
    (empty: every kind). `retention_years`: how long what may be erased is kept.
    """

    quorum: Annotated[int, Meta(ge=0, le=1000)] = 0
    kinds: Annotated[tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")], ...], Meta(max_length=100)] = ()
    retention_years: Annotated[int, Meta(ge=1, le=100)] = 6


class FirstCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Format 1."""

    consortium: Annotated[str, Meta(min_length=1, max_length=100)]
    version: Annotated[int, Meta(ge=1)]
    hub: Party
    members: tuple[Party, ...]
    rules: FirstRules


class Charter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`origin` names the log (C2SP tlog-checkpoint). Bytes of a charter are `encoded`, whatever its format."""

    format: Literal[1, 2]
    consortium: Annotated[str, Meta(min_length=1, max_length=100)]
    version: Annotated[int, Meta(ge=1, le=2**31)]
    previous: Digest
    origin: Origin
    hub: HubParty
    members: tuple[Member, ...]
    rules: Rules

    def member(self, site: str) -> Member:
        for member in self.members:
            if member.id == site:
                return member
        raise Refused(f"'{site}' is not a member of the consortium '{self.consortium}'")

    def party(self, name: str) -> Party:
        return self.hub if name == HUB else self.member(name)

    def signing_keys(self, sites: tuple[str, ...]) -> dict[SiteId, bytes]:
        return {site: self.member(site).signing for site in sites}

    def word_of(self, name: str) -> bytes:
        """The key with which a party signs its acts."""
        return self.hub.signing if name == HUB else self.member(name).consent

    @property
    def log_began(self) -> int:
        """The version with which the log began."""
        return log_began(self.origin)

    @property
    def witnessed(self) -> bool:
        """Whether the hub's log has a key, and members who cosign it."""
        return self.format > 1

    @property
    def quorum(self) -> int:
        """Of cosignatures under a checkpoint that is final."""
        return self.rules.quorum or len(self.members)

    @property
    def encoded(self) -> bytes:
        return encode(_first_format(self) if self.format == 1 else self)

    @property
    def digest(self) -> bytes:
        return digest(_PURPOSE, self.encoded)


class Signatory(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member's word on a charter's bytes."""

    site: SiteId
    signature: Signature
    lasting: LastingSignature


class FirstSignedCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Format 1: one signature a member, in the order of the members."""

    charter: bytes
    signatures: tuple[Signature, ...]


class SignedCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A charter's bytes, and who signed them, in the order of their names."""

    charter: bytes
    signatories: tuple[Signatory, ...]


def member_of(name: SiteId, institution: str, keys: MemberKeys) -> Member:
    """What the charter says of a site. Keys of Hansa 0.1 stand on no new charter."""
    if keys.lasting is None:
        raise Refused(f"the keys of '{name}' are of Hansa 0.1: `hansa site new-keys` draws those that are missing")
    witness = witness_publics(keys.witness)
    parts = keys.signing.public, keys.sealing.public, institution, keys.consent.public, keys.lasting.public
    return Member(name, *parts, *witness)


def hub_of(keys: HubKeys) -> HubParty:
    if not keys.log:
        raise Refused("the hub's keys are of Hansa 0.1: `hansa hub new-keys` draws the one of its log")
    return HubParty(HUB, keys.signing.public, keys.sealing.public, log_public(keys.log))


def threshold(charter: Charter) -> int:
    """How many members sign what follows this charter: two such sets have an honest member in common."""
    sites, corrupt = len(charter.members), charter.rules.corrupt
    return (sites + ((sites - 1) // 3 if corrupt < 0 else min(corrupt, sites - 1))) // 2 + 1


def new_origin(consortium: str, chance: bytes) -> str:
    """Of a consortium's log: no two may have one name."""
    return f"hansa/{re.sub('[^a-z0-9]+', '-', consortium.lower())[:60].strip('-') or 'log'}/{chance.hex()[:16]}"


def log_began(origin: str) -> int:
    """The version of the charter with which the log of this origin began."""
    later = _LATER_LOG.fullmatch(origin)
    return 1 if later is None else int(later[2])


def next_origin(previous: Charter) -> str:
    """Of a log that begins with the version after this one."""
    later = _LATER_LOG.fullmatch(previous.origin)
    return f"{previous.origin if later is None else later[1]}/v{previous.version + 1}"


def draft(
    consortium: str,
    hub: HubParty,
    members: Sequence[Member],
    rules: Rules,
    origin: str,
    previous: Charter | None = None,
) -> Charter:
    """The first charter, or the one after `previous`; refuses names and keys that stand twice, and consortia too small
    for any secret."""
    ordered = tuple(sorted(members, key=lambda member: member.id))
    without = [member.id for member in ordered if not member.lasting] + [HUB] * (not hub.log)
    if without:
        raise Refused(
            f"the keys of {', '.join(without)} are of Hansa 0.1: `new-keys` there draws those that are due now"
        )
    version, before = (1, FIRST) if previous is None else (previous.version + 1, previous.digest)
    charter = Charter(2, consortium, version, before, origin, hub, ordered, rules)
    check(charter)
    return charter


def check(charter: Charter) -> None:
    """What every charter must be, whoever drafted it."""
    names = [member.id for member in charter.members]
    check_names(charter.consortium, names)
    parties = [charter.hub, *charter.members]
    alone = [charter.hub.log, *(member.witness for member in charter.members)] if charter.witnessed else []
    words = [member.consent for member in charter.members] if charter.witnessed else []
    ed25519 = [party.signing for party in parties] + alone + words
    for keys in (ed25519, [party.sealing for party in parties], [*names, HUB]):
        if len(set(keys)) != len(keys):
            raise Refused("two members share a key, or one key is there for two things")
    if names != sorted(names) or charter.hub.id != HUB:
        raise Refused("the charter does not name the hub, and then its members in order")
    if (charter.version == 1) != (charter.previous == FIRST):
        raise Refused("the charter does not say which one it follows")
    if charter.log_began > charter.version:
        raise Refused("the charter names a log that a later version is to begin")
    quorum, corrupt = charter.quorum, threshold(charter) * 2 - len(names) - 1
    if not corrupt + len(names) < 2 * quorum <= 2 * len(names):
        raise Refused(
            f"a quorum of {quorum} of {len(names)} members would let two histories both be final: "
            f"{threshold(charter)} to {len(names)}, or 0 for all"
        )


def check_names(consortium: str, names: Sequence[str]) -> None:
    """Refuses names that no site may have, one name twice, and consortia too small for any secret."""
    for name in names:
        if not is_site_id(name):
            raise Refused(f"'{name}' is no site name: small letters, digits and hyphens, at most 32, not 'hub'")
        if names.count(name) > 1:
            raise Refused(f"two sites are named '{name}'")
    if len(names) < 3:
        raise Refused(
            f"the consortium '{consortium}' has {len(names)} members: with fewer than three, "
            "a total tells each member the others' numbers"
        )


def read(data: bytes) -> Charter:
    """A charter's bytes, of either format; nobody's signature is looked at."""
    fields = data[0] & 0x0F if data and data[0] & 0xF0 == 0x90 else 0  # of the array that MessagePack begins with
    charter = _of_first_format(data) if fields == _FIELDS_OF_FIRST_FORMAT else decode(data, Charter)
    if (charter.format == 1) != (fields == _FIELDS_OF_FIRST_FORMAT):
        raise ProtocolViolation("a charter of the first format stands in the second's bytes")
    try:
        check(charter)
    except Refused as refusal:
        raise ProtocolViolation(f"the charter is malformed: {refusal}") from refusal
    return charter


def sign(charter: Charter, site: SiteId, keys: MemberKeys) -> Signatory:
    """Keys of Hansa 0.1 sign what follows their own charter, which asks for no lasting signature."""
    if keys.lasting is None and charter.version > 1:
        return Signatory(site, keys.consent.sign(_PURPOSE, charter.encoded), bytes(LASTING_SIGNATURE_BYTES))
    if keys.lasting is None:
        raise Refused(f"the keys of '{site}' are of Hansa 0.1: `hansa site new-keys` draws those that are missing")
    content = charter.encoded
    return Signatory(site, keys.consent.sign(_PURPOSE, content), keys.lasting.sign(_PURPOSE, content))


def sealed(charter: Charter, signatories: Iterable[Signatory]) -> bytes:
    """The charter with these signatures under it, as `load` reads it. Who has new keys may sign with old and new."""
    each = {(one.site, one.signature): one for one in signatories}
    return encode(SignedCharter(charter.encoded, tuple(each[key] for key in sorted(each))))


def load(data: bytes, previous: Charter | None = None) -> Charter:
    """The charter in `data`, if enough members signed it: all of a first version; of a later one the threshold of its
    own, and with `previous` that it follows from it and the threshold of that one's."""
    first = _first_signed(data)
    if first is not None:
        charter = _load_first(first)
        if previous is not None:
            check_follows(charter, previous)
        return charter
    signed = decode(data, SignedCharter)
    charter = read(signed.charter)
    order = [(one.site, one.signature) for one in signed.signatories]
    if order != sorted(set(order)):
        raise ProtocolViolation("the charter's signatures are not in order, each once")
    own = _signers(signed, charter)
    due = len(charter.members) if charter.version == 1 else threshold(charter)
    if len(own) < due:
        raise ProtocolViolation(f"the charter is signed by {len(own)} of its members; {due} must")
    if previous is not None:
        check_follows(charter, previous)
        before = _signers(signed, previous)
        if len(before) < threshold(previous):
            raise ProtocolViolation(
                f"the charter is signed by {len(before)} members of version {previous.version}; "
                f"{threshold(previous)} must"
            )
    return charter


def load_chain(versions: Iterable[bytes]) -> list[Charter]:
    """Signed charters from the first version on, each held to the one before it: what an auditor is given."""
    found: list[Charter] = []
    for data in versions:
        found.append(load(data, found[-1] if found else None))
        if found[0].version != 1:
            raise ProtocolViolation("the charters do not begin with the first version")
    if not found:
        raise ProtocolViolation("there is no charter")
    return found


def unsigned(data: bytes) -> Charter:
    """What stands in a signed charter. Nobody's signature is looked at: `load` does."""
    first = _first_signed(data)
    return read((decode(data, SignedCharter) if first is None else first).charter)


def signers(data: bytes, roster: Charter) -> set[SiteId]:
    """The members of `roster` who signed the charter in `data`, each with its keys there."""
    first = _first_signed(data)
    if first is not None:
        return {member.id for member in _load_first(first).members} & {member.id for member in roster.members}
    return _signers(decode(data, SignedCharter), roster)


def check_follows(charter: Charter, previous: Charter) -> None:
    """That it may be the version after `previous`, whoever signed it."""
    if charter.version != previous.version + 1 or charter.previous != previous.digest:
        raise ProtocolViolation(
            f"version {charter.version} of the charter does not follow from version {previous.version}"
        )
    if charter.consortium != previous.consortium or charter.format < previous.format:
        raise ProtocolViolation("the charter is of another consortium, or of an older format")
    if charter.origin == previous.origin:
        return
    if charter.origin != next_origin(previous):
        raise ProtocolViolation(
            f"version {charter.version} of the charter names the log '{charter.origin}': '{previous.origin}' goes on, "
            f"or '{next_origin(previous)}' begins, and no other"
        )
    if replace(charter, version=previous.version, previous=previous.previous, origin=previous.origin) != previous:
        raise ProtocolViolation("a version of the charter that begins a new log changes nothing else")


def _signers(signed: SignedCharter, roster: Charter) -> set[SiteId]:
    """The members of `roster` whose keys there made both signatures; whoever changed its keys signs with either."""
    found = set()
    for one in signed.signatories:
        try:
            member = roster.member(one.site)
            verify(member.consent, _PURPOSE, signed.charter, one.signature)
            if roster.witnessed:
                verify_lasting(member.lasting, _PURPOSE, signed.charter, one.lasting)
        except (Refused, ProtocolViolation):
            continue
        found.add(one.site)
    return found


def rules_from(table: Mapping[str, object]) -> Rules:
    """Rules from the `[rules]` of a consortium file."""
    limits = {
        "minimum_sites": (3, 1000),
        "corrupt": (-1, 1000),
        "round_seconds": (1, 7 * 86_400),
        "quorum": (0, 1000),
        "retention_years": (1, 100),
    }
    for name, value in table.items():
        if name == "kinds":
            if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
                raise Refused("[rules]: 'kinds' is not a list of kinds")
            continue
        if name not in limits:
            raise Refused(f"[rules] knows no '{name}': {', '.join((*limits, 'kinds'))}")
        least, most = limits[name]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refused(f"[rules]: '{name}' is not a whole number from {least} to {most}")
    kinds = table.get("kinds", [])
    return msgspec.structs.replace(Rules(), **{**table, "kinds": tuple(kinds)})  # type: ignore[arg-type]


# ---- format 1 ----


def _of_first_format(data: bytes) -> Charter:
    old = decode(data, FirstCharter)
    hub = HubParty(old.hub.id, old.hub.signing, old.hub.sealing, b"")
    members = tuple(Member(one.id, one.signing, one.sealing, one.id, one.signing, b"", b"", b"") for one in old.members)
    rules = Rules(old.rules.minimum_sites, old.rules.corrupt, old.rules.round_seconds)
    origin = f"hansa/{digest(_PURPOSE, data).hex()[:32]}"
    return Charter(1, old.consortium, old.version, FIRST, origin, hub, members, rules)


def _first_format(charter: Charter) -> FirstCharter:
    def plain(party: Party) -> Party:
        return Party(party.id, party.signing, party.sealing)

    rules = FirstRules(charter.rules.minimum_sites, charter.rules.corrupt, charter.rules.round_seconds)
    members = tuple(plain(member) for member in charter.members)
    return FirstCharter(charter.consortium, charter.version, plain(charter.hub), members, rules)


def _first_signed(data: bytes) -> FirstSignedCharter | None:
    try:
        return decode(data, FirstSignedCharter)
    except ProtocolViolation:
        return None


def _load_first(signed: FirstSignedCharter) -> Charter:
    charter = read(signed.charter)
    if charter.format != 1 or len(signed.signatures) != len(charter.members):
        raise ProtocolViolation("the charter is not signed by every member")
    for member, signature in zip(charter.members, signed.signatures, strict=True):
        verify(member.signing, _PURPOSE, signed.charter, signature)
    return charter
