"""Checkpoints and cosignatures (c2sp.org/tlog-checkpoint@v1.0.0, c2sp.org/tlog-cosignature).

A checkpoint is a note whose text is three lines: the log's origin, the size of its tree, the root in base64. The log
signs it with an Ed25519 key named as the origin. No extension lines: an ML-DSA cosignature would not cover them.

A cosignature is `u64be timestamp ‖ signature`, the timestamp in seconds since 1970: by Ed25519 (0x04) over
"cosignature/v1", the time and the text; by ML-DSA-44 (0x06) over the `cosigned_message` of the specification.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from msgspec import Struct

from hansa.audit.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_MLDSA44,
    ED25519,
    Line,
    Note,
    VerifierKey,
    check_lines,
    decode_text,
    from_base64,
    is_name,
    parse_lines,
    signed_by,
    to_base64,
)
from hansa.audit.tree import Head
from hansa.crypto.keys import holds
from hansa.crypto.merkle import DIGEST_BYTES
from hansa.errors import ProtocolViolation

LARGEST: Final = 2**63 - 1
_NUMBER = re.compile("0|[1-9][0-9]{0,18}")


class Checkpoint(Struct, frozen=True):
    """What a log says of its tree."""

    origin: str
    head: Head

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.head.size}\n{to_base64(self.head.root)}\n"


def parse_number(text: str) -> int:
    """A number up to 2^63 − 1 in decimal, without zeros before it."""
    if not _NUMBER.fullmatch(text) or (number := int(text)) > LARGEST:
        raise ProtocolViolation("a number is not in decimal, or too large")
    return number


def parse_digest(text: str) -> bytes:
    digest = from_base64(text)
    if len(digest) != DIGEST_BYTES:
        raise ProtocolViolation("a digest has not 32 bytes")
    return digest


def parse_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not is_name(lines[0]):
        raise ProtocolViolation("a checkpoint is not origin, size and root on three lines")
    return Checkpoint(lines[0], Head(parse_number(lines[1]), parse_digest(lines[2])))


def checked(note: Note, log: VerifierKey) -> Checkpoint:
    """The checkpoint that `log` signed, whose name is its origin; else ProtocolViolation. Cosignatures are not looked
    at."""
    checkpoint = parse_text(note.text)
    if checkpoint.origin != log.name:
        raise ProtocolViolation("a checkpoint is by another log")
    signed_by(note, [log])
    return checkpoint


class Ed25519Cosigner:
    """A witness's Ed25519 key (0x04), from 32 bytes of seed; a key that signs nothing else, under no other name."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, COSIGNATURE_ED25519, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Ed25519Cosigner({self.key.name}, hidden)"

    def cosign(self, checkpoint: Checkpoint, timestamp: int) -> Line:
        """The caller has stored that it cosigns this head, before it asks."""
        return _line(self.key, timestamp, self._key.sign(_message(self.key, checkpoint, timestamp)))


class MLDSA44Cosigner:
    """A witness's ML-DSA-44 key (0x06), from 32 bytes of seed. Signing draws chance inside the library (FIPS 204,
    hedged), so one checkpoint may get two cosignatures that differ."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = mldsa.MLDSA44PrivateKey.from_seed_bytes(seed)
        self.key = VerifierKey(name, COSIGNATURE_MLDSA44, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"MLDSA44Cosigner({self.key.name}, hidden)"

    def cosign(self, checkpoint: Checkpoint, timestamp: int) -> Line:
        """The caller has stored that it cosigns this head, before it asks."""
        return _line(self.key, timestamp, self._key.sign(_message(self.key, checkpoint, timestamp)))


def _line(key: VerifierKey, timestamp: int, signature: bytes) -> Line:
    return Line(key.name, key.id, timestamp.to_bytes(8, "big") + signature)


def _message(key: VerifierKey, checkpoint: Checkpoint, timestamp: int) -> bytes:
    """What `key` signs to cosign."""
    if not 0 < timestamp <= LARGEST:
        raise ValueError("a cosignature has its time")
    if key.type == COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {timestamp}\n{checkpoint.text}".encode()
    cosigner, origin = key.name.encode(), checkpoint.origin.encode()
    return b"".join(
        [
            b"subtree/v1\n\0",
            bytes([len(cosigner)]) + cosigner,
            timestamp.to_bytes(8, "big"),
            bytes([len(origin)]) + origin,
            bytes(8),  # the subtree's first leaf: all of the tree is signed
            checkpoint.head.size.to_bytes(8, "big"),
            checkpoint.head.root,
        ]
    )


def check_cosignature(key: VerifierKey, text: str, signature: bytes) -> int:
    """The timestamp of a cosignature by `key`; ProtocolViolation where it has none or does not hold."""
    if not is_witness_key(key):
        raise ValueError("a key of this type cosigns nothing")
    checkpoint = parse_text(text)
    timestamp, signed = int.from_bytes(signature[:8], "big"), signature[8:]
    if not 0 < timestamp <= LARGEST:
        raise ProtocolViolation(f"a cosignature by '{key.name}' has no time")
    verify = holds if key.type == COSIGNATURE_ED25519 else _mldsa44_holds
    if not verify(key.public, _message(key, checkpoint, timestamp), signed):
        raise ProtocolViolation(f"a cosignature by '{key.name}' does not hold")
    return timestamp


def _mldsa44_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def cosigned(note: Note, witnesses: Mapping[str, Sequence[VerifierKey]]) -> dict[str, int]:
    """Who of `witnesses` cosigned, each by every one of its keys, with the earliest of its timestamps.

    A witness with an Ed25519 and an ML-DSA-44 key counts once, and only where both signed: so one of the two
    algorithms may fall and it still says nothing it did not see. ProtocolViolation if any known cosignature fails.
    """
    if not all(witnesses.values()):
        raise ValueError("a witness has at least one key")
    keys = [key for several in witnesses.values() for key in several]
    times = check_lines(note.text, note.lines, keys, check_cosignature)
    return {
        name: min(times[key] for key in several)
        for name, several in witnesses.items()
        if all(key in times for key in several)
    }


def add_cosignatures(note: Note, answer: bytes, witness: Iterable[VerifierKey]) -> Note:
    """The note with the signatures of a witness's answer: those by its keys, checked, one a key and the first kept.

    Lines by other keys are dropped; a bad one by its own rejects the answer and leaves the note.
    """
    keys = [*witness]
    lines = parse_lines(decode_text(answer))
    good = check_lines(note.text, lines, keys, check_cosignature)
    there = {(line.name, line.id) for line in note.lines}
    wanted = {(key.name, key.id) for key in good} - there
    return Note(note.text, (*note.lines, *(line for line in lines if (line.name, line.id) in wanted)))


def is_log_key(key: VerifierKey) -> bool:
    return key.type == ED25519


def is_witness_key(key: VerifierKey) -> bool:
    return key.type in (COSIGNATURE_ED25519, COSIGNATURE_MLDSA44)
