"""Keys and cards of parties from small numbers, and charters that all of them signed."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from hansa import charter as charters
from hansa.charter import Charter, HubParty, Member, Rules
from hansa.crypto.bundles import HUB_BYTES, MEMBER_BYTES, HubKeys, MemberKeys

ORIGIN = "hansa/test/0"


def seeds(number: int, size: int) -> bytes:
    """No two parties, and no two keys of one, are made of the same bytes."""
    return b"".join(bytes([number, place]) * 16 for place in range(-(-size // 32)))[:size]


@lru_cache(maxsize=512)
def member_keys(number: int) -> MemberKeys:
    return MemberKeys(seeds(number, MEMBER_BYTES))


@lru_cache(maxsize=8)
def hub_keys(number: int = 255) -> HubKeys:
    return HubKeys(seeds(number, HUB_BYTES))


def member(name: str, number: int) -> Member:
    return charters.member_of(name, f"Institution {name}", member_keys(number))


def hub(number: int = 255) -> HubParty:
    return charters.hub_of(hub_keys(number))


def charter(names: Sequence[str], rules: Rules | None = None, consortium: str = "hospitals") -> Charter:
    """Of members whose keys are made of their places."""
    members = [member(name, place) for place, name in enumerate(names)]
    return charters.draft(consortium, hub(), members, rules or Rules(), ORIGIN)


def signed(charter: Charter, keys: Mapping[str, MemberKeys]) -> bytes:
    return charters.sealed(charter, [charters.sign(charter, name, held) for name, held in keys.items()])
