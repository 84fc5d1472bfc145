"""Signed notes: a text, an empty line, and a line for each signature (c2sp.org/signed-note@v1.0.0).

    — <name of the key> <base64(4 bytes of key id ‖ signature)>

Signatures by unknown keys are ignored; a known key whose signature does not hold makes the whole note worthless. Here
a known key also signs a note only once. Type 0x01 is Ed25519 over the text; `checkpoint.py` has the other types.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ed25519
from msgspec import Struct

from hansa.crypto.keys import holds
from hansa.errors import ProtocolViolation

ED25519: Final = 0x01
COSIGNATURE_ED25519: Final = 0x04
COSIGNATURE_MLDSA44: Final = 0x06
PUBLIC_BYTES: Final = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}
ID_BYTES: Final = 4
MOST_SIGNATURES: Final = 1200  # two keys of each of 500 members, and some; Go's reader stops at 100
MOST_NAME_BYTES: Final = 255

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_DASH = "— "

T = TypeVar("T")


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Standard base64 with its padding, in its one spelling (RFC 4648, section 4)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise ProtocolViolation("what should be base64 is not") from error
    if to_base64(data) != text:
        raise ProtocolViolation("base64 is not in its one spelling")
    return data


def is_name(name: str) -> bool:
    """Whether a key may be called this: something, without spaces of any script, `+` and control characters."""
    fits = 0 < len(name) <= MOST_NAME_BYTES and len(name.encode("utf-8", "replace")) <= MOST_NAME_BYTES
    return fits and not any(sign.isspace() or sign == "+" or sign < " " for sign in name)


class VerifierKey(Struct, frozen=True):
    """A public key under a name and with one use, which `type` says."""

    name: str
    type: int
    public: bytes

    def __post_init__(self) -> None:
        if not is_name(self.name) or len(self.public) != PUBLIC_BYTES.get(self.type):
            raise ValueError("a verifier key has a name of this kind, and as many bytes as its type asks for")

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart, and prove nothing."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:ID_BYTES]

    def __str__(self) -> str:
        """The vkey: name+hex(id)+base64(type ‖ public key)."""
        return f"{self.name}+{self.id.hex()}+{to_base64(bytes([self.type]) + self.public)}"


def parse_vkey(text: str) -> VerifierKey:
    name, _, rest = text.partition("+")
    material = from_base64(rest.partition("+")[2])
    try:
        key = VerifierKey(name, material[0] if material else 0, material[1:])
    except ValueError as error:
        raise ProtocolViolation(f"a vkey is malformed: {error}") from error
    if str(key) != text:
        raise ProtocolViolation("the id in a vkey is not that of its key")
    return key


class Line(Struct, frozen=True):
    """One signature, by the key of this name and id."""

    name: str
    id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {to_base64(self.id + self.signature)}\n"


class Note(Struct, frozen=True):
    text: str
    lines: tuple[Line, ...]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(map(str, self.lines))).encode()


def parse(data: bytes) -> Note:
    """What the bytes say; no signature has been looked at."""
    whole = decode_text(data)
    split = whole.rfind("\n\n")
    if split < 0:
        raise ProtocolViolation("a note has no empty line before its signatures")
    return Note(whole[: split + 1], parse_lines(whole[split + 2 :]))


def decode_text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolViolation("a text is not UTF-8") from error
    if _CONTROL.search(text):
        raise ProtocolViolation("a text has control characters")
    return text


def parse_lines(text: str) -> tuple[Line, ...]:
    """The signature lines at the end of a note, or in a witness's answer; at least one."""
    *lines, last = text.split("\n", MOST_SIGNATURES)
    if not lines or last:
        raise ProtocolViolation("a note has no signature, a last line without its end, or too many signatures")
    return tuple(map(_line, lines))


def _line(text: str) -> Line:
    name, _, signature = text.removeprefix(_DASH).partition(" ")
    if not text.startswith(_DASH) or not is_name(name):
        raise ProtocolViolation("a line of a note is no signature")
    data = from_base64(signature)
    if len(data) <= ID_BYTES:
        raise ProtocolViolation("a signature line has no signature")
    return Line(name, data[:ID_BYTES], data[ID_BYTES:])


def check_ed25519(key: VerifierKey, text: str, signature: bytes) -> None:
    """ProtocolViolation unless `signature` is by `key`, of type 0x01, over the text."""
    if key.type != ED25519 or not holds(key.public, text.encode(), signature):
        raise ProtocolViolation(f"a signature by '{key.name}' does not hold")


def check_lines(
    text: str, lines: Iterable[Line], keys: Iterable[VerifierKey], check: Callable[[VerifierKey, str, bytes], T]
) -> dict[VerifierKey, T]:
    """What `check` makes of the signature of each of `keys` that signed; whatever it raises rejects the note."""
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise ValueError(f"two keys are called '{key.name}' and have one id")
    found: dict[VerifierKey, T] = {}
    for line in lines:
        signer = known.get((line.name, line.id))
        if signer is None:
            continue
        if signer in found:
            raise ProtocolViolation(f"'{signer.name}' signs a note twice with one key")
        found[signer] = check(signer, text, line.signature)
    return found


def signed_by(note: Note, keys: Iterable[VerifierKey]) -> frozenset[VerifierKey]:
    """Which of `keys`, all of type 0x01, signed; ProtocolViolation where none did."""
    found = check_lines(note.text, note.lines, keys, check_ed25519)
    if not found:
        raise ProtocolViolation("a note has no signature by a key that is trusted")
    return frozenset(found)


class Signer:
    """A log's Ed25519 key (type 0x01), from 32 bytes of seed."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, ED25519, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({self.key.name}, hidden)"

    def sign(self, text: str) -> Note:
        if not text.endswith("\n") or _CONTROL.search(text):
            raise ValueError("the text of a note ends its last line, and has no control characters")
        return Note(text, (Line(self.key.name, self.key.id, self._key.sign(text.encode())),))
