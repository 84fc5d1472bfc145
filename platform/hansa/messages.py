"""Ids, deterministic encoding, and the envelope that every letter travels in.

Encoding is MessagePack of positional structs with sorted maps: one value has one encoding. `decode` takes the type
that is due, refuses anything else, and re-encodes to compare, so that no two byte strings mean the same. JSON is for
people and for the broker's own framing, never for what is signed.

    envelope  = [header, ciphertext, signature]
    header    = [version, suite, sender, receiver, charter, run, sequence, kind]        (bytes kept verbatim)
    body      = u32be(length) ‖ payload ‖ zeros up to the size class                    (1 KiB, 2 KiB, … 8 MiB)
    ciphertext= HPKE(receiver, body, info = "hansa/v1/envelope" ‖ 0x00 ‖ header)
    signature = Ed25519(sender, "hansa/v1/envelope" ‖ 0x00 ‖ SHA-256(header) ‖ SHA-256(ciphertext))

Because sender and receiver stand in `info`, who steals a ciphertext and signs it as its own gets a letter that
doesn't open. Suites are constant per version; nothing is negotiated.

A letter carries the version that its kind came with (`mail/letters.py`), so neighbours of one version apart understand
each other: version 1 came with Hansa 0.1, version 2 with 0.2.
"""

import hashlib
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from hansa.crypto.keys import SEAL_OVERHEAD, HybridKey, SigningKey, label, seal, verify
from hansa.errors import ProtocolViolation

SiteId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
RunId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]

HUB = "hub"
VERSION = 2  # the newest that we speak, and all before it
SUITE = 1
MAX_ENVELOPE = 9 * 2**20  # what a gateway reads at all; the largest size class is 8 MiB
_SMALLEST, _LARGEST = 2**10, 2**23
_PURPOSE = "envelope"
_SITE = re.compile(r"[a-z][a-z0-9-]{0,31}")

T = TypeVar("T")


def is_site_id(name: str) -> bool:
    """Letters, digits and hyphens, at most 32; `hub` is the hub's own."""
    return _SITE.fullmatch(name) is not None and name != HUB


def encode(value: Any) -> bytes:
    """The one encoding of a struct, tuple, str, int, bytes, float."""
    return msgspec.msgpack.encode(value, order="deterministic")


def decode(data: bytes, type_: type[T]) -> T:
    """`data` as the type that is due here; anything else is a ProtocolViolation."""
    try:
        value = msgspec.msgpack.decode(data, type=type_)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolViolation(f"a message is not a {getattr(type_, '__name__', 'message')}: {error}") from error
    if encode(value) != data:
        raise ProtocolViolation("a message is not in its one encoding")
    return value


class Header(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the broker and the hub see of a letter: who, to whom, which run, its place in the run, what sort."""

    version: int
    suite: int
    sender: str
    receiver: str
    charter: Annotated[int, Meta(ge=1)]
    run: RunId
    sequence: Annotated[int, Meta(ge=0, le=2**53)]
    kind: Annotated[str, Meta(pattern=r"^[a-z-]{1,24}\Z")]


class Envelope(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: bytes
    ciphertext: bytes
    signature: Signature

    def __repr__(self) -> str:
        return f"Envelope({len(self.ciphertext)} bytes)"


def _signed(envelope_header: bytes, ciphertext: bytes) -> bytes:
    return hashlib.sha256(envelope_header).digest() + hashlib.sha256(ciphertext).digest()


def _pad(payload: bytes) -> bytes:
    whole = len(payload) + 4
    if whole > _LARGEST:
        raise ValueError("a letter is larger than the largest size class")
    return len(payload).to_bytes(4, "big") + payload + bytes(_size_class(len(payload)) - whole)


def letter_size(header: Header, payload: int) -> int:
    """The bytes of a letter with a payload of so many, as `seal_letter` makes it."""
    sealed = bytes(SEAL_OVERHEAD + _size_class(payload))
    return len(encode(Envelope(encode(header), sealed, bytes(64))))


def _size_class(payload: int) -> int:
    return max(_SMALLEST, 1 << (payload + 3).bit_length())


def _unpad(body: bytes) -> bytes:
    length = int.from_bytes(body[:4], "big")
    if len(body) < _SMALLEST or len(body) & (len(body) - 1) or length > len(body) - 4 or any(body[4 + length :]):
        raise ProtocolViolation("a letter's padding is malformed")
    return body[4 : 4 + length]


def seal_letter(header: Header, payload: bytes, signer: SigningKey, receiver_public: bytes) -> bytes:
    """The bytes of a letter. HPKE draws chance, so they are made once, stored, and sent again unchanged."""
    raw = encode(header)
    ciphertext = seal(receiver_public, _pad(payload), label(_PURPOSE) + raw)
    return encode(Envelope(raw, ciphertext, signer.sign(_PURPOSE, _signed(raw, ciphertext))))


def read_envelope(data: bytes) -> tuple[Header, Envelope]:
    """Size, shape and version; nothing is believed yet."""
    if len(data) > MAX_ENVELOPE:
        raise ProtocolViolation("a letter is larger than 9 MiB")
    envelope = decode(data, Envelope)
    header = decode(envelope.header, Header)
    if not 1 <= header.version <= VERSION or header.suite != SUITE:
        raise ProtocolViolation(
            f"a letter is of version {header.version}, suite {header.suite}; we speak 1 to {VERSION}, {SUITE}"
        )
    return header, envelope


def check_sender(envelope: Envelope, sender_public: bytes) -> None:
    """The signature of the sender that the header names."""
    verify(sender_public, _PURPOSE, _signed(envelope.header, envelope.ciphertext), envelope.signature)


def open_letter(envelope: Envelope, key: HybridKey) -> bytes:
    """The payload; call `check_sender` first."""
    return _unpad(key.open(envelope.ciphertext, label(_PURPOSE) + envelope.header))
