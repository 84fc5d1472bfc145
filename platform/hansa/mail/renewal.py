"""New keys of a party that is on the charter: the file NAME.keys, which its operator sends to the hub's.

The old signing key says that they are this party's; each new Ed25519 key signs too, so that nobody enters a key that
is another's. They count once a charter names them, which the members sign.
"""

from typing import Annotated

from msgspec import Meta, Struct

from hansa.charter import Charter, HubParty, Member, hub_of, member_of
from hansa.crypto.bundles import HubKeys, MemberKeys
from hansa.crypto.keys import SigningKey, check_hybrid, digest, verify
from hansa.errors import ProtocolViolation
from hansa.mail.founding import MOST_BYTES
from hansa.messages import HUB, Signature, decode, encode

_PURPOSE = "new keys"


class NewKeys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`card` is a Member or, of the hub, a HubParty. `proofs` are by its keys, in the order of `_proving`."""

    party: str
    card: bytes
    by_old: Signature
    proofs: Annotated[tuple[Signature, ...], Meta(max_length=3)]


def of_member(charter: Charter, site: str, old: MemberKeys, new: MemberKeys) -> bytes:
    card = member_of(site, charter.member(site).name, new)
    return _made(charter, card, old.signing, (new.signing, new.consent, SigningKey(new.witness[0])))


def of_hub(charter: Charter, old: HubKeys, new: HubKeys) -> bytes:
    return _made(charter, hub_of(new), old.signing, (new.signing, SigningKey(new.log)))


def read(data: bytes, charter: Charter) -> Member | HubParty:
    """The party's new card; refuses one that its old key, or a new one, has not signed for this charter."""
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the file is larger than any of its sort")
    found = decode(data, NewKeys)
    card = decode(found.card, HubParty) if found.party == HUB else decode(found.card, Member)
    old = charter.party(found.party)
    if card.id != old.id or (isinstance(card, Member) and card.name != charter.member(card.id).name):
        raise ProtocolViolation(f"the new keys of '{found.party}' come under another name")
    signed, keys = _signed(charter, found.card), _proving(card)
    if len(found.proofs) != len(keys):
        raise ProtocolViolation(f"not every new key of '{found.party}' has signed")
    for key, proof in zip((old.signing, *keys), (found.by_old, *found.proofs), strict=True):
        verify(key, _PURPOSE, signed, proof)
    check_hybrid(card.sealing)
    return card


def _made(charter: Charter, card: Member | HubParty, old: SigningKey, new: tuple[SigningKey, ...]) -> bytes:
    signed = _signed(charter, encode(card))
    proofs = tuple(key.sign(_PURPOSE, signed) for key in new)
    return encode(NewKeys(card.id, encode(card), old.sign(_PURPOSE, signed), proofs))


def _proving(card: Member | HubParty) -> tuple[bytes, ...]:
    return (card.signing, card.consent, card.witness) if isinstance(card, Member) else (card.signing, card.log)


def _signed(charter: Charter, card: bytes) -> bytes:
    return digest(_PURPOSE, charter.digest, card)
