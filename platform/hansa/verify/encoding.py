"""Bytes with one meaning: MessagePack that re-encodes to itself, labels and digests."""

import hashlib
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from hansa.errors import ProtocolViolation

T = TypeVar("T")


def canonical(data: bytes, type_: type[T], what: str) -> T:
    """`data` as `type_`, where it is the only encoding of its value."""
    try:
        value = msgspec.msgpack.decode(data, type=type_)
        again = msgspec.msgpack.encode(value, order="deterministic")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolViolation(f"{what} is malformed: {error}") from error
    if again != data:
        raise ProtocolViolation(f"{what} is not in its one encoding")
    return value


def label(purpose: str) -> bytes:
    return b"hansa/v1/" + purpose.encode() + b"\0"


def digest(purpose: str, *parts: bytes) -> bytes:
    return hashlib.sha256(label(purpose) + b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def ed25519_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def lattice_holds(level: int, public: bytes, message: bytes, signature: bytes) -> bool:
    """ML-DSA-44 or ML-DSA-65."""
    kind: Any = mldsa.MLDSA44PublicKey if level == 44 else mldsa.MLDSA65PublicKey
    try:
        kind.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
