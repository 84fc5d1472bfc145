"""Keys of one party, and what they do: derive, sign, seal, agree.

Every use carries a label, so that bytes made for one purpose are worthless for another:
`LABEL = "hansa/v1/" ‖ purpose ‖ 0x00` stands before whatever is signed, and inside the info of whatever is sealed
or derived. Primitives come from `cryptography`: Ed25519 (RFC 8032), ML-DSA-65 (FIPS 204), X25519 (RFC 7748),
ML-KEM-768 (FIPS 203), HKDF-SHA256 (RFC 5869), HPKE (RFC 9180) with MLKEM768_X25519, HKDF-SHA256 and AES-256-GCM.

Seeds are arguments: whoever calls draws them from the operating system. Only HPKE and ML-KEM encapsulation draw
chance of their own, inside the library.
"""

import hashlib
import hmac
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hansa.errors import ProtocolViolation

SEED_BYTES = 32
SIGNATURE_BYTES = 64
MLKEM_PUBLIC_BYTES = 1184
MLKEM_CIPHERTEXT_BYTES = 1088
X25519_BYTES = 32
HYBRID_PUBLIC_BYTES = MLKEM_PUBLIC_BYTES + X25519_BYTES
HYBRID_SEED_BYTES = 96
LASTING_PUBLIC_BYTES, LASTING_SIGNATURE_BYTES = 1952, 3309  # ML-DSA-65
SEAL_OVERHEAD = MLKEM_CIPHERTEXT_BYTES + X25519_BYTES + 16

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def label(purpose: str) -> bytes:
    return b"hansa/v1/" + purpose.encode("ascii") + b"\0"


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 over the label and the parts, each preceded by its length, so that no two lists collide."""
    state = hashlib.sha256(label(purpose))
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def derive(secret: bytes, purpose: str, *parts: bytes, size: int = 32, salt: bytes = b"") -> bytes:
    """HKDF-SHA256 of `secret`; the info is the digest of the purpose and its parts."""
    return HKDF(hashes.SHA256(), size, salt or None, digest(purpose, *parts)).derive(secret)


def tag(secret: bytes, purpose: str, *parts: bytes) -> bytes:
    """A 16-byte HMAC-SHA256 tag over the labelled parts."""
    return hmac.digest(secret, digest(purpose, *parts), "sha256")[:16]


class SigningKey:
    """A party's Ed25519 key. Signs labelled messages only."""

    def __init__(self, seed: bytes) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "SigningKey(hidden)"

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._key.sign(label(purpose) + message)


def verify(public: bytes, purpose: str, message: bytes, signature: bytes) -> None:
    """Raises ProtocolViolation unless `signature` is by `public` over the labelled message."""
    if not holds(public, label(purpose) + message, signature):
        raise ProtocolViolation(f"a signature for '{purpose}' does not hold")


@lru_cache(maxsize=4096)
def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is right. What was looked at lately is remembered: the hub meets each header twice, and a
    process that plays many parties meets it once for each."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class LastingKey:
    """A party's ML-DSA-65 key, for signatures that must hold when Ed25519 may not any more: those under a charter."""

    def __init__(self, seed: bytes) -> None:
        self._key = mldsa.MLDSA65PrivateKey.from_seed_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "LastingKey(hidden)"

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._key.sign(label(purpose) + message)


def verify_lasting(public: bytes, purpose: str, message: bytes, signature: bytes) -> None:
    """Raises ProtocolViolation unless `signature` is by the ML-DSA-65 key `public` over the labelled message."""
    try:
        mldsa.MLDSA65PublicKey.from_public_bytes(public).verify(signature, label(purpose) + message)
    except (InvalidSignature, ValueError) as error:
        raise ProtocolViolation(f"a lasting signature for '{purpose}' does not hold") from error


class HybridKey:
    """An ML-KEM-768 and an X25519 key under one name, made from 96 bytes of seed (64 and 32)."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != HYBRID_SEED_BYTES:
            raise ValueError("a hybrid key is made from 96 bytes")
        self._mlkem = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:64])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(seed[64:])
        self.public = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "HybridKey(hidden)"

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """The plaintext of what `seal` made for this key with the same info."""
        key = hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)
        try:
            return _SUITE.decrypt(ciphertext, key, info)
        except (InvalidTag, ValueError) as error:
            raise ProtocolViolation(
                "a sealed letter does not open: wrong key, wrong header or altered bytes"
            ) from error

    def agree(self, peer: bytes) -> bytes:
        """The X25519 half of a pair secret with the peer's public hybrid key."""
        try:
            return self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(peer[MLKEM_PUBLIC_BYTES:]))
        except ValueError as error:
            raise ProtocolViolation("a peer's X25519 key is of low order") from error

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The ML-KEM half of a pair secret that a peer encapsulated to this key."""
        try:
            return self._mlkem.decapsulate(ciphertext)
        except ValueError as error:
            raise ProtocolViolation("an ML-KEM ciphertext has the wrong size") from error


def _halves(public: bytes) -> tuple[mlkem.MLKEM768PublicKey, x25519.X25519PublicKey]:
    if len(public) != HYBRID_PUBLIC_BYTES:
        raise ProtocolViolation("a public key has the wrong size")
    try:
        return (
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES]),
            x25519.X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:]),
        )
    except ValueError as error:
        raise ProtocolViolation("a public key is malformed") from error


def check_hybrid(public: bytes) -> None:
    """Raises ProtocolViolation for a public key that no honest party could use: malformed, or of low order."""
    HybridKey(bytes(HYBRID_SEED_BYTES)).agree(public)
    _halves(public)


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE to the hybrid key `public`; adds SEAL_OVERHEAD bytes."""
    return _SUITE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(*_halves(public)), info)


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """(secret, ciphertext) of ML-KEM-768 to the hybrid key `public`."""
    secret, ciphertext = _halves(public)[0].encapsulate()
    return secret, ciphertext


def lock_box(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """AES-256-GCM with a zero nonce: `key` must be derived for this one plaintext and never used again."""
    return AESGCM(key).encrypt(bytes(12), plaintext, context)


def open_box(key: bytes, ciphertext: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(bytes(12), ciphertext, context)
    except InvalidTag as error:
        raise ProtocolViolation("a sealed share does not open: wrong key or altered bytes") from error
