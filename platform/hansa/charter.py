"""The charter: who the members are, their keys, and the rules they agreed.

Deterministic bytes, signed by every member it names. A site acts only on a charter that carries its own member's
signature among all the others; nothing is trusted on first use.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from hansa.crypto.keys import SigningKey, digest, verify
from hansa.errors import ProtocolViolation, Refused
from hansa.messages import HUB, SiteId, decode, encode, is_site_id

_PURPOSE = "charter"
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
HybridPublicKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]


class Party(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The hub or a member: its id, its Ed25519 key and its sealing key."""

    id: str
    signing: PublicKey
    sealing: HybridPublicKey


class Rules(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the members agreed on for every job.

    `minimum_sites`: fewer survivors give no total. `corrupt`: how many members may collude with the hub (−1: a third
    of the participants, rounded down as `secure_sum` does). `round_seconds`: how long a round waits for a silent site.
    """

    minimum_sites: Annotated[int, Meta(ge=3, le=1000)] = 3
    corrupt: Annotated[int, Meta(ge=-1, le=1000)] = -1
    round_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 20


class Charter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    consortium: Annotated[str, Meta(min_length=1, max_length=100)]
    version: Annotated[int, Meta(ge=1)]
    hub: Party
    members: tuple[Party, ...]
    rules: Rules

    def member(self, site: str) -> Party:
        for member in self.members:
            if member.id == site:
                return member
        raise Refused(f"'{site}' is not a member of the consortium '{self.consortium}'")

    def party(self, name: str) -> Party:
        return self.hub if name == HUB else self.member(name)

    def signing_keys(self, sites: tuple[str, ...]) -> dict[SiteId, bytes]:
        return {site: self.member(site).signing for site in sites}

    @property
    def digest(self) -> bytes:
        return digest(_PURPOSE, encode(self))


class SignedCharter(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A charter's bytes and one signature a member, in the order of the members."""

    charter: bytes
    signatures: tuple[bytes, ...]


def draft(consortium: str, hub: Party, members: list[Party], rules: Rules) -> Charter:
    """The first charter; refuses names and keys that stand twice and consortia too small for any secret."""
    ordered = tuple(sorted(members, key=lambda member: member.id))
    charter = Charter(consortium, 1, hub, ordered, rules)
    check(charter)
    return charter


def check(charter: Charter) -> None:
    """What every charter must be, whoever drafted it."""
    names = [member.id for member in charter.members]
    check_names(charter.consortium, names)
    parties = [charter.hub, *charter.members]
    for keys in ({party.signing for party in parties}, {party.sealing for party in parties}, set(names) | {HUB}):
        if len(keys) != len(parties):
            raise Refused("two members share a key")
    if names != sorted(names) or charter.hub.id != HUB:
        raise Refused("the charter does not name the hub, and then its members in order")


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


def sign(charter: Charter, key: SigningKey) -> bytes:
    return key.sign(_PURPOSE, encode(charter))


def load(data: bytes) -> Charter:
    """The charter in `data` if every member it names has signed it."""
    signed = decode(data, SignedCharter)
    charter = decode(signed.charter, Charter)
    if len(signed.signatures) != len(charter.members):
        raise ProtocolViolation("the charter is not signed by every member")
    for member, signature in zip(charter.members, signed.signatures, strict=True):
        verify(member.signing, _PURPOSE, signed.charter, signature)
    try:
        check(charter)
    except Refused as refusal:
        raise ProtocolViolation(f"the charter is malformed: {refusal}") from refusal
    return charter


def rules_from(table: dict[str, object]) -> Rules:
    """Rules from the `[rules]` of a consortium file."""
    limits = {"minimum_sites": (3, 1000), "corrupt": (-1, 1000), "round_seconds": (1, 7 * 86_400)}
    for name, value in table.items():
        if name not in limits:
            raise Refused(f"[rules] knows no '{name}': {', '.join(limits)}")
        least, most = limits[name]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Refused(f"[rules]: '{name}' is not a whole number from {least} to {most}")
    return msgspec.structs.replace(Rules(), **table)
