"""What people carry by hand before there are letters: a site's request, the hub's kit, a draft's signatures.

    site → hub    NAME.request    the site's card (name, public keys) and certificate request, signed by its own key
    hub → site    NAME.kit        its mailbox's address and password, and certificates: sealed to the site, signed
    hub → sites   the draft       a charter that nobody has signed
    site → hub    NAME.signature  this member's signature over the charter's bytes; with old and new keys, two
    hub → sites   the charter     with the members' signatures

Nothing is trusted on first use: who receives a card compares its fingerprint with what its owner reads aloud. Twelve
words are 132 bits of a digest; a kit's signature covers everything in it, so the hub's fingerprint is enough.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from hansa import charter as charters
from hansa.charter import Charter, HubParty, Member, Party, Signatory
from hansa.crypto.bundles import MemberKeys
from hansa.crypto.keys import HybridKey, SigningKey, check_hybrid, digest, label, seal, verify
from hansa.errors import ProtocolViolation, Refused
from hansa.mail.certificates import public_key_of
from hansa.messages import HUB, Signature, SiteId, decode, encode, is_site_id
from hansa.words import words

MOST_BYTES = 2**20  # of any of these files; a charter of a thousand members is larger, and has no limit here
GROUPS, DIGITS = 12, 5

Pem = Annotated[bytes, Meta(max_length=2**14)]


class Request(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    card: Member
    certificate: Annotated[bytes, Meta(max_length=2**13)]  # PKCS#10, DER
    signature: Signature


class Kit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`mailbox` is a URL with a password. The site's private keys never left it, so none is here."""

    site: SiteId
    mailbox: Annotated[str, Meta(max_length=2**10)]
    authority: Pem
    certificate: Pem

    def __repr__(self) -> str:
        return f"Kit({self.site})"


class SealedKit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    hub: HubParty
    sealed: bytes
    signature: Signature


class CharterSignature(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    charter: Annotated[bytes, Meta(min_length=32, max_length=32)]  # its digest
    signatories: Annotated[tuple[Signatory, ...], Meta(min_length=1, max_length=2)]


def fingerprint(party: Party) -> str:
    """Twelve words, 132 bits, to be read aloud."""
    return words(digest("fingerprint", encode(party)))


def digits(party: Party) -> str:
    """The same in twelve groups of five digits, 199 bits, for who shares no language."""
    number = int.from_bytes(digest("fingerprint", encode(party)), "big") % 10 ** (GROUPS * DIGITS)
    text = f"{number:0{GROUPS * DIGITS}d}"
    return " ".join(text[at : at + DIGITS] for at in range(0, len(text), DIGITS))


def compare(party: Party, read_aloud: str) -> None:
    """Refuses a card that is not the one whose fingerprint its owner reads, in words or digits; blanks, hyphens and
    capitals don't matter."""
    said = "".join(sign for sign in read_aloud.lower() if not sign.isspace() and sign != "-")
    if said not in (fingerprint(party).replace(" ", ""), digits(party).replace(" ", "")):
        raise Refused(
            f"the file is of a '{party.id}' with the fingerprint {fingerprint(party)}, which is another than you gave: "
            "do not use it; ask its sender by telephone what it is"
        )


def make_request(card: Member, certificate: bytes, key: SigningKey) -> bytes:
    return encode(Request(card, certificate, key.sign("site request", _request(card, certificate))))


def read_request(data: bytes) -> Request:
    """Whoever made it holds the card's keys and the certificate's; whether that is the site, its fingerprint tells."""
    request = decode(_bounded(data), Request)
    if not is_site_id(request.card.id):
        raise ProtocolViolation(f"a request is by '{request.card.id}', which is no site name")
    verify(request.card.signing, "site request", _request(request.card, request.certificate), request.signature)
    check_hybrid(request.card.sealing)
    public_key_of(request.certificate)
    return request


def seal_kit(kit: Kit, receiver: Party, hub: HubParty, key: SigningKey) -> bytes:
    sealed = seal(receiver.sealing, encode(kit), _kit_info(hub, receiver))
    return encode(SealedKit(hub, sealed, key.sign("site kit", _signed_kit(hub, receiver, sealed))))


def open_kit(data: bytes, card: Party, sealing: HybridKey, hub_fingerprint: str) -> tuple[HubParty, Kit]:
    """The hub's card and the kit, for the site of `card`; nothing is opened before the fingerprint is right."""
    found = decode(_bounded(data), SealedKit)
    if found.hub.id != HUB:
        raise ProtocolViolation("a kit is not from a hub")
    compare(found.hub, hub_fingerprint)
    try:
        verify(found.hub.signing, "site kit", _signed_kit(found.hub, card, found.sealed), found.signature)
        kit = decode(sealing.open(found.sealed, _kit_info(found.hub, card)), Kit)
    except ProtocolViolation as violation:
        raise Refused(f"the kit was altered, or made for another site than '{card.id}' with these keys") from violation
    if kit.site != card.id:
        raise ProtocolViolation(f"the kit is for '{kit.site}'")
    return found.hub, kit


def read_draft(data: bytes) -> Charter:
    return charters.read(data)


def sign_draft(charter: Charter, site: str, keys: Sequence[MemberKeys]) -> bytes:
    return encode(CharterSignature(charter.digest, tuple(charters.sign(charter, site, one) for one in keys)))


def complete(charter: Charter, files: Sequence[bytes], previous: Charter | None = None) -> bytes:
    """The charter with the members' signatures; refuses a missing one, one of another draft or not by a member. All
    sign the first; a later one the threshold of it and of `previous`."""
    found: list[Signatory] = []
    for data in files:
        one = decode(_bounded(data), CharterSignature)
        sites = {signatory.site for signatory in one.signatories}
        if one.charter != charter.digest:
            raise Refused(f"'{min(sites)}' signed another draft: send everybody the same file, to be signed again")
        found += one.signatories
    names = {one.site for one in found}
    for name in sorted(names):
        if previous is None or name not in {member.id for member in previous.members}:
            charter.member(name)
    missing = [member.id for member in charter.members if member.id not in names]
    if missing and previous is None:
        raise Refused(f"the charter is not signed by {', '.join(missing)} yet")
    signed = charters.sealed(charter, found)
    charters.load(signed, previous)
    return signed


def _bounded(data: bytes) -> bytes:
    if len(data) > MOST_BYTES:
        raise ProtocolViolation("the file is larger than any of its sort")
    return data


def _request(card: Member, certificate: bytes) -> bytes:
    return digest("site request", encode(card), certificate)


def _kit_info(hub: HubParty, receiver: Party) -> bytes:
    return label("site kit") + digest("site kit", encode(hub), encode(receiver))


def _signed_kit(hub: HubParty, receiver: Party, sealed: bytes) -> bytes:
    return digest("site kit", encode(hub), encode(receiver), sealed)
